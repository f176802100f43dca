"""The official client as browsers run it: compiled to WebAssembly, in Chromium, with nothing but WebSockets and fetch."""

import contextlib
import http.server
import json
import queue
import urllib.parse
from pathlib import Path

from check import expect, wait
from lab import Page, listening, web
from net import spawn

HERE = Path(__file__).resolve().parent
PORT = 8088


def run(report, lab):
    server = lab.server()
    server.start()
    key = server.key(server.user("bea"), "--reusable")
    native = lab.client("native", 11, server)
    native.up(key)
    with Browser(lab, "browser", 12, trusted(server.host, server.host.address, server.port)) as browser:
        report.need("a client in a browser joins by key, over a WebSocket", join, browser, server, key)
        report.need("it gets a map with its peer, and the peer sees it", meet, browser, native)
        report.check("ping through the relay's WebSocket", native.ping, "browser", False)
        report.check("TCP through the relay: a page of the peer, in the browser", fetch, browser, native)
        report.check("server restart: the browser comes back", restart, browser, server, native)
        report.check("an ephemeral node that logs out in the browser is gone", logout, browser, server, native)


class Browser:
    """Chromium on a host of its own with the page, and what the page said."""

    def __init__(self, lab, name, number, certificate, names=None):
        self.name = name
        self.host = lab.net.host(name, number, names)
        self.folder = lab.folder / name
        self.folder.mkdir()
        self.log = self.folder / "chromium.log"
        self.wasm = lab.binaries["browser"]
        self.certificate = certificate
        self.jobs = queue.Queue()
        self.said = []
        self.process = None

    def __enter__(self):
        self.site = listening(self.host, PORT, type("Site", (Site,), {"browser": self}))
        self.site.__enter__()
        return self

    def __exit__(self, *reason):
        if self.process:
            self.process.terminate()
            self.process.wait()
        self.site.__exit__(*reason)

    def open(self, server, **options):
        """Opens the page; `options` are the client's."""
        query = urllib.parse.urlencode({"controlURL": server.url, "hostname": self.name, **options})
        self.process = spawn(
            self.host.command(
                "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                f"--user-data-dir={self.folder}/profile", "--enable-logging=stderr",
                # What a person does who looks at a certificate and accepts it: this one, and no other.
                f"--ignore-certificate-errors-spki-list={self.certificate}",
                f"http://127.0.0.1:{PORT}/?{query}",
            ),
            self.log, {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.folder)},
        )

    def heard(self, what):
        """The last value that the page said of `what`."""
        for said, value in reversed(self.said):
            expect(said not in ("panic", "exit"), f"{said}: {value}")
            if said == what:
                return value
        return None

    def do(self, name, argument=None, seconds=60):
        """Has the page do something; returns what came of it."""
        self.said = [entry for entry in self.said if entry[0] not in (name, "error")]
        self.jobs.put({name: argument})

        def done():
            for said, value in self.said:
                if said in (name, "error"):
                    return said, value
            return None

        said, value = wait(f"the browser to {name}", seconds, done)
        expect(said == name, f"{name} in the browser: {value}")
        return value


class Site(http.server.BaseHTTPRequestHandler):
    """The page, what it is to do, and what it says."""

    browser = None

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/job":
            try:
                job = self.browser.jobs.get(timeout=5)
            except queue.Empty:
                job = {}
            self.answer("application/json", json.dumps(job).encode())
        elif path == "/":
            self.answer("text/html", (HERE / "browser.html").read_bytes())
        elif path in ("/main.wasm", "/wasm_exec.js"):
            kind = "application/wasm" if path.endswith("wasm") else "text/javascript"
            self.answer(kind, (self.browser.wasm / path[1:]).read_bytes())
        else:
            self.send_error(404)

    def do_POST(self):
        self.browser.said.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer("text/plain", b"")

    def answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        # The page may be gone.
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *_):
        """Quiet."""


def trusted(host, address, port):
    """The hash of the public key that a server shows, as Chromium wants it."""
    text = (
        'openssl s_client -connect "$0" </dev/null 2>/dev/null | openssl x509 -noout -pubkey '
        "| openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64"
    )
    return host.run("sh", "-c", text, f"{address}:{port}").strip()


def join(browser, server, key):
    browser.open(server, authKey=key)
    wait("the browser's client to run", 60, lambda: browser.heard("state") == "Running")
    expect(server.online(browser.name), "nodes list does not show it online")


def meet(browser, native):
    def listed():
        peers = (browser.heard("map") or {}).get("peers") or []
        return any(peer["name"].startswith(f"{native.name}.") for peer in peers)

    wait("the peer in the browser's map", 30, listed)
    native.sees(browser.name)


def fetch(browser, native):
    with web(native.host):
        answer = browser.do("fetch", f"http://{native.addresses()[0]}:8000/")
    expect(answer == {"status": 200, "length": len(Page.body)}, answer)


def restart(browser, server, native):
    server.stop()
    server.start()
    native.sees(browser.name)
    wait("nodes list to show the browser online", 60, lambda: server.online(browser.name))
    wait("the relay to be back", 60, lambda: native.ping(browser.name, False) is None)


def logout(browser, server, native):
    browser.do("logout")
    wait("the node to be gone", 20, lambda: browser.name not in server.nodes())
    wait("the peer to forget it", 20, lambda: browser.name not in native.peers())
