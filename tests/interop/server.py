"""The server under test, as a person starts it, and its command line."""

import json
import os
import signal
import subprocess
import time

from check import Failure, expect, wait
from net import run, spawn


class Server:
    """`gramscale serve` on a host, with a home folder of its own.

    Without `config` it is started as the README says, with nothing configured but the address; with it, from a file.
    """

    def __init__(self, binary, host, folder, port=8080, url=None, config=None, limit=None):
        self.binary = binary
        self.host = host
        self.port = port
        self.url = url or f"http://{host.place}:{port}"
        self.folder = folder
        self.log = folder / "serve.log"
        self.limit = limit
        self.process = None
        folder.mkdir(parents=True)
        # The defaults live under the home of whoever starts it, so each server gets one.
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            # In a container the kernel may not say that its clock is synchronised, and nothing would expire.
            "GRAMSCALE_CLOCK_TRUSTED": "true",
        }
        (folder / "run").mkdir(mode=0o700)
        if config is None:
            self.options = ()
            self.serve = ("serve", "--listen", f"{host.place}:{port}", "--server-url", self.url)
        else:
            file = folder / "config.yaml"
            file.write_text(yaml({"server_url": self.url, "listen_addr": f"{host.place}:{port}", **config}))
            self.options = ("-c", str(file))
            self.serve = (*self.options, "serve")

    # The process

    def start(self):
        """Starts it and waits until it answers."""
        self.process = self.spawn()
        wait("the server to answer /health", 30, self.healthy, every=0.05)

    def spawn(self):
        return spawn(self.host.command(self.binary, *self.serve), self.log, self.env, self.limit)

    def healthy(self):
        status = self.process.poll()
        if status is not None:
            raise SystemError(f"the server ended with status {status}:\n{tail(self.log, 10)}")
        answer, _ = self.host.get(self.host.address, self.port, "/health", timeout=2)
        return answer == 200

    def stop(self):
        """SIGTERM; returns (exit status, seconds it took)."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure("the server still runs 20 s after SIGTERM") from None
        return status, time.monotonic() - started

    def kill(self):
        """SIGKILL: what a power cut leaves is what is on disk."""
        if self.process:
            self.process.kill()
            self.process.wait()

    # The command line

    def cli(self, *words, timeout=20):
        """Runs a command against the server and returns what it printed."""
        return run(self.binary, *self.options, *words, env=self.env, timeout=timeout)

    def json(self, *words):
        """Runs a command with `-o json`."""
        text = self.cli(*words, "-o", "json")
        try:
            return json.loads(text)
        except ValueError:
            raise Failure(f"{' '.join(words)} printed no JSON: {text!r}") from None

    def user(self, name):
        """Makes a user and returns its number."""
        return self.json("users", "create", name)["id"]

    def key(self, user, *flags):
        """Makes a key that joins nodes to `user`."""
        return self.json("preauthkeys", "create", "-u", str(user), "-e", "1h", *flags)["key"]

    def nodes(self):
        """All nodes by their name in the tailnet."""
        return {node["given_name"]: node for node in self.json("nodes", "list")}

    def node(self, name):
        nodes = self.nodes()
        expect(name in nodes, f"no node {name}; there are {', '.join(nodes) or 'none'}")
        return nodes[name]

    def online(self, name):
        return self.node(name).get("online", False)


def yaml(value, depth=0):
    """Block YAML of nested dicts and lists of scalars, as people write it."""
    pad = "  " * depth
    lines = []
    for key, item in value.items():
        if isinstance(item, dict) and item:
            lines.append(f"{pad}{key}:\n{yaml(item, depth + 1)}")
        elif isinstance(item, list) and item:
            lines.append(f"{pad}{key}:\n" + "".join(f"{pad}  - {json.dumps(one)}\n" for one in item))
        else:
            lines.append(f"{pad}{key}: {json.dumps(item)}\n")
    return "".join(lines)


def tail(file, lines=40):
    if not file.exists():
        return ""
    return "\n".join(file.read_text(errors="replace").splitlines()[-lines:])
