"""A headless Chromium driven over DevTools' pipe: no driver, no port, no package."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

WAIT = 30.0  # seconds


def find_chromium() -> str | None:
    """Chromium's executable, under any of its names."""
    return next(
        (
            path
            for name in ("chromium", "chromium-browser", "google-chrome")
            if (path := shutil.which(name))
        ),
        None,
    )


class Page:
    """One tab."""

    def __init__(self, sending: int, receiving: int) -> None:
        self._sending = sending
        self._receiving = os.fdopen(receiving, "rb", buffering=0)
        self._ids = itertools.count(1)
        self._rest = b""
        self._session: str | None = None
        self.problems: list[str] = []  # uncaught exceptions and blocked resources

    def open(self, url: str) -> None:
        """A new tab at `url`, once it has loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One DevTools command and its result."""
        number = next(self._ids)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._sending, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = self._receiving.read(1 << 16)
            assert part, "the browser has gone"
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(message["params"]["exceptionDetails"]))
        if (
            message.get("method") == "Log.entryAdded"
            and message["params"]["entry"]["level"] == "error"
        ):
            self.problems.append(message["params"]["entry"]["text"])
        return message

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        found = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Return once a JavaScript expression is true."""
        deadline = time.monotonic() + WAIT
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < deadline, (
                f"{condition} did not become true; {self.run('document.body.innerText')}"
            )
            time.sleep(0.02)

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Return once something outside of the page is true; a value that cannot be read yet is
        not.
        """
        deadline = time.monotonic() + WAIT
        while True:
            with contextlib.suppress(ValueError):
                if condition():
                    return
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def choose_file(self, selector: str, path: Path) -> None:
        """Give a file to an input for files."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        found = self.call("DOM.querySelector", nodeId=root, selector=selector)
        self.call("DOM.setFileInputFiles", files=[str(path)], nodeId=found["nodeId"])

    def type(self, selector: str, text: str) -> None:
        """Focus an element and type into it."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def press_enter(self) -> None:
        self._press({"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"})

    def press_escape(self) -> None:
        self._press({"key": "Escape", "code": "Escape", "windowsVirtualKeyCode": 27})

    def _press(self, key: dict[str, Any]) -> None:
        self.call("Input.dispatchKeyEvent", type="keyDown", **key)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def resize(self, width: int, height: int = 800) -> None:
        """Show the page as on a screen of that many pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def dark(self, yes: bool) -> None:
        """Say that the user's system is dark, or light."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if yes else "light"}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def texts(self, selector: str) -> list[str]:
        """The text of each element that matches."""
        found: list[str] = self.run(
            f"[...document.querySelectorAll({json.dumps(selector)})].map((item) =>"
            " item.textContent)"
        )
        return found

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextlib.contextmanager
def chromium(executable: str, profile: Path) -> Iterator[Page]:
    """A browser of its own, with an empty profile; ended with everything it started."""
    to_browser, our_writes = os.pipe()
    our_reads, from_browser = os.pipe()
    command = [
        "bash",
        "-c",
        f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}',
        executable,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--window-size=1000,700",
        f"--user-data-dir={profile}",
        "--remote-debugging-pipe",
    ]
    process = subprocess.Popen(
        command,
        pass_fds=(to_browser, from_browser),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    page = Page(our_writes, our_reads)
    try:
        yield page
    finally:
        os.close(our_writes)  # the browser ends when its pipe does
        process.wait(WAIT)
        page._receiving.close()
