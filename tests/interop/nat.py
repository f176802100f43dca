"""A laptop behind the router that serves, a phone behind a second NAT: they talk to each other directly.

The router's own STUN tells the laptop its address in the LAN; that others learn the router's address as well is the
server's part.
"""

import json
import shutil
import signal

from check import expect, wait
from client import Client
from net import GATEWAY, Host
from net import run as command

LAN = "192.168.50"
AWAY = "192.168.60"
# Other addresses of the router, which it gets later.
NEW = "192.168.77.9"
PUBLIC = "203.0.113.5"
# A router nobody asks for anything: the way to the rest of the world.
UPLINK = "192.168.77.254"


class Inside(Host):
    """A host with one cable, `eth0`, to the `lan` of a router."""

    def __init__(self, net, router, name, network):
        self.name = name
        self.net = net
        self.address = f"{network}.2"
        self.namespace = f"{net.prefix}-{name}"
        self.etc = net.folder / f"etc-{name}"
        shutil.copytree("/etc", self.etc, symlinks=True)
        (self.etc / "resolv.conf").write_text(f"nameserver {network}.1\n")
        command("ip", "netns", "add", self.namespace)
        router.ip("link", "add", "lan", "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        router.ip("addr", "add", f"{network}.1/24", "dev", "lan")
        router.ip("link", "set", "lan", "up")
        for link in ("lo", "eth0"):
            self.ip("link", "set", link, "up")
        self.ip("addr", "add", f"{self.address}/24", "dev", "eth0")
        self.ip("route", "add", "default", "via", f"{network}.1")
        net.hosts.append(self)


def masquerade(router):
    """What OpenWrt's firewall does between LAN and WAN, with the server's ports open.

    That input is refused matters: a datagram taken in for the router itself would occupy the port that the laptop's
    answer needs.
    """
    router.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
    router.run("iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "eth0", "-j", "MASQUERADE")
    for words in ("-i eth0 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT", "-i eth0 -p tcp --dport 8080 -j ACCEPT",
                  "-i eth0 -p udp --dport 3478 -j ACCEPT", "-i eth0 -p icmp -j ACCEPT", "-i eth0 -j REJECT"):
        router.run("iptables", "-A", "INPUT", *words.split())
    router.run("iptables", "-P", "FORWARD", "DROP")
    router.run("iptables", "-A", "FORWARD", "-i", "lan", "-o", "eth0", "-j", "ACCEPT")
    router.run("iptables", "-A", "FORWARD", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT")


def run(report, lab):
    server = lab.server(config={
        "listen_addr": "0.0.0.0:8080", "nat": {"enabled": False}, "derp": {"server": {"follow_wan": True}},
    })
    router = server.host
    router.ip("route", "add", "default", "via", UPLINK)
    masquerade(router)
    second = lab.net.host("second", 2)
    masquerade(second)

    def client(name, behind, network):
        host = Inside(lab.net, behind, name, network)
        one = Client(lab.binaries[lab.versions()[-1]], host, lab.folder / name, server)
        lab.clients.append(one)
        one.start()
        return one

    server.start()
    laptop = client("laptop", router, LAN)
    phone = client("phone", second, AWAY)
    report.check("a laptop behind the router and a phone behind a second NAT join", join, server, laptop, phone)
    report.check("without the server's part they stay on the relay", relayed, laptop, phone)
    report.check("with it the phone learns the router's address for the laptop", switched_on, server, phone)
    report.check("both go direct, through both NATs", direct, laptop, phone)
    report.check("a client on the router itself does not get in the way", on_the_router, lab, server, laptop, phone)
    report.check("another address of the router is told without a restart", other_address, router, phone)
    report.check("the map of relays follows a public address", public_address, router, phone)


def join(server, laptop, phone):
    key = server.key(server.user("home"), "--reusable")
    laptop.up(key)
    phone.up(key)
    phone.sees("laptop")


def relayed(laptop, phone):
    phone.ping("laptop", direct=False)
    expect(endpoints(phone, "laptop") == [f"{LAN}.2:41641"], endpoints(phone, "laptop"))


def switched_on(server, phone):
    file = server.folder / "config.yaml"
    file.write_text(file.read_text().replace("enabled: false", "enabled: true", 1))
    server.process.send_signal(signal.SIGHUP)
    told(phone, f"{GATEWAY}:41641")


def endpoints(client, peer):
    """What the client was told of a peer's addresses."""
    netmap = json.loads(client.cli("debug", "netmap"))
    return next(node for node in netmap["Peers"] if node["Name"].startswith(f"{peer}."))["Endpoints"] or []


def told(phone, address):
    wait(f"{address} among the laptop's addresses", 30, lambda: address in endpoints(phone, "laptop"))


def direct(laptop, phone):
    phone.ping("laptop", direct=True)
    laptop.ping("phone", direct=True)


def on_the_router(lab, server, laptop, phone):
    # A port of its own: what comes to 41641 is meant for the laptop.
    own = Client(lab.binaries[lab.versions()[-1]], server.host, lab.folder / "own", server, port=41642)
    lab.clients.append(own)
    own.start()
    own.up(server.key(1), "--netfilter-mode=off", "--accept-dns=false")
    own.ping("phone", direct=True)
    own.ping("laptop", direct=True)
    direct(laptop, phone)


def other_address(router, phone):
    router.ip("addr", "add", f"{NEW}/24", "dev", "eth0")
    router.ip("route", "replace", "default", "via", UPLINK, "src", NEW)
    told(phone, f"{NEW}:41641")
    expect(f"{GATEWAY}:41641" not in endpoints(phone, "laptop"), "the old address is still told")


def public_address(router, phone):
    router.ip("addr", "add", f"{PUBLIC}/32", "dev", "eth0")
    router.ip("route", "replace", "default", "via", UPLINK, "src", PUBLIC)

    def known():
        nodes = [node for region in phone.derp_map()["Regions"].values() for node in region["Nodes"]]
        return [node for node in nodes if node.get("IPv4") == PUBLIC]

    wait("the address in the map of relays", 30, known)
    router.ip("route", "replace", "default", "via", UPLINK)
    wait("the old map", 30, lambda: not known())
