"""Logging in over Tailscale SSH: let in, refused, and let in once somebody has said yes."""

import re
import subprocess

from check import Failure, expect, wait
from net import spawn
from policy import put

OWNERS = {"tag:box": ["frank@"]}
OPEN = [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]
GUEST = "guest"


def policy(*rules):
    base = {"src": ["frank@"], "dst": ["tag:box"]}
    return {"tagOwners": OWNERS, "acls": OPEN, "ssh": [{**base, **rule} for rule in rules]}


ACCEPT = policy({"action": "accept", "users": ["autogroup:nonroot"], "acceptEnv": ["GRAMSCALE_*"]})
CHECK = policy({"action": "check", "checkPeriod": "1h", "users": [GUEST]})
ALWAYS = policy({"action": "check", "checkPeriod": "always", "users": [GUEST]})
NONE = {"tagOwners": OWNERS, "acls": OPEN}


def run(report, lab):
    server = lab.server(config={"policy": {"mode": "database"}, "dns": {"magic_dns": False, "base_domain": "ssh.test"}})
    report.need("serve with the policy in the database", server.start)
    user = server.user("frank")
    report.need("policy set: nobody logs in anywhere", put, lab, server, NONE)
    laptop = lab.client("laptop", 11, server)
    report.need("join: where people come from", laptop.up, server.key(user))
    key = server.key(user, "--tags", "tag:box", "--reusable")
    for number, version in enumerate(lab.versions(), 12):
        put(lab, server, NONE)
        box = lab.client("box-" + version.replace(".", "-"), number, server, version)
        populate(box.host)
        report.need(f"join with SSH on: {version}", box.up, key, "--ssh")
        laptop.sees(box.name)
        report.check(f"no rule, no login: {version}", refused, laptop, box, GUEST)
        report.check(f"accept: {version}", accept, lab, server, laptop, box)
        # The oldest takes no variables at all.
        if number > 12:
            report.check(f"variables that the policy names come along: {version}", variables, laptop, box)
        report.check(f"check, said yes to, and remembered: {version}", approved, lab, server, laptop, box)
        report.check(f"check, said no to: {version}", rejected, lab, server, laptop, box)
        report.check(f"check each time anew: {version}", always, lab, server, laptop, box)
        report.check(f"the last rule is gone, and with it the login: {version}", gone, lab, server, laptop, box)
        box.kill()


def populate(host):
    """An account that may log in on this host only."""
    with open(host.etc / "passwd", "a") as file:
        file.write(f"{GUEST}:x:4242:4242:guest:/tmp:/bin/sh\n")
    with open(host.etc / "group", "a") as file:
        file.write(f"{GUEST}:x:4242:\n")


def command(laptop, box, login, *words):
    options = ("-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
               "-o", "ConnectTimeout=20", "-o", "BatchMode=yes")
    options += ("-o", "SendEnv=GRAMSCALE_WORD OTHER_WORD")
    return laptop.host.command("ssh", *options, f"{login}@{box.addresses()[0]}", *(words or ("id", "-un")))


def attempt(laptop, box, login, *words):
    """Logs in: (exit status, what the far end printed, what ssh said)."""
    env = {**laptop.env, "GRAMSCALE_WORD": "one", "OTHER_WORD": "two"}
    done = subprocess.run(command(laptop, box, login, *words), stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, env=env)
    return done.returncode, done.stdout.strip(), done.stderr


def enters(laptop, box, login):
    status, name, said = attempt(laptop, box, login)
    if status != 0:
        raise Failure(f"{login} is not let in: {said}")
    expect(name == login, f"{login} is {name} there")
    return True


def refused(laptop, box, login):
    status, name, said = attempt(laptop, box, login)
    expect(status != 0, f"{login} was let in as {name}")
    expect("Permission denied" in said or "tailscale:" in said or "refused" in said, said)
    return True


def accept(lab, server, laptop, box):
    put(lab, server, ACCEPT)
    wait("the guest to be let in", 30, lambda: enters(laptop, box, GUEST))
    refused(laptop, box, "root")


def variables(laptop, box):
    status, words, said = attempt(laptop, box, GUEST, "echo", "$GRAMSCALE_WORD,$OTHER_WORD")
    expect(status == 0 and words == "one,", f"{words!r}: {said}")


class Login:
    """A login that waits for somebody's word."""

    def __init__(self, laptop, box):
        log = laptop.folder / "ssh.log"
        log.unlink(missing_ok=True)
        self.process = spawn(command(laptop, box, GUEST), log, laptop.env)
        self.log = log
        self.id = wait("the address to open", 30, self.find).group(1)

    def find(self):
        status = self.process.poll()
        found = re.search(r"/auth/(hskey-authreq-[0-9a-f]+)", self.log.read_text())
        if not found and status is not None:
            raise SystemError(f"ssh ended with {status}: {self.log.read_text()}")
        return found

    def end(self):
        status = self.process.wait(30)
        return status, self.log.read_text()


def asks(laptop, box):
    """Begins a login that has to ask, once the box knows that it has."""
    return wait("a login that asks", 40, lambda: begun(laptop, box))


def begun(laptop, box):
    try:
        return Login(laptop, box)
    except SystemError as error:
        raise Failure(str(error)) from error


def approved(lab, server, laptop, box):
    put(lab, server, NONE)
    wait("no login", 30, lambda: refused(laptop, box, GUEST))
    put(lab, server, CHECK)
    login = asks(laptop, box)
    status, page = server.host.get(server.host.address, server.port, f"/auth/{login.id}")
    page = page.decode()
    expect(status == 200 and f"auth approve --auth-id {login.id}" in page, page)
    for word in (laptop.name, box.name, GUEST):
        expect(word in page, f"{word} is not on the page: {page}")
    expect(login.process.poll() is None, "it did not wait")
    server.cli("auth", "approve", "--auth-id", login.id)
    status, said = login.end()
    expect(status == 0 and said.rstrip().endswith(GUEST), said)
    enters(laptop, box, GUEST)
    try:
        server.cli("auth", "approve", "--auth-id", login.id)
    except Failure:
        return
    raise Failure("the same login was approved twice")


def rejected(lab, server, laptop, box):
    # A policy that is set makes everybody ask again.
    put(lab, server, CHECK)
    login = asks(laptop, box)
    server.cli("auth", "reject", "--auth-id", login.id)
    status, said = login.end()
    expect(status != 0 and "refused" in said, said)


def always(lab, server, laptop, box):
    put(lab, server, ALWAYS)
    ids = set()
    for _ in range(2):
        login = asks(laptop, box)
        ids.add(login.id)
        server.cli("auth", "approve", "--auth-id", login.id)
        status, said = login.end()
        expect(status == 0, said)
    expect(len(ids) == 2, "the second login was the first")


def gone(lab, server, laptop, box):
    put(lab, server, ACCEPT)
    wait("the guest to be let in", 30, lambda: enters(laptop, box, GUEST))
    put(lab, server, NONE)
    wait("no login", 30, lambda: refused(laptop, box, GUEST))
