"""The package of a router: unpacked, on its kind of file system, for a processor like its own.

GRAMSCALE_PACKAGE names the .ipk and GRAMSCALE_QEMU the emulator with its options; `tests/qemu router` makes both.
"""

import contextlib
import os
import shutil
import sys
from pathlib import Path

from check import Failure, expect, wait
from net import run as run_command
from reload import fill
from server import Server

# What a small router has left for everything that changes.
OVERLAY = 2 << 20

# What the database of a few nodes may take of it.
DATABASE = 256 << 10

# The user of the service, from the package's control file.
USER = "5478"

# No /dev/log among them: the service's log is what it prints.
DEVICES = ("null", "urandom")

CONFIG = "/etc/config/gramscale"
SOCKET = "/var/run/gramscale/gramscale.sock"


def run(report, lab):
    root = Root(lab.folder / "router")
    try:
        report.need("the package unpacks", root.unpack)
        report.need("its files under an overlay of 2 MB", root.mount)
        host = lab.net.host("router", 1)
        server = Service(root, host, lab.folder / "service")
        lab.servers.append(server)
        report.need("the service starts from its own settings, as its user", server.start)
        report.need("writable shared mappings are refused to it", refused, root)
        user = report.need("users create", server.user, "ann")
        key = report.need("preauthkeys create", server.key, user, "--reusable")
        clients = []
        for number, version in enumerate((lab.versions()[0], lab.versions()[-1]), 11):
            client = lab.client(f"client-{number}", number, server, version)
            report.need(f"a client joins: {version}", client.up, key)
            clients.append(client)
        one, two = clients
        report.need("they meet", one.sees, two.name)
        report.check("they talk, both ways", lambda: (one.ping(two.name, True), two.ping(one.name, True)))
        report.check("the database is small", small, root)
        report.check("full flash: a registration is refused, and says why", full, lab, server, root, key)
        report.check("full flash: those that were there go on", lambda: (one.ping(two.name, True), one.sees(two.name)))
        late = lab.clients[-1]
        root.free()
        report.check("with room again it joins", late.up, key)
        server.kill()
        report.check("after a power cut everything is there", again, server, [*clients, late])
    finally:
        for one in lab.servers:
            one.kill()
        root.close()


class Root:
    """A read-only tree and a small writable layer above it, as OpenWrt has them."""

    def __init__(self, folder):
        self.lower, self.layer, self.path = folder / "rom", folder / "overlay", folder / "root"
        self.filler = self.layer / "filler"
        self.mounted = []
        for one in (self.lower, self.layer, self.path):
            one.mkdir(parents=True)

    def unpack(self):
        package = os.environ["GRAMSCALE_PACKAGE"]
        run_command("sh", "-c", 'tar -xzOf "$0" ./data.tar.gz | tar -xz -C "$1"', package, str(self.lower))
        for name in ("proc", "dev", "tmp", "var/run"):
            (self.lower / name).mkdir(parents=True, exist_ok=True)
        for name in DEVICES:
            (self.lower / "dev" / name).touch()
        qemu = os.environ["GRAMSCALE_QEMU"].split()[0]
        shutil.copy(shutil.which(qemu), self.lower / "qemu")

    def mount(self):
        self._mount("-t", "tmpfs", "-o", f"size={OVERLAY}", "tmpfs", self.layer)
        for name in ("upper", "work"):
            (self.layer / name).mkdir()
        layers = f"lowerdir={self.lower},upperdir={self.layer}/upper,workdir={self.layer}/work"
        self._mount("-t", "overlay", "-o", layers, "overlay", self.path)
        self._mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", self.path / "var/run")
        self._mount("--rbind", "/proc", self.path / "proc")
        for name in DEVICES:
            self._mount("--bind", f"/dev/{name}", self.path / "dev" / name)

    def _mount(self, *words):
        run_command("mount", *map(str, words))
        self.mounted.append(words[-1])

    def fill(self):
        with contextlib.suppress(OSError), open(self.filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def free(self):
        self.filler.unlink()

    def close(self):
        for place in reversed(self.mounted):
            run_command("umount", "-l", str(place), fine=True)


class Service(Server):
    """The server in that root, started as the init script does, with what uci-defaults would have set."""

    def __init__(self, root, host, folder):
        super().__init__(str(folder / "gramscale"), host, folder)
        self.options = ("--uci", CONFIG)
        self.serve = ("serve", "--uci", CONFIG)
        self.root = root
        program = Path(self.binary)
        jail = f'"{sys.executable}" "{Path(__file__).parent / "jail.py"}"'
        cpu = " ".join(os.environ["GRAMSCALE_QEMU"].split()[1:])
        program.write_text(f'#!/bin/sh\nexec {jail} "{root.path}" {USER} /qemu {cpu} /usr/sbin/gramscale "$@"\n')
        program.chmod(0o755)

    def start(self):
        """What the init script prepares."""
        config = self.root.path / CONFIG.lstrip("/")
        text = config.read_text()
        if "\toption server_url '" not in text.replace("#\toption", "#option"):
            options = f"\toption server_url '{self.url}'\n\tlist listen '{self.host.address}:{self.port}'\n"
            head, section, rest = text.partition("config server 'server'\n")
            expect(section, "the package's settings have no section server")
            config.write_text(head + section + options + rest)
        for place, mode in ((config, 0o640), (self.root.path / "etc/gramscale", 0o700),
                            (self.root.path / SOCKET.lstrip("/")[:-len("/gramscale.sock")], 0o750)):
            place.mkdir(parents=True, exist_ok=True) if place != config else None
            os.chown(place, 0 if place == config else int(USER), int(USER))
            place.chmod(mode)
        super().start()


def refused(root):
    """The limit holds: a program that maps a file to write it is told so."""
    probe = "import mmap; f = open('/proc/self/fd/0', 'r+b'); mmap.mmap(f.fileno(), 1)"
    file = root.path / "var/run/probe"
    file.write_bytes(b"x")
    file.chmod(0o666)
    jail = Path(__file__).parent / "jail.py"
    said = run_command("sh", "-c", '"$0" "$1" / "$2" "$0" -c "$3" <"$4" 2>&1', sys.executable, str(jail), "0", probe,
                       str(file), fine=True)
    expect("Invalid argument" in said, said)


def small(root):
    """Also where a file system has no holes."""
    for path in (root.path / "etc/gramscale").iterdir():
        expect(path.stat().st_size <= DATABASE, f"{path.name} has {path.stat().st_size} bytes")


def full(lab, server, root, key):
    root.fill()
    # Until the room inside the database is used up as well.
    fill(server)
    here = server.log.stat().st_size
    late = lab.client("late", 13, server)
    words = ("up", "--reset", f"--login-server={server.url}", f"--hostname={late.name}", f"--auth-key={key}")
    said = ""
    try:
        late.cli(*words, "--timeout=15s", timeout=30)
    except Failure as failure:
        said = str(failure)
    expect(said, "it joined on a full disk")
    wait("the log to say why", 20, lambda: "no space" in server.log.read_text()[here:].lower())
    expect("late" not in server.nodes(), "a node is shown that is not stored")
    expect("space" in said, said)


def again(server, clients):
    server.start()
    nodes = server.nodes()
    expect(sorted(nodes) == sorted(client.name for client in clients), sorted(nodes))
    for client in clients:
        wait(f"{client.name} to be back", 60, lambda client=client: server.online(client.name))
    clients[0].ping(clients[1].name, True)
