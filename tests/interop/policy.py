"""Who may talk to whom: a policy takes effect on clients that are connected, and a bad one changes nothing."""

import json

from check import Failure, expect, wait
from lab import web

OPEN, CLOSED = 8000, 9000

OWNERS = {"tag:reader": ["frank@"], "tag:web": ["frank@"]}
NARROW = {
    "tagOwners": OWNERS,
    "acls": [{"action": "accept", "src": ["tag:reader"], "dst": [f"tag:web:{OPEN}"]}],
}
WIDE = {"tagOwners": OWNERS, "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}


def run(report, lab):
    server = lab.server(
        config={
            "policy": {"mode": "database"},
            "dns": {"magic_dns": True, "base_domain": "policy.test", "override_local_dns": False},
        },
    )
    report.need("serve with the policy in the database", server.start)
    user = server.user("frank")
    report.need("policy set: owners of tags", put, lab, server, WIDE)
    reader, page, stranger = (lab.client(name, number, server) for name, number in
                              (("reader", 11), ("page", 12), ("stranger", 13)))
    report.need("join with a tagged key", reader.up, server.key(user, "--tags", "tag:reader"))
    report.need("join with another tag", page.up, server.key(user, "--tags", "tag:web"))
    stranger.up(server.key(user))
    report.check("wide: everybody reaches everything", wide, reader, page, stranger)
    report.check("narrow: one port for one tag, at once", narrow, lab, server, reader, page, stranger)
    report.check("a broken policy is refused and the old one stays", broken, lab, server, reader, page)
    report.check("wide again: what was hidden is back", again, lab, server, reader, page, stranger)
    report.check("a role opens a port at once, and closes it again", role, lab, server, reader, page, stranger)
    report.check("a node without IPv4: neither it nor its peers know the address", lean, lab, server, reader, page)


def put(lab, server, policy):
    file = lab.folder / "policy.json"
    file.write_text(policy if isinstance(policy, str) else json.dumps(policy))
    server.cli("policy", "set", "-f", str(file))


def reaches(one, other, port):
    """Whether `one` can open a TCP connection to a port of `other` on which something listens."""
    # With a path found beforehand, silence means that a filter dropped the packets.
    one.ping(other.name, True)
    with web(other.host, port):
        try:
            one.host.connect(other.addresses()[0], port, timeout=8).close()
            return True
        except OSError:
            return False


def wide(reader, page, stranger):
    for one, other in ((reader, page), (page, reader), (stranger, page)):
        one.sees(other.name)
        expect(reaches(one, other, CLOSED), f"{one.name} does not reach {other.name}")


def narrow(lab, server, reader, page, stranger):
    put(lab, server, NARROW)
    wait("the stranger to lose sight of the page", 10, lambda: page.name not in stranger.peers())
    reader.sees(page.name)
    page.sees(reader.name)
    expect(reaches(reader, page, OPEN), "the open port is closed")
    expect(not reaches(reader, page, CLOSED), "the closed port is open")
    expect(not reaches(page, reader, OPEN), "the way back is open")
    for port, start in ((OPEN, "allowed by acls[0] (line 1)"), (CLOSED, "refused: acls[0] (line 1)")):
        why = server.cli("policy", "explain", reader.name, f"{page.name}:{port}")
        expect(why.startswith(start), why)


def broken(lab, server, reader, page):
    before = server.cli("policy", "get")
    for text in ('{"acls": [', '{"acls": [{"action": "accept", "src": ["group:none"], "dst": ["*:*"]}]}'):
        try:
            put(lab, server, text)
        except Failure:
            continue
        raise Failure(f"it took {text}")
    expect(server.cli("policy", "get") == before, "the policy changed")
    expect(reaches(reader, page, OPEN), "the open port is closed")
    expect(not reaches(reader, page, CLOSED), "the closed port is open")


def again(lab, server, reader, page, stranger):
    put(lab, server, WIDE)
    wide(reader, page, stranger)


def role(lab, server, reader, page, stranger):
    def capabilities():
        return {cap.rpartition("/")[2] for cap in stranger.status()["Self"].get("CapMap", {})}

    admins = {"action": "accept", "src": ["autogroup:admin"], "dst": [f"tag:web:{OPEN}"]}
    put(lab, server, {"tagOwners": OWNERS, "acls": [*NARROW["acls"], admins]})
    wait("the stranger to lose sight of the page", 10, lambda: page.name not in stranger.peers())
    expect("is-admin" not in capabilities(), capabilities())
    server.cli("users", "set-role", "-n", "frank", "admin")
    stranger.sees(page.name)
    wait("the node to know of the role", 10, lambda: "is-admin" in capabilities())
    expect("is-owner" not in capabilities(), capabilities())
    expect(reaches(stranger, page, OPEN), "the open port is closed")
    expect(not reaches(stranger, page, CLOSED), "the closed port is open")
    why = server.cli("policy", "explain", stranger.name, f"{page.name}:{OPEN}")
    expect(why.startswith("allowed by acls[1]"), why)
    server.cli("users", "set-role", "-n", "frank", "owner")
    wait("the node to know its owner", 10, lambda: {"is-admin", "is-owner"} <= capabilities())
    expect(reaches(stranger, page, OPEN), "the owner is no admin")
    server.cli("users", "set-role", "-n", "frank", "member")
    wait("the stranger to lose sight of the page again", 10, lambda: page.name not in stranger.peers())
    wait("the page to lose sight of the stranger", 10, lambda: stranger.name not in page.peers())
    expect(not {"is-admin", "is-owner"} & capabilities(), capabilities())
    expect(reaches(reader, page, OPEN), "the reader's port is closed")
    put(lab, server, WIDE)
    stranger.sees(page.name)


def lean(lab, server, reader, page):
    def families(addresses):
        return {":" in address for address in addresses}

    def known():
        return [families(page.addresses()), families(reader.peers()[page.name]["TailscaleIPs"]),
                families(page.peers()[reader.name]["TailscaleIPs"])]

    expect(known() == [{True, False}] * 3, known())
    put(lab, server, {**WIDE, "nodeAttrs": [{"target": ["tag:web"], "attr": ["disable-ipv4"]}]})
    wait("IPv4 to be gone", 10, lambda: known() == [{True}] * 3)
    expect(reaches(reader, page, OPEN), "no TCP over IPv6")
    put(lab, server, WIDE)
    wait("IPv4 to be back", 10, lambda: known() == [{True, False}] * 3)
