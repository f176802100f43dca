"""A network without IPv4: control, relay and STUN over IPv6 alone."""

import json

from check import expect
from lab import ring


def run(report, lab):
    lab.net.ipv6 = True
    server = lab.server()
    report.need("serve on an IPv6 address", server.start)
    key = server.key(server.user("sixten"), "--reusable")
    clients = lab.apart(report, "join", server, key)
    pairs = ring(clients)
    for one, other in pairs:
        report.check(f"ping through the relay, pinned certificate: {one.name} to {other.name}", one.ping, other.name, False)
    for client in clients:
        client.host.isolate(False)
    for one, other in pairs:
        report.check(f"ping directly: {one.name} to {other.name}", one.ping, other.name, True)
    for client in clients:
        report.check(f"STUN: {client.name} learns its address", stun, client)


def stun(client):
    found = json.loads(client.cli("netcheck", "--format=json"))
    expect(found["IPv6"] and not found["IPv4"], found)
    expect(found["GlobalV6"].startswith(f"[{client.host.address}]:"), found["GlobalV6"])
