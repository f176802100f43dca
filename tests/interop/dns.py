"""What the resolver inside every client answers: names of nodes, split domains, other nameservers, extra records."""

import contextlib
import http.server
import ipaddress
import json
import os
import socket
import ssl
import struct
import threading

from check import Failure, expect, wait
from lab import authority, client_name, listening, ring, together
from policy import put

RESOLVER = "100.100.100.100"
BASE = "dns.test"
# Nameservers: one for a domain, one for everything else. Each answers any question with its own number at the end.
SPLIT, GLOBAL, NEXTDNS = 40, 41, 42
# Where clients find NextDNS, whatever a resolver says (`publicdns`), and a configured profile.
ANYCAST = "45.90.28.0"
PROFILE = "https://dns.nextdns.io/abc123"

ACLS = [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]


def run(report, lab):
    records = lab.folder / "records.json"
    write(records, ("nas.extra.test", "A", "192.0.2.7"), ("nas.extra.test", "AAAA", "2001:db8::7"))
    hosts = {number: lab.net.host(f"names-{number}", number) for number in (SPLIT, GLOBAL)}
    ca, certificate, key_file = authority(lab.folder / "tls", "dns.nextdns.io")
    server = lab.server(
        config={
            "policy": {"mode": "database"},
            "dns": {
                "magic_dns": True, "base_domain": BASE, "override_local_dns": True,
                "nameservers": {"global": [hosts[GLOBAL].address], "split": {
                    "corp.test": [hosts[SPLIT].address], "next.test": [PROFILE],
                }},
                "search_domains": ["corp.test"],
                "extra_records_path": str(records),
            },
        },
    )
    server.start()
    key = server.key(server.user("dora"), "--reusable")
    clients = [lab.client(client_name(version), number, server, version, {"SSL_CERT_FILE": str(ca)})
               for number, version in enumerate(lab.versions(), 11)]
    with answering(hosts[SPLIT], SPLIT), answering(hosts[GLOBAL], GLOBAL):
        report.need("a client of each release joins", together, *((one.up, key) for one in clients))
        for client, peer in ring(clients):
            report.check(f"names of nodes, split domain, global nameserver: {client.name}", resolve, client, peer)
        for client in clients:
            report.check(f"extra records, A and AAAA: {client.name}", extra, client)
        with nextdns(lab, clients, certificate, key_file):
            for what, attributes, path in (
                ("profile of the settings and device", [], "/abc123?{device}"),
                ("profile by attribute", ["nextdns:fed987"], "/fed987?{device}"),
                ("profile by attribute, no device", ["nextdns:fed987", "nextdns:no-device-info"], "/fed987"),
            ):
                report.check(f"NextDNS is asked over https by each release: {what}", personal, lab, server, clients, attributes,
                             path)
        report.check("the file of records changes: clients hear it", changed, records, clients)
        report.check("a file that is none changes nothing", spoilt, records, server, clients)
        report.check("a node is renamed: the new name resolves, the old does not", renamed, server, clients)


def write(file, *records):
    """Replaces the file, as editors and scripts do."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps([{"name": name, "type": kind, "value": value} for name, kind, value in records]))
    os.replace(new, file)


@contextlib.contextmanager
def answering(host, number):
    """A nameserver that says 192.0.2.NUMBER to every question for an IPv4 address."""
    with host.inside():
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind((host.address, 53))

    def serve():
        while True:
            try:
                query, peer = listener.recvfrom(1500)
            except OSError:
                return
            listener.sendto(answer(query, number), peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.close()


class NextDns(http.server.BaseHTTPRequestHandler):
    """DNS over https (RFC 8484). It keeps under whose address which path was asked for last."""

    protocol_version = "HTTP/1.1"
    asked = {}

    def do_POST(self):
        self.asked[self.client_address[0].removeprefix("::ffff:")] = self.path
        body = answer(self.rfile.read(int(self.headers["Content-Length"])), NEXTDNS)
        self.send_response(200)
        self.send_header("Content-Type", "application/dns-message")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Quiet."""


def nextdns(lab, clients, certificate, key):
    host = lab.net.host("nextdns", NEXTDNS)
    host.ip("addr", "add", f"{ANYCAST}/32", "dev", "eth0")
    for client in clients:
        client.host.ip("route", "add", ANYCAST, "via", host.address)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    return listening(host, 443, NextDns, tls)


def personal(lab, server, clients, attributes, path):
    put(lab, server, {"acls": ACLS, "nodeAttrs": [{"target": ["dora@"], "attr": attributes}] if attributes else []})

    def asks(client):
        device = f"device_ip={client.addresses()[0]}&device_model=linux&device_name={client.name}"
        expected = path.format(device=device)

        def told():
            expect(ask(client, "www.next.test", "A") == [f"192.0.2.{NEXTDNS}"], "no answer")
            return NextDns.asked.get(client.host.address) == expected

        try:
            wait(f"{client.name} to ask for {expected}", 20, told)
        except Failure as failure:
            raise Failure(f"{failure}: {NextDns.asked}") from None

    together(*((asks, one) for one in clients))


def answer(query, number):
    """The response (RFC 1035 section 4) to a query of one question."""
    end = query.index(0, 12) + 5
    is_a = query[end - 4:end - 2] == b"\0\1"
    head = query[:2] + struct.pack(">HHHHH", 0x8180, 1, int(is_a), 0, 0)
    found = b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 1, 4) + ipaddress.ip_address(f"192.0.2.{number}").packed
    return head + query[12:end] + (found if is_a else b"")


def ask(client, *words):
    """What the client's resolver says, sorted."""
    return sorted(client.host.run("dig", "+short", "+time=2", "+tries=3", f"@{RESOLVER}", *words).split())


def becomes(client, words, expected):
    wait(f"{client.name}: {' '.join(words)} to be {expected}", 20, lambda: ask(client, *words) == expected)


def resolve(client, peer):
    v4 = peer.addresses()[0]
    becomes(client, (f"{peer.name}.{BASE}", "A"), [v4])
    becomes(client, ("-x", v4), [f"{peer.name}.{BASE}."])
    becomes(client, ("host.corp.test", "A"), [f"192.0.2.{SPLIT}"])
    becomes(client, ("deep.er.corp.test", "A"), [f"192.0.2.{SPLIT}"])
    becomes(client, ("www.elsewhere.test", "A"), [f"192.0.2.{GLOBAL}"])
    becomes(client, ("notcorp.test", "A"), [f"192.0.2.{GLOBAL}"])
    # As programs ask: through the system's resolver, which the client has taken over, with its search domains.
    found = client.host.run("getent", "ahostsv4", peer.name)
    expect(found.startswith(v4), f"getent finds {found!r} for {peer.name}")
    written = (client.host.etc / "resolv.conf").read_text()
    search = [line.split()[1:] for line in written.splitlines() if line.startswith("search")]
    expect(search == [[BASE, "corp.test"]], f"resolv.conf: {written}")


def extra(client):
    becomes(client, ("nas.extra.test", "A"), ["192.0.2.7"])
    becomes(client, ("nas.extra.test", "AAAA"), ["2001:db8::7"])


def changed(records, clients):
    write(records, ("nas.extra.test", "A", "192.0.2.8"), ("new.extra.test", "A", "192.0.2.9"))
    together(*((becomes, one, ("nas.extra.test", "A"), ["192.0.2.8"]) for one in clients))
    together(*((becomes, one, ("new.extra.test", "A"), ["192.0.2.9"]) for one in clients))


def spoilt(records, server, clients):
    records.write_text("[{]")
    wait("the log to say so", 20, lambda: "the DNS records stay as they were" in server.log.read_text())
    becomes(clients[0], ("nas.extra.test", "A"), ["192.0.2.8"])
    write(records, ("nas.extra.test", "A", "192.0.2.10"))
    becomes(clients[0], ("nas.extra.test", "A"), ["192.0.2.10"])


def renamed(server, clients):
    node = clients[0]
    old, v4 = node.name, node.addresses()[0]
    server.cli("nodes", "rename", "-i", old, "other-name")
    for client in clients[1:]:
        becomes(client, (f"other-name.{BASE}", "A"), [v4])
        gone = client.host.run("dig", "+time=2", "+tries=3", f"@{RESOLVER}", f"{old}.{BASE}")
        expect("NXDOMAIN" in gone, gone)
    # Itself as well.
    becomes(node, (f"other-name.{BASE}", "A"), [v4])
