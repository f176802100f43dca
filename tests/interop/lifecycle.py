"""Nodes come, wait, change and go: approval, expiry, deletion, rejection, names, presence; with every release at once."""

import datetime
import json
import random
import signal
import time

from check import Failure, expect, wait
from dns import write
from hostile import resident
from lab import client_name, together
from net import spawn
from trouble import never_offline

# How long ephemeral nodes are kept; a server accepts no less.
EPHEMERAL = 66
# How long a client with full buffers is kept for certain, and when it is given up and shown as offline at the latest:
# TCP waits 30 s, and ten more are allowed for another connection.
PAUSE = 22
GIVEN_UP = 50
# What the server's memory may grow by while they are told more, in KiB; that is several megabytes for each.
GROWTH = 1024


def run(report, lab):
    records = lab.folder / "records.json"
    write(records)
    server = lab.server(
        config={
            "policy": {"mode": "database"},
            "dns": {"magic_dns": True, "base_domain": "life.test", "override_local_dns": False,
                    "extra_records_path": str(records)},
            "node": {"approval": True, "ephemeral": {"inactivity_timeout": f"{EPHEMERAL}s"}},
        },
    )
    server.start()
    user = server.user("lena")
    key = server.key(user, "--reusable")
    trusted = server.key(user, "--reusable", "--preapproved")
    watcher = lab.client("watcher", 10, server)
    report.need("a node with a pre-approved key is in at once", watcher.up, trusted)
    clients = [lab.client(client_name(version), number, server, version)
               for number, version in enumerate(lab.versions(), 11)]

    report.need("nodes with another key wait, see nobody and are not seen", together,
                *((waits, one, key, server, watcher) for one in clients))
    report.need("approved: they run and are seen, without a restart", together,
                *((approved, server, one, watcher) for one in clients))
    passing = lab.client("passing", 31, server)
    report.need("an ephemeral node", passing.up, server.key(user, "--ephemeral", "--preapproved"))
    watcher.sees("passing")
    passing.kill()
    killed = time.monotonic()

    report.check("a user is renamed: every release shows the new name", user_renamed, server, watcher, clients)
    report.check("a node is renamed: every release shows the new name", node_renamed, server, watcher, clients)
    report.check(f"clients whose buffers are full: one is kept for {PAUSE} s, one given up; both come to know all", stopped, lab,
                 server, watcher, *clients[::2])
    report.check("expired: each client asks for a login; logging in again keeps node and approval", together,
                 *((expired, server, one, key, watcher) for one in clients))
    report.check("logged out: peers see it at once", together, *((logged_out, one, watcher) for one in clients))
    report.check("logging in again after a logout", together, *((back, one, key, watcher) for one in clients))
    report.check("another user on the same machine is another node", another_user, server, clients[-1], watcher)
    report.check("deleted: each client asks for a login", together,
                 *((deleted, server, one, watcher) for one in clients[1:-1]))
    report.check("tags asked for at a login: their owner lets the node in, nobody else", tags_asked, lab, server, watcher)
    report.check("tags given by an administrator reach the node and its peers", tags_given, server, clients[0], watcher)
    report.check("rejected: the client is told, and nobody can let it in afterwards", rejected, lab, server)
    # A server that starts gives ephemeral nodes their time again, so this comes before its restart.
    report.check("an ephemeral node that is gone for long is deleted", forgotten, server, watcher, killed)
    report.check("a peer that is offline was last seen when it went", last_seen, server, clients[0], watcher)


def state(client):
    return client.status()["BackendState"]


def waits(client, key, server, watcher):
    spawn(client.command("up", f"--login-server={server.url}", f"--hostname={client.name}", f"--auth-key={key}"),
          client.folder / "up.log", client.env)
    wait(f"{client.name} to wait for approval", 40, lambda: state(client) == "NeedsMachineAuth")
    # JSON of commands leaves out what is false.
    expect("approved" not in server.node(client.name), server.node(client.name))
    expect(client.name not in watcher.peers(), "it is seen")
    expect(not client.peers(), f"it sees {list(client.peers())}")
    expect(f"nodes approve -i {server.node(client.name)['id']}" in server.log.read_text(), "the log does not say so")


def approved(server, client, watcher):
    server.cli("nodes", "approve", "-i", client.name)
    client.running()
    watcher.sees(client.name)
    client.ping("watcher", True)
    expect(server.node(client.name)["approved"], server.node(client.name))


def user_renamed(server, watcher, clients):
    server.cli("users", "rename", "-n", "lena", "-r", "magda")

    def names(client):
        return {profile["LoginName"] for profile in client.status()["User"].values()}

    for client in (watcher, *clients):
        wait(f"{client.name} to show magda", 10, lambda client=client: names(client) == {"magda"})
    said = clients[0].cli("whois", watcher.addresses()[0])
    expect("magda" in said, said)


def node_renamed(server, watcher, clients):
    server.cli("nodes", "rename", "-i", "watcher", "beholder")
    for client in clients:
        wait(f"{client.name} to show beholder", 10, lambda client=client: "beholder" in client.peers())
    wait("the node itself to", 10, lambda: watcher.status()["Self"]["DNSName"].startswith("beholder."))
    server.cli("nodes", "rename", "-i", "beholder", "watcher")
    for client in clients:
        wait(f"{client.name} to show watcher", 10, lambda client=client: "watcher" in client.peers())


def stopped(lab, server, watcher, short, long):
    """Two clients stop reading until their connections hold no more. The server keeps marks of what they miss, not bytes:
    the one that reads again after PAUSE goes on with its connection, the other's is given up."""
    stopped_ones = (short, long)
    ports = control_ports(server, short)
    news = News(lab, server)
    try:
        with never_offline(watcher, short.name):
            for one in stopped_ones:
                one.process.send_signal(signal.SIGSTOP)
            wait("their kernels to take no more", 30, lambda: news.tell() and all(unread(server, one) for one in stopped_ones))
            since = time.monotonic()
            wait("ours to take no more", PAUSE - 5, lambda: news.tell_in_vain(stopped_ones), every=0)
            before = resident(server)
            news.tell(since + PAUSE - time.monotonic())
            for one in stopped_ones:
                expect(server.online(one.name), f"{one.name} is listed as offline")
            short.process.send_signal(signal.SIGCONT)
            wait(f"{short.name} to hear the last news", 20, lambda: news.known(short))
        expect(control_ports(server, short) == ports, "it had to connect anew")
        wait(f"{long.name} to be given up", since + GIVEN_UP - time.monotonic(), lambda: not server.online(long.name))
        watcher.sees(long.name, online=False)
        news.tell()
        grown = resident(server) - before
        expect(grown < GROWTH, f"{grown} KiB more for what was not read")
    finally:
        for one in stopped_ones:
            one.process.send_signal(signal.SIGCONT)
    watcher.sees(long.name)
    wait(f"{long.name} to hear the last news", 20, lambda: news.known(long))
    news.end()


class News:
    """Changes that each client is told of at length, and a name by which the last can be known."""

    def __init__(self, lab, server):
        self.records = lab.folder / "records.json"
        self.server = server
        self.node = str(server.node("watcher")["id"])
        self.chance = random.Random(2)
        self.count = 0

    def tell(self, seconds=0):
        """Some 200 KB of DNS records that no compression makes short, and another name for a node that all see; again and
        again for so long."""
        end = time.monotonic() + seconds
        while True:
            self.count += 1
            write(self.records, *((f"{self.chance.randbytes(30).hex()}.life.test", "A", "192.0.2.7") for _ in range(4000)))
            self.server.process.send_signal(signal.SIGHUP)
            self.server.cli("nodes", "rename", "-i", self.node, self.name())
            if time.monotonic() >= end:
                return True

    def tell_in_vain(self, stopped_ones):
        """Whether two seconds of news lead to no more bytes for those who don't read."""
        before = [unread(self.server, one) for one in stopped_ones]
        self.tell(2)
        return before == [unread(self.server, one) for one in stopped_ones]

    def name(self):
        return f"name-{self.count}"

    def known(self, client):
        return self.name() in client.peers()

    def end(self):
        write(self.records)
        self.server.process.send_signal(signal.SIGHUP)
        self.server.cli("nodes", "rename", "-i", self.node, "watcher")


def sockets(server, client, *words):
    """The server's TCP connections with a client, as `ss` shows them, the relay's among them."""
    return server.host.run("ss", "-Htno", *words, "sport", "=", f":{server.port}", "and", "dst", client.host.address)


def unread(server, client):
    """The bytes that wait because the client's kernel takes no more."""
    return sum(int(line.split()[2]) for line in sockets(server, client).splitlines() if "timer:(persist" in line)


def control_ports(server, client):
    """The ports of a client's connections, by which another one is told from the same."""
    return sorted(line.split()[3] for line in sockets(server, client, "state", "established").splitlines())


def expired(server, client, key, watcher):
    before = server.node(client.name)
    server.cli("nodes", "expire", "-i", client.name)
    wait(f"{client.name} to ask for a login", 20, client.logged_out)
    client.up(key, "--force-reauth")
    client.renewed(client.name, before)
    after = server.node(client.name)
    for what in ("id", "ip_addresses", "machine_key"):
        expect(after[what] == before[what], f"{what}: {before[what]} became {after[what]}")
    watcher.sees(client.name)
    client.ping("watcher", True)


def logged_out(client, watcher):
    watcher.sees(client.name)
    client.cli("logout")
    # Who only loses the connection is offline after ten seconds.
    wait(f"{client.name} to be offline", 5, lambda: not watcher.peers()[client.name]["Online"])


def back(client, key, watcher):
    client.up(key)
    watcher.sees(client.name)


def another_user(server, client, watcher):
    other = server.user("otto")
    before = server.node(client.name)
    client.up(server.key(other, "--preapproved"), "--force-reauth")
    watcher.sees(f"{client.name}-1")
    after = server.node(f"{client.name}-1")
    expect(after["user"]["name"] == "otto" and after["machine_key"] == before["machine_key"], after)
    expect(server.node(client.name)["user"]["name"] == "magda", "the first node changed hands")
    expect(after["ip_addresses"] != before["ip_addresses"], "both have the same addresses")
    client.ping("watcher", True)


def last_seen(server, client, watcher):
    watcher.sees(client.name)
    client.kill()
    gone = datetime.datetime.now(datetime.timezone.utc)
    peer = watcher.sees(client.name, online=False)

    def true(text):
        seen = datetime.datetime.fromisoformat(text.split(".")[0].rstrip("Z") + "+00:00")
        expect(abs((seen - gone).total_seconds()) < 5, f"gone at {gone}, shown as {text}")

    true(peer["LastSeen"])
    server.stop()
    server.start()
    watcher.running()
    # The time is among what a restart keeps.
    wait("the watcher to see it again", 20, lambda: server.online("watcher"))
    true(wait("its time", 20, lambda: watcher.peers()[client.name])["LastSeen"])
    client.start()
    client.running()
    watcher.sees(client.name)


def deleted(server, client, watcher):
    server.cli("--force", "nodes", "delete", "-i", client.name)
    wait(f"{client.name} to ask for a login", 20, client.logged_out)
    wait("the watcher to forget it", 10, lambda: client.name not in watcher.peers())


def tags_asked(lab, server, watcher):
    file = lab.folder / "policy.json"
    file.write_text(json.dumps({
        "tagOwners": {"tag:web": ["magda@"], "tag:db": ["otto@"]},
        "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],
    }))
    server.cli("policy", "set", "-f", str(file))
    client = lab.client("tagged", 33, server)
    process, link = client.up_by_hand("--advertise-tags=tag:web")
    name = link.rsplit("/", 1)[1]
    refused(server, "[tag:web]", "auth", "register", "--auth-id", name, "--user", "otto")
    server.cli("auth", "register", "--auth-id", name, "--user", "magda")
    expect(process.wait(20) == 0, (client.folder / "up.log").read_text())
    expect(server.node("tagged")["tags"] == ["tag:web"], server.node("tagged"))
    wait("peers to see the tag", 10, lambda: watcher.peers()["tagged"].get("Tags") == ["tag:web"])


def tags_given(server, client, watcher):
    node = server.node(client.name)
    refused(server, "tag:none", "nodes", "tag", "-i", str(node["id"]), "-t", "tag:none")
    server.cli("nodes", "tag", "-i", str(node["id"]), "-t", "tag:db,tag:web")
    both = ["tag:db", "tag:web"]
    wait("the node to know", 10, lambda: client.status()["Self"].get("Tags") == both)
    wait("its peers to", 10, lambda: watcher.peers()[client.name].get("Tags") == both)
    expect("expiry" not in server.node(client.name), "a tagged node expires")


def refused(server, word, *command):
    """Runs a command that must fail, and say this word."""
    try:
        server.cli(*command)
    except Failure as failure:
        expect(word in str(failure), f"it does not say {word}: {failure}")
        return
    raise Failure(f"{' '.join(command)} was done")


def rejected(lab, server):
    client = lab.client("stranger", 32, server)
    process, link = client.up_by_hand()
    name = link.rsplit("/", 1)[1]
    server.cli("auth", "reject", "--auth-id", name)
    log = client.folder / "up.log"
    wait("the client to be told", 30, lambda: "rejected" in log.read_text())
    refused(server, "no login waits", "auth", "register", "--auth-id", name, "--user", "magda")
    expect("stranger" not in server.nodes(), "it is a node")
    process.kill()


def forgotten(server, watcher, killed):
    # Ten seconds until it counts as offline, then its time begins; a machine under load may be later.
    wait("the node to be deleted", max(0.0, killed + EPHEMERAL + 10 + 20 - time.monotonic()),
         lambda: "passing" not in server.nodes(), every=1)
    expect(time.monotonic() - killed > EPHEMERAL, "it was deleted too soon")
    wait("the watcher to forget it", 5, lambda: "passing" not in watcher.peers())
