"""The real server of ``bundle/label_app`` on 127.0.0.1, as a process of its own, and a person's way to talk to it.

Only for tests that are marked ``label``: they need MONAI Label (``bundle/label_app/README.md``).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "bundle" / "label_app"
START_S, TASK_S = 120.0, 240.0


def require_monailabel() -> Any:
    """Return ``requests``; the calling module is skipped where MONAI Label is not installed."""
    reason = "MONAI Label is not installed, see bundle/label_app/README.md"
    pytest.importorskip("monailabel", reason=reason)
    return pytest.importorskip("requests", reason=reason)


class Server:
    """One server process.

    Args:
        studies: data folder.
        output_dir: folder of runs.
        config: overlays, names or paths.
        conf: more ``--conf`` pairs.
        words: more words of the command.
        app: the app; another one gets no config and no output_dir.
    """

    def __init__(
        self, studies: Path, output_dir: Path, config: Sequence[str] = (), conf: Mapping[str, Any] | None = None,
        words: Sequence[str] = (), app: Path = APP,
    ) -> None:  # fmt: skip
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        own = {"config": ",".join(["train.json", *config]), "output_dir": str(output_dir)} if app == APP else {}
        pairs = {**own, **(conf or {})}
        flat = [word for key, value in pairs.items() for word in ("--conf", key, str(value))]
        self.command = [str(Path(sys.executable).with_name("monailabel")), "start_server", "--app", str(app),
                        "--studies", str(studies), "--port", str(self.port), *flat, *words]  # fmt: skip
        self.log = output_dir.parent / f"server_{self.port}.log"
        self.output_dir = output_dir
        self.env: dict[str, str] = {}
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        """Start it and wait until it answers."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # the command is a script of bash
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "", "PATH": path, **self.env}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.log.parent, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return self
            time.sleep(0.1)
        raise AssertionError(self.text())

    def run_folder(self, name: str) -> Path:
        """The folder of a run that it serves."""
        return self.output_dir / name

    def text(self) -> str:
        """What it wrote."""
        return self.log.read_text(errors="replace")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End the process itself; what it started lives on."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(30)

    def close(self) -> None:
        """End it with all that it started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)


@contextlib.contextmanager
def serving(*arguments: Any, **more: Any) -> Iterator[Server]:
    """A server for the length of a block."""
    server = Server(*arguments, **more)
    try:
        yield server.start()
    finally:
        server.close()


class Person:
    """Somebody at a viewer.

    Args:
        server: where to.
        name: told with each request; ``""`` tells none.
    """

    def __init__(self, server: Server, name: str = "anna", token: str = "") -> None:
        self.http, self.server, self.name = require_monailabel().Session(), server, name
        self.http.headers.update({"Authorization": f"Bearer {token}"} if token else {})

    def get(self, path: str, **query: Any) -> Any:
        return self.http.get(self.server.url + path, params=query, timeout=60)

    def next(self, strategy: str = "queue", **told: Any) -> dict[str, Any]:
        """The next image, or the message that there is none."""
        body = {**({"client_id": self.name} if self.name else {}), **told}
        answer = self.http.post(f"{self.server.url}/activelearning/{strategy}", json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def send(self, key: str, content: bytes, name: str = "", tag: str | None = None, **told: Any) -> Any:
        """Hand a mask in; the answer of the server."""
        params = {**({"client_id": self.name} if self.name else {}), **told}
        query = {"image": key, **({} if tag is None else {"tag": tag})}
        files = {"label": (name or f"{key}.png", content)}
        url = f"{self.server.url}/datastore/label"
        return self.http.put(url, params=query, data={"params": json.dumps(params)}, files=files, timeout=60)

    def label_info(self, key: str) -> dict[str, Any]:
        answer = self.get("/datastore/label/info", label=key, tag="final")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def infer(self, key: str, output: str = "json", **told: Any) -> Any:
        url = f"{self.server.url}/infer/joint"
        query, form = {"image": key, "output": output}, {"params": json.dumps(told)}
        answer = self.http.post(url, params=query, data=form, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json() if output == "json" else as_mask(answer.content)

    def status(self) -> dict[str, Any]:
        return dict(self.get("/annotation/status").json())

    def train(self) -> dict[str, Any]:
        """Order a training, wait for its end, and return MONAI Label's task."""
        answer = self.http.post(f"{self.server.url}/train/joint", timeout=60)
        assert answer.status_code == 200, answer.text
        return self.finished("/train/")

    def score(self, name: str) -> dict[str, Any]:
        """Order scores, wait for them, and return MONAI Label's task."""
        answer = self.http.post(f"{self.server.url}/scoring/{name}", timeout=60)
        assert answer.status_code == 200, answer.text
        return self.finished("/scoring/")

    def finished(self, path: str) -> dict[str, Any]:
        deadline = time.monotonic() + TASK_S
        while time.monotonic() < deadline:
            task = dict(self.get(path).json())
            if task["status"] not in ("SUBMITTED", "RUNNING"):
                assert task["status"] == "DONE", "\n".join(task["details"])
                return task
            time.sleep(0.1)
        raise AssertionError(self.server.text())


def as_png(mask: np.ndarray) -> bytes:
    """A mask as drawing programs write it, 0 and 255."""
    return encoded(mask.astype(np.uint8) * 255, "PNG")


def encoded(values: np.ndarray, kind: str, **how: Any) -> bytes:
    """An array as a picture file."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format=kind, **how)
    return buffer.getvalue()


def as_mask(content: bytes) -> np.ndarray:
    """The values of a PNG."""
    with Image.open(io.BytesIO(content)) as picture:
        return np.array(picture)
