"""The LuCI app in a real browser, with the real server and real clients behind a stand-in for the router.

    python3 tests/luci PROGRAM CLIENT [PICTURES]     CLIENT is the folder of tailscaled; PICTURES one for screenshots
"""

import http.client
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import zlib
from pathlib import Path

import catalogue
import zbar
from browser import PATIENCE, Browser, Failure
from standin import APP, Router, Site, read_uci

PAGES = ("overview", "reach", "machines", "keys", "users", "routes", "policy", "dns", "settings", "log")

# Longer than a label, and a program if anybody takes it for markup.
HOSTILE = "<img src=x onerror=hacked=1>"

# Whether a dialog asks something.
ASKED = "document.querySelector('.modal [data-name=go]')?.checkVisibility({visibilityProperty: true})"


def expect(truth, what):
    if not truth:
        raise Failure(str(what))


def wait(what, probe):
    end = time.monotonic() + PATIENCE
    while not (value := probe()):
        expect(time.monotonic() < end, f"waited for {what}")
        time.sleep(0.1)
    return value


class Client:
    """An official client without a network device of its own."""

    def __init__(self, binaries, folder, name, url):
        self.url = url
        self.socket = folder / "s"
        folder.mkdir()
        self.command = [str(binaries / "tailscale"), f"--socket={self.socket}"]
        self.log = open(folder / "log", "wb")
        self.process = subprocess.Popen(
            [str(binaries / "tailscaled"), f"--statedir={folder}", f"--socket={self.socket}", "--tun=userspace-networking",
             "--port=0", "--no-logs-no-support"],
            stdout=self.log, stderr=self.log, env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        )
        wait(f"tailscaled of {name}", self.status)
        self.call_itself(name)

    def status(self):
        answer = subprocess.run([*self.command, "status", "--json"], capture_output=True, text=True, timeout=PATIENCE)
        return json.loads(answer.stdout) if answer.returncode == 0 else None

    def up(self, key, *flags):
        self.comes_up(key, *flags)()

    def comes_up(self, key, *flags):
        """Begins to join; what is returned waits until it has."""
        words = ["up", "--reset", f"--login-server={self.url}", "--timeout=60s", f"--auth-key={key}", *flags]
        process = subprocess.Popen([*self.command, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

        def joined():
            said = process.communicate(timeout=2 * PATIENCE)[0]
            expect(process.returncode == 0, said)

        return joined

    def call_itself(self, name):
        """Takes a name that the client's command line would refuse, as any other program may."""
        self.local("PATCH", "prefs", {"HostnameSet": True, "Hostname": name})

    def knock(self):
        """Asks to join without a key, and goes on asking."""
        prefs = {**json.loads(self.local("GET", "prefs", None)), "ControlURL": self.url, "WantRunning": True}
        self.local("POST", "start", {"UpdatePrefs": prefs})
        self.local("POST", "login-interactive", None)

    def local(self, method, path, body):
        connection = http.client.HTTPConnection("local-tailscaled.sock", timeout=PATIENCE)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.socket))
        connection.request(method, f"/localapi/v0/{path}", json.dumps(body) if body else None)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        expect(answer.status < 300, f"{method} {path}: {answer.status} {text}")
        return text

    def backend(self):
        return (self.status() or {}).get("BackendState")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def grey(png):
    """A picture of the browser (8 bits a sample, RGB or RGBA, not interlaced) as one byte a pixel."""
    width, height, depth, colour = struct.unpack(">IIBB", png[16:26])
    expect((depth, colour in (2, 6)) == (8, True), "another kind of PNG than expected")
    size = 3 if colour == 2 else 4
    data, at = b"", 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at:at + 8])
        if kind == b"IDAT":
            data += png[at + 8:at + 8 + length]
        at += length + 12
    data = zlib.decompress(data)
    row, out = bytearray(width * size), bytearray()
    for y in range(height):
        start = y * (width * size + 1)
        how, line = data[start], bytearray(data[start + 1:start + 1 + width * size])
        for i, value in enumerate(line):
            left = line[i - size] if i >= size else 0
            corner = row[i - size] if i >= size else 0
            nearest = min((left, row[i], corner), key=lambda c: abs(left + row[i] - corner - c))
            line[i] = value + (0, left, row[i], (left + row[i]) // 2, nearest)[how] & 255
        row = line
        out += row[::size]
    return width, height, bytes(out)


class Trial:
    """The pages, as somebody uses them one after the other."""

    def __init__(self, program, binaries, folder, pictures):
        self.binaries, self.folder, self.pictures = binaries, folder, pictures
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        settings = (
            f"config server 'server'\n\toption server_url '{self.url}'\n\tlist listen '127.0.0.1:{self.port}'\n"
            f"\toption data_dir '{folder}/data'\n\toption socket '{folder}/sock'\n\n"
            "config derp 'derp'\n\toption stun_listen 'none'\n"
        )
        self.router = Router(program, folder, settings)
        texts = {text: text for text in catalogue.used()}
        self.site = Site(self.router, texts)
        self.browser = Browser(folder)
        self.clients = []

    def close(self):
        self.browser.close()
        for client in self.clients:
            client.close()
        self.router.stop()

    def open(self, page, session="writer"):
        self.browser.open(self.site.url(page, session))
        self.browser.wait(f"the page {page}", "document.getElementById('view')?.dataset.ready")

    def client(self, name):
        client = Client(self.binaries, self.folder / f"client{len(self.clients)}", name, self.url)
        self.clients.append(client)
        return client

    def shows(self, text, selector="#view"):
        self.browser.wait(f"\"{text}\"", f"document.querySelector('{selector}')?.innerText.includes({json.dumps(text)})")

    def hides(self, text, selector="#view"):
        self.browser.wait(
            f"\"{text}\" to go", f"!document.querySelector('{selector}')?.innerText.includes({json.dumps(text)})")

    def go(self):
        """Agrees to a dialog, and waits until it is gone."""
        self.browser.click(".modal [data-name=go]")
        self.browser.wait("the dialog to close", f"!({ASKED})")

    def cli(self, *words):
        answer = self.router.cli(*words)
        expect(answer.returncode == 0, answer.stderr)
        return json.loads(answer.stdout)

    def row(self, text, selector):
        """The data-id of the row of a table that has a text."""
        return self.browser.wait(
            f"a row with {text}",
            f"[...document.querySelectorAll('{selector} tr[data-id]')].find(r => r.innerText.includes({json.dumps(text)}))?.dataset.id")

    def act(self, text, selector, action):
        row = self.row(text, selector)
        self.browser.click(f'{selector} tr[data-id="{row}"] [data-action={action}]')

    # The checks, in order

    def overview(self):
        b = self.browser
        self.open("overview")
        self.shows("not running")
        self.shows("cannot reach the server")
        b.click("[data-action=start]")
        b.wait("the server to run", "document.querySelector('[data-name=state]').innerText == 'running'")
        for text in (self.url, f"tailscale up --login-server {self.url}", "0 of 0 online", "wan: port 8443 (tcp)", "Memory"):
            self.shows(text)
        expect(b.text().count("wan: port 443 (tcp), led to port 8443") == 1, "two rules for one port are told twice")
        memory = re.search(r"Memory\s+([\d.]+) MB", b.text())
        expect(memory and 1 < float(memory.group(1)) < 100, f"no sensible memory in {b.text()}")

    def code(self):
        """What a phone reads off the page, and what it finds there."""
        page = f"{self.url}/join"
        expect(zbar.read(*grey(self.browser.picture("#gramscale-join svg"))) == [page], "the code says something else")
        text = urllib.request.urlopen(page, timeout=PATIENCE).read().decode()
        for part in (f"<pre>{self.url}</pre>", "Android", "OpenWrt"):
            expect(part in text, f"{part} is not on {page}")
        self.browser.click("[data-action=reach]")
        self.shows("clients reach the server", "#gramscale-reach")

    def reach(self):
        """Each way to be reached: what is asked, what is told before, what is set, and whether the address answers."""
        b = self.browser
        self.open("overview")
        self.shows("before the first machine joins")
        expect(b.run("document.querySelector('[data-action=choose]').pathname").endswith("/gramscale/reach"), "no way there")

        def choose(way, **answers):
            b.click(f"[name=way][value={way}]")
            for name, answer in answers.items():
                b.type(f"#gramscale-reach [name={name}]", answer)
            b.click("[data-action=next]")

        self.open("reach")
        expect(b.run("document.querySelector('[name=way]:checked').value") == "lan", "another way is chosen")
        choose("http", name="nas.tail.internal", port="443", zones="wan, lan zone/1")
        for text in ("Name: It must not lie in tail.internal", "Port: This is the port of LuCI", "Open for zones: Expecting",
                     "Second address in the LAN: Expecting: an IPv4 address"):
            self.shows(text)
        choose("http", name="192.0.2.1", alias="203.0.113.1")
        for text in ("Name: It is a whole name", "an address of the LAN that nobody has"):
            self.shows(text)
        expect(not b.run(ASKED), "wrong answers may be applied")
        choose("http", name="VPN.gramscale.test", port=str(self.port), alias="192.168.1.2", zones="wan")
        for text in (f"http://vpn.gramscale.test:{self.port}", f"port {self.port} (TCP) is open for wan", "port 443 is led to",
                     "dnsmasq answers vpn.gramscale.test with it"):
            self.shows(text, ".modal")
        before = self.router.file.read_text()
        b.click(".modal .btn:not([data-name])")
        expect(self.router.file.read_text() == before, "something was set without a yes")
        b.click("[data-action=next]")
        self.go()
        found = {s[".type"]: s for s in read_uci(self.router.file.read_text()).values()}
        expect(found["server"]["server_url"] == f"http://vpn.gramscale.test:{self.port}", found)
        expect(found["server"]["listen"] == [f"[::]:{self.port}"], found)
        expect((found["router"]["reach"], found["router"]["alias"], found["router"]["open_zone"])
               == ("http", "192.168.1.2", ["wan"]), found)
        self.sound()
        self.open("reach")
        expect(b.run("document.querySelector('#gramscale-reach [name=alias]').value") == "192.168.1.2", "what was set is forgotten")
        b.click("[data-action=reach]")
        self.shows("vpn.gramscale.test", "#gramscale-verdict .danger")

        choose("https", name="vpn.gramscale.test")
        self.shows("Without a certificate the server does not start")
        choose("https", acme="vpn.gramscale.test")
        self.shows("that of the package acme for vpn.gramscale.test", ".modal")
        self.shows("dnsmasq answers vpn.gramscale.test with the address of this router", ".modal")
        b.click(".modal .btn:not([data-name])")

        choose("lan", address="127.0.0.1", port=str(self.port))
        self.shows("nothing is open outside the LAN", ".modal")
        self.go()
        self.shows("clients reach the server", "#gramscale-verdict")
        found = {s[".type"]: s for s in read_uci(self.router.file.read_text()).values()}
        expect(found["server"]["server_url"] == self.url and found["router"] == {
            ".type": "router", ".name": "router", "reach": "lan"}, found)
        self.sound()
        # The same again changes nothing, and asks nothing.
        b.click("[data-action=next]")
        self.shows("clients reach the server", "#gramscale-verdict")
        expect(not b.run(ASKED), "what is so already is asked")

    def users(self):
        b = self.browser
        self.open("users")
        self.shows("There are no users")
        b.click("[data-action=create]")
        b.type(".modal [name=name]", "1 x")
        b.click(".modal [data-name=go]")
        self.shows("no user name", ".modal")
        b.type(".modal [name=name]", "anna")
        b.type(".modal [name=displayName]", "<i>Ann</i>")
        self.go()
        self.shows("<i>Ann</i>")
        self.act("anna", "#gramscale-users", "rename")
        b.type(".modal [name=name]", "ann")
        self.go()
        self.hides("anna")
        b.click("[data-action=create]")
        b.type(".modal [name=name]", "bob")
        self.go()
        self.act("ann", "#gramscale-users", "role")
        b.run("document.querySelector('.modal [name=role]').value = 'owner'")
        self.go()
        self.shows("Owner", "#gramscale-users table")
        self.act("bob", "#gramscale-users", "role")
        self.shows("“ann” becomes an admin", ".modal")
        b.run("document.querySelector('.modal [name=role]').value = 'network-admin'")
        self.go()
        self.shows("Network admin", "#gramscale-users table")
        expect([user["role"] for user in self.cli("users", "list")] == ["owner", "network-admin"], "other roles than shown")
        self.act("bob", "#gramscale-users", "delete")
        self.shows("is not deleted", ".modal")
        self.go()
        self.hides("bob")
        expect([user["name"] for user in self.cli("users", "list")] == ["ann"], "other users than shown")

    def keys(self):
        b = self.browser
        self.open("keys")
        b.click("[data-action=create]")
        b.click(".modal [name=reusable]")
        self.go()
        key = b.wait("the key", "document.querySelector('.modal [data-name=key]')?.innerText")
        expect(key.startswith("hskey-auth-"), key)
        b.click(".modal [data-name=close]")
        self.shows("not used yet")
        expect(key not in b.text(), "the whole key is still shown")
        return key

    def joins(self, key):
        self.client("laptop").up(key, "--hostname=laptop")
        hostile = self.client(HOSTILE)
        hostile.up(key, "--hostname=router", "--advertise-routes=10.9.0.0/24", "--advertise-exit-node")
        hostile.call_itself(HOSTILE)
        wait("its name", lambda: any(node["name"] == HOSTILE for node in self.cli("nodes", "list")))

    def old_keys(self):
        self.open("keys")
        self.shows("in use")
        self.act("hskey-auth", "#gramscale-keys", "expire")
        self.shows("Nobody can join", ".modal")
        self.go()
        self.shows("has expired")
        self.act("hskey-auth", "#gramscale-keys", "delete")
        self.go()
        self.shows("There are no keys")

    def machines(self):
        b = self.browser
        self.open("machines")
        self.shows(f"calls itself {HOSTILE}")
        self.shows("100.64.0.1")
        self.shows("online")
        expect(b.run("document.querySelectorAll('#gramscale-machines [data-action=routes]').length") == 1, "routes of one machine")
        self.act("laptop", "#gramscale-machines", "rename")
        b.type(".modal [name=name]", "no good name")
        b.click(".modal [data-name=go]")
        self.shows("no good name", ".modal .danger")
        b.type(".modal [name=name]", "desk")
        self.go()
        self.shows("desk")
        self.act("desk", "#gramscale-machines", "expiry")
        b.choose(".modal [name=expiry]", "90")
        self.go()
        node = next(node for node in self.cli("nodes", "list") if node["given_name"] == "desk")
        days = (node["expiry"]["seconds"] - time.time()) / 86400
        expect(89 < days < 91, node)
        self.harmless()

    def waiting(self):
        third = self.client("third")
        third.knock()
        self.open("machines")
        self.row("third", "#gramscale-waiting")
        # It would only ask again.
        third.close()
        self.act("third", "#gramscale-waiting", "turn-away")
        self.go()
        self.browser.wait("nobody to wait", "document.querySelector('#gramscale-waiting').innerText == ''")
        fourth = self.client("<b>fourth</b>")
        fourth.knock()
        self.act("<b>fourth</b>", "#gramscale-waiting", "let-in")
        self.shows("<b>fourth</b>", ".modal")
        self.go()
        wait("the machine to run", lambda: fourth.backend() == "Running")
        self.row("calls itself <b>fourth</b>", "#gramscale-machines")
        self.harmless()

    def expiry_and_deletion(self):
        b = self.browser
        self.open("machines")
        self.act("<b>fourth</b>", "#gramscale-machines", "expiry")
        self.shows("loses its connection", ".modal")
        self.go()
        self.shows("has expired")
        self.act("<b>fourth</b>", "#gramscale-machines", "delete")
        self.shows("To come back it must join again", ".modal")
        b.click(".modal .btn:not([data-name])")
        self.row("<b>fourth</b>", "#gramscale-machines")
        self.act("<b>fourth</b>", "#gramscale-machines", "delete")
        self.go()
        self.hides("<b>fourth</b>")
        expect(len(self.cli("nodes", "list")) == 2, "the machine is still there")

    def routes(self):
        self.open("routes")
        self.act("10.9.0.0/24", "#gramscale-routes", "approve")
        self.shows("in use")
        self.act("the internet", "#gramscale-routes", "approve")
        node = lambda: next(node for node in self.cli("nodes", "list") if node["name"] == HOSTILE)
        wait("three routes", lambda: len(node().get("approved_routes", [])) == 3)
        self.browser.wait("the page to know", "!document.querySelector('#gramscale-routes [data-action=approve]')")
        self.act("10.9.0.0/24", "#gramscale-routes", "withdraw")
        self.shows("No machine reaches 10.9.0.0/24", ".modal")
        self.go()
        wait("both of the internet", lambda: sorted(node().get("approved_routes", [])) == ["0.0.0.0/0", "::/0"])
        self.harmless()

    def policy(self):
        b = self.browser
        self.open("policy")
        self.shows("There is no policy")
        b.type("#gramscale-policy", '{\n\t"acls": [\n\t\t{"action": "accept", "src": ["*"], "dst": ["*"]}\n\t]\n}\n')
        b.click("[data-action=set]")
        self.shows("line 3", "#gramscale-verdict")
        chosen = b.run("(t => t.value.slice(t.selectionStart, t.selectionEnd))(document.querySelector('#gramscale-policy'))")
        expect('"dst": ["*"]' in chosen, f"another line is chosen: {chosen}")
        expect(b.run("document.querySelector('[data-name=near] strong').innerText").strip().startswith("3 "), "no line")
        expect(not b.run(ASKED), "a bad policy may be set")

        rules = '{\n\t"grants": [{"src": ["ann@"], "dst": ["ann@"], "ip": ["tcp:22"]}],\n\t"tests": [{"src": "ann@", "%s": ["ann@:22"]}]\n}\n'
        b.type("#gramscale-policy", rules % "deny")
        b.click("[data-action=check]")
        b.wait("the test to fail", "document.querySelector('#gramscale-verdict .danger')?.innerText.includes('22')")
        b.type("#gramscale-policy", rules % "accept")
        b.click("[data-action=check]")
        self.shows("The policy is good", "#gramscale-verdict")
        expect(b.run("document.querySelector('[data-name=notes]')") is None, "there is something to note")
        b.type("#gramscale-policy", (rules % "accept").replace('"src": ["ann@"]', '"src": ["ann@", "zoe@"]'))
        b.click("[data-action=set]")
        self.shows("Connections that the policy no longer allows end", ".modal")
        self.go()
        self.shows("The policy is in force", "#gramscale-verdict")
        self.shows('line 2: nobody is called "zoe@"', "[data-name=notes]")
        expect("tcp:22" in self.router.cli("policy", "get").stdout, "another policy is in force")
        for port, word in ((22, "Allowed"), (23, "Not allowed")):
            b.type("[name=src]", "ann@")
            b.type("[name=dst]", f"ann@:{port}")
            b.click("[data-action=ask]")
            self.shows(word, "#gramscale-answer")
        b.type("[name=dst]", "nobody@:22")
        b.click("[data-action=ask]")
        self.shows("not found", "#gramscale-answer")

    def field(self, option, section):
        return f'[data-type={section}] [data-name={option}] input:last-of-type'

    def apply(self):
        self.browser.run("delete document.getElementById('view').dataset.applied")
        self.browser.click(".cbi-page-actions .cbi-button-apply")

    def applied(self):
        self.browser.wait("the settings to be applied", "document.getElementById('view').dataset.applied")
        return read_uci(self.router.file.read_text())

    def dns(self):
        b = self.browser
        self.open("dns")
        b.type(self.field("search_domain", "dns"), "not a domain")
        self.apply()
        self.shows("Expecting: a domain")
        expect("search_domain" not in self.router.file.read_text(), "a wrong value was saved")
        b.type('[data-type=dns] [data-name=search_domain] input', "corp.example.com")
        b.click("[data-type=host_record] .cbi-button-add")
        b.type(self.field("name", "host_record"), "nas.tail.internal")
        b.type(self.field("ip", "host_record"), "100.64.0.9")
        b.type('[data-type=dns] [data-name=search_domain] input', "corp.example.com")
        self.apply()
        sections = self.applied().values()
        expect(any(s.get("search_domain") == ["corp.example.com"] for s in sections), sections)
        expect(any(s.get("ip") == ["100.64.0.9"] for s in sections), sections)
        self.sound()

    def settings(self):
        b = self.browser
        self.open("settings")
        b.type(self.field("server_url", "server"), "no url")
        b.type(self.field("region_id", "derp"), "70000")
        b.type(self.field("expiry", "nodes"), "soon")
        self.apply()
        for text in ("a URL", "1 to 65535", "a duration"):
            self.shows(f"Expecting: {text}" if text[0] == "a" else text)
        b.type(self.field("server_url", "server"), self.url)
        b.type(self.field("region_id", "derp"), "901")
        b.type(self.field("expiry", "nodes"), "90d")
        b.choose("[data-type=log] [data-name=level] select", "debug")
        b.click("[data-type=clients] [data-name=taildrop] input")
        self.apply()
        sections = self.applied()
        found = {s[".type"]: s for s in sections.values()}
        for kind, option, value in (
            ("derp", "region_id", "901"), ("nodes", "expiry", "90d"), ("log", "level", "debug"), ("clients", "taildrop", "0"),
        ):
            expect(found.get(kind, {}).get(option) == value, f"{kind} {option}: {sections}")
        expect("nat" not in found["router"] and "region_code" not in found["derp"], f"what nobody set is saved: {sections}")
        self.sound()

    def sound(self):
        """The settings that the page wrote are good to the program."""
        answer = self.router.cli("configtest")
        expect(answer.returncode == 0, answer.stderr + answer.stdout)

    def every_option(self):
        """The pages know each option that docs/configuration.md lists, and no other."""
        table = (APP.parent.parent / "docs/configuration.md").read_text()
        documented = set(re.findall(r"^\|[^|]*\| `([a-z_0-9]+ [a-z_0-9]+)`", table, re.M))
        lists = set(re.findall(r"^\|[^|]*\| `([a-z_0-9]+)` \|", table, re.M))
        self.open("settings")
        rows = "[...document.querySelectorAll('[data-type] [data-name]')].map(e => e.closest('[data-type]').dataset.type + ' ' + e.dataset.name)"
        shown = set(self.browser.run(rows))
        sections = set(self.browser.run("[...document.querySelectorAll('[data-type]')].map(e => e.dataset.type)"))
        self.open("dns")
        shown |= set(self.browser.run(rows))
        sections |= set(self.browser.run("[...document.querySelectorAll('[data-type]')].map(e => e.dataset.type)"))
        # The host record that was made before.
        shown = {name for name in shown if name.split()[0] not in lists}
        # For the init script alone, so that the program's own table has no line for it.
        documented.add("server enabled")
        expect(shown == documented, f"only on the pages: {shown - documented}; only in the table: {documented - shown}")
        expect(lists <= sections, f"no page has {lists - sections}")

    def approval(self):
        """Where machines wait for approval, one with an ordinary key does until somebody presses Approve."""
        b = self.browser
        self.open("settings")
        b.click("[data-type=nodes] [data-name=approval] input")
        self.apply()
        self.applied()
        self.open("keys")
        b.click("[data-action=create]")
        b.click(".modal [name=preapproved]")
        self.go()
        early = self.client("early")
        early.up(b.wait("the key", "document.querySelector('.modal [data-name=key]')?.innerText"), "--hostname=early")
        b.click(".modal [data-name=close]")
        self.shows("approved beforehand")
        late = self.client("late")
        joined = late.comes_up(self.cli("preauthkeys", "create", "-u", "ann")["key"], "--hostname=late")
        self.open("machines")
        row = self.row("late", "#gramscale-machines")
        state = f"document.querySelector('#gramscale-machines tr[data-id=\"{row}\"]').innerText.includes('waits for approval')"
        b.wait("it to wait", state)
        expect(b.run("document.querySelectorAll('#gramscale-machines [data-action=approve]').length") == 1, "another waits too")
        peers = lambda: {peer["HostName"] for peer in (early.status()["Peer"] or {}).values()}
        expect("late" not in peers(), "it is seen before it is approved")
        self.act("late", "#gramscale-machines", "approve")
        b.wait("it to wait no more", f"!({state})")
        joined()
        wait("it to be seen", lambda: "late" in peers())

    def log(self):
        self.open("log")
        self.shows("gramscale[")
        self.hides("dnsmasq")
        self.browser.choose("[name=level]", "3")
        self.shows("has no line of this service")

    def many(self):
        """As many machines as fill several pages, here and in what the plugin is asked for."""
        b = self.browser
        self.router.copies = 250
        self.open("machines")
        self.shows("1 to 100 of 250")
        b.click("[data-name=forward]")
        b.click("[data-name=forward]")
        self.shows("201 to 250 of 250")
        self.shows("copy250")
        b.type("[name=search]", "copy17")
        self.shows("copy17\n")
        rows = b.wait("the found ones", "(n => n == 11 && n)(document.querySelectorAll('#gramscale-machines tr[data-id]').length)")
        expect(rows == 11, rows)
        self.router.copies = 0

    def readers(self):
        """Who may only look gets no button that works, and no call that changes anything."""
        for page in PAGES:
            self.open(page, "reader")
            able = self.browser.run(
                "[...document.querySelectorAll('#view button:not(:disabled)')].map(e => e.dataset.action ?? e.innerText)")
            expect(set(able) <= {"check", "ask", "reach", "Add", "Delete"}, f"{page}: {able}")
        tried = 0
        for method in re.findall(r"declare\('(\w+)'", (APP / "htdocs/luci-static/resources/gramscale/server.js").read_text()):
            changes = method.startswith(("node_", "user_", "auth_key_")) or method == "policy_set"
            answer = self.router.call("reader", "luci.gramscale", method, {"id": "999"})
            expect((answer == [6]) == changes, f"{method}: {answer}")
            expect(self.router.call("writer", "luci.gramscale", method, {"id": "999"})[0] == 0, f"{method} is not granted")
            tried += changes
        expect(tried >= 14, f"only {tried} methods change anything")
        for name, method, params in (("rc", "init", {}), ("uci", "set", {"config": "gramscale"})):
            expect(self.router.call("reader", name, method, params) == [6], f"{name} {method}")

    def listed(self):
        """What rpcd learns of the plugin is what the access list grants."""
        answer = subprocess.run([self.router.plugin, "list"], capture_output=True, text=True, timeout=PATIENCE)
        methods = set(json.loads(answer.stdout))
        access = json.loads((APP / "root/usr/share/rpcd/acl.d/luci-app-gramscale.json").read_text())["luci-app-gramscale"]
        granted = [set(access[group]["ubus"]["luci.gramscale"]) for group in ("read", "write")]
        expect(granted[0] | granted[1] == methods and not granted[0] & granted[1], methods ^ (granted[0] | granted[1]))

    def away(self):
        """Each page says what is the matter when the server does not run."""
        self.router.stop()
        for page in ("machines", "keys", "users", "routes", "policy"):
            self.open(page)
            self.shows("cannot reach the server")
        self.router.start()
        self.open("overview")
        self.browser.wait("the server to run", "document.querySelector('[data-name=state]').innerText == 'running'")

    def translated(self):
        """Each page in each language."""
        for file in sorted(APP.glob("po/*/gramscale.po")):
            messages = catalogue.read(file)
            self.site.catalogue = messages
            for page in PAGES:
                self.open(page)
                title = {"dns": "DNS", "overview": "Gramscale"}.get(page) or messages[{
                    "keys": "Auth keys", "policy": "Access policy", "reach": "Reachability"}.get(page, page.capitalize())]
                self.shows(title)
        self.site.catalogue = {text: text for text in catalogue.used()}

    def harmless(self):
        """No name of a machine became markup."""
        expect(not self.browser.run("typeof hacked != 'undefined' || !!document.querySelector('#maincontent img, .modal img, #maincontent b')"),
               "a name of a machine was taken for markup")

    def pictured(self):
        for page in PAGES:
            self.open(page)
            (self.pictures / f"{page}.png").write_bytes(self.browser.picture("#maincontent"))

    def quiet(self):
        expect(not self.browser.complaints, "\n".join(self.browser.complaints))


def main():
    program, binaries = (str(Path(word).resolve()) for word in sys.argv[1:3])
    failed = 0

    def check(name, function, *arguments):
        nonlocal failed
        started = time.monotonic()
        try:
            value = function(*arguments)
        except Exception as error:
            failed += 1
            print(f"{error!r}"[:4000].replace("\\n", "\n"))
            print(f"FAILED  luci: {name}", flush=True)
            return None
        print(f"ok      luci: {name} ({time.monotonic() - started:.1f} s)", flush=True)
        return value

    def whole():
        wrong = catalogue.problems()
        expect(not wrong, "\n".join(wrong))

    check("translations are complete", whole)
    with tempfile.TemporaryDirectory(prefix="gramscale-luci-", ignore_cleanup_errors=True) as folder:
        folder = Path(folder)
        pictures = Path(sys.argv[3]) if len(sys.argv) > 3 else folder
        trial = Trial(program, Path(binaries), folder, pictures)
        try:
            check("methods and access list", trial.listed)
            check("overview, start of the service", trial.overview)
            check("code for phones", trial.code)
            check("ways to be reached", trial.reach)
            check("users", trial.users)
            key = check("a new key", trial.keys)
            if key:
                check("clients join with it", trial.joins, key)
            check("machines", trial.machines)
            check("a machine that waits", trial.waiting)
            check("expiry and deletion", trial.expiry_and_deletion)
            check("routes", trial.routes)
            check("access policy", trial.policy)
            check("keys expire and go", trial.old_keys)
            check("DNS", trial.dns)
            check("settings", trial.settings)
            check("every option has its field", trial.every_option)
            check("approval of machines", trial.approval)
            check("log", trial.log)
            check("many machines", trial.many)
            check("who may only look", trial.readers)
            check("pictures", trial.pictured)
            check("every language", trial.translated)
            check("a server that is away", trial.away)
            check("no complaint of the browser", trial.quiet)
        finally:
            trial.close()
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
