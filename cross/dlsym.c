/* In place of musl's dlsym for MIPS, which may be called by position-independent code only: it finds
 * its data through the register that holds the callee's address in such a call, and static code jumps
 * into the woods. A static program has no library to look into anyway; callers (rustix asks for newer
 * system calls) take the answer for "not there" and make the call themselves. */
void *dlsym(void *library, const char *name)
{
    (void)library;
    (void)name;
    return 0;
}
