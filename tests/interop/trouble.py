"""Restarts, crashes and bad cables: nothing acknowledged is lost, nobody flaps, nobody needs a restart."""

import contextlib
import random
import subprocess
import threading
import time

from check import Failure, expect, wait
from lab import ring
from server import Server

# A silent peer is found within this; see the presence rules of the server.
SILENCE = 90


def run(report, lab):
    server = lab.server()
    server.start()
    user = server.user("dave")
    key = server.key(user, "--reusable")
    clients = [
        lab.client(name, number, server, version)
        for name, number, version in (("one", 11, "1.102.5"), ("two", 12, "1.80.3"), ("three", 13, "1.98.10"))
    ]
    one, two, three = clients
    for client in clients:
        client.up(key)
    report.need("three clients ping one another", around, clients)

    report.check("a port in use: one clear sentence, exit status not 0", port_in_use, lab, server)
    report.check("a second instance on the same data: likewise, and the first goes on", second_instance, server)
    report.check("SIGTERM: exit status 0 in five seconds; all is kept; clients come back", restart, server, clients)
    report.check("kill -9: all is kept; clients come back", killed, server, clients)
    report.check("a light update, kill -9, start: peers still find the way", light, server, one, two)
    report.check("kill -9 during registrations loses none that was acknowledged", registrations, lab, server, user)
    report.check("20 quick reconnects, no offline seen", reconnects, one, two)
    report.check(f"a cut cable: offline within {SILENCE} s; a roaming client is never offline", cable, server, clients)


def around(clients):
    for one, other in ring(clients):
        one.sees(other.name)
        one.ping(other.name, True)


def port_in_use(lab, server):
    other = Server(server.binary, server.host, lab.folder / "other")
    refused(other, f"port {other.port}")


def second_instance(server):
    here = server.log.stat().st_size
    refused(server, "already", here)
    expect(server.healthy(), "the first no longer answers")
    server.nodes()


def refused(server, word, skip=0):
    """Starts a server that must not come up: it ends soon and its last line says why."""
    process = server.spawn()
    try:
        status = process.wait(10)
    except subprocess.TimeoutExpired:
        raise Failure("it runs") from None
    finally:
        process.kill()
    said = server.log.read_text()[skip:].strip().splitlines()
    expect(status != 0, f"exit status 0: {said}")
    expect(said and word in said[-1], f"it does not say {word}: {said}")


def restart(server, clients):
    before = everything(server)
    status, seconds = server.stop()
    server.start()
    expect(status == 0, f"exit status {status}")
    expect(seconds < 5, f"it took {seconds:.1f} s")
    back(server, clients, before)


def everything(server):
    """What must survive: nodes with keys and addresses, users, keys."""
    nodes = {
        name: (node["id"], node["machine_key"], node["node_key"], node["ip_addresses"])
        for name, node in server.nodes().items()
    }
    users = sorted(user["name"] for user in server.json("users", "list"))
    keys = len(server.json("preauthkeys", "list"))
    return nodes, users, keys


def killed(server, clients):
    before = everything(server)
    server.kill()
    server.start()
    back(server, clients, before)


def back(server, clients, before):
    after = everything(server)
    expect(after == before, f"before: {before}\nafter: {after}")
    for client in clients:
        wait(f"{client.name} online again", 30, lambda client=client: server.online(client.name))
    around(clients)


def light(server, one, two):
    """`two` tells a new endpoint and a new key for finding paths; then the server loses its memory, and `one` too."""
    two.restart()
    address = "192.168.77.62"
    two.host.ip("addr", "add", f"{address}/32", "dev", "eth0")
    wait(f"{one.name} to hear of {address}", 30, lambda: address in one.cli("debug", "netmap"))
    server.kill()
    server.start()
    one.restart()
    one.sees(two.name)
    one.ping(two.name, True)
    two.ping(one.name, True)


def registrations(lab, server, user):
    """Nodes and users are made by several at once while the server is killed; who got an answer must be there."""
    key = lab.folder / "key"
    key.write_text(server.key(user, "--reusable"))
    done = threading.Event()
    nodes, users = [], []
    workers = [threading.Thread(target=register, args=(lab, server, key, n, done, nodes)) for n in range(3)]
    workers.append(threading.Thread(target=make_users, args=(server, done, users)))
    for worker in workers:
        worker.start()
    try:
        chance = random.Random(1)
        for _ in range(8):
            time.sleep(chance.uniform(0.3, 1.2))
            server.kill()
            server.start()
        time.sleep(0.5)
        server.kill()
    finally:
        done.set()
        for worker in workers:
            worker.join()
    server.start()
    listed = server.nodes()
    lost = [name for name in nodes if name not in listed]
    known = {user["name"] for user in server.json("users", "list")}
    lost += [name for name in users if name not in known]
    expect(not lost, f"lost: {', '.join(lost)}")
    expect(len(nodes) >= 10 and len(users) >= 5, f"only {len(nodes)} nodes and {len(users)} users were acknowledged")
    addresses = [address for node in listed.values() for address in node["ip_addresses"]]
    expect(len(addresses) == len(set(addresses)), "an address was given twice")
    for name in nodes:
        server.cli("--force", "nodes", "delete", "-i", str(listed[name]["id"]))


def register(lab, server, key, worker, done, acknowledged):
    tool, count = lab.tool("tsp"), 0
    while not done.is_set():
        count += 1
        name = f"made-{worker}-{count}"
        file = str(lab.folder / f"{name}.json")
        with contextlib.suppress(Failure):
            server.host.run(tool, "-s", server.url, "new-node", "-o", file, timeout=20)
            server.host.run(tool, "-s", server.url, "register", "-n", file, "-auth-key", str(key), "-hostname", name,
                            "-o", "/dev/null", timeout=20)
            acknowledged.append(name)


def make_users(server, done, acknowledged):
    count = 0
    while not done.is_set():
        count += 1
        with contextlib.suppress(Failure):
            server.user(f"made-{count}")
            acknowledged.append(f"made-{count}")


@contextlib.contextmanager
def never_offline(viewer, name):
    """Fails when `viewer` sees the peer offline, however briefly (20 looks a second)."""
    seen, done = [], threading.Event()
    started = time.monotonic()

    def watch():
        while not done.wait(0.05):
            with contextlib.suppress(OSError, ValueError):
                if not viewer.peers()[name]["Online"]:
                    seen.append(f"{time.monotonic() - started:.1f} s")

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    expect(not seen, f"{viewer.name} saw {name} offline after {', '.join(seen[:5])}")


def reconnects(one, two):
    one.sees(two.name)
    with never_offline(one, two.name):
        for _ in range(20):
            two.restart()
            two.running()
    one.ping(two.name, True)


def cable(server, clients):
    """`three` loses its cable and `two` changes networks: both leave a connection behind that nobody closes."""
    one, two, three = clients
    for client in (two, three):
        one.sees(client.name)
    with never_offline(one, two.name):
        cut = time.monotonic()
        three.host.unplug()
        two.host.move(72)
        wait("nodes list to show it offline", SILENCE, lambda: not server.online(three.name), every=1)
        one.sees(three.name, online=False)
        # Long enough for the connection that `two` left behind to be given up as well.
        time.sleep(max(0.0, SILENCE + 15 - (time.monotonic() - cut)))
        expect(server.online(two.name), f"{two.name} is listed as offline")
    three.host.plug()
    # What a cable does when it is plugged in again.
    three.host.move(73)
    one.sees(three.name)
    one.ping(three.name, True)
    one.ping(two.name, True)
