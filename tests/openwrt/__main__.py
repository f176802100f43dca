"""The shell of the OpenWrt package, under shellcheck and under busybox ash, and what dnsmasq makes of its settings.

    GRAMSCALE_BIN=PATH python3 tests/openwrt

Each check gets a root folder of its own with OpenWrt's files in it, and stand-ins for `uci` and procd's functions that
record what was asked. Needs root: the folder becomes the root of the scripts (chroot in a mount namespace of its own).
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Hosts, servers and clients.
INTEROP = HERE.parent / "interop"
sys.path.append(str(INTEROP))
FILES = HERE.parent.parent / "openwrt" / "gramscale" / "files"
SCRIPTS = ("gramscale.init", "gramscale.defaults", "gramscale.acme")

NETWORK = ("config globals 'globals'\n\toption ula_prefix 'fd12:3456:789a::/48'\n"
           "config interface 'lan'\n\toption device 'br-lan'\n\toption ipaddr '192.168.1.1'\n")
FIREWALL = "".join(f"config zone\n\toption name '{name}'\n\tlist network '{name}'\n{more}"
                   for name, more in (("lan", ""), ("wan", "\tlist network 'wan6'\n")))
# As the kernel shows them: loopback, link-local, two public ones, one of the LAN's own prefix.
IF_INET6 = """00000000000000000000000000000001 01 80 10 80       lo
fe800000000000000211223344556677 02 40 20 80     eth1
20010db8000000010000000000000007 02 40 00 00     eth1
20010db8000a00000000000000000001 03 3c 00 80   br-lan
fd123456789a00000000000000000001 03 3c 00 80   br-lan
"""
DHCP = "config dnsmasq\n\toption domain 'lan'\n"
UHTTPD = "config uhttpd 'main'\n\tlist listen_http '0.0.0.0:80'\n\tlist listen_https '0.0.0.0:443'\n"

failed = 0


class Router:
    """A root folder as OpenWrt's, with the package in it."""

    def __init__(self, **config):
        self.root = Path(tempfile.mkdtemp(prefix="gramscale-openwrt-"))
        for folder in ("etc/config", "etc/init.d", "etc/ssl/acme", "lib/functions", "usr", "tmp", "var/run", "proc/net",
                       "dev"):
            (self.root / folder).mkdir(parents=True)
        for link in ("bin", "sbin", "lib64", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"):
            if Path("/usr", link).exists():
                (self.root / link).symlink_to(Path("/usr", link))
        for file, text in (("passwd", "root:x:0:0::/:/bin/sh\ngramscale:x:453:453::/:/bin/false\n"),
                           ("group", "root:x:0:\ngramscale:x:453:\n"), ("hosts", ""), ("resolv.conf", "")):
            (self.root / "etc" / file).write_text(text)
        (self.root / "lib/functions/network.sh").write_text("network_get_ipaddr() { eval \"$1=192.168.1.1\"; }\n")
        (self.root / "tools").mkdir()
        shutil.copy(HERE / "uci", self.root / "tools/uci")
        shutil.copy(HERE / "rc", self.root / "rc")
        shutil.copy(FILES / "gramscale.init", self.root / "etc/init.d/gramscale")
        shutil.copy(FILES / "gramscale.config", self.root / "etc/config/gramscale")
        for name, text in {"network": NETWORK, "dhcp": DHCP, "uhttpd": UHTTPD, "firewall": FIREWALL,
                           **config}.items():
            (self.root / "etc/config" / name).write_text(text)
        (self.root / "proc/net/if_inet6").write_text(IF_INET6)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.root)

    def run(self, *words):
        """Runs a command in the root; returns what was recorded."""
        (self.root / "record").unlink(missing_ok=True)
        inside = 'mount --bind /usr "$0/usr" && exec chroot "$0" env PATH=/tools:/usr/sbin:/usr/bin "$@"'
        done = subprocess.run(["unshare", "-m", "sh", "-c", inside, str(self.root), *words], text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        if done.returncode or done.stderr:
            raise AssertionError(f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        record = self.root / "record"
        return record.read_text().splitlines() if record.exists() else []

    def service(self, action):
        return self.run("busybox", "ash", "/rc", "/etc/init.d/gramscale", action)

    def defaults(self):
        shutil.copy(FILES / "gramscale.defaults", self.root / "defaults")
        return self.run("busybox", "ash", "/defaults")

    def uci(self, *words):
        self.run("uci", *words)

    def get(self, path):
        done = subprocess.run(["unshare", "-m", "sh", "-c", 'mount --bind /usr "$0/usr" && exec chroot "$0" "$@"',
                               str(self.root), "/tools/uci", "-q", "get", path], text=True, capture_output=True)
        return done.stdout.strip()

    def configtest(self):
        """What the server itself says of the UCI file."""
        file = self.root / "etc/config/gramscale"
        done = subprocess.run([os.environ["GRAMSCALE_BIN"], "--uci", str(file), "configtest"], text=True,
                              capture_output=True, timeout=60, env={})
        return done.returncode, done.stdout + done.stderr


def settings(server="", router="", more=""):
    """A UCI file with these options."""

    def section(kind, text):
        lines = "".join(f"\t{line.strip()}\n" for line in text.split(";") if line.strip())
        return f"config {kind}\n{lines}\n"

    return section("server", "option enabled 1;" + server) + section("router", router) + more


def check(function):
    """Runs a check and prints its line."""
    global failed
    name = function.__doc__.strip()
    try:
        function()
        print(f"ok      openwrt: {name}", flush=True)
    except Exception as error:  # noqa: BLE001
        failed += 1
        print(f"FAILED  openwrt: {name}\n        {error}".replace("\n", "\n        "), flush=True)


def expect(true, what):
    if not true:
        raise AssertionError(what)


def lines(record, first):
    return [line for line in record if line.split(" ")[0] == first]


@check
def shellcheck():
    """shellcheck finds nothing in the package's scripts"""
    done = subprocess.run(["shellcheck", "-s", "dash", *(FILES / name for name in SCRIPTS)], text=True,
                          capture_output=True)
    expect(done.returncode == 0, done.stdout + done.stderr)


@check
def first_boot():
    """the first boot listens on the LAN's address, twice the same, and nothing is open"""
    with Router() as router:
        router.defaults()
        expect(router.get("gramscale.server.server_url") == "http://192.168.1.1:8080", "server_url")
        expect(router.get("gramscale.server.listen") == "192.168.1.1:8080", "listen")
        expect(router.get("gramscale.derp.stun_listen") == "192.168.1.1:3478", "stun_listen")
        before = (router.root / "etc/config/gramscale").read_text()
        router.defaults()
        expect((router.root / "etc/config/gramscale").read_text() == before, "the second run changed something")
        expect(router.configtest()[0] == 0, router.configtest()[1])
        record = router.service("start")
        expect(lines(record, "firewall") == [], f"something is open: {record}")
        expect("set_param command /usr/sbin/gramscale serve --uci /etc/config/gramscale" in record, record)
        for asked in ("user gramscale", "group gramscale", "no_new_privs 1", "respawn 3600 5 0", "reload_signal HUP",
                      "file /usr/sbin/gramscale"):
            expect(f"set_param {asked}" in record, f"{asked}: {record}")
        expect("add_jail_mount_rw /var/run/gramscale /etc/gramscale" in record, record)
        expect(not any("capabilities" in line for line in record), "capabilities without a low port")
        expect("add_reload_trigger gramscale" in record, record)
        expect(lines(record, "uci") == [], f"flash was written: {record}")
        mode = (router.root / "etc/config/gramscale").stat()
        expect((mode.st_mode & 0o777, mode.st_uid, mode.st_gid) == (0o640, 0, 453), "mode of the file")
        expect((router.root / "etc/gramscale").stat().st_mode & 0o777 == 0o700, "mode of the data")


@check
def other_first_boots():
    """the first boot evades ports and domains that are taken, and a LAN without an address of its own"""
    taken = "config uhttpd 'main'\n\tlist listen_http '0.0.0.0:80'\n\tlist listen_http '[::]:8080'\n"
    with Router(uhttpd=taken, dhcp="config dnsmasq\n\toption domain 'internal'\n",
                network="config interface 'lan'\n\tlist ipaddr '10.7.0.1/24'\n\tlist ipaddr '10.8.0.1/24'\n") as router:
        router.defaults()
        expect(router.get("gramscale.server.listen") == "10.7.0.1:8081", router.get("gramscale.server.listen"))
        expect(router.get("gramscale.dns.base_domain") == "tailnet.home.arpa", "base_domain")
        expect(router.configtest()[0] == 0, router.configtest()[1])
    with Router(network="config interface 'lan'\n\toption proto 'dhcp'\n") as router:
        router.defaults()
        expect(router.get("gramscale.server.listen") == "", "listens somewhere")


@check
def disabled():
    """a service that is off has no instance"""
    with Router(gramscale="config server\n\toption enabled '0'\n") as router:
        expect(lines(router.service("start"), "open_instance") == [], "an instance")


HTTPS = settings("option server_url 'https://vpn.example.org:8443'; list listen ':8443'",
                 "option reach https; list open_zone wan",
                 "config tls\n\toption acme vpn.example.org\nconfig derp\n\toption stun_listen '[::]:3478'\n")


@check
def reached_by_https():
    """https: port and STUN open in the chosen zone, the name leads to the router, the certificate is copied"""
    with Router(gramscale=HTTPS) as router:
        expect(router.configtest()[0] == 0, router.configtest()[1])
        record = router.service("start")
        opened = lines(record, "firewall")
        expect(len(opened) == 2, opened)
        expect("src=wan proto=tcp dest_port=8443 target=ACCEPT" in opened[0], opened)
        expect("src=wan proto=udp dest_port=3478 target=ACCEPT" in opened[1], opened)
        expect(router.get("dhcp.gramscale.name") == "vpn.example.org", "the name")
        expect(router.get("dhcp.gramscale.ip") == "192.168.1.1", "its address")
        expect({"set_config_changed dhcp", "set_config_changed firewall"} <= set(record), record)
        expect(not (router.root / "var/run/gramscale/tls.key").exists(), "a key from nowhere")

        acme = router.root / "etc/ssl/acme"
        for end, text in (("fullchain.crt", "chain"), ("key", "secret")):
            (acme / f"vpn.example.org.{end}").write_text(text)
            (acme / f"vpn.example.org.{end}").chmod(0o600)
        (router.root / "running").touch()
        shutil.copy(FILES / "gramscale.acme", router.root / "acme")
        (router.root / "etc/init.d/gramscale").write_text("#!/bin/sh\necho \"$1\" >>/record\n")
        (router.root / "etc/init.d/gramscale").chmod(0o755)
        expect(router.run("env", "ACTION=renewed", "busybox", "ash", "/acme") == ["enabled", "reload"], "hotplug")
        expect(router.run("env", "ACTION=prepare", "busybox", "ash", "/acme") == [], "hotplug")
        shutil.copy(FILES / "gramscale.init", router.root / "etc/init.d/gramscale")
        record = router.service("reload")
        expect(lines(record, "send_signal") == ["send_signal gramscale main HUP"], record)
        expect(lines(record, "uci") == [], f"flash was written again: {record}")
        key = router.root / "var/run/gramscale/tls.key"
        expect(key.read_text() == "secret", "the key")
        expect((key.stat().st_mode & 0o777, key.stat().st_uid, key.stat().st_gid) == (0o640, 0, 453), "its mode")


@check
def reached_by_http():
    """http: port 443 of an alias on the LAN and of the WAN leads to the server"""
    text = settings("option server_url 'http://vpn.example.org:8080'; list listen ':8080'",
                    "option reach http; list open_zone wan; option alias 192.168.1.2")
    with Router(gramscale=text) as router:
        expect(router.configtest()[0] == 0, router.configtest()[1])
        record = router.service("start")
        redirects = [line for line in lines(record, "firewall") if "type=redirect" in line]
        own = [f"src=wan src_dip={ip} proto=tcp src_dport=443 dest_ip={ip} dest_port=8080"
               for ip in ("2001:0db8:0000:0001:0000:0000:0000:0007", "2001:0db8:000a:0000:0000:0000:0000:0001")]
        expected = [("ipv4", "src=wan proto=tcp src_dport=443 dest_port=8080"), *(("ipv6", one) for one in own),
                    ("ipv4", "src=lan src_dip=192.168.1.2 proto=tcp src_dport=443 dest_port=8080"),
                    ("ipv6", "src=lan src_dip=fd12:3456:789a:ffff::443 proto=tcp src_dport=443 dest_port=8080")]
        expect(len(redirects) == len(expected), record)
        for line, (family, rule) in zip(redirects, expected):
            expect(f"family={family} " in line and rule in line, line)
        expect(router.get("dhcp.gramscale.ip") == "192.168.1.2", "the name's address")
        expect(router.get("dhcp.gramscale6.ip") == "fd12:3456:789a:ffff::443", "the name's IPv6 address")
        expect(router.get("network.gramscale.ipaddr") == "192.168.1.2", "the alias")
        expect(router.get("network.gramscale.ip6addr") == "fd12:3456:789a:ffff::443/128", "the IPv6 alias")
        expect("set_config_changed network" in record, record)
        for network in ("lan", "wan", "wan6"):
            expect(f"add_reload_interface_trigger {network}" in record, f"{network} is not followed: {record}")
        expect(lines(router.service("start"), "uci") == [], "flash was written again")
        # A router without IPv6 in its LAN.
        router.uci("delete", "network.globals.ula_prefix")
        router.uci("commit", "network")
        record = router.service("start")
        expect(len([line for line in lines(record, "firewall") if "src=lan" in line]) == 1, record)
        expect(router.get("dhcp.gramscale6") == router.get("network.gramscale.ip6addr") == "", "an IPv6 alias")
        # Back to the LAN only, or switched off: nothing stays behind.
        for after in (settings("list listen '192.168.1.1:8080'"), text.replace("enabled 1", "enabled 0")):
            (router.root / "etc/config/network").write_text(NETWORK)
            (router.root / "etc/config/gramscale").write_text(text)
            router.service("start")
            expect(router.get("dhcp.gramscale6.ip") != "", "no IPv6 alias")
            (router.root / "etc/config/gramscale").write_text(after)
            record = router.service("start")
            expect(lines(record, "firewall") == [], record)
            for section in ("dhcp.gramscale", "dhcp.gramscale6", "network.gramscale"):
                expect(router.get(section) == "", f"{section} stays behind")
            expect("add_reload_interface_trigger wan" not in record, record)


@check
def what_others_staged():
    """what the owner staged but did not commit in dhcp and network is neither read, committed nor lost"""
    text = settings("option server_url 'http://vpn.example.org:8080'; list listen ':8080'",
                    "option reach http; option alias 192.168.1.2; option lan_names 1")
    with Router(gramscale=text) as router:
        staged = {"dhcp.@dnsmasq[0].domain": "home.arpa", "network.lan.ipaddr": "10.0.0.1"}
        for path, value in staged.items():
            router.uci("set", f"{path}={value}")
        router.uci("delete", "network.globals.ula_prefix")
        before = {path: router.get("/etc/config/" + path) for path in staged}
        record = router.service("start")
        expect({"uci commit dhcp", "uci commit network"} <= set(record), record)
        for path, value in staged.items():
            expect(router.get("/etc/config/" + path) == before[path] != value, f"{path} was committed")
            expect(router.get(path) == value, f"{path} is no longer staged")
        expect(router.get("/etc/config/network.gramscale.ip6addr") != "", "it was read")
        expect("100.100.100.100" in router.get("/etc/config/dhcp.@dnsmasq[0].server"), "lan_names")


@check
def firewall_left_alone():
    """the firewall is loaded again only when what is open has changed"""
    with Router(gramscale=HTTPS) as router:
        for action, more, told in (("start", "", True), ("reload", "", False), ("reload", "option level debug", False),
                                   ("reload", "list listen ':8444'", True), ("reload", "list listen ':8444'", False)):
            kind = "log" if "level" in more else "server"
            (router.root / "etc/config/gramscale").write_text(HTTPS + f"config {kind}\n\t{more}\n")
            record = router.service(action)
            expect(("set_config_changed firewall" in record) is told, f"{action} {more}: {record}")
            # What an instance has, procd itself announces every time.
            expect(record.index("close_instance") < record.index(lines(record, "firewall")[0]), record)


@check
def alias_missing():
    """http without an alias does not take port 443 from the router's web server, nor does the zone lan in the list"""
    text = settings("option server_url 'http://vpn.example.org:8080'", "option reach http; list open_zone lan")
    with Router(gramscale=text) as router:
        expect(lines(router.service("start"), "firewall") == [], "a redirect")
        status, told = router.configtest()
        expect(status != 0 and "router.alias" in told, told)


@check
def low_ports():
    """only low ports need a capability"""
    with Router(gramscale=settings("list listen ':80'; list listen ':8080'")) as router:
        expect("set_param capabilities /etc/capabilities/gramscale.json" in router.service("start"), "capability")


@check
def names_on_the_lan():
    """dnsmasq asks the router's client for names of nodes when told to, and not afterwards"""
    on = settings(router="option lan_names 1")
    with Router(gramscale=on, dhcp=DHCP + "\tlist server '/corp/10.0.0.53'\n") as router:
        for _ in range(2):
            record = router.service("start")
        expect(lines(record, "uci") == [], f"flash was written again: {record}")
        expect(router.get("dhcp.@dnsmasq[0].server") == "/corp/10.0.0.53 /tail.internal/100.100.100.100", "server")
        expect(router.get("dhcp.@dnsmasq[0].rebind_domain") == "tail.internal", "rebind_domain")
        (router.root / "etc/config/gramscale").write_text(on + "config dns\n\toption base_domain 'net.internal'\n")
        router.service("start")
        expect(router.get("dhcp.@dnsmasq[0].server") == "/corp/10.0.0.53 /net.internal/100.100.100.100", "renamed")
        (router.root / "etc/config/gramscale").write_text(settings())
        router.service("start")
        expect(router.get("dhcp.@dnsmasq[0].server") == "/corp/10.0.0.53", "it stays behind")


@check
def files_elsewhere():
    """files of the settings that lie elsewhere are to be seen in the jail"""
    text = settings("option data_dir '/mnt/usb/gramscale'", more="config policy\n\toption path '/mnt/acl/p.hujson'\n")
    with Router(gramscale=text) as router:
        record = router.service("start")
        expect("add_jail_mount /mnt/acl" in record, record)
        expect("add_jail_mount_rw /var/run/gramscale /mnt/usb/gramscale" in record, record)


@check
def stop_and_reload():
    """reload starts a service that does not run, without a signal; stop closes the firewall"""
    with Router() as router:
        record = router.service("reload")
        expect(lines(record, "open_instance") and not lines(record, "send_signal"), record)
        expect(router.service("stop") == ["stop", "set_config_changed firewall"], "stop")


def on_a_lan():
    """The checks of lan.py: how many failed."""
    import check as checks
    import lab
    import lan

    client = subprocess.run([INTEROP / "build", lab.NEWEST], check=True, stdout=subprocess.PIPE, text=True).stdout
    version, _, folder = client.strip().partition(" ")
    report = checks.Report()
    with tempfile.TemporaryDirectory(prefix="gramscale-lan-") as place, Router() as router:
        with lab.Lab(os.environ["GRAMSCALE_BIN"], {version: Path(folder)}, Path(place) / "lan") as network:
            with contextlib.suppress(checks.Stop):
                lan.run(report, network, router, settings)
            if report.failed:
                for whose, log in network.logs():
                    print(f"------- the end of the log of {whose}\n{log}", flush=True)
    return report.failed


failed += on_a_lan()
sys.exit(1 if failed else 0)
