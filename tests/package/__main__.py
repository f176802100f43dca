"""Builds the packages for OpenWrt and holds every byte of them against the formats.

    python3 tests/package [--built]

With --built it packs the programs that cross/build made before, once they are known to be new enough.
`tests/run package` brings what it needs: cross/install, make, gettext, busybox, openssl, signify.
"""

import gettext
import hashlib
import json
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

sys.dont_write_bytecode = True
import read
from read import need

REPOSITORY = Path(__file__).resolve().parent.parent.parent
OPENWRT = REPOSITORY / "openwrt"
FEED = REPOSITORY / "target/openwrt"

# One big-endian with soft float, one little-endian with an FPU.
ARCHS = ("mips_24kc", "arm_cortex-a7_neon-vfpv4")

# Of the program's header: bits, byte order, machine, flags that must be set, flags that must not.
MIPS32R2, EABI5_HARD, EABI5_SOFT = 0x70000000, 0x05000400, 0x05000200
HEADS = {"mips": (1, 2, 8, MIPS32R2, 0), "armv7": (1, 1, 40, EABI5_HARD, EABI5_SOFT & 0xFFF)}

PROMISED = ("mips_24kc", "mipsel_24kc", "arm_cortex-a7_neon-vfpv4", "arm_cortex-a9", "arm_arm926ej-s",
            "aarch64_generic", "aarch64_cortex-a53", "x86_64")

failed = 0


def check(name, function, *arguments):
    global failed
    try:
        said = function(*arguments)
        print(f"ok      {name}" + (f": {said}" if said else ""))
    except Exception as error:
        failed += 1
        print(f"FAILED  {name}: {error if isinstance(error, read.Wrong) else repr(error)}")
    sys.stdout.flush()


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    need(done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def main():
    with tempfile.TemporaryDirectory(prefix="gramscale-package.") as place:
        place = Path(place)
        keys(place)
        for arch in ARCHS:
            build(arch, "--usign-key", place / "feed.sec", "--apk-key", place / "feed.pem")
        check("every promised architecture has a target", promised)
        check("the packages have the program's version and licence", version)
        check("the feed's Makefile builds the router's features in a profile of its own", feed_build, place)
        for arch in ARCHS:
            for path in sorted((FEED / arch).glob("*.ipk")):
                check(f"{arch}: {path.name}, byte by byte", whole_ipk, path, arch)
            for path in sorted((FEED / arch).glob("*.apk")):
                check(f"{arch}: {path.name}, byte by byte", whole_apk, path, arch)
            check(f"{arch}: both forms hold the same files", same_files, arch)
            check(f"{arch}: the program is static and for this machine", program, arch)
            check(f"{arch}: Packages", packages_index, arch)
            check(f"{arch}: packages.adb", adb_index, arch)
            check(f"{arch}: signatures", signatures, arch, place)
        check("gramscale: where files lie, their modes, what is kept", layout)
        check("gramscale: the installed size fits a 16 MB board", installed_size)
        check("gramscale: the package fits its budget", budget)
        check("maintainer scripts do nothing without OpenWrt's functions", scripts_alone, place)
        check("maintainer scripts in an image that is being built", scripts_offline, place)
        check("maintainer scripts of apk, installing and upgrading", scripts_apk, place)
        check("another time zone, language and umask give the same bytes", reproducible, place)
        check("the compiler of translations, against bytes", translation_bytes, place)
        for folder in sorted((OPENWRT / "luci-app-gramscale/po").glob("[a-z]*/*.po")):
            check(f"translations into {folder.parent.name}, looked up", translations, folder, place)
        check("a damaged package is noticed", damaged)
        check("without the compressor it is said what brings it", without_compressor)
    sys.exit(failed > 0)


def build(arch, *arguments, **options):
    command = [OPENWRT / "build", arch, *sys.argv[1:], *arguments]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, **options)
    if done.returncode != 0:
        sys.exit(f"FAILED  openwrt/build {arch}")


def keys(place):
    run("signify-openbsd", "-G", "-n", "-p", place / "feed.pub", "-s", place / "feed.sec")
    run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", place / "feed.pem")
    run("openssl", "ec", "-in", place / "feed.pem", "-pubout", "-out", place / "feed.pub.pem")


def one(arch, name, end):
    found = [path for path in (FEED / arch).glob(f"{name}[-_][0-9]*{end}")]
    need(len(found) == 1, f"{len(found)} packages {name} end with {end}")
    return found[0]


# The formats


def whole_ipk(path, arch):
    fields, control, members = read.ipk(path.read_bytes())
    need(path.name == "{Package}_{Version}_{Architecture}.ipk".format(**fields), "its name is not what it says")
    need(fields["Architecture"] in (arch, "all"), f"Architecture {fields['Architecture']}")
    need(re.fullmatch(r"[a-z0-9-]+", fields["Package"]), "the name of the package")
    need(re.fullmatch(r"\d+\.\d+\.\d+-r\d+", fields["Version"]), f"Version {fields['Version']}")
    order = ["Package", "Version", "Depends", "Source", "SourceName", "License", "Section", "Require-User",
             "SourceDateEpoch", "URL", "Maintainer", "Architecture", "Installed-Size", "Description"]
    need(list(fields) == [name for name in order if name in fields], f"the fields are {list(fields)}")
    need(members[0].time == int(fields["SourceDateEpoch"]) == date(), "its date is not that of the commit")
    need({"control", "postinst", "prerm"} <= set(control), f"control.tar.gz holds {sorted(control)}")
    files = {member.path[1:] for member in members if member.kind == "file"}
    need(set(control.get("conffiles", "").split()) <= files, "a conffile that is not in the package")
    return f"{path.stat().st_size} bytes, {len(members)} members"


def whole_apk(path, arch):
    info, scripts, members, file = read.apk(path.read_bytes())
    need(path.name == f"{info['name'].decode()}-{info['version'].decode()}.apk", "its name is not what it says")
    need(info["arch"].decode() in (arch, "noarch"), f"arch {info['arch']}")
    need({"post-install", "post-upgrade", "pre-deinstall"} <= set(scripts), f"it has the scripts {sorted(scripts)}")
    need(all(member.time == date() for member in members if member.kind != "dir"), "a date is not the commit's")
    name = info["name"].decode()
    files = {member.path[1:]: member for member in members if member.kind != "dir"}
    listed = files[f"/lib/apk/packages/{name}.list"].data.decode().split("\n")
    own = sorted(path for path in files if not path.startswith("/lib/apk/"))
    need(listed == [*own, ""], f"{name}.list is {listed}")
    static = files.get(f"/lib/apk/packages/{name}.conffiles_static")
    for line in static.data.decode().splitlines() if static else ():
        path_, digest = line.split(" ")
        need(hashlib.sha256(files[path_].data).hexdigest() == digest, f"the hash of {path_}")
    return f"{path.stat().st_size} bytes, {len(members)} members"


def same_files(arch):
    count = 0
    for path in (FEED / arch).glob("*.ipk"):
        fields, _, members = read.ipk(path.read_bytes())
        _, _, others, _ = read.apk(one(arch, fields["Package"], ".apk").read_bytes())
        left, right = ({(m.path.rstrip("/"), m.kind, m.mode, m.data, m.target) for m in side if m.kind != "dir"
                        and not m.path.startswith("./lib/apk/")} for side in (members, others))
        need(left == right, f"{fields['Package']}: {sorted(m[0] for m in left ^ right)}")
        count += len(left)
    return f"{count} files"


def packages_index(arch):
    text = (FEED / arch / "Packages").read_text()
    need(read.gzip((FEED / arch / "Packages.gz").read_bytes(), "Packages.gz").decode() == text, "Packages.gz differs")
    stanzas = [read.stanza(one + "\n") for one in text.split("\n\n") if one]
    need(text.endswith("\n\n") and stanzas, "it does not end with an empty line")
    for fields in stanzas:
        data = (FEED / arch / fields["Filename"]).read_bytes()
        need(int(fields["Size"]) == len(data), f"{fields['Filename']}: Size")
        need(fields["SHA256sum"] == hashlib.sha256(data).hexdigest(), f"{fields['Filename']}: SHA256sum")
        own, _, _ = read.ipk(data)
        added = {"Filename", "Size", "SHA256sum"}
        need({name: value for name, value in fields.items() if name not in added} == own, f"{fields['Filename']}")
        need(list(fields)[-1] == "Description", "the description is not last")
    names = {path.name for path in (FEED / arch).glob("*.ipk")}
    need(names == {fields["Filename"] for fields in stanzas}, "it does not list what is there")
    return f"{len(stanzas)} packages"


def adb_index(arch):
    listed = read.adb((FEED / arch / "packages.adb").read_bytes(), read.INDEX).tree["packages"]
    names = [info["name"].decode() for info in listed]
    need(names == sorted(set(names)), "not sorted")
    for info in listed:
        path = one(arch, info["name"].decode(), ".apk")
        own, _, _, file = read.apk(path.read_bytes())
        need(info["file-size"] == path.stat().st_size, f"{path.name}: file-size")
        need(info["hashes"] == hashlib.sha256(file.block).digest(), f"{path.name}: hashes")
        rest = {name for name in info if name not in ("file-size", "hashes")}
        need(all(info[name] == own[name] for name in rest) and rest == set(own) - {"hashes"}, f"{path.name}: fields")
    need(len(listed) == len(list((FEED / arch).glob("*.apk"))), "it does not list what is there")
    return f"{len(listed)} packages"


def signatures(arch, place):
    folder = FEED / arch
    run("signify-openbsd", "-V", "-m", folder / "Packages", "-p", place / "feed.pub", "-x", folder / "Packages.sig")
    der = subprocess.run(["openssl", "pkey", "-pubin", "-in", place / "feed.pub.pem", "-outform", "DER"],
                         check=True, capture_output=True).stdout
    for path in sorted([*folder.glob("*.apk"), folder / "packages.adb"]):
        schema, name = (read.INDEX, b"indx") if path.suffix == ".adb" else (read.PACKAGE, b"pckg")
        file = read.adb(path.read_bytes(), schema)
        need(len(file.signatures) == 1, f"{path.name}: {len(file.signatures)} signatures")
        head, signature = file.signatures[0][:18], file.signatures[0][18:]
        need(head == b"\0\4" + hashlib.sha512(der[-65:]).digest()[:16], f"{path.name}: the name of the key")
        (place / "said").write_bytes(name + head + hashlib.sha512(file.block).digest())
        (place / "signature").write_bytes(signature)
        run("openssl", "dgst", "-sha512", "-verify", place / "feed.pub.pem", "-signature", place / "signature",
            place / "said")


def damaged():
    """The checks above could notice something."""
    path = one(ARCHS[0], "gramscale", ".apk")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    for what, reader, bytes_ in (("apk", read.apk, bytes(data)),
                                 ("ipk", read.ipk, one(ARCHS[0], "gramscale", ".ipk").read_bytes() + b"\0")):
        try:
            reader(bytes_)
        except Exception:
            continue
        need(False, f"a damaged .{what} passes")


def without_compressor():
    done = subprocess.run([sys.executable, "-Bc", "import deflate; deflate.gzip(b'')"], capture_output=True, text=True,
                          cwd=OPENWRT / "pack", env={"PATH": "/nowhere"})
    need(done.returncode == 1 and "cross/install brings it" in done.stderr, done.stderr or "nothing is said")


# What is in them


def promised():
    targets = tomllib.loads((OPENWRT / "archs.toml").read_text())
    missing = [arch for arch in PROMISED if arch not in targets]
    need(not missing, f"not there: {missing}")
    known = {path.name for path in (REPOSITORY / "cross/targets").iterdir()}
    need(set(targets.values()) <= known, f"no such target: {set(targets.values()) - known}")
    return f"{len(targets)}"


def version():
    cargo = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["workspace"]["package"]
    for path in (FEED / ARCHS[0]).glob("*.ipk"):
        fields, _, _ = read.ipk(path.read_bytes())
        need(fields["Version"].rpartition("-r")[0] == cargo["version"], f"{path.name}, but Cargo.toml says {cargo['version']}")
        need(set(fields["License"].split()) == set(cargo["license"].split(" OR ")), f"{path.name}: {fields['License']}")


def feed_build(place):
    """What OpenWrt's build system would call cargo with, which sets these before and after it reads the Makefile."""
    show = "show:; @echo $(CARGO_PKG_PROFILE) $(RUST_PKG_FEATURES) $(CARGO_PKG_ARGS)"
    sdk = OPENWRT / "pack/sdk"
    said = run("make", "-s", "-C", OPENWRT / "gramscale", f"TOPDIR={sdk}", f"OUT={place}/facts", "ARCH=any", "--eval", show, "show")
    need(said.split() == ["openwrt", "router", "--locked", "--no-default-features"], said)
    profiles = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["profile"]
    need(set(profiles["release"]) - {"package"} <= set(profiles["openwrt"]), "a key of release is not said again")


def program(arch):
    target = tomllib.loads((OPENWRT / "archs.toml").read_text())[arch]
    _, _, members = read.ipk(one(arch, "gramscale", ".ipk").read_bytes())
    data = next(member.data for member in members if member.path == "./usr/sbin/gramscale")
    built = (REPOSITORY / "target/cross" / target / "gramscale").read_bytes()
    need(data == built, "it is not what cross/build made")
    bits, order, machine, flags, clear = HEADS[target]
    need(data[:6] == b"\x7fELF" + bytes([bits, order]), f"it begins with {data[:6].hex()}")
    end = "><"[order & 1]
    need(struct.unpack_from(f"{end}H", data, 18)[0] == machine, "another machine")
    found = struct.unpack_from(f"{end}I", data, 36)[0]
    need(found & flags == flags and not found & clear, f"flags {found:x}")
    at, size, count = struct.unpack_from(f"{end}I", data, 28)[0], *struct.unpack_from(f"{end}HH", data, 42)
    kinds = [struct.unpack_from(f"{end}I", data, at + size * number)[0] for number in range(count)]
    need(3 not in kinds, "it wants a dynamic loader")
    return f"{len(data)} bytes"


def layout():
    fields, control, members = read.ipk(one(ARCHS[0], "gramscale", ".ipk").read_bytes())
    found = {member.path: member for member in members}
    modes = {"./usr/sbin/gramscale": 0o755, "./etc/init.d/gramscale": 0o755, "./etc/config/gramscale": 0o600,
             "./lib/upgrade/keep.d/gramscale": 0o644, "./etc/uci-defaults/gramscale": 0o644}
    for path, mode in modes.items():
        need(path in found and found[path].mode == mode, f"{path} with mode {mode:o}")
    for member in members:
        need(member.kind != "dir" or member.mode == 0o755, f"{member.path} has mode {member.mode:o}")
        need(member.path in modes or member.kind == "dir" or member.mode in (0o644, 0o755), f"{member.path}: mode")
    need(control["conffiles"] == "/etc/config/gramscale\n", f"conffiles: {control['conffiles']}")
    need(found["./lib/upgrade/keep.d/gramscale"].data == b"/etc/gramscale/\n", "the database is not kept")
    need("ca-bundle" in fields["Depends"] and "kmod" not in fields["Depends"], f"Depends: {fields['Depends']}")
    user, group = fields["Require-User"].split(":")
    need(re.fullmatch(r"gramscale=\d+", user) and user == group, fields["Require-User"])
    init = found["./etc/init.d/gramscale"].data.decode()
    need("USE_PROCD=1" in init and init.startswith("#!/bin/sh /etc/rc.common\n"), "the init script")
    if any("capabilities" in path for path in found):
        json.loads(found["./etc/capabilities/gramscale.json"].data)


def installed_size():
    """opkg refuses what is larger, before compression, than what is free: some 5 MB."""
    sizes = [int(read.ipk(path.read_bytes())[0]["Installed-Size"]) for path in (FEED / ARCHS[0]).glob("*.ipk")]
    need(sum(sizes) < 4_000_000, f"{sum(sizes)} bytes")
    return f"{sum(sizes)} bytes with all pages and translations"


def budget():
    limit = tomllib.loads((REPOSITORY / "size-report/budget.toml").read_text())["package"]["mips_24kc"]
    size = one("mips_24kc", "gramscale", ".ipk").stat().st_size
    need(size <= limit, f"{size} bytes are {size - limit} over the budget")
    return f"{size} of {limit}"


# The scripts. OpenWrt's own functions are not to be had here: these write down what is asked of them, and read the
# package's part as those do.
FUNCTIONS = """
default_postinst() {
	local name=${pkgname:-$(basename "${1%.*}")}
	echo "postinst $name upgrade=$PKG_UPGRADE" >>"$ASKED"
	local own="$IPKG_INSTROOT/usr/lib/opkg/info/$name.postinst-pkg"
	if [ -f "$own" ]; then ( . "$own" ); fi
}
default_prerm() { echo "prerm ${pkgname:-$(basename "${1%.*}")}" >>"$ASKED"; }
add_group_and_user() { echo "users $pkgname" >>"$ASKED"; }
"""


def scripts_alone(place):
    root = image(place / "alone")
    for name, text in each_script():
        need(script(root, name, text) == [], f"{name} asked for something")


def scripts_offline(place):
    """The image builder runs postinst on the builder's machine: nothing may start, stop or signal anything there."""
    root = image(place / "offline")
    (root / "lib/functions.sh").write_text(FUNCTIONS)
    for path in sorted((FEED / ARCHS[0]).glob("*.ipk")):
        fields, control, _ = read.ipk(path.read_bytes())
        name = fields["Package"]
        for file, text in control.items():
            (root / f"usr/lib/opkg/info/{name}.{file}").write_text(text)
        need(script(root, f"{name}.postinst") == [f"postinst {name} upgrade="], f"{name}.postinst")
        need(script(root, f"{name}.postinst", IPKG_NO_SCRIPT="1") == [], f"{name}.postinst despite IPKG_NO_SCRIPT")
        need(script(root, f"{name}.prerm") == [f"prerm {name}"], f"{name}.prerm")


def scripts_apk(place):
    root = image(place / "apk")
    (root / "lib/functions.sh").write_text(FUNCTIONS)
    for path in sorted((FEED / ARCHS[0]).glob("*.apk")):
        info, scripts, _, _ = read.apk(path.read_bytes())
        name = info["name"].decode()
        for kind, expected in (("post-install", [f"users {name}", f"postinst {name} upgrade="]),
                               ("post-upgrade", [f"users {name}", f"postinst {name} upgrade=1"]),
                               ("pre-deinstall", [f"prerm {name}"])):
            asked = script(root, kind, scripts[kind])
            need(asked == expected, f"{name}: {kind} asked for {asked}")
    # In the running system, where / is the root: an upgrade runs the new program, an installation only starts it.
    info, scripts, _, _ = read.apk(one(ARCHS[0], "gramscale", ".apk").read_bytes())
    for kind, restarts in (("post-install", False), ("post-upgrade", True)):
        text = scripts[kind].replace("/etc/init.d/gramscale", str(root / "tools/init"))
        text = text.replace(". \"${IPKG_INSTROOT}/lib/functions.sh\"", f". {root}/lib/functions.sh")
        text = text.replace('[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0', "")
        asked = script(root, kind, text, IPKG_INSTROOT="")
        need(("tool init restart" in asked) == restarts, f"{kind} asked for {asked}")


def image(root):
    """An empty root, with programs that write down that they were run."""
    for folder in ("lib", "usr/lib/opkg/info", "tools"):
        (root / folder).mkdir(parents=True)
    for name in ("killall", "uci", "init", "rm"):
        tool = root / "tools" / name
        tool.write_text(f'#!/bin/sh\necho "tool {name} $*" >>"$ASKED"\n')
        tool.chmod(0o755)
    return root


def each_script():
    for path in sorted((FEED / ARCHS[0]).glob("*.ipk")):
        _, control, _ = read.ipk(path.read_bytes())
        yield from ((name, control[name]) for name in ("postinst", "prerm"))
    for path in sorted((FEED / ARCHS[0]).glob("*.apk")):
        yield from read.apk(path.read_bytes())[1].items()


def script(root, name, text=None, **environment):
    """Runs a script by busybox' shell; the lines of what it asked for."""
    path = root / "usr/lib/opkg/info" / name
    if text is not None:
        path.write_text(text)
    asked = root / "asked"
    asked.write_text("")
    given = {"PATH": f"{root}/tools:/usr/bin:/bin", "IPKG_INSTROOT": str(root), "ASKED": str(asked), **environment}
    run("busybox", "ash", path, "configure", env=given)
    return asked.read_text().splitlines()


# The same bytes, and translations


def reproducible(place):
    arch = ARCHS[0]
    before = {path.name: path.read_bytes() for path in sorted((FEED / arch).iterdir())}
    environment = {**os.environ, "TZ": "Asia/Kathmandu", "LC_ALL": "C", "LANG": "de_DE.UTF-8"}
    old = os.umask(0o077)
    try:
        build(arch, env=environment)
    finally:
        os.umask(old)
    after = {path.name: path.read_bytes() for path in (FEED / arch).iterdir()}
    # Signatures are new ones each time; so compare without, and what is inside.
    for name, data in after.items():
        if name.endswith((".apk", ".adb")):
            schema = read.INDEX if name.endswith(".adb") else read.PACKAGE
            left, right = read.adb(before[name], schema), read.adb(data, schema)
            same = left.data == right.data and (name.endswith(".adb") or left.block == right.block)
        else:
            same = before[name] == data
        need(same, f"{name} differs")
    build(arch, env=environment)
    again = {path.name: path.read_bytes() for path in (FEED / arch).iterdir()}
    need(again == after, "a second time differs")
    return f"{len(after)} files"


def compiled(po, place):
    out = place / "out.lmo"
    run(sys.executable, "-B", OPENWRT / "pack/lmo.py", po, out)
    return out.read_bytes()


def translation_bytes(place):
    po = place / "test.po"
    po.write_text('msgid ""\nmsgstr ""\n"Language: xx\\n"\n"Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n\n'
                  '# what a node is called\nmsgid "Node"\nmsgstr "Kn\u00f6t"\n\nmsgid "same"\nmsgstr "same"\n\n'
                  'msgctxt "verb"\nmsgid "a \\"b\\" \\\\"\nmsgstr ""\n"zwei "\n"Teile"\n\nmsgid "untold"\nmsgstr ""\n\n'
                  'msgid "%d key"\nmsgid_plural "%d keys"\nmsgstr[0] "%d S"\nmsgstr[1] "%d Ss"\n')
    data = compiled(po, place)
    found = read.Lmo(data)
    need(found.find("Node") == "Kn\u00f6t", "a plain text")
    need(found.find('a "b" \\', context="verb") == "zwei Teile", "a text with context, quotes and two lines")
    need([found.find("%d key", form=form) for form in (0, 1)] == ["%d S", "%d Ss"], "plural forms")
    need(found.entries[0] == "nplurals=2; plural=(n != 1);", "the rule of plural forms")
    need(found.find("same") is None and found.find("untold") is None, "what is not to be looked up")
    need(len(found.entries) == 5, f"{len(found.entries)} texts")
    # The first text and the end, by hand: 28 bytes of the rule, "Kn\u00f6t" filled up to 8, 12, 4 and 8.
    need(data[:28] == b"nplurals=2; plural=(n != 1);" and data[28:36] == "Kn\u00f6t".encode() + bytes(3), "texts")
    need(data[-4:] == (28 + 8 + 12 + 4 + 8).to_bytes(4, "big") and len(data) == 60 + 5 * 16 + 4, "index")
    po.write_text('msgid "a" b"\n')
    done = subprocess.run([sys.executable, "-B", OPENWRT / "pack/lmo.py", po, place / "x"], capture_output=True, text=True)
    need(done.returncode != 0 and "line 1" in done.stderr, "a broken catalogue is compiled")


def translations(po, place):
    """Every text, as gettext reads it, is found in the package by the hash of its original."""
    run("msgfmt", "--check-format", "-o", place / "catalog.mo", po)
    with (place / "catalog.mo").open("rb") as file:
        catalog = gettext.GNUTranslations(file)._catalog
    code = {"zh_Hans": "zh-cn", "zh_Hant": "zh-tw"}.get(po.parent.name, po.parent.name)
    _, _, members = read.ipk(one(ARCHS[0], f"luci-i18n-gramscale-{code}", ".ipk").read_bytes())
    found = read.Lmo(next(member.data for member in members if member.path.endswith(f".{code}.lmo")))
    texts = {key: text for key, text in catalog.items() if key}
    for key, text in texts.items():
        original, form = key if isinstance(key, tuple) else (key, None)
        context, mark, rest = original.rpartition("\4")
        looked = found.find(rest, context if mark else None, form)
        need(looked == text or text == rest, f"{original!r} is {looked!r}, not {text!r}")
    need(texts, "it is empty")
    return f"{len(texts)} texts"


def date():
    return int(run("git", "-C", REPOSITORY, "log", "-1", "--format=%ct"))


main()
