"""One network with servers and clients on it, gone when the group of checks ends."""

import concurrent.futures
import contextlib
import http.server
import itertools
import socket
import socketserver
import threading

from client import Client
from net import Net, run
from server import Server, tail

NEWEST = "1.102.5"


class Lab:
    """Makes servers and clients and cleans up after them."""

    def __init__(self, binary, clients, folder):
        self.binary = binary
        self.binaries = clients
        self.folder = folder
        self.servers = []
        self.clients = []
        folder.mkdir(parents=True)
        self.net = Net(folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in (*self.clients, *self.servers):
            one.kill()
        self.net.close()

    def server(self, name="server", number=1, **options):
        """A server that is not started yet, on a host of its own (number 1 is everybody's gateway)."""
        host = self.net.host(name, number)
        server = Server(self.binary, host, self.folder / name, **options)
        self.servers.append(server)
        return server

    def client(self, name, number, server, version=NEWEST, env=None, names=None):
        """A started client that has not logged in."""
        client = Client(
            self.binaries[version], self.net.host(name, number, names), self.folder / name, server, env
        )
        self.clients.append(client)
        client.start()
        return client

    def apart(self, report, how, server, key, versions=None, env=None, names=None):
        """Joins a client of each release, one after the other, that reach only the server and see one another."""
        clients = []
        for number, version in enumerate(versions or self.versions(), 11):
            client = self.client(client_name(version), number, server, version, env, names)
            client.host.isolate()
            report.need(f"{how}: {version}", client.up, key)
            clients.append(client)
        report.need("everybody sees everybody, online", meet, clients)
        return clients

    def versions(self):
        """The releases of the official client, oldest first."""
        numbers = (name for name in self.binaries if name[0].isdigit())
        return sorted(numbers, key=lambda name: [int(part) for part in name.split(".")])

    def tool(self, name):
        """A program of the newest client's distribution."""
        return str(self.binaries[NEWEST] / name)

    def logs(self):
        """(whose, the end of the log) of everything that ran."""
        for one in (*self.servers, *self.clients):
            yield one.host.name, tail(one.log)


def client_name(version):
    """What the client of a release is called."""
    return "client-" + version.replace(".", "-")


def ring(these):
    """Each with the next, and the last with the first."""
    return list(zip(these, these[1:] + these[:1]))


def meet(clients):
    for one, other in itertools.permutations(clients, 2):
        one.sees(other.name)


def together(*jobs):
    """Runs (function, arguments...) at the same time, and fails as the first that failed."""
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        for done in [pool.submit(*job) for job in jobs]:
            done.result()


class Page(http.server.BaseHTTPRequestHandler):
    """Answers every GET with the same bytes: long enough to need many packets."""

    body = b"0123456789abcdef" * 8192

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        """Quiet."""


class Echo(socketserver.StreamRequestHandler):
    """Sends every line back."""

    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)


class Listener(socketserver.ThreadingTCPServer):
    """Both address families on one socket."""

    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True


def web(host, port=8000):
    """A web server on every address of `host`, for as long as a `with` block lasts."""
    return listening(host, port, Page)


def echo(host, port):
    """A TCP echo server, likewise."""
    return listening(host, port, Echo)


@contextlib.contextmanager
def listening(host, port, handler, tls=None):
    """A server on every address of `host`; `tls` is an `ssl.SSLContext`."""
    with host.inside():
        server = Listener(("::", port), handler)
    if tls:
        # The handshake waits for the thread of its connection.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def authority(folder, name):
    """A certificate authority and a certificate for `name`: the paths of (authority, certificate, key)."""
    folder.mkdir(parents=True)
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    cert, key, request, ext = (folder / f"server.{end}" for end in ("pem", "key", "csr", "ext"))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run("openssl", "req", "-x509", *curve, "-keyout", str(ca_key), "-out", str(ca), "-days", "400",
        "-subj", "/CN=gramscale test authority")
    run("openssl", "req", *curve, "-keyout", str(key), "-out", str(request), "-subj", f"/CN={name}")
    ext.write_text(f"subjectAltName=DNS:{name}\nbasicConstraints=CA:FALSE\n")
    run("openssl", "x509", "-req", "-in", str(request), "-CA", str(ca), "-CAkey", str(ca_key), "-CAcreateserial",
        "-out", str(cert), "-days", "400", "-extfile", str(ext))
    return ca, cert, key
