"""A whole round with each network, at tiny sizes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts.release.benchmarks import rounds
from scripts.release.benchmarks.rounds import NETWORKS, RANDOM, ROUNDS, measured_rounds, one_round


@pytest.mark.parametrize("key", list(NETWORKS))
def test_every_phase_of_a_round_is_timed(key: str, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROUNDS, key, 1)
    phases = one_round(key, str(tiny_folder), {}, (64, 64), 1, 2, "cpu", 0, False, 0)
    assert set(phases) == {"query", "oracle", "cycle0", "pseudo", "cycle1", "evaluate", "refresh"} > set(RANDOM)
    assert all(seconds > 0 for seconds in phases.values())


def test_both_networks_are_measured_in_processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool:
        def __init__(self, count: int) -> None:
            made.append(count)

        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def apply(self, function: object, arguments: tuple[object, ...]) -> object:
            return arguments[0]

    made: list[int] = []
    monkeypatch.setattr(rounds.multiprocessing, "get_context", lambda _: SimpleNamespace(Pool=Pool))
    assert measured_rounds("d", {}, (64, 64), 1, 2, "cpu", 1, False, 0) == {"kept": "kept", "published": "published"}
    assert made == [1, 1]


def test_more_steps_take_longer(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROUNDS, "kept", 1)
    few, many = (
        one_round("kept", str(tiny_folder), {}, (64, 64), steps, 2, "cpu", 0, False, 0)["cycle1"] for steps in (1, 40)
    )
    assert many > 1.5 * few
