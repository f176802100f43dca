"""What nodes do with one another because the server lets them: files, who is who, addresses."""

import json

from check import expect, wait
from lab import client_name, together


def run(report, lab):
    server = lab.server()
    server.start()
    user = server.user("fred")
    key = server.key(user, "--reusable")
    clients = [lab.client(client_name(version), number, server, version)
               for number, version in enumerate(lab.versions(), 11)]
    stranger = lab.client("stranger", 21, server)
    report.need("a client of each release joins, and one of another user", together,
                *((one.up, key) for one in clients), (stranger.up, server.key(server.user("gina"))))
    ring = list(zip(clients, clients[1:] + clients[:1]))
    for one, other in ring:
        one.sees(other.name)
    for one, other in ring:
        report.check(f"Taildrop: {one.name} sends {other.name} a file", send, one, other)
    report.check("Taildrop: not to another user's machine", not_to_strangers, clients[-1], stranger)
    for one, other in ring:
        report.check(f"whois and ip: {one.name} asks for {other.name}", who, one, other)
    report.check("whois: another user's machine", whois, clients[0], stranger, "gina")


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
