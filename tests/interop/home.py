"""A tailnet at home: a server started as the README says, on a bare address, and every supported release in it."""

import contextlib
import json
import re

from check import Failure, expect, wait
from lab import ring, web
from net import run as run_command

# The address of the resolver inside every client.
RESOLVER = "100.100.100.100"


def run(report, lab):
    server = lab.server()
    report.need("serve, with nothing configured but the address", server.start)
    report.check("it says where everything is and what to type next", greeting, server)
    report.check("health and version, also through a link named headscale", linked, server)
    user = report.need("users create", server.user, "alice")
    key = report.need("preauthkeys create", server.key, user, "--reusable")

    clients = lab.apart(report, "join by key", server, key)
    pairs = ring(clients)
    report.check("nodes list: names, addresses, online", listed, server, clients)
    for one, other in pairs:
        report.check(
            f"ping through the relay, pinned certificate, bare address: {one.name} to {other.name}",
            one.ping, other.name, False,
        )
    for one, other in pairs:
        report.check(f"TCP through the relay, by name: {one.name} from {other.name}", fetch, one, other)
    for one, other in pairs:
        report.check(f"MagicDNS: {one.name} asks for {other.name}", resolve, one, other)
    report.check("MagicDNS: a name that is not there does not exist", absent, clients[-1])
    report.check("the relay refuses strangers", strangers, lab, clients[-1])

    for client in clients:
        client.host.isolate(False)
    for one, other in pairs:
        report.check(f"ping directly: {one.name} to {other.name}", one.ping, other.name, True)
    report.check(f"TCP directly: {clients[0].name} from {clients[-1].name}", fetch, clients[0], clients[-1])

    report.check("join by hand: auth register", by_hand, lab, server, clients)
    report.check("rename: peers see the new name", rename, server, clients)
    report.check("an ephemeral node that logs out is gone", ephemeral, lab, server, user, clients)
    report.check("a single-use key joins one node only", single_use, lab, server, user)
    report.check("expiry logs a node out; logging in again keeps its addresses", expiry, server, clients, key)
    report.check("logout; the node stays, expired", logout, server, clients, key)
    report.check("a deleted node is gone from its peers", delete, server, clients)


def greeting(server):
    said = server.log.read_text()
    for word in (server.url, str(server.folder), "users create", "preauthkeys create"):
        expect(word in said, f"it does not say {word}:\n{said}")


def linked(server):
    expect(server.json("health"), "no health")
    link = server.folder / "headscale"
    link.symlink_to(server.binary)
    expect("version" in run_command(str(link), "version", "-o", "json", env=server.env), "no version")


def listed(server, clients):
    nodes = server.nodes()
    expect(sorted(nodes) == sorted(client.name for client in clients), nodes)
    for client in clients:
        node = nodes[client.name]
        expect(node["ip_addresses"] == client.addresses(), f"{node['ip_addresses']} is not {client.addresses()}")
        expect(node.get("online"), f"{client.name} is not online")
        expect(node["user"]["name"] == "alice", node["user"])


def fetch(one, other):
    """Fetches from `other` by the short name that the system's resolver completes, and by its IPv6 address."""
    with web(other.host):
        for place in (other.name, f"[{other.addresses()[1]}]"):
            size = one.host.run(
                "curl", "-sS", "--fail", "-m", "30", "-o", "/dev/null", "-w", "%{size_download}",
                f"http://{place}:8000/",
            )
            expect(size == "131072", f"{size} bytes arrived from {place}")


def resolve(one, other):
    name = f"{other.name}.{one.domain()}"
    v4 = other.addresses()[0]

    def ask(*words):
        return one.host.run("dig", "+short", "+time=2", "+tries=2", f"@{RESOLVER}", *words).split()

    expect(ask(name, "A") == [v4], f"A of {name}: {ask(name, 'A')}, not {v4}")
    # No AAAA: a client answers that for peers only with a node attribute that is off by default.
    expect(ask("-x", v4) == [f"{name}."], f"PTR of {v4}: {ask('-x', v4)}")
    # The short name, as a program asks for it.
    found = one.host.run("getent", "ahostsv4", other.name)
    expect(found.startswith(v4), f"getent finds {found!r} for {other.name}")


def absent(client):
    text = client.host.run("dig", "+time=2", "+tries=2", f"@{RESOLVER}", f"nobody.{client.domain()}")
    expect("NXDOMAIN" in text, text)


def strangers(lab, client):
    """The probe relays with keys made up on the spot; only nodes of this tailnet may."""
    file = lab.folder / "map.json"
    file.write_text(json.dumps(client.derp_map()))
    text = client.host.run(
        "sh", "-c", '"$0" "$@" 2>&1', lab.tool("derpprobe"), "-once", "-spread=false", "-derp-map", f"file://{file}",
        timeout=100, fine=True,
    )
    expect(re.search(r"bad: derp/\S+/mesh:", text), text)


def by_hand(lab, server, clients):
    client = lab.client("by-hand", 31, server)
    process, link = client.up_by_hand()
    expect(link.startswith(f"{server.url}/register/"), f"the login address is {link}")
    status, page = server.host.get(server.host.address, server.port, link.removeprefix(server.url))
    expect(status == 200 and b"auth register" in page, f"{link}: {status} {page[:400]!r}")
    server.cli("auth", "register", "--auth-id", link.rsplit("/", 1)[1], "--user", "alice")
    expect(process.wait(20) == 0, (client.folder / "up.log").read_text())
    client.running()
    client.sees(clients[0].name)
    client.ping(clients[0].name, True)


def rename(server, clients):
    node = server.node("by-hand")
    server.cli("nodes", "rename", "-i", str(node["id"]), "renamed")
    clients[0].sees("renamed")
    clients[-1].ping("renamed", True)


def ephemeral(lab, server, user, clients):
    client = lab.client("passing", 32, server)
    client.up(server.key(user, "--ephemeral"))
    for peer in clients:
        peer.sees("passing")
    client.cli("logout")
    wait("the node to be gone", 20, lambda: "passing" not in server.nodes())
    for peer in clients:
        wait(f"{peer.name} to forget it", 10, lambda peer=peer: "passing" not in peer.peers())


def single_use(lab, server, user):
    key = server.key(user)
    first, second = (lab.client(f"single-{n}", 32 + n, server) for n in (1, 2))
    first.up(key)
    with contextlib.suppress(Failure):
        second.cli("up", f"--login-server={server.url}", f"--auth-key={key}", "--timeout=10s", timeout=30)
    expect(second.logged_out(), second.status()["BackendState"])
    expect("single-2" not in server.nodes(), "the second node is there")


def expiry(server, clients, key):
    client, peer = clients[0], clients[-1]
    before = server.node(client.name)
    server.cli("nodes", "expire", "-i", str(before["id"]))
    wait(f"{client.name} to be logged out", 20, client.logged_out)
    client.up(key, "--force-reauth")
    client.renewed(client.name, before)
    after = server.node(client.name)
    expect(after["id"] == before["id"], f"{before['id']} came back as {after['id']}")
    expect(after["ip_addresses"] == before["ip_addresses"], f"{before['ip_addresses']} became {after['ip_addresses']}")
    peer.sees(client.name)
    peer.ping(client.name, True)


def logout(server, clients, key):
    client, peer = clients[1], clients[-1]
    before = server.node(client.name)
    client.cli("logout")
    peer.sees(client.name, online=False)
    client.up(key)
    after = server.node(client.name)
    expect(after["ip_addresses"] == before["ip_addresses"], f"{before['ip_addresses']} became {after['ip_addresses']}")
    peer.sees(client.name)
    peer.ping(client.name, True)


def delete(server, clients):
    client, peer = clients[1], clients[-1]
    server.cli("--force", "nodes", "delete", "-i", str(server.node(client.name)["id"]))
    wait("the peer to forget it", 20, lambda: client.name not in peer.peers())
    expect(client.name not in server.nodes(), "it is still listed")
