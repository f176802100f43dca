"""What packages hold and say of themselves, read by running their Makefiles with the stand-in build system in sdk."""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

SDK = Path(__file__).resolve().parent / "sdk"


@dataclass
class Entry:
    """One thing in a package's tree; `path` has no slash in front, and is empty for the root."""

    path: str
    mode: int
    data: bytes | None = None  # of a file
    target: str | None = None  # of a link

    @property
    def is_dir(self):
        return self.data is None and self.target is None


@dataclass
class Package:
    name: str
    version: str
    arch: str  # `all` runs everywhere
    depends: list
    users: str  # NAME=ID:GROUP=ID, or nothing
    fields: dict  # title, license, maintainer, url, section, source
    description: list  # lines
    conffiles: list  # paths that the package ships
    kept: list  # paths that it does not ship, but sysupgrade is to keep
    scripts: dict = field(default_factory=dict)  # postinst and the like, without the frame each format adds
    tree: list = field(default_factory=list)  # of Entry, parents before their children, sorted by path


def packages(folders, arch, program, place):
    """The packages that the Makefiles in `folders` define."""
    found = []
    for folder in folders:
        if (folder / "Makefile").exists():
            out = place / folder.name
            run(folder, arch, program, out)
            found += [read(one, arch) for one in sorted(out.iterdir()) if one.name != "built"]
    return found


def run(folder, arch, program, out):
    (out / "built/bin").mkdir(parents=True)
    shutil.copy(program, out / "built/bin/gramscale")
    command = ["make", "--silent", "-C", folder, f"TOPDIR={SDK}", f"OUT={out}", f"ARCH={arch}"]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "MAKEFLAGS": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"openwrt/build: {folder.name}/Makefile: {done.stderr.strip() or done.stdout.strip()}")


def read(folder, arch):
    def fact(name):
        path = folder / name
        return path.read_text().strip() if path.exists() else ""

    root = folder / "root"
    name = folder.name
    listed = fact("conffiles").split()
    # As OpenWrt does: what is no file of the package is a place where the program will write.
    keep = [path for path in listed if not (root / path.lstrip("/")).is_file()]
    if keep:
        note = root / "lib/upgrade/keep.d" / name
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text("".join(f"{path}\n" for path in keep))
        note.chmod(0o644)
    package = Package(
        name=name,
        version=fact("VERSION"),
        arch=fact("PKGARCH"),
        depends=[word.lstrip("+") for word in fact("DEPENDS").split() if not word.startswith("@")],
        users=fact("USERID"),
        fields={
            "title": fact("TITLE"), "license": fact("PKG_LICENSE"), "maintainer": fact("PKG_MAINTAINER"),
            "url": fact("URL"), "section": fact("SECTION"), "source": fact("PKG_NAME"),
        },
        description=[line.strip() for line in fact("description").splitlines()] or [fact("TITLE")],
        conffiles=[path for path in listed if path not in keep],
        kept=keep,
        scripts={name: fact(name) for name in ("preinst", "postinst", "prerm", "postrm") if fact(name)},
        tree=walk(root),
    )
    for required in ("version", "arch"):
        if not getattr(package, required):
            sys.exit(f"openwrt/build: the Makefile of {name} gives no {required}")
    return package


def walk(root):
    """The tree below `root`, whoever owns it here: in a package root owns everything."""
    entries = []

    def visit(path, name):
        state = path.lstat()
        # Directories are made through other things' paths as well, by whatever umask there was.
        mode = 0o755 if stat.S_ISDIR(state.st_mode) else stat.S_IMODE(state.st_mode)
        if stat.S_ISLNK(state.st_mode):
            entries.append(Entry(name, 0o777, target=os.readlink(path)))
        elif stat.S_ISREG(state.st_mode):
            entries.append(Entry(name, mode, data=path.read_bytes()))
        elif stat.S_ISDIR(state.st_mode):
            entries.append(Entry(name, mode))
            for child in sorted(os.listdir(path)):
                visit(path / child, f"{name}/{child}" if name else child)
        else:
            sys.exit(f"openwrt/build: {path} is neither a file, a folder nor a link")

    visit(root, "")
    return entries


def sha256(data):
    return hashlib.sha256(data).hexdigest()
