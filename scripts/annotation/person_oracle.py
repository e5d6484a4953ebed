"""Persons as the oracle: they take their time, so a run asks, ends or waits, and takes in what has come.

Masks reach a run over its desk (:mod:`scripts.state.desk`), whoever has it open: a server, a command, a folder. An
oracle is told what it is asked, never the round: :class:`AskedImage` and, on demand, :class:`Proposal`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from scripts.annotation.asked_windows import windows_of_round
from scripts.images.windows import Window
from scripts.state.reader import StateReader

BY_LOT, BY_SCORE = "random_order", "highest_score"
"""Names of the strategies that people are told of in words; others by their name."""


@dataclass(frozen=True)
class AskedImage:
    """An image that a round asks about.

    Attributes:
        id: the image.
        label: name of its class.
        rank: place in the round's order, from 0.
        score: acquisition score it was chosen by; None where it was chosen by lot.
        reason: why it was chosen, as a person reads it.
        waits: nobody has drawn it yet.
        window: the part that is asked for; None for all of it.
    """

    id: str
    label: str
    rank: int
    score: float | None
    reason: str
    waits: bool = True
    window: Window | None = None


@dataclass(frozen=True)
class Proposal:
    """What a person may begin with.

    Attributes:
        id: the image.
        picture: (H, W, 3) uint8, original size.
        mask: (H, W) uint8 in {0, 1}: the prediction of the round before, of the classifier where none was trained.
        class_map: (H, W) float32, unbounded: where the classifier looked for the image's class.
    """

    id: str
    picture: np.ndarray
    mask: np.ndarray
    class_map: np.ndarray


Propose = Callable[[Sequence[str]], Iterator[Proposal]]
"""Ids -> their proposals, one after the other in the same order; each is computed when it is taken."""


@runtime_checkable
class PersonOracle(Protocol):
    """What an oracle that takes its time can do, besides ``can_answer`` that every oracle has.

    Attributes:
        poll_seconds: time between two looks for new masks while the run waits; 0 when it ends instead.
    """

    poll_seconds: float

    def can_answer(self, key: str) -> bool:
        """Tell whether the image can be asked about at all."""

    def ask(self, run_dir: Path, index: int, asked: Sequence[AskedImage], propose: Propose) -> str:
        """Lay out the images of round ``index`` of the run in ``run_dir``, and return what people should do now."""

    def collect(self, run_dir: Path) -> bool:
        """Take in what has come for the run in ``run_dir`` since the last look; tell whether to ask anew at once."""


class DeskOracle:
    """Masks come from programs that have the run's desk open, such as the server of ``bundle/label_app``.

    Args:
        wait: keep the process and wait; else the run ends, and the same command goes on later.
        poll_seconds: time between two looks while it waits.

    Attributes:
        takes_windows: people are shown which part of an image is asked for; else methods with regions are refused.
    """

    takes_windows = False

    def __init__(self, wait: bool = False, poll_seconds: float = 5.0) -> None:
        self.poll_seconds = float(poll_seconds) if wait else 0.0

    def can_answer(self, key: str) -> bool:
        """Tell that a person can draw any image; those that somebody skipped are left out elsewhere."""
        return True

    def ask(self, run_dir: Path, index: int, asked: Sequence[AskedImage], propose: Propose) -> str:
        """Return what people should do now; the desk hands the images out."""
        return "Draw them with the annotation server, then start the training again."

    def collect(self, run_dir: Path) -> bool:
        """Return false: who has the desk open hands masks in at once."""
        return False


def asked_images(state: StateReader, index: int, class_of: Mapping[str, str]) -> list[AskedImage]:
    """Return the images that a round asks about, in its order.

    Args:
        state: of the run.
        index: the round.
        class_of: image -> name of its class.

    Raises:
        StateError: the state cannot be read.
    """
    queries = {row.id: row for row in state.queries(index)}
    rows = {row.id: row for row in state.reserves(index)} | queries
    waiting, windows = set(state.waiting(index)), windows_of_round(state, index)
    way = way_of(state.settings(), index)
    return [
        AskedImage(
            key, class_of[key], rank, rows[key].score,
            reason_of(rows[key].score, class_of[key], index, way, key not in queries, windows.get(key)),
            key in waiting, windows.get(key),
        )
        for rank, key in enumerate(state.asked(index))
    ]  # fmt: skip


def way_of(settings: Mapping[str, Any], index: int) -> str:
    """Return the name of the function that chose the images of a round, as far as the settings of the run tell it."""
    active = settings.get("active", {})
    preset = active.get("preset") or {}
    if index == 0 and not preset.get("start"):
        return {"random": BY_LOT}.get(active.get("start", "random"), str(active.get("start")))
    chosen = preset.get("start" if index == 0 else "strategy")
    target = chosen.get("_target_", "") if isinstance(chosen, Mapping) else ""
    return str(target).rpartition(".")[2]


def reason_of(
    score: float | None, label: str, index: int, way: str, stands_in: bool, window: Window | None = None
) -> str:
    """Return why an image was chosen, and which part of it.

    Args:
        score: of the image; None where it has none.
        label: name of its class.
        index: the round.
        way: of :func:`way_of`.
        stands_in: for an image that nobody can draw.
        window: the part that is asked for; None for all of it.
    """
    first = ", for the first round" if index == 0 else ""
    if score is not None and way in ("", BY_SCORE):
        why = f"chosen by its score of {score:.4f}, the model is among the least sure of it in class {label}"
    elif score is not None:
        why = f"chosen by {way} from class {label}, its score is {score:.4f}"
    elif way in ("", BY_LOT):
        why = f"chosen by lot from class {label}{first}"
    else:
        why = f"chosen by {way} from class {label}{first}"
    why = f"in place of an image that cannot be drawn; {why}" if stands_in else why
    return why if window is None else f"{why}; draw inside of the yellow frame alone ({window})"
