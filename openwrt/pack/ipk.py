"""Packages and feed index for opkg.

An .ipk is one gzip stream of a tar with three members: the format's version, a tar of the files, a tar of what the
package says of itself.
"""

import gzip
import io
import subprocess
import shutil
import sys
import tarfile

import deflate
import recipe

# What opkg runs: OpenWrt's functions do the work (users, uci-defaults, enabling and starting of services) and call the
# package's own part, NAME-pkg. They are not there in a root that OpenWrt's image builder has not filled yet.
POSTINST = """#!/bin/sh
[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0
[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0
. "${IPKG_INSTROOT}/lib/functions.sh"
default_postinst "$0" "$@"
"""
PRERM = """#!/bin/sh
[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0
. "${IPKG_INSTROOT}/lib/functions.sh"
default_prerm "$0" "$@"
"""


def write(package, folder, date):
    """Writes the package into `folder`; its path."""
    data = tar(package.tree, date)
    control = [
        recipe.Entry("", 0o755),
        *(recipe.Entry(name, 0o755 if executable else 0o644, data=text.encode())
          for name, executable, text in sorted(control_files(package, date, len(data)))),
    ]
    outer = [
        recipe.Entry("debian-binary", 0o644, data=b"2.0\n"),
        recipe.Entry("data.tar.gz", 0o644, data=deflate.gzip(data)),
        recipe.Entry("control.tar.gz", 0o644, data=deflate.gzip(tar(control, date))),
    ]
    path = folder / f"{package.name}_{package.version}_{package.arch}.ipk"
    path.write_bytes(deflate.gzip(tar(outer, date)))
    return path


def control_files(package, date, size):
    """(name, executable, text) of what goes into control.tar.gz."""
    yield "control", False, stanza(package, date, size)
    yield "postinst", True, POSTINST
    yield "prerm", True, PRERM
    if package.conffiles:
        yield "conffiles", False, "".join(f"{path}\n" for path in package.conffiles)
    for name, text in package.scripts.items():
        own = f"{name}-pkg" if name in ("postinst", "prerm") else name
        yield own, True, f"{text}\n"


def stanza(package, date, size):
    fields = package.fields
    lines = {
        "Package": package.name,
        "Version": package.version,
        "Depends": ", ".join(package.depends),
        "Source": fields["url"],
        "SourceName": fields["source"],
        "License": fields["license"],
        "Section": fields["section"],
        "Require-User": package.users,
        "SourceDateEpoch": str(date),
        "URL": fields["url"],
        "Maintainer": fields["maintainer"],
        "Architecture": package.arch,
        # opkg holds it against the free space of the overlay, before compression by the file system.
        "Installed-Size": str(size),
    }
    text = "".join(f"{name}: {value}\n" for name, value in lines.items() if value)
    return text + "Description:" + "".join(f" {line}\n" for line in package.description)


def tar(entries, date):
    """A GNU tar of the entries, owned by root, in their order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for entry in entries:
            info = tarfile.TarInfo(f"./{entry.path}" if entry.path else ".")
            info.mode, info.mtime = entry.mode, date
            if entry.is_dir:
                info.type = tarfile.DIRTYPE
            elif entry.target is not None:
                info.type, info.linkname = tarfile.SYMTYPE, entry.target
            else:
                info.size = len(entry.data)
            archive.addfile(info, io.BytesIO(entry.data or b""))
    return out.getvalue()


def index(folder, paths, key):
    """Writes Packages, Packages.gz and, with a key, Packages.sig."""
    text = "".join(f"{entry(path)}\n" for path in sorted(paths))
    (folder / "Packages").write_text(text)
    (folder / "Packages.gz").write_bytes(deflate.gzip(text.encode()))
    if key:
        sign(folder / "Packages", key)


def entry(path):
    """The control stanza of a package with what the index adds, before the description."""
    data = path.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as outer:
        inner = gzip.decompress(outer.extractfile("./control.tar.gz").read())
    with tarfile.open(fileobj=io.BytesIO(inner)) as control:
        text = control.extractfile("./control").read().decode()
    head, mark, description = text.partition("Description:")
    added = f"Filename: {path.name}\nSize: {len(data)}\nSHA256sum: {recipe.sha256(data)}\n"
    return head + added + mark + description


def sign(path, key):
    """usign and signify take the same keys and make the same signature."""
    for program in ("usign", "signify-openbsd", "signify"):
        if shutil.which(program):
            command = [program, "-S", "-m", path, "-s", key, "-x", path.with_suffix(".sig")]
            subprocess.run(command, check=True)
            return
    sys.exit("openwrt/build: --usign-key needs usign, or signify-openbsd from Debian")
