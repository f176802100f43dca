"""A headless Chromium, spoken to over its debugging pipe."""

import base64
import json
import os
import select
import subprocess
import time

# A page on a busy machine takes seconds; nothing waits that long when all is well.
PATIENCE = int(os.environ.get("GRAMSCALE_PATIENCE", "60"))


class Failure(Exception):
    """A check that did not hold."""


class Browser:
    def __init__(self, folder, width=1100, height=900):
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        self._log = open(folder / "chromium.log", "wb")
        command = [
            "chromium", "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu",
            "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--lang=en",
            "--hide-scrollbars", f"--window-size={width},{height}", f"--user-data-dir={folder / 'profile'}", "about:blank",
        ]
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "bash", *command],
            pass_fds=(to_read, to_write), stdout=self._log, stderr=self._log, env={**os.environ, "HOME": str(folder)},
        )
        os.close(to_read)
        os.close(to_write)
        self._bytes = b""
        self._number = 0
        # What went wrong in pages: exceptions that nobody caught, and lines of console.error.
        self.complaints = []
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        self._session = None
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime"):
            self._send(f"{domain}.enable")

    def close(self):
        self._process.terminate()
        self._process.wait(PATIENCE)

    def _send(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if getattr(self, "_session", None):
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while True:
            answer = self._next(end - time.monotonic(), method)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise Failure(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._note(answer)

    def _next(self, seconds, method):
        while b"\0" not in self._bytes:
            if not select.select([self._from], [], [], max(0, seconds))[0]:
                raise Failure(f"chromium does not answer {method}")
            more = os.read(self._from, 1 << 16)
            if not more:
                raise Failure(f"chromium ended; see {self._log.name}")
            self._bytes += more
        message, self._bytes = self._bytes.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event):
        if event.get("method") == "Runtime.exceptionThrown":
            details = event["params"]["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif event.get("method") == "Runtime.consoleAPICalled" and event["params"]["type"] == "error":
            self.complaints.append(" ".join(str(a.get("value", a.get("description"))) for a in event["params"]["args"]))

    def open(self, url):
        self._send("Page.navigate", url=url)

    def run(self, script):
        """The value of an expression in the page; a promise's when it is kept."""
        answer = self._send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise Failure(f"{script[:80]}: {details.get('exception', {}).get('description', details['text'])}")
        return answer["result"].get("value")

    def wait(self, what, script):
        """Waits until an expression is true, and returns it."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                value = self.run(script)
            except Failure as failure:  # the page is just being replaced
                value, last = None, str(failure)
            else:
                last = ""
            if value:
                return value
            if time.monotonic() > end:
                text = self.run("document.body.innerText.slice(0, 3000)")
                raise Failure(f"waited for {what} {last}\n{text}\n{self.complaints}")
            time.sleep(0.05)

    def click(self, selector):
        """Clicks an element, once it is there, enabled, and nothing lies over it.

        All in one step of the page, for pages draw themselves anew while they are looked at.
        """
        self.wait(
            f"{selector} to be clicked",
            f"(e => {{ if (!e || e.disabled) return false; e.scrollIntoView({{block: 'center'}});"
            f" const r = e.getBoundingClientRect(), top = document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2);"
            f" if (!r.width || !e.contains(top)) return false; e.click(); return true; }})"
            f"(document.querySelector({json.dumps(selector)}))"
        )

    def type(self, selector, text):
        """Replaces what is in a field."""
        name = json.dumps(selector)
        self.wait(selector, f"!!document.querySelector({name})")
        self.run(f"(e => {{ e.focus(); e.select(); }})(document.querySelector({name}))")
        if text:
            self._send("Input.insertText", text=text)
        else:
            self.run(f"(e => {{ e.value = ''; e.dispatchEvent(new Event('input')); }})(document.querySelector({name}))")
        self.run(f"document.querySelector({name}).dispatchEvent(new Event('change', {{bubbles: true}}))")

    def choose(self, selector, value):
        name = json.dumps(selector)
        self.wait(selector, f"!!document.querySelector({name})")
        self.run(
            f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('change', {{bubbles: true}})); }})"
            f"(document.querySelector({name}))"
        )

    def text(self, selector="#view"):
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def picture(self, selector=None):
        """A PNG of the page, or of an element."""
        name = json.dumps(selector or "html")
        clip = self.run(
            f"(e => {{ const r = e.getBoundingClientRect(); return {{x: r.x + scrollX, y: r.y + scrollY,"
            f" width: r.width, height: r.height, scale: 1}}; }})(document.querySelector({name}))"
        )
        data = self._send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        return base64.b64decode(data)
