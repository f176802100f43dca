"""Bad input and bad company: a bounded refusal, and those who are known are still served."""

import contextlib
import random
import select
import socket
import time

from check import Failure, expect, wait

# What the server may have open in this group; and more connections than that from one attacker.
DESCRIPTORS = 64
CROWD = 200
# How long a request that never comes to its end may hold a place.
PATIENCE = 75
# Resident memory may grow by no more than this under all of it, in KiB.
GROWTH = 24 * 1024

GET = b"GET /key?v=100 HTTP/1.1\r\nHost: x\r\n"
UPGRADE = (
    b"POST /ts2021 HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: tailscale-control-protocol\r\n"
    b"X-Tailscale-Handshake: "
)
LENGTH = b"Host: x\r\nContent-Length: "

# (what, the bytes, whether the server may wait for more of them)
GARBAGE = (
    ("random bytes", random.Random(7).randbytes(4096), False),
    ("zeros", bytes(4096), False),
    ("a TLS record of random bytes", b"\x16\x03\x01\x02\x00" + random.Random(8).randbytes(512), False),
    ("a TLS record that never ends", b"\x16\x03\x01\x40\x00\x01", True),
    ("a request line without end", b"GET /" + b"a" * 100_000, False),
    ("a header without end", GET + b"A: " + b"b" * 100_000, False),
    ("very many headers", GET + b"".join(b"h%d: 1\r\n" % n for n in range(5000)) + b"\r\n", False),
    ("a length that is no number", b"POST /ts2021 HTTP/1.1\r\n" + LENGTH + b"-1\r\n\r\n", False),
    ("a length beyond all limits", b"POST /verify HTTP/1.1\r\n" + LENGTH + b"99999999999999999999\r\n\r\n", False),
    ("a body that is too long", b"POST /verify HTTP/1.1\r\n" + LENGTH + b"8388608\r\n\r\n" + bytes(1 << 16), False),
    ("two lengths", b"POST /verify HTTP/1.1\r\n" + LENGTH + b"1\r\nContent-Length: 2\r\n\r\nab", False),
    ("a length and chunks", b"POST /verify HTTP/1.1\r\n" + LENGTH + b"4\r\nTransfer-Encoding: chunked\r\n\r\n", False),
    ("an upgrade without a handshake", UPGRADE + b"\r\n\r\n", False),
    ("an upgrade with a handshake of rubbish", UPGRADE + b"!!!!\r\n\r\n", False),
    ("an upgrade with a handshake of zeros", UPGRADE + b"A" * 136 + b"\r\n\r\n", False),
    ("an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", False),
    ("a relay login of zeros", b"GET /derp HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n"
     + b"\x02" + bytes(500), False),
    ("a relay frame of 4 GB", b"GET /derp HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n"
     + b"\x02\xff\xff\xff\xff", False),
)


def run(report, lab):
    server = lab.server(limit=DESCRIPTORS)
    report.need(f"serve with {DESCRIPTORS} descriptors", server.start)
    key = server.key(server.user("eve"), "--reusable")
    one, two = (lab.client(name, number, server) for name, number in (("one", 11), ("two", 12)))
    for client in (one, two):
        client.up(key)
    one.sees(two.name)
    before = resident(server)
    attacker = lab.net.host("attacker", 66)

    for what, data, waits in GARBAGE:
        report.check(f"refused: {what}", refused, attacker, server, data, waits)
    report.check("STUN: no long answer to garbage, and real ones go on", datagrams, lab, attacker, server)
    report.check(f"{CROWD} connections that say nothing: others are still served", silent, attacker, server)
    report.check(f"a slow request is cut off within {PATIENCE} s", slow, attacker, server)
    report.check("the clients never lost their server", lambda: (one.sees(two.name), one.ping(two.name, True)))
    report.check("a third client joins", join, lab, server, key, one)
    report.check(f"memory grew by less than {GROWTH // 1024} MiB", memory, server, before)


def refused(attacker, server, data, waits):
    """The server answers with a 4xx or 5xx status or closes; a success would be one that took the bytes for good."""
    stream = attacker.connect(server.host.address, server.port)
    with stream, contextlib.suppress(ConnectionError):
        stream.sendall(data)
        answer = b""
        end = time.monotonic() + 20
        while time.monotonic() < end and not waits:
            if not select.select([stream], [], [], 1)[0]:
                if answer:
                    break
                continue
            some = stream.recv(65536)
            answer += some
            if not some:
                break
        else:
            expect(waits, f"neither answered nor closed in 20 s: {answer[:200]!r}")
        # A relay login is refused after the upgrade, by closing.
        if answer.startswith(b"HTTP/1.1 ") and b" 101 " not in answer[:16]:
            expect(answer[9:10] in b"45", answer[:200])
    status, _ = attacker.get(server.host.address, server.port, "/health")
    expect(status == 200, f"/health answers {status}")


def datagrams(lab, attacker, server):
    noise = random.Random(9)
    with attacker.inside():
        line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with line:
        for size in (0, 1, 19, 20, 28, 1400):
            line.sendto(noise.randbytes(size), (server.host.address, 3478))
            line.sendto(b"\x00\x01\x00\x00\x21\x12\xa4\x42"[: min(size, 8)] + bytes(max(size - 8, 0)),
                        (server.host.address, 3478))
        line.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            for _ in range(10):
                answer = line.recv(2048)
                expect(len(answer) <= 100, f"{len(answer)} bytes for garbage: an amplifier")
    attacker.run(lab.tool("stunc"), server.host.address, "3478")


def silent(attacker, server):
    crowd = []
    try:
        for _ in range(CROWD):
            with contextlib.suppress(OSError):
                crowd.append(attacker.connect(server.host.address, server.port, timeout=1))
        wait("/health in the crowd", 15, lambda: attacker.get(server.host.address, server.port, "/health")[0] == 200)
        server.nodes()
        server.healthy()
    finally:
        for stream in crowd:
            stream.close()


def slow(attacker, server):
    """A header a second, for ever."""
    with attacker.connect(server.host.address, server.port) as stream:
        stream.sendall(GET)
        started = time.monotonic()
        while time.monotonic() - started < PATIENCE:
            try:
                stream.sendall(b"a: b\r\n")
            except ConnectionError:
                return
            if select.select([stream], [], [], 1)[0]:
                try:
                    answer = stream.recv(4096)
                except ConnectionError:
                    return
                expect(not answer or answer[9:12] == b"408", answer[:100])
                return
    raise Failure("it still listens")


def join(lab, server, key, one):
    third = lab.client("third", 13, server)
    third.up(key)
    one.sees("third")
    one.ping("third", True)


def resident(server):
    for line in open(f"/proc/{server.process.pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise Failure("no resident size")


def memory(server, before):
    after = resident(server)
    expect(after - before < GROWTH, f"{before} KiB became {after} KiB")
