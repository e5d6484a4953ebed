"""Many predictions at once at a real server, and how long other people wait meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support.label_server import Person, Server, as_png, encoded, require_monailabel
from tests.support.people import a_mask


class Predictions:
    """``count`` predictions of a picture of ``side`` pixels, sent together."""

    def __init__(self, server: Server, count: int = 30, side: int = 700) -> None:
        self.url = f"{server.url}/infer/joint"
        self.picture = encoded(np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8), "PNG")
        self.found: list[int] = []
        self.threads = [threading.Thread(target=self._predict) for _ in range(count)]

    def start(self) -> Predictions:
        for thread in self.threads:
            thread.start()
        return self

    @property
    def goes_on(self) -> bool:
        return any(thread.is_alive() for thread in self.threads)

    def end(self) -> list[int]:
        """Wait for all; the status of each answer."""
        for thread in self.threads:
            thread.join(300)
        return self.found

    def _predict(self) -> None:
        files = {"file": ("x.png", self.picture)}
        answer = require_monailabel().post(self.url, params={"output": "json"}, files=files, timeout=300)
        self.found.append(answer.status_code)


def slowest(person: Person, key: str, goes_on: Callable[[], bool], most_s: float = 15.0) -> dict[str, float]:
    """The slowest answer of each kind in seconds, while somebody asks one after the other."""
    found: dict[str, float] = {}
    until, number = time.monotonic() + most_s, 0
    while time.monotonic() < until and goes_on():
        number += 1
        mask = as_png(a_mask(person_size(person, key), left=number % 40))
        steps: dict[str, Callable[[], Any]] = {
            "status": person.status, "next image": person.next, "hand in": lambda mask=mask: person.send(key, mask),
        }  # fmt: skip
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            found[name] = max(found.get(name, 0.0), time.perf_counter() - began)
    assert number >= 3
    return found


def person_size(person: Person, key: str) -> tuple[int, int]:
    """(H, W) of an image."""
    found = person.get("/datastore/image/info", image=key).json()
    return found["height"], found["width"]
