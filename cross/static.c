/* What the programs bring in place of a function of musl, linked before it. */

#include <sys/prctl.h>
#include <pthread.h>

/* The standard library names the thread it runs on, never another; musl's can name any, through a
 * file whose path it prints: 12 KB of printf, which nothing else needs. */
int pthread_setname_np(pthread_t thread, const char *name)
{
    (void)thread;
    return prctl(PR_SET_NAME, (unsigned long)name, 0UL, 0UL, 0UL);
}

#ifdef __mips__
/* musl's may be called by position-independent code only: it finds its data through the register that
 * holds the callee's address in such a call, and static code jumps into the woods. A static program has
 * no library to look into anyway; callers (rustix asks for newer system calls) take the answer for "not
 * there" and make the call themselves. */
void *dlsym(void *library, const char *name)
{
    (void)library;
    (void)name;
    return 0;
}
#endif
