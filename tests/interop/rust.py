"""The official Rust client beside a Go client: another reader of the same bytes, and a stricter one."""

import os
import re

from check import expect, wait
from lab import echo
from net import GATEWAY, run as run_command, spawn

PORT = 7000

# The Rust client knows no pinned certificates: its relay comes from a map that says not to check (TLS all the same).
MAP = f"""\
regions:
  950:
    regionid: 950
    regioncode: test
    regionname: Test
    nodes:
      - name: 950a
        regionid: 950
        hostname: {GATEWAY}
        ipv4: {GATEWAY}
        derpport: 8080
        stunport: 3478
        insecurefortests: true
"""


def run(report, lab):
    file = lab.folder / "derp.yaml"
    file.write_text(MAP)
    server = lab.server(
        config={
            "derp": {
                "server": {
                    "enabled": True, "region_id": 950, "stun_listen_addr": "0.0.0.0:3478",
                    "automatically_add_embedded_derp_region": False,
                },
                "paths": [str(file)],
            },
            "dns": {"magic_dns": True, "base_domain": "rust.test", "override_local_dns": False},
        },
    )
    report.need("serve with a DERP map from a file", server.start)
    key = server.key(server.user("carol"), "--reusable")
    peer = lab.client("go", 11, server)
    peer.host.isolate()
    report.need("join: the Go client", peer.up, key)

    listener = Rust(lab, "rust-listener", 12, server, key)
    listener.host.isolate()
    report.need("join: the Rust client listens", listener.listen)
    caller = Rust(lab, "rust-caller", 13, server, key)
    caller.host.isolate()

    report.check("TCP through the relay: Go to Rust", to_rust, peer, listener)
    report.check("TCP through the relay: Rust to Go", to_go, peer, caller)
    report.check("TCP through the relay: Rust to Rust", to_listener, caller)
    for one in (peer, listener, caller):
        one.host.isolate(False)
    report.check("TCP with a direct path open: Go to Rust", to_rust, peer, listener)
    report.check("TCP with a direct path open: Rust to Go", to_go, peer, caller)


class Rust:
    """The little program of tests/interop/rust on a host of its own."""

    def __init__(self, lab, name, number, server, key):
        self.name = name
        self.host = lab.net.host(name, number)
        self.log = lab.folder / f"{name}.log"
        self.words = (str(lab.binaries["rust"] / "rust-client"), server.url, key, name)
        self.env = {"PATH": os.environ["PATH"], "RUST_LOG": "info"}
        self.process = None
        lab.clients.append(self)

    def listen(self):
        self.process = spawn(self.host.command(*self.words, "listen", str(PORT)), self.log, self.env)
        self.address = wait(
            "the Rust client to listen", 60, lambda: re.search(r"^listening (\S+):\d+", self.log.read_text(), re.M)
        ).group(1)

    def talk(self, peer, text):
        """Joins, sends a line to a peer and returns what came back."""
        words = (*self.words, "talk", peer, str(PORT), text)
        return run_command(
            *self.host.command(*words), env=self.env, timeout=90, title=f"{self.name} talks to {peer}"
        ).strip()

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()


def to_rust(peer, listener):
    peer.sees(listener.name)

    def ask():
        with peer.host.connect(listener.address, PORT, timeout=20) as stream:
            stream.sendall(b"hello\n")
            return stream.recv(64)

    expect(ask() == b"hello\n", "the echo differs")


def to_go(peer, caller):
    with echo(peer.host, PORT):
        answer = caller.talk("go", "greetings")
    expect(answer == "greetings", answer)


def to_listener(caller):
    answer = caller.talk("rust-listener", "likewise")
    expect(answer == "likewise", answer)
