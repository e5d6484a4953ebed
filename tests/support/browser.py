"""A headless Chromium to try a page in, driven over its DevTools protocol through a pipe: standard library only."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 20.0
_TO_BROWSER, _FROM_BROWSER = 3, 4  # file descriptors that Chromium reads from and writes to
_MODIFIERS = {"alt": 1, "ctrl": 2, "shift": 8}


def find_chromium() -> str | None:
    """Return the path of a Chromium or Chrome, ``None`` where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab: scripts are evaluated, mouse and keys are pressed as by a person."""

    def __init__(self, program: str, profile: Path, size: tuple[int, int]) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()

        def connect() -> None:
            # Moved out of the way first: one of the two may be 3 or 4 itself.
            spare = [os.dup(to_browser), os.dup(from_browser)]
            for source, target in zip(spare, (_TO_BROWSER, _FROM_BROWSER), strict=True):
                os.dup2(source, target)

        command = [
            program, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run",
            "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio", "--force-device-scale-factor=1",
            f"--window-size={size[0]},{size[1]}", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, preexec_fn=connect, pass_fds=(_TO_BROWSER, _FROM_BROWSER),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._waiting, self._number, self._session = b"", 0, ""
        self._targets: dict[str, str] = {}  # of further windows, by session
        self.events: list[dict[str, Any]] = []
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(info["targetId"] for info in targets if info["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        width, height = size
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def close(self) -> None:
        """End the browser."""
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            self._session = ""
            self.call("Browser.close")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the protocol and return its result."""
        number = self._send(method, params, self._session)
        until = time.monotonic() + SECONDS
        while True:
            answer = self._message(until)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._note(answer)

    def _send(self, method: str, params: dict[str, Any], session: str) -> int:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        return self._number

    def _message(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._waiting:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser does not answer")
            data = os.read(self._read, 1 << 20)
            if not data:
                raise RuntimeError("the browser has ended")
            self._waiting += data
        message, self._waiting = self._waiting.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if event.get("method") == "Page.javascriptDialogOpening":  # "leave this page?"
            self._send("Page.handleJavaScriptDialog", {"accept": True}, event["sessionId"])

    def named(self, method: str) -> list[dict[str, Any]]:
        """Return the parameters of the events of one kind that have come."""
        return [event["params"] for event in self.events if event.get("method") == method]

    @property
    def faults(self) -> list[str]:
        """Everything that the browser complained about: exceptions, refused resources, violated policies."""
        thrown = [str(each["exceptionDetails"]) for each in self.named("Runtime.exceptionThrown")]
        logged = [each["entry"]["text"] for each in self.named("Log.entryAdded") if each["entry"]["level"] == "error"]
        return thrown + logged

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; promises are waited for."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def wait(self, expression: str, seconds: float = SECONDS) -> Any:
        """Return the value of an expression as soon as it is true."""
        until = time.monotonic() + seconds
        while True:
            if value := self.evaluate(expression):
                return value
            if time.monotonic() > until:
                raise TimeoutError(expression)
            time.sleep(0.03)

    def open(self, path: Path, seconds: float = SECONDS) -> None:
        """Open a file by its address, as a double-click does, and wait until it has loaded.

        Chromium never answers a navigation that comes while the one before it is being committed.
        """
        loader = self.call("Page.navigate", url=path.as_uri())["loaderId"]
        until = time.monotonic() + seconds
        while all(event["frame"]["loaderId"] != loader for event in self.named("Page.frameNavigated")):
            self._note(self._message(until))
        self.wait("document.readyState === 'complete'", seconds)

    def mouse(self, kind: str, x: float, y: float, button: str = "left", pointer: str = "mouse") -> None:
        """Dispatch ``mousePressed``, ``mouseMoved`` or ``mouseReleased`` of a ``mouse`` or a ``pen``."""
        held = 0 if kind == "mouseReleased" else {"left": 1, "right": 2, "middle": 4, "none": 0}[button]
        what = {"type": kind, "button": button, "buttons": held, "clickCount": 1, "pointerType": pointer}
        self.call("Input.dispatchMouseEvent", x=x, y=y, **what)

    def drag(self, points: list[tuple[float, float]], button: str = "left", pointer: str = "mouse") -> None:
        """Press at the first point of the window, move along the others, and release at the last."""
        self.mouse("mouseMoved", *points[0], "none", pointer)
        self.mouse("mousePressed", *points[0], button, pointer)
        for point in points[1:]:
            self.mouse("mouseMoved", *point, button, pointer)
        self.mouse("mouseReleased", *points[-1], button, pointer)

    def touch(self, *fingers: list[tuple[float, float]]) -> None:
        """Put one finger after the other down, move each along its points, and lift them; all ways are as long."""

        def told(step: int, count: int) -> list[dict[str, float]]:
            return [{"x": way[step][0], "y": way[step][1], "id": i} for i, way in enumerate(fingers[:count])]

        for count in range(1, len(fingers) + 1):
            self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=told(0, count))
        for step in range(1, len(fingers[0])):
            self.call("Input.dispatchTouchEvent", type="touchMove", touchPoints=told(step, len(fingers)))
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def press(self, key: str, *modifiers: str) -> None:
        """Press and release a key, e.g. ``press("z", "ctrl")``."""
        held = sum(_MODIFIERS[name] for name in modifiers)
        letter = {"text": key} if len(key) == 1 and not held & 3 else {}
        code = {"windowsVirtualKeyCode": 13} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, modifiers=held, **letter, **code)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, modifiers=held, **code)

    def type(self, text: str) -> None:
        """Enter a text where the focus is."""
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click the middle of an element with the mouse."""
        x, y = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); "
            "e.scrollIntoView({block: 'nearest'}); "
            "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        self.drag([(x, y)])

    def window(self, path: Path, script: str = "") -> str:
        """Open a file in a window of its own, both in sight, and return what :meth:`at` and :meth:`shut` take.

        Args:
            path: the file.
            script: is run before those of the page.
        """
        first, self._session = self._session, ""
        target = self.call("Target.createTarget", url="about:blank", newWindow=True)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._targets[session] = target
        with self.at(session):
            for domain in ("Page", "Runtime", "Log"):
                self.call(f"{domain}.enable")
            self.call("Emulation.setFocusEmulationEnabled", enabled=True)
            if script:
                self.before_load(script)
            self.open(path)
        self._session = first
        return session

    @contextlib.contextmanager
    def at(self, session: str) -> Iterator[None]:
        """Work in another window."""
        first, self._session = self._session, session
        try:
            yield
        finally:
            self._session = first

    def shut(self, session: str) -> None:
        """Close a window at once, as when its process ends."""
        with self.at(""):
            self.call("Target.closeTarget", targetId=self._targets.pop(session))

    def shut_all(self) -> None:
        """Close all windows of :meth:`window`."""
        for session in list(self._targets):
            self.shut(session)

    def before_load(self, script: str) -> str:
        """Run a script in each page before its own; returns what :meth:`forget` takes."""
        return self.call("Page.addScriptToEvaluateOnNewDocument", source=script)["identifier"]

    def forget(self, identifier: str) -> None:
        """Undo :meth:`before_load`."""
        self.call("Page.removeScriptToEvaluateOnNewDocument", identifier=identifier)

    def screenshot(self, path: Path) -> None:
        """Write what the tab shows as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def downloads_to(self, folder: Path) -> None:
        """Let files be saved into a folder without asking."""
        session, self._session = self._session, ""
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder), eventsEnabled=False)
        self._session = session


@contextlib.contextmanager
def browser(profile: Path, size: tuple[int, int] = (1280, 800)) -> Iterator[Page]:
    """Yield a tab of a new browser; ``RuntimeError`` where there is no Chromium."""
    program = find_chromium()
    if program is None:
        raise RuntimeError("no Chromium")
    page = Page(program, profile, size)
    try:
        yield page
    finally:
        page.close()
