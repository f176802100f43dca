"""Drives the official clients against the server.

    python3 tests/interop [GROUP...]

The groups are listed below, and one more, router, is for `tests/qemu router`. GRAMSCALE_BIN names the server's binary;
`tests/run interop` builds it. Needs root: the groups make network namespaces and remove them again.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from check import Report, Stop, indent, say
from lab import Lab

# What each group is about.
GROUPS = {
    "home": "joining, names, relay, direct",
    "routes": "subnet routers, their failover, exit nodes",
    "dns": "what the clients' resolver answers",
    "lifecycle": "approval, expiry, deletion, tags, presence",
    "between": "files, who is who",
    "nat": "behind routers",
    "https": "certificates, tools",
    "policy": "who may talk to whom",
    "ssh": "who may log in where",
    "rust": "the second client",
    "browser": "the client in Chromium",
    "proxy": "behind nginx",
    "ipv6": "a network with nothing else",
    "reload": "SIGHUP, a full disk",
    "trouble": "restarts, crashes, cables",
    "hostile": "bad input",
}
HERE = Path(__file__).resolve().parent


def main(names):
    if os.geteuid() != 0:
        sys.exit("FAILED  interop: it makes network namespaces, which needs root")
    for name in names:
        if name not in (*GROUPS, "router"):
            sys.exit(f"there is no group {name}; the groups are: {', '.join(GROUPS)}")
    binary = os.environ.get("GRAMSCALE_BIN") or sys.exit("GRAMSCALE_BIN must name the server's binary")
    # A signal ends the groups in order: no process and no namespace stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    clients = builds()
    report = Report()
    folder = Path(tempfile.mkdtemp(prefix="gramscale-interop-"))
    try:
        for name in names or GROUPS:
            group(report, name, binary, clients, folder / name)
    finally:
        if report.failed:
            say(f"the logs are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if report.failed else 0)


def group(report, name, binary, clients, folder):
    """Runs one group on a network of its own and shows the ends of the logs when something failed."""
    say(f".. {name}")
    before = report.failed
    with Lab(binary, clients, folder) as lab:
        try:
            __import__(name).run(report, lab)
        except Stop:
            say(f"        the rest of {name} did not run")
        except Exception as error:
            report.fail(f"{name}: the test itself", error)
        if report.failed > before:
            for whose, log in lab.logs():
                say(f"------- the end of the log of {whose}\n{indent(log)}")


def builds():
    """The folders of the built clients by name: a version, `browser` or `rust`."""
    lines = subprocess.run([HERE / "build"], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return {name: Path(folder) for name, folder in (line.split(" ", 1) for line in lines)}


main(sys.argv[1:])
