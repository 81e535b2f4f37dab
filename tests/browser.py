"""A headless Chromium that tests look through: pages opened, scripts asked, pictures taken.

It is spoken to in its own DevTools protocol over a pair of pipes, so that nothing listens on a port and nothing needs
to be installed beside the browser.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)
# Chromium reads what it is told from descriptor 3 and answers on 4; the two may be taken here, so a child moves them.
ON_PIPES = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execvp(sys.argv[3], sys.argv[3:])"
)


def chromium() -> str | None:
    """The browser of this machine, None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """One tab. `errors` is what its console called an error, and every exception that a script did not catch; `requests`
    the addresses that it asked for, once `Network.enable` was asked."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, receive
        self._unread = b""
        self._number = 0
        self._session: str | None = None
        self.errors: list[str] = []
        self.requests: list[str] = []

    def attach(self, width: int, height: int) -> None:
        """Open the tab, `width` x `height` pixels."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        """Show the page in a window of that many pixels."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, url: str) -> None:
        """Go there; what the page shows may still be on its way."""
        self.ask("Page.navigate", url="about:blank")  # an address that differs after '#' alone would load nothing
        answer = self.ask("Page.navigate", url=url)
        assert "errorText" not in answer, answer["errorText"]

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def run_in_frame(self, script: str) -> Any:
        """The same inside the page's frame of another origin; None as long as there is no such frame."""
        own, self._session = self._session, None
        try:
            targets = self.ask("Target.getTargets")["targetInfos"]
            frames = [target["targetId"] for target in targets if target["type"] == "iframe"]
            if not frames:
                return None
            self._session = self.ask("Target.attachToTarget", targetId=frames[0], flatten=True)["sessionId"]
            return self.run(script)
        finally:
            self._session = own

    def text(self) -> str:
        """All that the page shows, as text."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    def wait(self, script: str, seconds: float = 60.0) -> Any:
        """The value of the expression as soon as it is true; AssertionError with the page's text where it stays false."""
        return self._until(lambda: self.run(script), script, seconds)

    def wait_in_frame(self, script: str, seconds: float = 60.0) -> Any:
        """The same inside the page's frame of another origin."""
        return self._until(lambda: self.run_in_frame(script), script, seconds)

    def wait_for(self, *words: str, seconds: float = 60.0) -> str:
        """The page's text as soon as all these words are in it."""

        def there() -> str | None:
            text = self.text()
            return text if all(word in text for word in words) else None

        return str(self._until(there, repr(words), seconds))

    def click(self, script: str) -> None:
        """Press the mouse in the middle of the element that an expression gives."""
        where = self.wait(
            f"(() => {{ const e = {script}; if (!e) return null; e.scrollIntoView({{block: 'center'}});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=where[0], y=where[1], button="left", clickCount=1)

    def picture(self, path: Path) -> Path:
        """What the window shows, as a PNG."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))
        return path

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the DevTools protocol, and its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next(60.0)
            if told.get("id") == self._number:
                assert "error" not in told, f"{method}: {told['error']}"
                answer: dict[str, Any] = told["result"]
                return answer
            self._heard(told)

    def _heard(self, told: dict[str, Any]) -> None:
        details = told.get("params", {})
        if told.get("method") == "Runtime.exceptionThrown":
            thrown = details["exceptionDetails"]
            self.errors.append(thrown.get("exception", {}).get("description") or thrown["text"])
        elif told.get("method") == "Runtime.consoleAPICalled" and details["type"] == "error":
            self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in details["args"]))
        elif told.get("method") == "Network.requestWillBeSent":
            self.requests.append(details["request"]["url"])
        elif told.get("method") == "Log.entryAdded" and details["entry"]["level"] == "error":
            self.errors.append(f"{details['entry']['text']} {details['entry'].get('url', '')}")

    def _next(self, seconds: float) -> dict[str, Any]:
        until = time.monotonic() + seconds
        while b"\0" not in self._unread:
            # not `select`: beside a thousand studies and their locks the pipe's number may be beyond what that takes
            waiting = select.poll()
            waiting.register(self._receive, select.POLLIN)
            ready = waiting.poll(1000 * max(0.0, until - time.monotonic()))
            assert ready, f"the browser said nothing for {seconds:g} s"
            piece = os.read(self._receive, 1 << 20)
            assert piece, "the browser has ended"
            self._unread += piece
        message, _, self._unread = self._unread.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        return told

    def _until(self, ask: Callable[[], Any], what: str, seconds: float) -> Any:
        until = time.monotonic() + seconds
        while not (value := ask()):
            assert time.monotonic() < until, f"not within {seconds:g} s: {what}; the page shows:\n{self.text()[:2000]}"
            time.sleep(0.1)
        return value


@contextmanager
def opened(program: str, profile: Path, *, width: int = 1280, height: int = 900) -> Iterator[Page]:
    """A new browser with an empty `profile` folder and one tab; it ends with all its processes."""
    to_browser, send = os.pipe()
    receive, from_browser = os.pipe()
    moved = [sys.executable, "-c", ON_PIPES, str(to_browser), str(from_browser)]
    process = subprocess.Popen(
        [*moved, program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(to_browser, from_browser),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        page = Page(send, receive)
        page.attach(width, height)
        yield page
    finally:
        os.close(send)  # which ends it
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(receive)
