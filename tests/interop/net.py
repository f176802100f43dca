"""Hosts on a network of their own: namespaces joined by a bridge, all made here and removed at the end.

Nothing touches the machine's own interfaces. Every host has a real kernel stack, so the clients get real TUN devices,
routes and name resolution.
"""

import contextlib
import ctypes
import http.client
import os
import shutil
import signal
import socket
import subprocess

from check import Failure, expect

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)

# A private address literal: over plain http a client dials no other port for it.
NETWORK = "192.168.77"
GATEWAY = f"{NETWORK}.1"
# Likewise, on a network without IPv4.
NETWORK6 = "fd77:77::"


def run(*command, timeout=60, env=None, fine=False, title=None):
    """Runs a command to its end and returns what it printed; a failure, unless it is `fine`, shows its errors too,
    under the `title` that a reader knows it by."""
    title = title or " ".join(command)
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, env=env
        )
    except subprocess.TimeoutExpired as late:
        printed = (late.stdout or b"") + (late.stderr or b"")
        raise Failure(f"{title}: no end after {timeout} s\n{printed.decode(errors='replace')}") from None
    if done.returncode != 0 and not fine:
        raise Failure(f"{title}: exit status {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def spawn(command, log, env=None, limit=None):
    """Starts a command that ends with this program, its output appended to the file `log`."""

    def prepare():
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if limit is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    with open(log, "ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, preexec_fn=prepare
        )


class Net:
    """A bridge in a namespace and the hosts that hang on it."""

    def __init__(self, folder):
        self.folder = folder
        self.prefix = f"gramscale-{os.getpid()}"
        self.hosts = []
        # Whether hosts that are made from now on have IPv6 addresses, and no others.
        self.ipv6 = False
        self.bridge = f"{self.prefix}-bridge"
        run("ip", "netns", "add", self.bridge)
        run("ip", "-n", self.bridge, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", self.bridge, "link", "set", "bridge", "up")

    def host(self, name, number, names=None):
        """A new host at NETWORK.number; `names` is its hosts file: {name: address}."""
        host = Host(self, name, number, names or {})
        self.hosts.append(host)
        return host

    def close(self):
        for host in self.hosts:
            host.close()
        run("ip", "netns", "del", self.bridge, fine=True)


class Host:
    """A network namespace with one cable, `eth0`, to the bridge."""

    def __init__(self, net, name, number, names):
        self.name = name
        self.net = net
        self.address = f"{NETWORK6}{number}" if net.ipv6 else f"{NETWORK}.{number}"
        gateway = f"{NETWORK6}1" if net.ipv6 else GATEWAY
        self.namespace = f"{net.prefix}-{name}"
        self.port = f"port{number}"
        # A copy of /etc of its own: the client rewrites resolv.conf here as it does on any machine.
        self.etc = net.folder / f"etc-{name}"
        shutil.copytree("/etc", self.etc, symlinks=True)
        (self.etc / "resolv.conf").write_text(f"nameserver {gateway}\n")
        (self.etc / "hosts").write_text(
            "127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in names.items())
        )
        run("ip", "netns", "add", self.namespace)
        bridge = ("ip", "-n", net.bridge, "link")
        run(*bridge, "add", self.port, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        run(*bridge, "set", self.port, "master", "bridge", "up")
        self.ip("link", "set", "lo", "up")
        self.ip("link", "set", "eth0", "up")
        # Nobody else is on this network, so an IPv6 address need not be tried first.
        self.ip("addr", "add", f"{self.address}/{64 if net.ipv6 else 24}", "dev", "eth0", *(["nodad"] * net.ipv6))
        if self.address != gateway:
            self.ip("route", "add", "default", "via", gateway)

    @property
    def place(self):
        """The address as it stands before a port."""
        return f"[{self.address}]" if ":" in self.address else self.address

    def ip(self, *words):
        return run("ip", "-n", self.namespace, *words)

    def command(self, *words):
        """The command line that runs `words` on this host."""
        return (
            "ip", "netns", "exec", self.namespace,
            "sh", "-c", 'mount --bind "$0" /etc && exec "$@"', str(self.etc), *words,
        )

    def run(self, *words, **options):
        return run(*self.command(*words), title=f"on {self.name}: {' '.join(words)}", **options)

    def isolate(self, on=True):
        """An isolated host reaches those that are not (the server) and no other isolated one."""
        run("ip", "-n", self.net.bridge, "link", "set", self.port, "type", "bridge_slave",
            "isolated", "on" if on else "off")

    def unplug(self):
        """Cuts the cable in the middle: neither end is told, packets are just lost."""
        run("ip", "-n", self.net.bridge, "link", "set", self.port, "nomaster")

    def plug(self):
        run("ip", "-n", self.net.bridge, "link", "set", self.port, "master", "bridge")

    def move(self, number):
        """Takes another address, as a phone does that changes networks: what was open just hangs."""
        new = f"{NETWORK}.{number}"
        self.ip("addr", "del", f"{self.address}/24", "dev", "eth0")
        self.ip("addr", "add", f"{new}/24", "dev", "eth0")
        self.ip("route", "replace", "default", "via", GATEWAY)
        self.address = new

    @contextlib.contextmanager
    def inside(self):
        """Sockets made in this block belong to this host (the calling thread only)."""
        with open("/proc/thread-self/ns/net") as outside, open(f"/run/netns/{self.namespace}") as here:
            _enter(here)
            try:
                yield
            finally:
                _enter(outside)

    def connect(self, address, port, timeout=5):
        """A TCP connection from this host."""
        with self.inside():
            return socket.create_connection((address, port), timeout)

    def get(self, address, port, path, timeout=5):
        """GET over plain HTTP from this host: (status, body)."""
        connection = http.client.HTTPConnection(address, port, timeout=timeout)
        connection.sock = self.connect(address, port, timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise Failure(f"GET {path}: {error!r}") from error
        finally:
            connection.close()

    def close(self):
        run("ip", "netns", "del", self.namespace, fine=True)


def _enter(namespace):
    expect(_libc.setns(namespace.fileno(), _CLONE_NEWNET) == 0, f"setns: {os.strerror(ctypes.get_errno())}")
