"""The binary form of apk 3 (ADB): blocks of a file, and inside the first one a tree of values.

A value is a word of 32 bits, least byte first: four bits of type, and 28 that are a small number itself or the place
of the rest in the block. Equal things are written once. See doc/apk-v3.5.scd of apk-tools.
"""

import hashlib
import struct
import subprocess
import sys

import deflate

# Types of values.
INT, INT_32, INT_64 = 0x1, 0x2, 0x3
BLOB_8, BLOB_16, BLOB_32 = 0x8, 0x9, 0xA
OBJECT = 0xE
NULL = 0

# Types of blocks.
BLOCK_ADB, BLOCK_SIGNATURE, BLOCK_DATA = 0, 1, 2

# Each block begins at a multiple of this.
ALIGNMENT = 8

# Number of the hash in a signature.
SHA512 = 4


class Tree:
    """A block of values that is being written."""

    def __init__(self):
        self.bytes = bytearray(8)
        self.known = {}

    def put(self, data, alignment, shared=True):
        """Where `data` stands; equal data that is shared and lies well enough is not written again."""
        place = self.known.get(data) if shared else None
        if place is None or place % alignment:
            self.bytes += bytes(-len(self.bytes) % alignment)
            place = len(self.bytes)
            self.bytes += data
            if shared:
                self.known[data] = place
        return place

    def blob(self, data, shared=True):
        data = data.encode() if isinstance(data, str) else data
        if not data:
            return NULL
        kind, size = (BLOB_8, 1) if len(data) <= 0xFF else (BLOB_16, 2) if len(data) <= 0xFFFF else (BLOB_32, 4)
        return value(kind, self.put(len(data).to_bytes(size, "little") + data, size, shared))

    def int(self, number):
        if number < 1 << 28:
            return value(INT, number)
        kind, size = (INT_32, 4) if number < 1 << 32 else (INT_64, 8)
        return value(kind, self.put(number.to_bytes(size, "little"), 4))

    def object(self, slots):
        """`slots` maps numbers of fields, from 1, to values."""
        return self.array(slots.get(number, NULL) for number in range(1, max(slots, default=0) + 1))

    def array(self, values):
        """Arrays have a type of their own, which apk reads but never writes."""
        values = list(values)
        while values and values[-1] == NULL:
            values.pop()
        if not values:
            return NULL
        return value(OBJECT, self.put(struct.pack(f"<{len(values) + 1}I", len(values) + 1, *values), 4))

    def finish(self, root):
        # Version 0, readable by version 0.
        struct.pack_into("<BBHI", self.bytes, 0, 0, 0, 0, root)
        return self.bytes


def value(kind, rest):
    assert rest < 1 << 28, "an ADB block reaches to 256 MiB"
    return kind << 28 | rest


def block(kind, data):
    size = 4 + len(data)
    assert size < 1 << 30, "longer blocks have another head"
    return struct.pack("<I", kind << 30 | size) + data + bytes(-size % ALIGNMENT)


def file(schema, tree, data=(), key=None):
    """A whole file: `schema` is four letters, `data` the contents of further blocks."""
    blocks = [block(BLOCK_ADB, bytes(tree))]
    if key:
        blocks.append(block(BLOCK_SIGNATURE, signature(schema, tree, key)))
    blocks += [block(BLOCK_DATA, one) for one in data]
    plain = b"ADB." + schema + b"".join(blocks)
    return b"ADBd" + deflate.raw(plain)


def signature(schema, tree, key):
    """What an EC key says of a block: the key is known by the hash of its public half."""
    def openssl(*words, data=None):
        done = subprocess.run(["openssl", *words], input=data, capture_output=True)
        if done.returncode != 0:
            sys.exit(f"openwrt/build: --apk-key {key}: {done.stderr.decode().strip()}")
        return done.stdout

    # The DER form of a public key on prime256v1 ends with the uncompressed point.
    point = openssl("pkey", "-in", key, "-pubout", "-outform", "DER")[-65:]
    if len(point) != 65 or point[0] != 4:
        sys.exit(f"openwrt/build: --apk-key {key}: not an EC key on the curve prime256v1")
    head = bytes([0, SHA512]) + hashlib.sha512(point).digest()[:16]
    said = schema + head + hashlib.sha512(tree).digest()
    return head + openssl("dgst", "-sha512", "-sign", key, data=said)
