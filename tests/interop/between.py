"""What nodes do with one another because the server lets them: files, who is who, served ports, relays among them."""

import json
import re

from check import expect, wait
from lab import client_name, meet, ring, together, web
from policy import put

ALL = {"src": ["*"], "dst": ["*"], "ip": ["*"]}
RELAY_PORT = 40000


def run(report, lab):
    server = lab.server(config={"policy": {"mode": "database"}})
    server.start()
    user = server.user("fred")
    key = server.key(user, "--reusable")
    clients = [lab.client(client_name(version), number, server, version)
               for number, version in enumerate(lab.versions(), 11)]
    stranger = lab.client("stranger", 21, server)
    report.need("a client of each release joins, and one of another user", together,
                *((one.up, key) for one in clients), (stranger.up, server.key(server.user("gina"))))
    pairs = ring(clients)
    meet(clients)
    for one, other in pairs:
        report.check(f"Taildrop: {one.name} sends {other.name} a file", send, one, other)
    report.check("Taildrop: not to another user's machine", not_to_strangers, clients[-1], stranger)
    for one, other in pairs:
        report.check(f"whois and ip: {one.name} asks for {other.name}", who, one, other)
    report.check("whois: another user's machine", whois, clients[0], stranger, "gina")
    for one, other in pairs:
        report.check(f"serve: {one.name} opens a port and a page that {other.name} serves", served, one, other)
    report.check("funnel: each release opens one once the policy allows it", funnelled, lab, server, clients)
    # Releases before 1.86 know nothing of it.
    report.check("a granted peer relay carries two releases that cannot reach each other", by_peer, lab, server, *clients[-2:],
                 stranger)
    report.check("app connectors of each release offer what the policy names", connectors, lab, server, clients)


def send(one, other):
    text = f"from {one.name}\n" * 20_000
    file = one.folder / f"to-{other.name}.txt"
    file.write_text(text)
    inbox = other.folder / "inbox"
    inbox.mkdir(exist_ok=True)
    # Whether a peer takes files is known a little after it is seen.
    wait("the peer to be a target", 20, lambda: other.name in one.cli("file", "cp", "--targets"))
    one.cli("file", "cp", str(file), f"{other.name}:")
    other.cli("file", "get", "--wait", str(inbox))
    expect((inbox / file.name).read_text() == text, "another file arrived")


def not_to_strangers(one, stranger):
    one.sees(stranger.name)
    targets = one.cli("file", "cp", "--targets")
    expect("client-" in targets and stranger.name not in targets, targets)


def who(one, other):
    whois(one, other, "fred")
    for family, address in zip("46", other.addresses()):
        said = one.cli("ip", f"-{family}", other.name).strip()
        expect(said == address, f"ip says {said}, not {address}")


def whois(one, other, login):
    for address in other.addresses():
        said = json.loads(one.cli("whois", "--json", address))
        expect(said["UserProfile"]["LoginName"] == login, said["UserProfile"])
        expect(said["Node"]["Name"] == f"{other.name}.{one.domain()}.", said["Node"]["Name"])


def served(one, other):
    other.cli("serve", "--bg", "--tcp=9001", "tcp://localhost:8000")
    other.cli("serve", "--bg", "--http=9002", "localhost:8000")
    with web(other.host):
        for port in (9001, 9002):
            page = f"http://{other.name}.{one.domain()}:{port}/"
            size = one.host.run("curl", "-sS", "--fail", "-m", "20", "-o", "/dev/null", "-w", "%{size_download}", page)
            expect(size == "131072", f"{size} bytes arrived from {page}")
    other.cli("serve", "reset")


def funnelled(lab, server, clients):
    """What comes in over a funnel comes from the hosted service, so this ends where a client is ready for it."""

    def told(client, *attributes):
        put(lab, server, {"grants": [ALL], "nodeAttrs": [{"target": ["fred@"], "attr": attributes}]})
        wait(f"{client.name} to be told", 10, lambda: all((name in caps(client)) == (name in attributes)
                                                          for name in ("https", "funnel")))

    def caps(client):
        return client.status()["Self"].get("CapMap", {})

    def opens(client):
        client.cli("funnel", "--bg", "--tcp=8443", "tcp://localhost:8000")
        return "AllowFunnel" in json.loads(client.cli("funnel", "status", "--json"))

    for client in clients:
        told(client, "https")
        expect(not opens(client), "it opens a funnel that no policy allows")
        told(client, "https", "funnel")
        expect(opens(client), "it opens no funnel")
        client.cli("funnel", "reset")


def by_peer(lab, server, one, other, relay):
    put(lab, server, {"grants": [ALL, {"src": ["fred@"], "dst": ["gina@"], "app": {"tailscale.com/cap/relay": []}}]})
    relay.cli("set", f"--relay-server-port={RELAY_PORT}")
    for client in (one, other):
        client.host.isolate()

    def relayed():
        said = one.cli("ping", "--until-direct=false", "-c", "1", "--timeout=5s", other.name)
        return f"via peer-relay({relay.host.address}:{RELAY_PORT}:" in said

    wait(f"{one.name} to reach {other.name} by {relay.name}", 60, relayed)
    with web(other.host):
        expect(one.host.get(other.addresses()[0], 8000, "/", timeout=20)[0] == 200, "no page")
    said = relay.cli("debug", "peer-relay-sessions")
    sent = [int(count) for count in re.findall(r"Bytes: (\d+)", said)]
    expect(sum(sent) > 131072, said)
    for client in (one, other):
        client.host.isolate(False)


def connectors(lab, server, clients):
    """What a connector of an app offers are the routes that the policy names, so it has read the attribute."""
    apps = [{"name": "app", "connectors": ["*"], "domains": ["app.test"], "routes": ["192.0.2.0/24"]}]
    put(lab, server, {"grants": [ALL], "nodeAttrs": [{"target": ["fred@"], "app": {"tailscale.com/app-connectors": apps}}]})
    for client in clients:
        client.cli("set", "--advertise-connector")
    for client in clients:
        wait(f"{client.name} to offer the route", 20,
             lambda client=client: "192.0.2.0/24" in server.node(client.name).get("available_routes", []))
