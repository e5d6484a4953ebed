"""Persons as the oracle: they take their time, so a run asks, ends or waits, and takes in what has come.

Masks reach a run over its desk (:mod:`scripts.desk`), whoever has it open: a server, a command, a folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from scripts.round_context import RoundContext


@runtime_checkable
class PersonOracle(Protocol):
    """What an oracle that takes its time can do, besides :meth:`scripts.oracles.Oracle.can_answer`.

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
