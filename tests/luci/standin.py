"""A stand-in for the router around the app: files, and /ubus with the objects that the pages call.

`luci.gramscale` is the program itself, started as rpcd starts its plugin. The rest (settings, service, log) is as small
as the pages need. What a session may call is read from the app's own access list.
"""

import http.server
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

HERE = Path(__file__).parent
APP = HERE.parent.parent / "openwrt/luci-app-gramscale"

# rpcd takes no more of a plugin's answer (RPC_EXEC_MAX_SIZE).
ANSWER_MAX = 256 * 1024

OK, DENIED, NOT_FOUND = 0, 6, 4


def read_uci(text):
    """Sections in order: {name: {".type": ..., option: text or list}}."""
    sections, current = {}, {}
    for words in (re.findall(r"'([^']*)'|(\S+)", line) for line in text.splitlines()):
        words = [quoted or bare for quoted, bare in words]
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "config":
            name = words[2] if len(words) > 2 else f"cfg{len(sections):06x}"
            current = sections.setdefault(name, {".type": words[1], ".name": name})
        elif words[0] == "list":
            current.setdefault(words[1], []).append(words[2])
        else:
            current[words[1]] = words[2]
    return sections


def write_uci(sections):
    lines = []
    for name, section in sections.items():
        lines.append(f"config {section['.type']} '{name}'")
        for key, value in section.items():
            if key.startswith("."):
                continue
            values = value if isinstance(value, list) else [value]
            word = "list" if isinstance(value, list) else "option"
            lines += [f"\t{word} {key} '{one}'" for one in values]
        lines.append("")
    return "\n".join(lines)


class Router:
    """The program as a service, its settings, and what ubus offers of both."""

    def __init__(self, binary, folder, settings):
        self.folder = folder
        self.binary = binary
        self.file = folder / "gramscale"
        self.file.write_text(settings)
        self.sections = read_uci(settings)
        self.plugin = folder / "luci.gramscale"
        self.plugin.symlink_to(binary)
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GRAMSCALE_CLOCK_TRUSTED": "true"}
        self.socket = folder / "sock"
        self.log = []
        self.calls = []
        self.copies = 0
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [self.binary, "serve", "--uci", str(self.file)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
            env={**self.env, "GRAMSCALE_LOG_FORMAT": "text"},
        )
        threading.Thread(target=self._follow, args=(self.process,), daemon=True).start()

    def _follow(self, process):
        for line in process.stderr:
            text = line.decode(errors="replace").strip()
            severity = 3 if " ERROR " in text else 4 if " WARN " in text else 6
            self.log.append({
                "msg": f"gramscale[{process.pid}]: {text}", "id": len(self.log), "priority": 24 + severity, "source": 1,
                "time": int(time.time() * 1000),
            })

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def cli(self, *words):
        return subprocess.run(
            [self.binary, "--uci", str(self.file), "-o", "json", *words], env=self.env, capture_output=True, text=True, timeout=60,
        )

    def call(self, session, name, method, params):
        """What ubus answers: a code, and perhaps a value."""
        self.calls.append((session, name, method))
        if not self._allowed(session, name, method, params.get("config")):
            return [DENIED]
        if name == "luci.gramscale":
            return self._plugin(method, params)
        handler = getattr(self, f"_{name}_{method}", None)
        return handler(params) if handler else [NOT_FOUND]

    def _allowed(self, session, name, method, config):
        access = json.loads((APP / "root/usr/share/rpcd/acl.d/luci-app-gramscale.json").read_text())
        groups = [access["luci-app-gramscale"]["read"]]
        if session == "writer":
            groups.append(access["luci-app-gramscale"]["write"])
        if name == "uci":
            # Applying is open to any session with an account; files are granted one by one.
            wanted = groups if method == "get" else groups[1:]
            return method in ("apply", "confirm") and session == "writer" or any(config in g["uci"] for g in wanted)
        return any(method in group["ubus"].get(name, []) for group in groups)

    def _plugin(self, method, params):
        answer = subprocess.run(
            [self.plugin, "call", method], input=json.dumps({**params, "ubus_rpc_session": "0" * 32}),
            capture_output=True, text=True, timeout=60, env={
                # On a router both stand in /etc/config/gramscale.
                **self.env, "GRAMSCALE_UNIX_SOCKET": str(self.socket),
                "GRAMSCALE_SERVER_URL": self.sections["server"]["server_url"],
            },
        )
        if len(answer.stdout) > ANSWER_MAX:
            raise ValueError(f"{method}: {len(answer.stdout)} bytes are more than rpcd takes")
        value = json.loads(answer.stdout)
        if method == "nodes" and self.copies:
            # More machines than real clients can be started for: the real ones, several times, in pages.
            after, limit = int(params.get("after") or 0), int(params["limit"])
            real = value["nodes"] if not after else json.loads(json.dumps(self._real))
            self._real = real
            many = [{**real[i % len(real)], "id": str(i + 1), "givenName": f"copy{i + 1}"} for i in range(self.copies)]
            value["nodes"] = many[after:after + limit]
        return [OK, value]

    # Settings

    def _uci_get(self, _):
        return [OK, {"values": self.sections}]

    def _uci_add(self, params):
        name = params.get("name") or f"cfg{len(self.sections) + 100:06x}"
        self.sections[name] = {".type": params["type"], ".name": name, **params.get("values", {})}
        return [OK, {"section": name}]

    def _uci_set(self, params):
        self.sections[params["section"]].update(params["values"])
        return [OK]

    def _uci_delete(self, params):
        if params.get("options"):
            for option in params["options"]:
                self.sections[params["section"]].pop(option, None)
        else:
            del self.sections[params["section"]]
        return [OK]

    def _uci_apply(self, _):
        self.file.write_text(write_uci(self.sections))
        if self.process:
            self.process.send_signal(signal.SIGHUP)
        return [OK]

    def _uci_confirm(self, _):
        return [OK]

    # The service and the log

    def _service_list(self, params):
        running = self.process is not None and self.process.poll() is None
        return [OK, {params["name"]: {"instances": {"instance1": {"running": True}}}} if running else {}]

    def _service_get_data(self, params):
        rule = {"type": "rule", "src": "wan", "proto": "tcp", "dest_port": "8443", "target": "ACCEPT"}
        lead = {"type": "redirect", "src": "wan", "proto": "tcp", "src_dport": "443", "dest_port": "8443"}
        both = [lead, {**lead, "src_dip": "2001:db8::1"}]
        return [OK, {params["name"]: {"instance1": {"firewall": [rule, *both]}}}]

    def _rc_init(self, params):
        {"start": self.start, "stop": self.stop, "restart": lambda: (self.stop(), self.start())}[params["action"]]()
        return [OK]

    def _log_read(self, _):
        foreign = {"msg": "dnsmasq[1]: not ours", "id": 0, "priority": 30, "source": 1, "time": 0}
        return [OK, {"log": [foreign, *self.log]}]


class Site:
    """The router's web server, on a port of loopback."""

    def __init__(self, router, catalogue):
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def reply(self, status, kind, body):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                path = urllib.parse.urlsplit(self.path).path
                if path == "/catalogue.json":
                    return self.reply(200, "application/json", json.dumps(site.catalogue).encode())
                if path.startswith("/cgi-bin/luci/"):
                    file = HERE / "page.html"
                elif path.startswith("/luci-static/"):
                    file = APP / "htdocs" / path[1:]
                else:
                    file = HERE / path[1:]
                if not file.is_file():
                    return self.reply(404, "text/plain", b"")
                kinds = {".html": "text/html", ".js": "text/javascript", ".json": "application/json"}
                return self.reply(200, kinds[file.suffix], file.read_bytes())

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                session, name, method, params = asked["params"]
                result = router.call(session, name, method, params)
                answer = {"jsonrpc": "2.0", "id": asked["id"]}
                # uhttpd answers so when the session has no right.
                if result == [DENIED]:
                    answer["error"] = {"code": -32002, "message": "Access denied"}
                else:
                    answer["result"] = result
                self.reply(200, "application/json", json.dumps(answer).encode())

        self.catalogue = catalogue
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, page, session="writer"):
        return f"http://127.0.0.1:{self.server.server_port}/cgi-bin/luci/admin/services/gramscale/{page}?session={session}"
