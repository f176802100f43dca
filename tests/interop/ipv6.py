"""A network without IPv4: control, relay and STUN over IPv6 alone."""

import json

from check import expect


def run(report, lab):
    lab.net.ipv6 = True
    server = lab.server()
    report.need("serve on an IPv6 address", server.start)
    key = server.key(server.user("sixten"), "--reusable")
    clients = []
    for number, version in enumerate(lab.versions(), 11):
        client = lab.client("six-" + version.replace(".", "-"), number, server, version)
        client.host.isolate()
        report.need(f"join: {version}", client.up, key)
        clients.append(client)
    ring = list(zip(clients, clients[1:] + clients[:1]))
    for one, other in ring:
        one.sees(other.name)
        report.check(f"ping through the relay, pinned certificate: {one.name} to {other.name}", one.ping, other.name, False)
    for client in clients:
        client.host.isolate(False)
    for one, other in ring:
        report.check(f"ping directly: {one.name} to {other.name}", one.ping, other.name, True)
    for client in clients:
        report.check(f"STUN: {client.name} learns its address", stun, client)


def stun(client):
    found = json.loads(client.cli("netcheck", "--format=json"))
    expect(found["IPv6"] and not found["IPv4"], found)
    expect(found["GlobalV6"].startswith(f"[{client.host.address}]:"), found["GlobalV6"])
