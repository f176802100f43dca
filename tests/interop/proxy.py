"""A server behind nginx, which ends TLS and is the only one who speaks with it."""

import os
import subprocess

from browser import Browser, fetch, join, meet, trusted
from check import expect, wait
from lab import authority
from net import spawn
from server import tail

NAME = "gramscale.test"
URL = f"https://{NAME}"
OLD, NEW = "1.62.1", "1.102.5"

CONFIG = """
daemon off;
pid {folder}/pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_upgrade $hop {{ "" close; default upgrade; }}
    server {{
        listen 80;
        listen 443 ssl;
        server_name {name};
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        location / {{
            proxy_pass http://127.0.0.1:8080;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $hop;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""


def run(report, lab):
    ca, certificate, key_file = authority(lab.folder / "tls", NAME)
    trust = {"SSL_CERT_FILE": str(ca)}
    server = lab.server(
        url=URL,
        config={
            "listen_addr": "127.0.0.1:8080",
            "trusted_proxies": ["127.0.0.1/32"],
            # Only the first client's address.
            "admin_allow": ["192.168.77.11/32"],
            "derp": {"server": {"enabled": True, "stun_listen_addr": "0.0.0.0:3478"}},
            "dns": {"magic_dns": True, "base_domain": "proxy.test", "override_local_dns": False},
        },
    )
    names = {NAME: server.host.address}
    nginx = Nginx(server.host, lab.folder / "nginx", certificate, key_file)
    server.healthy = lambda: healthy(server, ca)
    nginx.start()
    try:
        report.need("serve behind nginx", server.start)
        key = server.key(server.user("paul"), "--reusable")
        clients = lab.apart(report, "join through nginx", server, key, (NEW, OLD), trust, names)
        one, other = clients
        report.check("ping through the relay behind nginx", one.ping, other.name, False)
        report.check("the API tells clients of nginx apart, and believes none of them", told_apart, server, clients, ca)
        one.host.isolate(False)
        other.host.isolate(False)
        report.check("ping directly", one.ping, other.name, True)
        report.check("nginx restarts: the clients come back", restart, nginx, server, one, other)
        browser = Browser(lab, "browser", 13, trusted(server.host, server.host.address, 443), names)
        with browser:
            report.need("a client in a browser joins through nginx", join, browser, server, key)
            report.need("it gets a map with its peer, and the peer sees it", meet, browser, one)
            report.check("ping through the relay, a WebSocket behind nginx", one.ping, browser.name, False)
            report.check("TCP through it", fetch, browser, one)
    finally:
        nginx.stop()


class Nginx:
    """nginx on a host."""

    def __init__(self, host, folder, certificate, key):
        self.host = host
        self.log = folder / "nginx.log"
        self.file = folder / "nginx.conf"
        folder.mkdir()
        self.file.write_text(CONFIG.format(folder=folder, name=NAME, certificate=certificate, key=key))
        # Its workers give up root, and have their files here.
        for parent in (folder, *list(folder.parents)[:2]):
            parent.chmod(0o755)
        self.process = None

    def start(self):
        self.process = spawn(
            self.host.command("nginx", "-c", str(self.file)), self.log, {"PATH": os.environ["PATH"] + ":/usr/sbin"}
        )
        wait("nginx to listen", 20, self.listens, every=0.05)

    def listens(self):
        if self.process.poll() is not None:
            raise SystemError(f"nginx ended: {tail(self.log)}")
        self.host.connect(self.host.address, 443).close()
        return True

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def curl(host, server_host, ca, path, *words):
    return host.run(
        "curl", "-sS", "-m", "5", "--cacert", str(ca), "--resolve", f"{NAME}:443:{server_host.address}", *words,
        f"{URL}{path}", fine=True,
    )


def healthy(server, ca):
    expect(server.process.poll() is None, "the server ended")
    return "pass" in curl(server.host, server.host, ca, "/health")


def told_apart(server, clients, ca):
    secret = server.json("apikeys", "create")
    secret = secret if isinstance(secret, str) else secret["key"]
    allowed, refused = (client.host for client in clients)

    def ask(host, *words):
        return curl(host, server.host, ca, "/api/v1/user", "-o", "/dev/null", "-w", "%{http_code}",
                    "-H", f"Authorization: Bearer {secret}", *words)

    expect(ask(allowed) == "200", f"the address that may is answered with {ask(allowed)}")
    for header in (None, "X-Forwarded-For", "X-Real-IP", "True-Client-IP"):
        lie = ("-H", f"{header}: {allowed.address}") if header else ()
        status = ask(refused, *lie)
        expect(status == "403", f"an address that may not, with {header}, is answered with {status}")


def restart(nginx, server, one, other):
    nginx.stop()
    nginx.start()
    wait("the relay to be back", 60, lambda: one.ping(other.name, True) is None)
    # What the server tells arrives again.
    server.cli("nodes", "rename", "-i", str(server.node(other.name)["id"]), "renamed")
    one.sees("renamed")
