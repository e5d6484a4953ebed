"""Persons as the oracle: they take their time, so a run asks, ends or waits, and takes in what has come.

Masks reach a run over its desk (:mod:`scripts.state.desk`), whoever has it open: a server, a command, a folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from scripts.active.round_context import RoundContext

if TYPE_CHECKING:
    from scripts.active.round_context import RoundContext


@runtime_checkable
class PersonOracle(Protocol):
    """What an oracle that takes its time can do, besides :meth:`scripts.active.oracles.Oracle.can_answer`.

    Attributes:
        poll_seconds: time between two looks for new masks while the run waits; 0 when it ends instead.
    """

    poll_seconds: float

    def can_answer(self, key: str) -> bool:
        """Tell whether the image can be asked about at all."""

    def ask(self, context: RoundContext, ids: Sequence[str]) -> str:
        """Lay out the images that wait for a mask, and return what people should do now."""

    def collect(self, context: RoundContext) -> None:
        """Take in what has come since the last look."""


class DeskOracle:
    """Masks come from programs that have the run's desk open, such as the server of ``bundle/label_app``.

    Args:
        wait: keep the process and wait; else the run ends, and the same command goes on later.
        poll_seconds: time between two looks while it waits.
    """

    def __init__(self, wait: bool = False, poll_seconds: float = 5.0) -> None:
        self.poll_seconds = float(poll_seconds) if wait else 0.0

    def can_answer(self, key: str) -> bool:
        """Tell that a person can draw any image; those that somebody skipped are left out elsewhere."""
        return True

    def ask(self, context: RoundContext, ids: Sequence[str]) -> str:
        """Return what people should do now; the desk hands the images out."""
        return "Draw them with the annotation server, then start the training again."

    def collect(self, context: RoundContext) -> None:
        """Do nothing: who has the desk open hands masks in at once."""


def _why(context: RoundContext, key: str) -> tuple[float | None, str]:
    """Return score and reason of a choice."""
    state, name = context.run.state, context.run.class_of[key]
    queries = {row.id: row for row in state.queries(context.index)}
    row = queries.get(key) or next(row for row in state.reserves(context.index) if row.id == key)
    if row.score is not None:
        why = f"chosen by its score of {row.score:.4f}, the model is among the least sure of it in class {name}"
    elif context.index == 0:
        why = f"chosen by lot from class {name}, for the first round"
    else:
        why = f"chosen by lot from class {name}"
    return row.score, why if key in queries else f"in place of an image that cannot be drawn; {why}"
