"""A server with a certificate that an authority signed, configured by file; the tools that come with the client."""

import json
import os
import re
import signal

from check import expect, wait
from lab import authority
from net import GATEWAY

NAME = "gramscale.test"
PORT = 8443
OLD, NEW = "1.62.1", "1.102.5"


def run(report, lab):
    ca, certificate, key_file = authority(lab.folder / "tls", NAME)
    trust = {"SSL_CERT_FILE": str(ca)}
    server = lab.server(
        port=PORT, url=f"https://{NAME}:{PORT}",
        config={
            "tls_cert_path": str(certificate),
            "tls_key_path": str(key_file),
            # The probe relays with keys made up on the spot, which belong to no node.
            "derp": {
                "server": {
                    "enabled": True, "region_id": 950, "region_code": "test", "region_name": "Test",
                    "verify_clients": False, "stun_listen_addr": "0.0.0.0:3478", "ipv4": GATEWAY,
                },
            },
            "dns": {"magic_dns": True, "base_domain": "https.test", "override_local_dns": False},
        },
    )
    names = {NAME: server.host.address}
    server.healthy = lambda: healthy(server, ca)
    report.need("serve with a certificate, from a configuration file", server.start)
    key = report.need("users and preauthkeys over the socket", lambda: server.key(server.user("bob"), "--reusable"))

    clients = lab.apart(report, "join over https", server, key, (OLD, NEW), trust, names)
    one, other = clients
    report.check(f"ping through the relay, signed certificate: {OLD} to {NEW}", one.ping, other.name, False)
    report.check(f"ping through the relay, signed certificate: {NEW} to {OLD}", other.ping, one.name, False)
    for client in clients:
        client.host.isolate(False)
    report.check("ping directly", one.ping, other.name, True)
    report.check("derpprobe", derpprobe, lab, other, trust)
    report.check("stunc", stunc, lab, other)
    report.check("a renewed certificate is served after SIGHUP, and no connection ends", renewed, lab, server,
                 certificate, key_file, clients)


def healthy(server, ca):
    expect(server.process.poll() is None, "the server ended")
    text = server.host.run(
        "curl", "-sS", "-m", "5", "--cacert", str(ca), "--resolve", f"{NAME}:{PORT}:{server.host.address}",
        f"{server.url}/health", fine=True,
    )
    return "pass" in text


def derpprobe(lab, client, trust):
    """The map is the client's; the probe tries STUN, the certificate and relaying between the nodes of a region."""
    file = lab.folder / "map.json"
    # The server listens on IPv4 only and says so, but the probe takes `none` for an address.
    text = json.dumps(client.derp_map())
    file.write_text(re.sub(r'"IPv6": ?"none"', '"IPv6": ""', text))
    env = {"PATH": os.environ["PATH"], "HOME": str(lab.folder), **trust}
    text = client.host.run(
        "sh", "-c", '"$0" "$@" 2>&1', lab.tool("derpprobe"), "-once", "-spread=false", "-derp-map", f"file://{file}",
        env=env, timeout=100,
    )
    for probe in ("tls", "udp", "mesh"):
        expect(re.search(rf"good: derp/test/\S+/{probe}:", text), text)


def stunc(lab, client):
    # It prints to its error stream only.
    text = client.host.run("sh", "-c", '"$0" "$@" 2>&1', lab.tool("stunc"), client.server.host.address, "3478")
    expect(f"stun addr: {client.host.address}:" in text, text)


def connections(clients):
    """Both ends of each connection to the server."""
    found = ("ss", "-tnH", "state", "established", "dport", "=", f":{PORT}")
    return [sorted(line.split()[2:4] for line in client.host.run(*found).splitlines()) for client in clients]


def renewed(lab, server, certificate, key_file, clients):
    before = connections(clients)
    expect(all(before), before)
    ca, new_certificate, new_key = authority(lab.folder / "renewed", NAME)
    certificate.write_bytes(new_certificate.read_bytes())
    key_file.write_bytes(new_key.read_bytes())
    server.process.send_signal(signal.SIGHUP)
    wait("the new certificate", 10, lambda: healthy(server, ca))
    expect(connections(clients) == before, f"{connections(clients)} were {before}")
