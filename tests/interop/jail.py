"""Runs a program as a router's service manager and its flash would: inside a root folder, as a user, on jffs2.

    python3 jail.py ROOT USER COMMAND...

Of jffs2 it has what programs trip over: writable shared mappings of files are refused.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

# Numbers of the kernel, for this machine alone.
MMAP = {"x86_64": 9, "aarch64": 222}
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
MAP_TYPE, MAP_SHARED, PROT_WRITE = 0xF, 1, 2

# Instructions of the kernel's packet filter, which reads a system call as 32-bit words.
LOAD, AND, EQUAL, ANY, RETURN = 0x20, 0x54, 0x15, 0x45, 0x06
NUMBER, PROT, FLAGS, FILE = 0, 32, 40, 48
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EINVAL


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def refuse_shared_mappings():
    steps = [
        (LOAD, 0, 0, NUMBER), (EQUAL, 0, 8, MMAP[platform.machine()]),
        (LOAD, 0, 0, FLAGS), (AND, 0, 0, MAP_TYPE), (EQUAL, 0, 5, MAP_SHARED),
        (LOAD, 0, 0, PROT), (ANY, 0, 3, PROT_WRITE),
        (LOAD, 0, 0, FILE), (EQUAL, 1, 0, 0xFFFFFFFF),
        (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(steps), code)
    for words in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)):
        if libc.prctl(*words) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")


def main():
    root, user, *command = sys.argv[1:]
    os.chroot(root)
    os.chdir("/")
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
    refuse_shared_mappings()
    os.execve(command[0], command, os.environ)


main()
