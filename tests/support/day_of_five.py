"""A day of five people at the real server, random kills of it, and two servers of one run: nothing answered is lost.

    python -m tests.support.day_of_five --full --seed 0     # as the table in docs/reliability.md; about six minutes
    python -m tests.support.day_of_five                     # the short form

Needs MONAI Label (``bundle/label_app/README.md``). Everybody takes the next image, looks at its prediction, hands masks
in (again, with mistakes, and anew where the answer did not come), skips and gives back. At the end every mask that was
answered with 200 must lie in the state under the version that was told, with the pixels that were sent. The exit status
is 1 where one does not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import requests

from scripts.core.run_names import Phase
from scripts.images.png import png_to_mask
from scripts.state.desk import Desk
from tests.support.label_server import Person, Server, as_png
from tests.support.served import Served, make_served

NAMES = ("anna", "ben", "carl", "dora", "emil")
OVERLAY: dict[str, Any] = {
    "batch_size": 2, "max_epochs": 1, "epoch_length": 2, "val_interval": 1, "variants": 1,
    "active#rounds": 8, "active#initial_per_class": 2,
    "image_size": [64, 64], "network_def#decoder_channels": [8, 8, 8, 8, 8], "network_def#pretrained": False,
    "active#max_overlays": 0, "active#stage0#overrides#max_epochs": 1, "active#stage0#overrides#epoch_length": 2,
}  # fmt: skip


@dataclass
class Tally:
    """What came of a part of the day.

    Attributes:
        sent: masks, each once however often it was sent anew.
        answered: those that were answered with 200: image, version, hash of the file, pixels.
        refused: masks with a mistake, which were refused.
        kills: of a server.
        rounds: that were trained.
        faults: answers of 500 and above other than 503, and images that two people held at once.
    """

    sent: int = 0
    answered: list[tuple[str, int, str, np.ndarray]] = field(default_factory=list)
    refused: int = 0
    kills: int = 0
    rounds: int = 0
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Annotator(threading.Thread):
    """Somebody who draws until told to stop.

    Args:
        person: at the server.
        tally: of all.
        rng: what they do.
        stop: when.
    """

    def __init__(self, person: Person, tally: Tally, rng: random.Random, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.person, self.tally, self.rng, self.stop = person, tally, rng, stop
        self.known: list[str] = []

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                self._step()
            except (requests.RequestException, AssertionError, ValueError):
                time.sleep(0.1)  # the server is gone, or refuses: an assertion of Person names the status

    def _step(self) -> None:
        found = self.person.next()
        if "id" in found:
            self.known.append(found["id"])
        elif not self.known:
            time.sleep(0.2)
            return
        key = found.get("id") or self.rng.choice(self.known)
        what = self.rng.random()
        url = self.person.server.url
        if what < 0.05:
            self.person.http.delete(f"{url}/annotation/lease?image={key}&client_id={self.person.name}", timeout=30)
        elif what < 0.08:
            self.person.http.post(f"{url}/annotation/skip", json={"image": key, "reason": "blurred"}, timeout=30)
        elif what < 0.2:
            self.person.infer(key)
        elif what < 0.3:
            self._mistake(key)
        else:
            self._hand_in(key)

    def _mistake(self, key: str) -> None:
        content = self.rng.choice([b"", b"no picture", as_png(np.zeros((64, 64))), as_png(np.ones((9, 9)))])
        answer = self.person.send(key, content)
        with self.tally.lock:
            self.tally.refused += answer.status_code == 422
        self._look(answer)

    def _hand_in(self, key: str) -> None:
        mask = np.zeros((64, 64), np.uint8)
        top, left = self.rng.randrange(40), self.rng.randrange(40)
        mask[top : top + 2 + self.rng.randrange(20), left : left + 2 + self.rng.randrange(20)] = 1
        content = as_png(mask)
        with self.tally.lock:
            self.tally.sent += 1
        while True:
            try:
                answer = self.person.send(key, content)
                break
            except requests.RequestException:
                if self.stop.is_set():
                    return
                time.sleep(0.2)
        self._look(answer)
        if answer.status_code == 200:
            told = (key, int(answer.json()["version"]), hashlib.sha256(content).hexdigest(), mask)
            with self.tally.lock:
                self.tally.answered.append(told)

    def _look(self, answer: Any) -> None:
        if answer.status_code >= 500 and answer.status_code != 503:
            with self.tally.lock:
                self.tally.faults.append(f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text}")


@contextmanager
def five(servers: list[Server], tally: Tally, seed: int) -> Iterator[None]:
    """Five people at work for the length of a block."""
    stop = threading.Event()
    people = [
        Annotator(Person(servers[i % len(servers)], name), tally, random.Random(f"{seed} {name}"), stop)
        for i, name in enumerate(NAMES)
    ]
    for person in people:
        person.start()
    try:
        yield
    finally:
        stop.set()
        for person in people:
            person.join(90)


def lost(served: Served, tally: Tally) -> list[str]:
    """The masks that were answered and do not lie in the state as they were sent."""
    with Desk.open(served.run) as desk:
        rows = {(row.id, row.version): row for row in desk.labels()}
        found = []
        for key, version, sha256, mask in tally.answered:
            row = rows.get((key, version))
            is_kept = row is not None and row.origin_sha256 == sha256
            if row is None or not is_kept or not np.array_equal(png_to_mask(desk.read_blob(row.blob)), mask):
                found.append(f"{key} version {version}")
    return found


def day(served: Served, seconds: float, seed: int) -> Tally:
    """Five people and trainings, for some seconds."""
    tally, lead = Tally(), Person(served.server, "lead")
    served.server.start()
    with five([served.server], tally, seed):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.3)
            try:
                state = lead.status()["state"]
                if state in ("new", "ready", "stopped"):
                    lead.http.post(f"{served.server.url}/train/joint", timeout=30)
                held = [row["id"] for row in lead.status().get("leases", ())]
                if len(set(held)) != len(held):
                    tally.faults.append(f"held twice: {held}")
            except requests.RequestException:
                continue
    served.server.close()
    with Desk.open(served.run) as desk:
        tally.rounds = sum(desk.is_done(at, Phase.EVALUATE) for at in desk.metrics())
    return tally


def killed(served: Served, kills: float, seed: int) -> Tally:
    """Five people, and a server that is killed again and again."""
    tally, rng = Tally(), random.Random(f"{seed} kills")
    served.server.start()
    with five([served.server], tally, seed):
        for _ in range(int(kills)):
            time.sleep(rng.uniform(0.1, 2.0))
            served.server.kill(signal.SIGKILL)
            tally.kills += 1
            served.server.start()
        time.sleep(1.0)
    served.server.close()
    return tally


def two(served: Served, seconds: float, seed: int) -> Tally:
    """Five people at two servers of one run; one of them is killed in between."""
    tally = Tally()
    second = Server(served.studies, served.run.parent, served.config, {"ckpt": served.ckpt, "device": "cpu"})
    second.env |= served.server.env
    try:
        servers = [served.server.start(), second.start()]
        with five(servers, tally, seed):
            time.sleep(seconds / 2)
            second.kill(signal.SIGKILL)
            tally.kills += 1
            second.start()
            time.sleep(seconds / 2)
    finally:
        second.close()
        served.server.close()
    return tally


def main(words: list[str] | None = None) -> int:
    """Play the day; print the table; return 1 where something was lost or failed."""
    parser = argparse.ArgumentParser(description="a day of five people at the server")
    parser.add_argument("--full", action="store_true", help="as in docs/reliability.md; else the short form")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(words)
    seconds, kills = (120.0, 20) if options.full else (45.0, 3)
    bad = 0
    print("| | sent | answered | kept | lost | refused | kills | rounds trained |")  # noqa: T201
    print("|---|---:|---:|---:|---:|---:|---:|---:|")  # noqa: T201
    parts: tuple[tuple[str, Callable[[Served, float, int], Tally], float], ...] = (
        ("five people, one server", day, seconds),
        (f"{kills} kills at random moments", killed, kills),
        ("two servers of one run", two, seconds / 3),
    )
    for name, play, much in parts:
        with tempfile.TemporaryDirectory(prefix="day-", ignore_cleanup_errors=True) as folder:
            overlay = Path(folder) / "small.json"
            overlay.write_text(json.dumps(OVERLAY))
            served = make_served(Path(folder), [str(overlay)], begun=play is not day)
            tally = play(served, much, options.seed)
            gone = lost(served, tally)
            answered = len(tally.answered)
            print(f"| {name} | {tally.sent} | {answered} | {answered - len(gone)} | {len(gone)} | "  # noqa: T201
                  f"{tally.refused} | {tally.kills} | {tally.rounds} |", flush=True)  # fmt: skip
            for text in (*gone[:5], *tally.faults[:5]):
                print(f"  {text}"[:500])  # noqa: T201
            bad += len(gone) + len(tally.faults) + (answered < 10 or (play is day and not tally.rounds))
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
