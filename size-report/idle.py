"""The memory of a server that has nothing to do."""

import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

START = 15.0  # seconds until it must answer
STOP = 30.0  # seconds until it must have ended
SETTLE = 2.0  # seconds for what runs once after the start


def resident(program):
    """(VmRSS, RssAnon) in bytes of `program serve` with nothing configured, two seconds after it answers."""
    with tempfile.TemporaryDirectory(prefix="gramscale-idle.") as folder:
        listen = f"127.0.0.1:{free_port()}"
        log = Path(folder) / "log"
        with log.open("w") as output:
            server = subprocess.Popen(
                [program, "serve", "--data-dir", folder, "--listen", listen],
                stdout=output, stderr=output,
                # STUN's usual port may be another server's.
                env={"HOME": folder, "XDG_RUNTIME_DIR": folder, "GRAMSCALE_DERP_SERVER_STUN_LISTEN_ADDR": listen},
            )
        try:
            await_health(server, listen, log)
            time.sleep(SETTLE)
            return status(server.pid, "VmRSS"), status(server.pid, "RssAnon")
        finally:
            server.terminate()
            server.wait(STOP)


def await_health(server, listen, log):
    end = time.monotonic() + START
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"http://{listen}/health", timeout=1).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise SystemExit(f"{log.read_text()[-2000:]}\nFAILED  idle resident: the server does not answer at {listen}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def status(process, field):
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"FAILED  idle resident: no {field} in /proc/{process}/status")
