"""Reads packages as strictly as can be: whatever the formats leave open, these packages must do in one way.

Nothing here is shared with what writes them (openwrt/pack).
"""

import hashlib
import struct
import zlib
from dataclasses import dataclass

# tar fills up to this many bytes.
RECORD = 10240


class Wrong(Exception):
    """What is wrong with a package."""


def need(good, what):
    if not good:
        raise Wrong(what)


@dataclass
class Member:
    path: str
    kind: str  # dir, file or link
    mode: int
    time: int
    data: bytes
    target: str


# The package of opkg


def ipk(data):
    """(control fields, files of control.tar.gz, members of data.tar.gz) of an .ipk."""
    outer = tar(gzip(data, "the package"), "the package")
    names = [member.path for member in outer]
    need(names == ["./debian-binary", "./data.tar.gz", "./control.tar.gz"], f"the members are {names}")
    need(all(member.kind == "file" and member.mode == 0o644 for member in outer), "a member is no plain file")
    need(outer[0].data == b"2.0\n", f"debian-binary says {outer[0].data!r}")
    plain = gzip(outer[1].data, "data.tar.gz")
    files = tar(plain, "data.tar.gz")
    control = tar(gzip(outer[2].data, "control.tar.gz"), "control.tar.gz")
    for what, members in (("data", files), ("control", control)):
        need(members and members[0].path == "./" and members[0].kind == "dir", f"{what}: the first member is not ./")
        keys = [member.path.rstrip("/").split("/") for member in members]
        need(keys == sorted(keys) and len({tuple(key) for key in keys}) == len(keys), f"{what}: not sorted by path")
        known = {member.path for member in members if member.kind == "dir"}
        for member in members[1:]:
            parent = member.path.rstrip("/").rpartition("/")[0] + "/"
            need(parent in known, f"{what}: {member.path} comes without {parent}")
    need(len({member.time for member in [*outer, *files, *control]}) == 1, "not all members have one date")
    texts = {member.path[2:]: member for member in control[1:]}
    for name, member in texts.items():
        need(member.kind == "file", f"control: {name} is a {member.kind}")
        plain_text = name in ("control", "conffiles")
        need(member.mode == (0o644 if plain_text else 0o755), f"control: {name} has mode {member.mode:o}")
        need(member.data.endswith(b"\n"), f"control: {name} ends without a line end")
        # OpenWrt's functions read the parts called -pkg into the shell that runs.
        starts = plain_text or name.endswith("-pkg") or member.data.startswith(b"#!/bin/sh\n")
        need(starts, f"control: {name} is no script")
    fields = stanza(texts["control"].data.decode())
    need(fields["Installed-Size"] == str(len(plain)), f"Installed-Size {fields['Installed-Size']}, not {len(plain)}")
    return fields, {name: member.data.decode() for name, member in texts.items()}, files


def stanza(text):
    fields, last = {}, None
    need(text.endswith("\n") and "\n\n" not in text, "the stanza does not end with one line end")
    for line in text.splitlines():
        if line.startswith(" "):
            need(last == "Description", f"{last} has several lines")
            fields[last] += "\n" + line[1:]
            continue
        last, colon, rest = line.partition(": ")
        need(colon and last not in fields and rest == rest.strip() and rest, f"the line {line!r}")
        fields[last] = rest
    need(last == "Description", "Description is not the last field")
    return fields


def gzip(data, what):
    """A gzip stream of one member, that tells neither a name nor a date."""
    need(data[:8] == bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0]), f"{what}: the gzip header is {data[:10].hex()}")
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = inflate.decompress(data[10:])
    need(inflate.eof and len(inflate.unused_data) == 8, f"{what}: the stream does not end where the file ends")
    check, size = struct.unpack("<II", inflate.unused_data)
    need(check == zlib.crc32(plain) and size == len(plain), f"{what}: check sum or length")
    return plain


def tar(data, what):
    """The members of a tar as GNU tar writes it, all root's."""
    members, place = [], 0
    need(len(data) % RECORD == 0, f"{what}: {len(data)} bytes are no whole record")
    while data[place:place + 512] != bytes(512):
        head = data[place:place + 512]
        need(len(head) == 512, f"{what}: ends inside a header")
        path = text(head[:100])
        need(head[257:265] == b"ustar  \0", f"{what}: {path}: not GNU's magic")
        total = sum(head[:148]) + 8 * 0x20 + sum(head[156:])
        need(head[148:156] == b"%06o\0 " % total, f"{what}: {path}: check sum of the header")
        need(octal(head[108:116]) == octal(head[116:124]) == 0, f"{what}: {path}: not root's")
        need(not head[265:500].strip(b"\0") and not head[500:].strip(b"\0"), f"{what}: {path}: names or devices")
        kind = {b"0": "file", b"5": "dir", b"2": "link"}.get(head[156:157])
        need(kind, f"{what}: {path}: type {head[156:157]!r}")
        size = octal(head[124:136])
        need(kind == "file" or size == 0, f"{what}: {path}: a {kind} with contents")
        need(path.startswith("./") and (kind == "dir") == path.endswith("/"), f"{what}: the path {path!r}")
        body = data[place + 512:place + 512 + size]
        padded = -(-size // 512) * 512
        need(not data[place + 512 + size:place + 512 + padded].strip(b"\0"), f"{what}: {path}: rubbish behind it")
        members.append(Member(path, kind, octal(head[100:108]), octal(head[136:148]), body, text(head[157:257])))
        place += 512 + padded
    need(not data[place:].strip(b"\0") and 1024 <= len(data) - place, f"{what}: rubbish at the end")
    need(len(data) - place < 1024 + RECORD, f"{what}: too many zeros at the end")
    return members


def text(field):
    name, _, rest = field.partition(b"\0")
    need(not rest.strip(b"\0"), f"rubbish behind {name!r}")
    return name.decode()


def octal(field):
    need(field[-1:] == b"\0" and len(field.strip(b"\0")) == len(field) - 1, f"the number {field!r}")
    return int(field[:-1], 8)


# The package of apk. Fields of each object, by their number from 1; `[...]` is an array.

DEPENDENCY = ("name", "version", "match")
INFO = ("name", "version", "hashes", "description", "arch", "license", "origin", "maintainer", "url", "repo-commit",
        "build-time", "installed-size", "file-size", "provider-priority", ("depends", [DEPENDENCY]),
        ("provides", [DEPENDENCY]), ("replaces", [DEPENDENCY]), ("install-if", [DEPENDENCY]),
        ("recommends", [DEPENDENCY]), "layer", ("tags", [None]))
ACL = ("mode", "user", "group", ("xattrs", [None]))
FILE = ("name", ("acl", ACL), "size", "mtime", "hash", "target")
DIR = ("name", ("acl", ACL), ("files", [FILE]))
SCRIPTS = ("trigger", "pre-install", "post-install", "pre-deinstall", "post-deinstall", "pre-upgrade", "post-upgrade")
PACKAGE = (("info", INFO), ("paths", [DIR]), ("scripts", SCRIPTS), ("triggers", [None]), "replaces-priority")
INDEX = ("description", ("packages", [INFO]), "pkgname-spec")


@dataclass
class Adb:
    tree: dict
    block: bytes
    signatures: list
    data: list


def adb(data, schema):
    need(data[:4] == b"ADBd", f"the file begins with {data[:4]!r}")
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = inflate.decompress(data[4:])
    need(inflate.eof and not inflate.unused_data, "the deflate stream does not end where the file ends")
    name = {id(PACKAGE): b"pckg", id(INDEX): b"indx"}[id(schema)]
    need(plain[:8] == b"ADB." + name, f"the schema is {plain[:8]!r}")
    place, blocks = 8, []
    while place < len(plain):
        word = int.from_bytes(plain[place:place + 4], "little")
        kind, size = word >> 30, word & (1 << 30) - 1
        padded = -(-size // 8) * 8
        need(size >= 4 and place + padded <= len(plain), f"a block of {size} bytes")
        need(not plain[place + size:place + padded].strip(b"\0"), "rubbish behind a block")
        blocks.append((kind, plain[place + 4:place + size]))
        place += padded
    kinds = [kind for kind, _ in blocks]
    need(kinds and kinds == sorted(kinds) and kinds.count(0) == 1 and 3 not in kinds, f"blocks of the types {kinds}")
    block = blocks[0][1]
    need(block[:4] == bytes(4), f"version {block[:4].hex()}")
    tree = values(block, int.from_bytes(block[4:8], "little"), schema, 0)
    pick = {number: [body for kind, body in blocks if kind == number] for number in (1, 2)}
    return Adb(tree, block, pick[1], pick[2])


def values(block, word, schema, depth):
    """What a word stands for, by the schema: dict, list, bytes or int."""
    kind, place = word >> 28, word & (1 << 28) - 1
    need(depth < 8, "objects nested too deep")
    if kind == 0:
        need(place == 0, f"special value {place}")
        return None
    if kind == 1:
        need(schema is None, "a number in place of an object")
        return place
    if kind in (2, 3):
        size = 4 * (kind - 1)
        need(place % 4 == 0 and place + size <= len(block), "a number outside the block")
        return int.from_bytes(block[place:place + size], "little")
    if kind in (8, 9, 10):
        size = 1 << kind - 8
        length = int.from_bytes(block[place:place + size], "little")
        need(place % size == 0 and place + size + length <= len(block), "a text outside the block")
        need(length >= (1, 1 << 8, 1 << 16)[kind - 8], "a text with a longer type than it needs")
        return block[place + size:place + size + length]
    need(kind == 14 and schema is not None, f"type {kind:x} in place of {schema}")
    need(place % 4 == 0 and place + 4 <= len(block), "an object outside the block")
    count = int.from_bytes(block[place:place + 4], "little")
    need(2 <= count and place + 4 * count <= len(block), f"an object of {count} slots")
    words = struct.unpack_from(f"<{count - 1}I", block, place + 4)
    need(words[-1] != 0, "an object ends with nothing")
    if isinstance(schema, list):
        return [values(block, one, schema[0], depth + 1) for one in words]
    need(count - 1 <= len(schema), f"an object of {count - 1} fields, of {len(schema)}")
    found = {}
    for field, one in zip(schema, words):
        name, inner = field if isinstance(field, tuple) else (field, None)
        if one:
            found[name] = values(block, one, inner, depth + 1)
    return found


def apk(data):
    """(information, scripts, members, Adb) of an .apk: the members are like those of an .ipk."""
    file = adb(data, PACKAGE)
    info = file.tree["info"]
    need(len(info["hashes"]) == 20, "the unique identifier has not 20 bytes")
    place = file.block.find(b"\x14" + info["hashes"])
    blank = file.block[:place + 1] + bytes(20) + file.block[place + 21:]
    need(hashlib.sha256(blank).digest()[:20] == info["hashes"], "the unique identifier is not the hash of the block")
    names = [path.get("name", b"") for path in file.tree["paths"]]
    need(names == sorted(names) and len(set(names)) == len(names) and names[0] == b"", "directories are not sorted")
    contents = iter(file.data)
    members, size = [], 0
    for number, path in enumerate(file.tree["paths"], 1):
        folder = path.get("name", b"").decode()
        need(not folder or folder.rpartition("/")[0].encode() in names, f"{folder} comes without its parent")
        members.append(Member(f"./{folder}/" if folder else "./", "dir", owned(path), 0, b"", ""))
        files = path.get("files", [])
        need([one["name"] for one in files] == sorted({one["name"] for one in files}), f"{folder} is not sorted")
        for slot, one in enumerate(files, 1):
            name = f"./{folder}/{one['name'].decode()}" if folder else f"./{one['name'].decode()}"
            if "target" in one:
                need(one["target"][:2] == b"\x00\xa0" and "hash" not in one, f"{name}: no symbolic link")
                target = one["target"][2:].decode()
                members.append(Member(name, "link", owned(one), one["mtime"], b"", target))
                continue
            body = b""
            if one["size"]:
                body = next(contents, None)
                need(body is not None and body[:8] == struct.pack("<II", number, slot), f"{name}: its data block")
                body = body[8:]
            need(len(body) == one["size"], f"{name}: {len(body)} bytes, not {one['size']}")
            need(hashlib.sha256(body).digest() == one["hash"], f"{name}: its hash")
            size += len(body)
            members.append(Member(name, "file", owned(one), one["mtime"], body, ""))
    need(next(contents, None) is None, "a data block of no file")
    need(info["installed-size"] == size, f"installed-size {info['installed-size']}, not {size}")
    scripts = {name: script.decode() for name, script in file.tree.get("scripts", {}).items()}
    need(all(one.startswith("#!/bin/sh\n") for one in scripts.values()), "a script without its first line")
    return info, scripts, members, file


def owned(entry):
    acl = entry["acl"]
    need(acl.get("user") == acl.get("group") == b"root" and "xattrs" not in acl, f"owner of {entry.get('name')}")
    return acl["mode"]


# LuCI's translations


class Lmo:
    """Looks texts up as LuCI does in the browser: by the hash of the text, in a sorted index."""

    def __init__(self, data):
        need(len(data) % 4 == 0, "not whole words")
        start = int.from_bytes(data[-4:], "big")
        need(start % 4 == 0 and start < len(data) and (len(data) - 4 - start) % 16 == 0, "the place of the index")
        self.entries = {}
        keys = []
        for place in range(start, len(data) - 4, 16):
            key, _, offset, length = struct.unpack_from(">4I", data, place)
            need(offset % 4 == 0 and offset + length <= start, "a text outside of the texts")
            self.entries[key] = data[offset:offset + length].decode()
            keys.append(key)
        need(keys == sorted(set(keys)), "the index is not sorted, or two texts have one hash")

    def find(self, original, context=None, form=None):
        key = original if context is None else f"{context}\1{original}"
        return self.entries.get(spread(f"{key}\2{form}" if form is not None else key))


def spread(text):
    """SuperFastHash in the words of its definition, on a list of bytes with their signs."""
    data = list(text.encode())
    hash = len(data)

    def keep(number):
        return number & 0xFFFFFFFF

    def pair(at):
        return data[at] | data[at + 1] << 8

    def sign(byte):
        return byte if byte < 128 else byte - 256

    at = 0
    while len(data) - at >= 4:
        hash = keep(hash + pair(at))
        hash = keep(hash << 16) ^ keep(pair(at + 2) << 11) ^ hash
        hash = keep(hash + (hash >> 11))
        at += 4
    left = len(data) - at
    if left == 3:
        hash = keep(hash + pair(at))
        hash = hash ^ keep(hash << 16) ^ keep(sign(data[at + 2]) << 18)
        hash = keep(hash + (hash >> 11))
    if left == 2:
        hash = keep(hash + pair(at))
        hash ^= keep(hash << 11)
        hash = keep(hash + (hash >> 17))
    if left == 1:
        hash = keep(hash + sign(data[at]))
        hash ^= keep(hash << 10)
        hash = keep(hash + (hash >> 1))
    for left_shift, right_shift in ((3, 5), (4, 17), (25, 6)):
        hash ^= keep(hash << left_shift)
        hash = keep(hash + (hash >> right_shift))
    return hash
