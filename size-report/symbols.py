"""Which crate the bytes of a program come from, told by its symbols."""

import re
import subprocess
from collections import Counter

# Code and data that take room in the file: text, read-only, initialised, weak. Not .bss.
IN_FILE = set("tTrRdDwWvV")
STANDARD = {"core", "alloc", "std", "compiler_builtins", "panic_abort", "hashbrown"}
# The first segment of each path in a demangled symbol.
ROOT = re.compile(r"(?<![\w:>])([a-z_]\w*)::")
# C and assembly of crates that compile some, by the prefix of their symbols.
FOREIGN = {"ring_core_": "ring"}
LIBC = "(musl and compiler-rt)"


def by_crate(program):
    """Bytes by crate of an unstripped program; several symbols of one address count once."""
    listing = subprocess.run(
        ["llvm-nm", "--demangle", "--print-size", "--defined-only", program], check=True, capture_output=True, text=True
    ).stdout
    sizes, seen = Counter(), set()
    for line in listing.splitlines():
        fields = line.split(" ", 3)
        if len(fields) < 4 or fields[2] not in IN_FILE or fields[0] in seen:
            continue
        seen.add(fields[0])
        sizes[crate(fields[3])] += int(fields[1], 16)
    return sizes


def crate(symbol):
    """The first crate named that is not the standard library's, since a generic of `core` exists for who uses it."""
    for prefix, name in FOREIGN.items():
        if symbol.startswith(prefix):
            return name
    roots = ROOT.findall(symbol)
    for root in roots:
        if root not in STANDARD:
            return root
    return "std" if roots or "core" in symbol else LIBC
