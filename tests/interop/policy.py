"""Who may talk to whom: a policy takes effect on clients that are connected, and a bad one changes nothing."""

import contextlib
import json

from check import Failure, expect, wait
from lab import client_name, ring, together, web

OPEN, CLOSED = 8000, 9000
# How long silence lasts until it is taken for a filter that drops what comes.
PATIENCE = 4


def run(report, lab):
    server = lab.server(
        config={
            "policy": {"mode": "database"},
            "dns": {"magic_dns": True, "base_domain": "policy.test", "override_local_dns": False},
        },
    )
    report.need("serve with the policy in the database", server.start)
    user = server.user("frank")
    names = [client_name(version) for version in lab.versions()]
    owners = {f"tag:{name}": ["frank@"] for name in names}
    wide = {"tagOwners": owners, "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}
    # Each may reach the next, on one port.
    narrow = {"tagOwners": owners, "acls": [{"action": "accept", "src": [f"tag:{one}"], "dst": [f"tag:{other}:{OPEN}"]}
                                            for one, other in ring(names)]}
    report.need("policy set: owners of tags", put, lab, server, wide)
    clients = [lab.client(name, number, server, version)
               for number, (name, version) in enumerate(zip(names, lab.versions()), 11)]
    stranger = lab.client("stranger", 21, server)
    report.need("a client of each release joins with a tag of its own, and one without", together,
                *((one.up, server.key(user, "--tags", f"tag:{one.name}")) for one in clients),
                (stranger.up, server.key(user)))
    pairs = ring(clients)
    with contextlib.ExitStack() as stack:
        for client in clients:
            for port in (OPEN, CLOSED):
                stack.enter_context(web(client.host, port))
        report.check("wide: everybody reaches everything, by IPv4 and IPv6", all_open, pairs, stranger)
        report.check("narrow: at once one port to one other, by IPv4 and IPv6, and not the way back", narrowed, lab, server,
                     narrow, pairs, stranger)
        report.check("a broken policy is refused and the old one stays", broken, lab, server, *pairs[0])
        report.check("wide again: what was hidden is back", again, lab, server, wide, pairs, stranger)
        report.check("a role opens a port at once, and closes it again", role, lab, server, wide, narrow, pairs, stranger)
        report.check("a node without IPv4: neither it nor its peers know the address", lean, lab, server, wide, pairs)


def put(lab, server, policy):
    file = lab.folder / "policy.json"
    file.write_text(policy if isinstance(policy, str) else json.dumps(policy))
    server.cli("policy", "set", "-f", str(file))


def reaches(one, other, port):
    """Whether `one` can open a TCP connection to a port of `other`, on which something listens meanwhile."""
    # With a path found beforehand, silence means that a filter dropped the packets.
    one.ping(other.name, True)
    with web(other.host, port):
        return connects(one, other.addresses()[0], port)


def connects(one, address, port):
    try:
        one.host.connect(address, port, timeout=PATIENCE).close()
        return True
    except OSError:
        return False


def each(pairs, check):
    """Runs check(one, other, family) for all pairs at the same time, with a path found beforehand."""
    together(*((one.ping, other.name, True) for one, other in pairs))
    together(*((check, one, other, family) for one, other in pairs for family in (0, 1)))


def opened(one, other, family):
    address = other.addresses()[family]
    for port in (OPEN, CLOSED):
        expect(connects(one, address, port), f"{one.name} does not reach {other.name}: {address} {port}")


def shut(one, other, family):
    address, back = (client.addresses()[family] for client in (other, one))
    expect(connects(one, address, OPEN), f"from {one.name}, the open port of {other.name} is closed: {address}")
    expect(not connects(one, address, CLOSED), f"from {one.name}, the closed port of {other.name} is open: {address}")
    expect(not connects(other, back, OPEN), f"the way back from {other.name} to {one.name} is open: {back}")


def all_open(pairs, stranger):
    pairs = [*pairs, (stranger, pairs[0][0])]
    for one, other in pairs:
        one.sees(other.name)
    each(pairs, opened)


def narrowed(lab, server, policy, pairs, stranger):
    put(lab, server, policy)
    wait("the stranger to lose sight of all", 10, lambda: not stranger.peers())
    for one, other in pairs:
        one.sees(other.name)
        other.sees(one.name)
    each(pairs, shut)
    one, other = pairs[0]
    for port, start in ((OPEN, "allowed by acls[0] (line 1)"), (CLOSED, "refused: acls[0] (line 1)")):
        why = server.cli("policy", "explain", one.name, f"{other.name}:{port}")
        expect(why.startswith(start), why)


def broken(lab, server, one, other):
    before = server.cli("policy", "get")
    for text in ('{"acls": [', '{"acls": [{"action": "accept", "src": ["group:none"], "dst": ["*:*"]}]}'):
        try:
            put(lab, server, text)
        except Failure:
            continue
        raise Failure(f"it took {text}")
    expect(server.cli("policy", "get") == before, "the policy changed")
    each([(one, other)], shut)


def again(lab, server, policy, pairs, stranger):
    put(lab, server, policy)
    all_open(pairs, stranger)


def role(lab, server, wide, narrow, pairs, stranger):
    other, page = pairs[0]

    def capabilities():
        return {cap.rpartition("/")[2] for cap in stranger.status()["Self"].get("CapMap", {})}

    def enters(port):
        stranger.ping(page.name, True)
        return connects(stranger, page.addresses()[0], port)

    admins = {"action": "accept", "src": ["autogroup:admin"], "dst": [f"tag:{page.name}:{OPEN}"]}
    put(lab, server, {**narrow, "acls": [*narrow["acls"], admins]})
    wait("the stranger to lose sight of the page", 10, lambda: page.name not in stranger.peers())
    expect("is-admin" not in capabilities(), capabilities())
    server.cli("users", "set-role", "-n", "frank", "admin")
    stranger.sees(page.name)
    wait("the node to know of the role", 10, lambda: "is-admin" in capabilities())
    expect("is-owner" not in capabilities(), capabilities())
    expect(enters(OPEN), "the open port is closed")
    expect(not enters(CLOSED), "the closed port is open")
    why = server.cli("policy", "explain", stranger.name, f"{page.name}:{OPEN}")
    expect(why.startswith(f"allowed by acls[{len(pairs)}]"), why)
    server.cli("users", "set-role", "-n", "frank", "owner")
    wait("the node to know its owner", 10, lambda: {"is-admin", "is-owner"} <= capabilities())
    expect(enters(OPEN), "the owner is no admin")
    server.cli("users", "set-role", "-n", "frank", "member")
    wait("the stranger to lose sight of the page again", 10, lambda: page.name not in stranger.peers())
    wait("the page to lose sight of the stranger", 10, lambda: stranger.name not in page.peers())
    expect(not {"is-admin", "is-owner"} & capabilities(), capabilities())
    expect(connects(other, page.addresses()[0], OPEN), f"the port is closed for {other.name}")
    put(lab, server, wide)
    stranger.sees(page.name)


def lean(lab, server, policy, pairs):
    """The oldest loses its IPv4 address, and then the newest."""
    for node, peer in (pairs[0], pairs[-1]):
        put(lab, server, {**policy, "nodeAttrs": [{"target": [f"tag:{node.name}"], "attr": ["disable-ipv4"]}]})
        wait("IPv4 to be gone", 10, lambda: known(node, peer) == [{True}] * 3)
        expect(connects(peer, node.addresses()[0], OPEN), "no TCP over IPv6")
        put(lab, server, policy)
        wait("IPv4 to be back", 10, lambda: known(node, peer) == [{True, False}] * 3)


def known(node, peer):
    """Which kinds of address (whether IPv6) a node has, is seen to have, and sees."""
    told = (node.addresses(), peer.peers()[node.name]["TailscaleIPs"], node.peers()[peer.name]["TailscaleIPs"])
    return [{":" in address for address in addresses} for addresses in told]
