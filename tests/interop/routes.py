"""Subnet routers, their failover, 4via6 and exit nodes, with real TUN devices and forwarding kernels."""

import json
import signal

from check import Failure, expect, wait
from lab import client_name, together, web
from net import run as run_command

# The network behind the routers, and a host in it. Nobody else has a route there.
LAN = "10.20.0"
ROUTE = f"{LAN}.0/24"
PRINTER = f"{LAN}.9"
# Behind the printer: what only an exit node leads to.
OUTSIDE = "203.0.113.9"
SITE = "7"


def run(report, lab):
    server = lab.server(
        config={
            "policy": {"mode": "database"},
            "dns": {"magic_dns": True, "base_domain": "routes.test", "override_local_dns": False},
            # Quick, but slower than a busy machine.
            "node": {"routes": {"ha": {"probe_interval": "5s", "probe_timeout": "4s"}}},
        },
    )
    server.start()
    user = server.user("ruth")
    key = server.key(user, "--reusable")
    printer = lab.net.host("printer", 40)
    printer.ip("link", "add", "lan", "type", "bridge")
    printer.ip("link", "set", "lan", "up")
    printer.ip("addr", "add", f"{PRINTER}/24", "dev", "lan")
    printer.ip("addr", "add", f"{OUTSIDE}/32", "dev", "lan")
    printer.ip("link", "set", "eth0", "down")
    oldest, *others = lab.versions()
    routers = [lab.client(name, number, server, version) for number, (name, version) in
               enumerate(zip(("first", "second", "third", "fourth"), (*others, oldest)), 21)]
    first, second, *spare = routers
    for number, router in enumerate(routers, 1):
        attach(router, printer, number)
    users = [lab.client(client_name(version), number, server, version)
             for number, version in enumerate(lab.versions(), 11)]

    report.need("a router of each release joins and offers the same route", together,
                *((router.up, key, f"--advertise-routes={ROUTE}") for router in routers))
    report.need("a client of each release joins", together, *((one.up, key, "--accept-routes") for one in users))
    with web(printer):
        report.check("a route that is offered and not approved leads nowhere", not_approved, server, users)
        report.need("approved: each release reaches the network behind, by the first router", approved, server, users)
        report.check("a second router of the route stands by", stands_by, server)
        report.check("the first router is killed: the second takes over", killed, server, first, users)
        report.check("the first comes back: no flapping", comes_back, server, first, users)
        report.check("kill -9 of the server: the second remains the router", restarted, server, routers, users)
        report.check("a router that is frozen, but connected, is passed over", frozen, server, second, users)
        report.check("approval taken back: the other takes over", taken_back, server, users)
        report.check("a route no longer offered keeps its approval", not_offered, server, second, users)
        report.check("4via6: the same network by its site number", via6, server, first, users)
        report.check("exit node, each release by another one: one default route approved is both", exit_nodes, server, routers,
                     users)
        # The oldest has no such command.
        report.check("exit-node suggest names one", together, *((suggested, one, routers) for one in users[1:]))
        for router, next_one in zip(routers[1:], spare):
            report.check(f"one of each release takes over: {next_one.name} from {router.name}", succeeded, server, router,
                         next_one, users)
    report.check("autoApprovers approve at once", automatic, lab, server, first)


def attach(router, printer, number):
    """Puts a router on the printer's network, forwarding."""
    port = f"to-{number}"
    run_command("ip", "-n", printer.namespace, "link", "add", port, "type", "veth", "peer", "name", "lan0", "netns",
                router.host.namespace)
    printer.ip("link", "set", port, "master", "lan", "up")
    router.host.ip("link", "set", "lan0", "up")
    router.host.ip("addr", "add", f"{LAN}.{number}/24", "dev", "lan0")
    router.host.ip("route", "add", f"{OUTSIDE}/32", "via", PRINTER)
    router.host.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding")


def fetches(one, address=PRINTER, seconds=4):
    """Whether a client gets the printer's page."""
    try:
        return one.host.get(address, 8000, "/", timeout=seconds)[0] == 200
    except OSError:
        return False


def all_fetch(users, address=PRINTER):
    together(*((wait, f"{one.name} to reach {address}", 30, lambda one=one: fetches(one, address)) for one in users))


def serving(server, name):
    """Which routes `nodes list-routes` says a node serves."""
    for node in server.json("nodes", "list-routes"):
        if node["given_name"] == name:
            return node.get("subnet_routes", [])
    return []


def serves(server, name, seconds=30):
    wait(f"{name} to be the router of {ROUTE}", seconds, lambda: ROUTE in serving(server, name))


def approve(server, name, routes):
    server.cli("nodes", "approve-routes", "-i", name, "-r", routes)


def not_approved(server, users):
    listed = {node["given_name"]: node for node in server.json("nodes", "list-routes")}
    for name in ("first", "second", "third", "fourth"):
        expect(listed[name].get("available_routes") == [ROUTE], listed)
        expect(not listed[name].get("approved_routes"), listed)
    expect(not fetches(users[0], seconds=2), "it is reached")


def approved(server, users):
    approve(server, "first", ROUTE)
    serves(server, "first", 5)
    all_fetch(users)


def stands_by(server):
    approve(server, "second", ROUTE)
    expect(serving(server, "second") == [], "the second took the route")
    serves(server, "first", 5)


def killed(server, first, users):
    first.kill()
    serves(server, "second")
    all_fetch(users)


def comes_back(server, first, users):
    first.start()
    first.running()
    users[-1].sees("first")
    serves(server, "second", 5)
    all_fetch(users)


def restarted(server, routers, users):
    # The choice is stored as it is made.
    server.kill()
    server.start()
    for router in routers:
        wait(f"{router.name} online again", 30, lambda name=router.name: server.online(name))
    serves(server, "second", 5)
    all_fetch(users)


def frozen(server, second, users):
    second.process.send_signal(signal.SIGSTOP)
    try:
        serves(server, "first", 25)
        expect(server.online("second"), "it was seen to be gone, not silent")
        all_fetch(users)
    finally:
        second.process.send_signal(signal.SIGCONT)
    wait("the second to answer again", 30, lambda: second.status()["BackendState"] == "Running")
    serves(server, "first", 5)


def taken_back(server, users):
    approve(server, "first", "")
    serves(server, "second", 5)
    all_fetch(users)


def not_offered(server, second, users):
    second.cli("set", "--advertise-routes=")
    wait("the route to be gone", 10, lambda: serving(server, "second") == [])
    expect(server.node("second")["approved_routes"] == [ROUTE], server.node("second"))
    wait("the route to be gone from clients", 10, lambda: ROUTE not in allowed(users[0], "second"))
    second.cli("set", f"--advertise-routes={ROUTE}")
    serves(server, "second", 10)
    all_fetch(users)


def allowed(one, name):
    return one.peers()[name].get("AllowedIPs") or []


def via6(server, first, users):
    prefix = first.cli("debug", "via", SITE, ROUTE).strip()
    host = first.cli("debug", "via", SITE, f"{PRINTER}/32").strip().split("/")[0]
    first.cli("set", f"--advertise-routes={prefix}")
    approve(server, "first", prefix)
    all_fetch(users, host)


def exit_nodes(server, routers, users):
    for router in routers:
        router.cli("set", "--advertise-exit-node")
        wait("the server to hear of it", 10, lambda: "::/0" in server.node(router.name).get("available_routes", []))
        approve(server, router.name, f"0.0.0.0/0,{ROUTE}" if router.name == "second" else "0.0.0.0/0")
        expect("::/0" in server.node(router.name)["approved_routes"], server.node(router.name))

    def leave(one, router):
        wait("the exit node to be offered", 10, lambda: one.peers()[router.name].get("ExitNodeOption"))
        expect(not fetches(one, OUTSIDE, 2), "it is reached without an exit node")
        one.cli("set", f"--exit-node={router.name}")
        wait(f"{one.name} to reach {OUTSIDE} by {router.name}", 30, lambda: fetches(one, OUTSIDE))
        one.cli("set", "--exit-node=")

    together(*((leave, *both) for both in zip(users, routers)))


def succeeded(server, router, next_one, users):
    approve(server, next_one.name, ROUTE)
    serves(server, router.name, 5)
    expect(serving(server, next_one.name) == [], f"{next_one.name} took the route")
    router.kill()
    serves(server, next_one.name)
    all_fetch(users)


def suggested(one, routers):
    said = wait("a suggestion", 30, lambda: suggestion(one))
    expect(any(f" {router.name}." in said for router in routers), said)


def suggestion(one):
    text = one.cli("exit-node", "suggest")
    return "Suggested exit node" in text and text


def automatic(lab, server, first):
    file = lab.folder / "policy.json"
    file.write_text(json.dumps({
        "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],
        "autoApprovers": {"routes": {"10.30.0.0/16": ["ruth@"]}},
    }))
    server.cli("policy", "set", "-f", str(file))
    first.cli("set", "--advertise-routes=10.30.1.0/24,10.40.0.0/24")
    wait("the route inside to be served", 10, lambda: "10.30.1.0/24" in serving(server, "first"))
    expect("10.40.0.0/24" not in server.node("first")["approved_routes"], "the other was approved as well")
