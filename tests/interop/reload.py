"""What a running server reads again at SIGHUP, and what it says when nothing can be stored any more."""

import contextlib
import json
import signal

from check import Failure, expect, wait
from net import run as run_command
from policy import OPEN, reaches
from server import tail

RESOLVER = "100.100.100.100"
# Room for the database and some growth.
DISK = 8 << 20

WIDE = {"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}
SHUT = {"acls": [{"action": "accept", "src": ["grace@"], "dst": ["grace@:22"]}]}

DERP = """
regions:
  {number}:
    regionid: {number}
    regioncode: far
    regionname: Far away
    nodes:
      - name: far1
        regionid: {number}
        hostname: far.reload.test
        ipv4: 192.168.77.99
        stunonly: true
"""


def run(report, lab):
    files = Files(lab.folder)
    files.policy.write_text(json.dumps(WIDE))
    files.derp.write_text(DERP.format(number=901))
    files.records.write_text(records("192.0.2.1"))
    server = lab.server(
        config={
            "policy": {"mode": "file", "path": str(files.policy)},
            "derp": {
                "server": {"enabled": True, "stun_listen_addr": "0.0.0.0:3478"},
                "paths": [str(files.derp)],
            },
            "dns": {
                "magic_dns": True, "base_domain": "reload.test", "override_local_dns": False,
                "extra_records_path": str(files.records),
            },
        },
    )
    report.need("serve with a policy, a DERP map and DNS records in files", server.start)
    key = server.key(server.user("grace"), "--reusable")
    clients = [lab.client(name, number, server, version)
               for name, number, version in (("one", 11, "1.102.5"), ("two", 12, "1.62.1"))]
    for client in clients:
        client.up(key)
    one, two = clients
    report.need("both see each other", lambda: (one.sees("two"), two.sees("one")))
    report.check("the files are in force", lambda: as_at_start(clients))
    report.check("SIGHUP: a new policy", policy, server, files, one, two)
    report.check("SIGHUP: a new DERP map", derp, server, files, clients)
    report.check("SIGHUP: new DNS records", dns, server, files, clients)
    report.check("SIGHUP: broken files change nothing", broken, server, files, clients)
    report.check("a full disk: health fails, nothing is lost, and it passes again", full, lab)


class Files:
    """What the server reads."""

    def __init__(self, folder):
        self.policy = folder / "policy.hujson"
        self.derp = folder / "derp.yaml"
        self.records = folder / "records.json"


def records(address):
    return json.dumps([{"name": "printer.reload.test", "type": "A", "value": address}])


def printer(client):
    return client.host.run("dig", "+short", "+time=2", "+tries=2", f"@{RESOLVER}", "printer.reload.test", "A").strip()


def regions(client):
    return set(client.derp_map()["Regions"])


def as_at_start(clients):
    for client in clients:
        expect("901" in regions(client), regions(client))
        expect(printer(client) == "192.0.2.1", printer(client))
    expect(reaches(clients[0], clients[1], OPEN), "one does not reach two")


def policy(server, files, one, two):
    for text, open_ in ((SHUT, False), (WIDE, True)):
        files.policy.write_text(json.dumps(text))
        server.process.send_signal(signal.SIGHUP)
        wait(f"the port to be {'open' if open_ else 'closed'}", 30, lambda: reaches(one, two, OPEN) == open_)


def derp(server, files, clients):
    files.derp.write_text(DERP.format(number=902))
    server.process.send_signal(signal.SIGHUP)
    for client in clients:
        wait(f"{client.name} to have the new map", 20,
             lambda client=client: "902" in regions(client) and "901" not in regions(client))
        expect("999" in regions(client), "the server's own region is gone")


def dns(server, files, clients):
    files.records.write_text(records("192.0.2.2"))
    server.process.send_signal(signal.SIGHUP)
    for client in clients:
        wait(f"{client.name} to know the new address", 20, lambda client=client: printer(client) == "192.0.2.2")


def broken(server, files, clients):
    for file in (files.policy, files.derp, files.records):
        file.write_text("{ ]")
    here = server.log.stat().st_size
    server.process.send_signal(signal.SIGHUP)

    def said():
        return server.log.read_text()[here:]

    wait("the log to name all three", 20, lambda: said().count("as it was") + said().count("as they were") >= 3)
    one, two = clients
    expect(reaches(one, two, OPEN), "the policy that was in force is gone")
    for client in clients:
        expect("902" in regions(client), "the DERP map is gone")
        expect(printer(client) == "192.0.2.2", "the DNS records are gone")


def full(lab):
    disk = lab.folder / "disk"
    disk.mkdir()
    run_command("mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(disk))
    try:
        server = lab.server("full", 2, config={"data_dir": str(disk)})
        server.start()
        filler = disk / "filler"
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        made = fill(server)
        expect(health(server) == 500, f"/health answers {health(server)} after a change that could not be stored")
        said = server.host.run("sh", "-c", '"$0" "$@" 2>&1; echo "status $?"', server.binary, *server.options, "health",
                               env=server.env)
        expect("status 1" in said and "store" in said, said)
        filler.unlink()
        wait("health to pass again, with nothing else asked", 60, lambda: health(server) == 200)
        server.cli("health")
        server.user("late")
        server.kill()
        server.start()
        names = {user["name"] for user in server.json("users", "list")}
        expect(names == {*made, "late"}, names ^ {*made, "late"})
        server.kill()
    finally:
        run_command("umount", "-l", str(disk))


def fill(server):
    """Makes users until one is refused; the names of those that were made."""
    made = []
    for number in range(2000):
        name = f"user-{number}-" + "x" * 40
        try:
            server.user(name)
        except Failure as failure:
            expect("no space is left" in str(failure), failure)
            return made
        made.append(name)
    raise Failure(f"2000 users found room on a full disk: {tail(server.log)}")


def health(server):
    return server.host.get(server.host.address, server.port, "/health")[0]
