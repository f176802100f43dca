"""What the init script wrote for dnsmasq, in the real dnsmasq: machines of the LAN ask, official clients stand behind it.

The hosts, the server and the clients are those of tests/interop.
"""

import json
import signal

from check import expect, wait
from client import Client
from https import NAME, PORT, healthy
from lab import NEWEST, authority
from net import spawn

# The router's address on the LAN in the settings that the init script gets.
LAN = "192.168.1.1"
BASE = "tail.internal"
# What the provider's resolver says to everything, and to one name of somebody who wants into the LAN.
ELSEWHERE, INTRUDER = "9.0.0.1", "192.168.1.20"
# A record of the tailnet for a machine that is in the LAN: dnsmasq lets a private address pass for this domain only.
RECORD, INSIDE = f"nas.{BASE}", "192.168.1.20"
# Of the options that OpenWrt's settings come with, those that decide what may be answered.
SHIPPED = ("domain-needed", "bogus-priv", "localise-queries", "local-service", "bind-dynamic", "stop-dns-rebind",
           "rebind-localhost-ok", "expand-hosts", "domain=lan", "local=/lan/")


def run(report, lab, router, settings):
    """`router` is a root folder with the package in it, `settings` writes its settings."""
    ca, certificate, key_file = authority(lab.folder / "tls", NAME)
    provider = lab.net.host("provider", 41)
    server = lab.server(
        port=PORT, url=f"https://{NAME}:{PORT}",
        config={
            "listen_addr": f"0.0.0.0:{PORT}", "tls_cert_path": str(certificate), "tls_key_path": str(key_file),
            "dns": {
                "magic_dns": True, "base_domain": BASE, "override_local_dns": False,
                "extra_records": [{"name": RECORD, "type": "A", "value": INSIDE}],
            },
        },
    )
    server.healthy = lambda: healthy(server, ca)
    server.host.ip("addr", "add", f"{LAN}/24", "dev", "eth0")
    names = Dnsmasq(lab, router, server.host, provider.address)
    upstream = spawn(
        provider.command("dnsmasq", "-k", "-C", "/dev/null", "-u", "root", "-x", "", "-R", "-h",
                         f"--address=/#/{ELSEWHERE}", f"--address=/intruder.test/{INTRUDER}"),
        lab.folder / "provider.log",
    )
    try:
        server.start()
        key = server.key(server.user("home"), "--reusable")
        guest = lab.net.host("guest", 12)
        write(router, settings, "https", "option lan_names 1")
        names.start()
        report.check("dnsmasq: the login name leads to the router at home, elsewhere is elsewhere", at_home, guest)
        laptop = lab.client("laptop", 11, server, env={"SSL_CERT_FILE": str(ca)})
        report.need("dnsmasq: a client at home joins by that name", laptop.up, key)
        own = Client(lab.binaries[NEWEST], server.host, lab.folder / "own", server, {"SSL_CERT_FILE": str(ca)}, 41642)
        lab.clients.append(own)
        own.start()
        report.need("dnsmasq: so does the router's own client", own.up, key, "--netfilter-mode=off",
                    "--accept-dns=false")
        report.check("dnsmasq: a machine without a client looks up nodes and records", nodes, guest, laptop)
        report.check("dnsmasq: a private address from elsewhere is still refused", refused, guest)
        report.check("dnsmasq: with http the name leads to the alias", alias, router, settings, names, guest)
        report.check("dnsmasq: without both everything is as before", undone, router, settings, names, guest)
    finally:
        for process in (upstream, names.process):
            if process:
                process.kill()
                process.wait()


class Dnsmasq:
    """The router's resolver, with the options that OpenWrt's script makes of the settings."""

    def __init__(self, lab, router, host, upstream):
        self.router, self.host, self.upstream = router, host, upstream
        self.folder = lab.folder / "dnsmasq"
        self.folder.mkdir()
        self.process = None

    def start(self):
        """Begins with the settings as they are now."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)
        get = self.router.get
        resolv, hosts, conf = (self.folder / name for name in ("resolv", "hosts", "conf"))
        resolv.write_text(f"nameserver {self.upstream}\n")
        hosts.write_text("".join(f"{get(f'dhcp.{one}.ip')} {get(f'dhcp.{one}.name')}\n"
                                 for one in ("gramscale", "gramscale6") if get(f"dhcp.{one}") == "domain"))
        lines = [*SHIPPED, f"resolv-file={resolv}", f"addn-hosts={hosts}"]
        lines += [f"server={one}" for one in get("dhcp.@dnsmasq[0].server").split()]
        lines += [f"rebind-domain-ok={one}" for one in get("dhcp.@dnsmasq[0].rebind_domain").split()]
        conf.write_text("\n".join(lines) + "\n")
        # As root, because the test's folder is nobody else's.
        command = self.host.command("dnsmasq", "-k", "-C", str(conf), "-u", "root", "-x", "")
        self.process = spawn(command, self.folder / "log")
        wait("dnsmasq to answer", 10, lambda: ask(self.host, "router.test") == [ELSEWHERE])


def write(router, settings, reach, more=""):
    """Runs the init script with these settings."""
    url = {"lan": f"http://{LAN}:8080", "http": f"http://{NAME}:8080"}.get(reach, f"https://{NAME}:{PORT}")
    (router.root / "etc/config/gramscale").write_text(
        settings(f"option server_url {json.dumps(url)}", f"option reach {reach}; {more}",
                 f"config dns\n\toption base_domain {BASE}\n"))
    router.service("start")


def ask(host, *words):
    """What the router's resolver says to a machine of the LAN."""
    return host.run("dig", "+short", "+time=2", "+tries=1", f"@{LAN}", *words, fine=True).split()


def at_home(guest):
    expect(ask(guest, NAME) == [LAN], ask(guest, NAME))
    found = guest.run("getent", "ahostsv4", NAME)
    expect(found.startswith(f"{LAN} "), found)
    expect(ask(guest, f"www.{NAME}") == [ELSEWHERE], ask(guest, f"www.{NAME}"))


def nodes(guest, laptop):
    name, v4 = f"{laptop.name}.{BASE}", laptop.addresses()[0]
    wait(f"{name} to be {v4}", 20, lambda: ask(guest, name) == [v4])
    found = guest.run("getent", "ahostsv4", name)
    expect(found.startswith(f"{v4} "), found)
    expect(ask(guest, RECORD) == [INSIDE], ask(guest, RECORD))


def refused(guest):
    expect(ask(guest, "intruder.test") == [], ask(guest, "intruder.test"))


def alias(router, settings, names, guest):
    write(router, settings, "http", "option alias 192.168.1.2")
    names.start()
    expect(ask(guest, NAME) == ["192.168.1.2"], ask(guest, NAME))
    # The name's public address would lead to the web server of LuCI.
    expect(ask(guest, NAME, "AAAA") == ["fd12:3456:789a:ffff::443"], ask(guest, NAME, "AAAA"))


def undone(router, settings, names, guest):
    write(router, settings, "lan")
    names.start()
    for name in (NAME, f"laptop.{BASE}"):
        expect(ask(guest, name) == [ELSEWHERE], f"{name}: {ask(guest, name)}")
    expect(ask(guest, RECORD) == [ELSEWHERE], ask(guest, RECORD))
