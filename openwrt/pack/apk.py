"""Packages and feed index for apk 3, in the form of `adb`."""

import hashlib
import re
import struct
import zlib

import adb
import recipe

PACKAGE, INDEX = b"pckg", b"indx"

# Numbers of fields, from apk_adb.h of apk-tools.
DEPENDENCY = {"name": 1}
INFO = {
    "name": 1, "version": 2, "hashes": 3, "description": 4, "arch": 5, "license": 6, "origin": 7, "maintainer": 8,
    "url": 9, "installed-size": 12, "file-size": 13, "depends": 15,
}
FILE = {"name": 1, "acl": 2, "size": 3, "mtime": 4, "hash": 5, "target": 6}
DIR = {"name": 1, "acl": 2, "files": 3}
ACL = {"mode": 1, "user": 2, "group": 3}
SCRIPTS = {"pre-install": 2, "post-install": 3, "pre-deinstall": 4, "post-deinstall": 5, "pre-upgrade": 6,
           "post-upgrade": 7}
ROOT = {"info": 1, "paths": 2, "scripts": 3}
CONTENTS = {"packages": 2}

# How a link is told from a device: the type of an inode.
SYMLINK = 0o120000

# A package is known by so many bytes of the hash of its block, made while they are still zero.
UNIQUE = 20

HEAD = """[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0
. "${IPKG_INSTROOT}/lib/functions.sh"
export root="${IPKG_INSTROOT}"
export pkgname="%s"
"""


def write(package, folder, date, key):
    """Writes the package into `folder`; its path."""
    tree = sorted(with_lists(package), key=lambda entry: entry.path)
    out = adb.Tree()
    info = {"name": package.name, "version": package.version, "description": " ".join(package.description),
            "arch": "noarch" if package.arch == "all" else package.arch, "license": package.fields["license"],
            "origin": package.fields["source"], "maintainer": package.fields["maintainer"],
            "url": package.fields["url"]}
    info = {INFO[name]: out.blob(text) for name, text in info.items() if text}
    info[INFO["depends"]] = dependencies(out, package.depends)
    folders, data = paths(out, tree, date)
    info[INFO["installed-size"]] = out.int(sum(len(entry.data) for entry in tree if entry.data) or 1)
    info[INFO["hashes"]] = out.blob(bytes(UNIQUE), shared=False)
    unique = len(out.bytes) - UNIQUE
    root = {ROOT["info"]: out.object(info), ROOT["paths"]: out.array(folders)}
    texts = scripts(package)
    root[ROOT["scripts"]] = out.object({SCRIPTS[name]: out.blob(texts[name]) for name in SCRIPTS if name in texts})
    block = out.finish(out.object(root))
    block[unique:unique + UNIQUE] = hashlib.sha256(block).digest()[:UNIQUE]
    path = folder / f"{package.name}-{package.version}.apk"
    path.write_bytes(adb.file(PACKAGE, block, data, key))
    return path


def with_lists(package):
    """The tree and what OpenWrt's functions and sysupgrade look for below /lib/apk/packages."""
    files = {entry.path: entry for entry in package.tree}
    listed = sorted(f"/{entry.path}" for entry in package.tree if not entry.is_dir)
    notes = {"list": listed}
    if package.users:
        notes["rusers"] = [package.users]
    if package.conffiles:
        notes["conffiles"] = package.conffiles + package.kept
        hashes = {path: recipe.sha256(files[path.lstrip("/")].data) for path in package.conffiles}
        notes["conffiles_static"] = [f"{path} {digest}" for path, digest in hashes.items()]
    for folder in ("lib", "lib/apk", "lib/apk/packages"):
        files.setdefault(folder, recipe.Entry(folder, 0o755))
    for kind, lines in notes.items():
        path = f"lib/apk/packages/{package.name}.{kind}"
        files[path] = recipe.Entry(path, 0o644, data="".join(f"{line}\n" for line in lines).encode())
    return files.values()


def paths(out, tree, date):
    """(values of the directories, contents of the data blocks), in the order of apk: by path, then by name."""
    inside = {entry.path: [] for entry in tree if entry.is_dir}
    for entry in tree:
        if not entry.is_dir:
            inside[entry.path.rpartition("/")[0]].append(entry)
    values, data = [], []
    folders = [entry for entry in tree if entry.is_dir]
    for number, folder in enumerate(folders, 1):
        files = []
        for place, entry in enumerate(inside[folder.path], 1):
            files.append(file(out, entry, date))
            if entry.data:
                data.append(struct.pack("<II", number, place) + entry.data)
        name = out.blob(folder.path)
        owner = acl(out, folder.mode)
        values.append(out.object({DIR["name"]: name, DIR["acl"]: owner, DIR["files"]: out.array(files)}))
    return values, data


def file(out, entry, date):
    slots = {FILE["name"]: out.blob(entry.path.rpartition("/")[2])}
    if entry.target is None:
        slots[FILE["hash"]] = out.blob(hashlib.sha256(entry.data).digest())
        size = len(entry.data)
    else:
        target = entry.target.encode()
        slots[FILE["target"]] = out.blob(struct.pack("<H", SYMLINK) + target)
        size = len(target)
    slots[FILE["mtime"]] = out.int(date)
    slots[FILE["size"]] = out.int(size)
    slots[FILE["acl"]] = acl(out, entry.mode)
    return out.object(slots)


def acl(out, mode):
    root = out.blob("root")
    return out.object({ACL["mode"]: out.int(mode), ACL["user"]: root, ACL["group"]: root})


def dependencies(out, names):
    for name in names:
        assert re.fullmatch(r"[a-zA-Z0-9_.+-]+", name), f"dependency {name!r} with a version"
    found = {name: out.object({DEPENDENCY["name"]: out.blob(name)}) for name in names}
    return out.array(found[name] for name in sorted(found))


def scripts(package):
    """What apk runs. Unlike opkg it knows nothing of OpenWrt's functions, and runs nothing of the old version when it
    upgrades."""
    own = {name: "".join(f"{line}\n" for line in text.splitlines() if not line.startswith("#!"))
           for name, text in package.scripts.items()}
    head = HEAD % package.name
    shell = "#!/bin/sh\n"
    upgrade = f"{shell}export PKG_UPGRADE=1\n"
    install = '[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0\n' + head
    install += "add_group_and_user\ndefault_postinst\n" + own.get("postinst", "")
    texts = {
        "post-install": shell + install,
        "post-upgrade": upgrade + install,
        "pre-deinstall": shell + head + "default_prerm\n" + own.get("prerm", ""),
    }
    if "preinst" in own:
        texts["pre-install"] = shell + own["preinst"]
        texts["pre-upgrade"] = upgrade + own["preinst"]
    if "postrm" in own:
        texts["post-deinstall"] = shell + own["postrm"]
    return texts


def index(folder, paths, key):
    """Writes packages.adb: of each package its information, the size of the file and the hash of its block."""
    out = adb.Tree()
    found = []
    for path in sorted(paths):
        plain = zlib.decompress(path.read_bytes()[4:], -zlib.MAX_WBITS)
        size = struct.unpack_from("<I", plain, 8)[0] & 0x3FFFFFFF
        block = plain[12:8 + size]
        info = copy(out, block, field(block, struct.unpack_from("<I", block, 4)[0], ROOT["info"]))
        info[INFO["hashes"]] = out.blob(hashlib.sha256(block).digest())
        info[INFO["file-size"]] = out.int(path.stat().st_size)
        found.append(out.object(info))
    root = out.object({CONTENTS["packages"]: out.array(found)})
    (folder / "packages.adb").write_bytes(adb.file(INDEX, out.finish(root), key=key))


def field(block, word, number):
    """A field of an object that `adb.Tree` wrote."""
    return struct.unpack_from("<I", block, (word & 0xFFFFFFF) + 4 * number)[0]


def copy(out, block, word):
    """The fields of an object, written again into another tree."""
    def again(word):
        kind, place = word >> 28, word & 0xFFFFFFF
        if kind == adb.OBJECT:
            count = struct.unpack_from("<I", block, place)[0]
            return out.array(again(field(block, word, number)) for number in range(1, count))
        sizes = {adb.BLOB_8: 1, adb.BLOB_16: 2, adb.BLOB_32: 4}
        if kind in sizes:
            start = place + sizes[kind]
            return out.blob(block[start:start + int.from_bytes(block[place:start], "little")])
        assert kind in (0, adb.INT), "no larger numbers in a package's information"
        return word

    count = struct.unpack_from("<I", block, word & 0xFFFFFFF)[0]
    return {number: again(field(block, word, number)) for number in range(1, count)}
