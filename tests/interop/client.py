"""The official client: a daemon on a host of its own, its command line and its local interface."""

import http.client
import json
import os
import re
import socket

from check import Failure, expect, wait
from net import run, spawn

# What a version must offer anyway; nothing here loosens what the client checks.
_QUIET = {"TS_NO_LOGS_NO_SUPPORT": "1"}


class Client:
    """`tailscaled` with a real TUN device, its state on disk."""

    def __init__(self, binaries, host, folder, server, env=None, port=41641):
        self.binaries = binaries
        self.host = host
        self.name = host.name
        self.folder = folder
        self.server = server
        self.port = port
        self.log = folder / "tailscaled.log"
        self.socket = folder / "s"
        self.process = None
        folder.mkdir(parents=True)
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), **_QUIET, **(env or {})}

    # The daemon

    def start(self):
        self.process = spawn(
            self.host.command(
                str(self.binaries / "tailscaled"), f"--statedir={self.folder}", f"--socket={self.socket}",
                "--tun=tailscale0", f"--port={self.port}", "--no-logs-no-support",
            ),
            self.log, self.env,
        )
        wait(f"tailscaled of {self.name}", 20, self.status, every=0.05)

    def kill(self):
        """No goodbye: its connections end because its kernel closes them."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def restart(self):
        self.kill()
        self.start()

    # The command line

    def command(self, *words):
        return self.host.command(str(self.binaries / "tailscale"), f"--socket={self.socket}", *words)

    def cli(self, *words, timeout=60):
        title = f"on {self.name}: tailscale {' '.join(words)}"
        return run(*self.command(*words), env=self.env, timeout=timeout, title=title)

    def up(self, key=None, *flags):
        """Logs in and waits until the client says that it runs."""
        # Without --reset some releases want every flag again that a former login was given.
        words = ["up", "--reset", f"--login-server={self.server.url}", f"--hostname={self.name}", "--timeout=60s"]
        if key:
            words.append(f"--auth-key={key}")
        self.cli(*words, *flags, timeout=70)
        self.running()

    def renewed(self, name, before):
        """Waits until it runs with another key than the node of this name had before.

        With --force-reauth and a key for it, a client may first log in with the key it has, and run for a moment.
        """
        wait(
            f"{self.name} to run with a new key", 30,
            lambda: self.server.node(name)["node_key"] != before["node_key"]
            and self.status()["BackendState"] == "Running",
        )

    def running(self, seconds=30):
        wait(f"{self.name} to run", seconds, lambda: self.status()["BackendState"] == "Running", every=0.05)

    def up_by_hand(self, *flags):
        """Starts a login without a key: (the process of `tailscale up`, the address to open)."""
        log = self.folder / "up.log"
        log.unlink(missing_ok=True)
        process = spawn(
            self.command("up", f"--login-server={self.server.url}", f"--hostname={self.name}", *flags), log, self.env
        )

        def link():
            return re.search(r"https?://\S+", log.read_text())

        return process, wait("the login address", 30, link).group()

    def ping(self, peer, direct):
        """Pings a peer of the tailnet by name or address; fails unless the answers came that way."""
        if direct:
            words = ("ping", "--until-direct=true", "-c", "30", "--timeout=2s", peer)
        else:
            words = ("ping", "--until-direct=false", "-c", "3", "--timeout=5s", peer)
        text = self.cli(*words, timeout=90)
        ways = re.findall(r"pong from \S+ \(\S+\) via (\S+)", text)
        expect(ways, f"{self.name} pings {peer}: {text}")
        relayed = [way for way in ways if way.startswith("DERP(")]
        if direct:
            expect(not ways[-1].startswith("DERP("), f"{self.name} to {peer} never went direct: {text}")
        else:
            expect(relayed == ways, f"{self.name} to {peer} did not go through the relay: {text}")

    def logged_out(self):
        return self.status()["BackendState"] == "NeedsLogin"

    # The local interface

    def status(self):
        """What `tailscale status --json` shows, without starting a program for it."""
        return json.loads(self.local("/localapi/v0/status"))

    def derp_map(self):
        return json.loads(self.local("/localapi/v0/derpmap"))

    def local(self, path):
        connection = http.client.HTTPConnection("local-tailscaled.sock", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(5)
        try:
            connection.sock.connect(str(self.socket))
            connection.request("GET", path)
            return connection.getresponse().read()
        except http.client.HTTPException as error:
            raise Failure(f"{path}: {error!r}") from error
        finally:
            connection.close()

    def peers(self):
        """The peers by their name, the first label of the DNS name."""
        return {peer["DNSName"].split(".")[0]: peer for peer in (self.status()["Peer"] or {}).values()}

    def sees(self, name, online=True):
        """Waits until a peer is there and shown as online (or offline)."""
        return wait(
            f"{self.name} to see {name} {'online' if online else 'offline'}", 30,
            lambda: (peer := self.peers().get(name)) and peer["Online"] == online and peer,
        )

    def addresses(self):
        return self.status()["TailscaleIPs"]

    def domain(self):
        return self.status()["MagicDNSSuffix"]
