"""Errors made for users: each says what is wrong, where, what was expected, what was found and how to cure it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType


@dataclass(frozen=True)
class Problem:
    """One thing a user has to mend.

    Attributes:
        what: the fault in a few words, e.g. ``"mask has another size than its image"``.
        where: file, id or config key.
        expected: what would have been accepted.
        found: what is there instead.
        cure: what to do about it.
    """

    what: str
    where: str
    expected: str = ""
    found: str = ""
    cure: str = ""

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.what}"]
        parts += [f"{name} {text}" for name, text in (("expected", self.expected), ("found", self.found)) if text]
        line = "; ".join(parts)
        return f"{line}. {self.cure}" if self.cure else line


class UserError(ValueError):
    """Base of the errors a user can mend; carries every :class:`Problem` found, not only the first.

    Args:
        problems: one problem or all of them.
    """

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        head = "" if len(self.problems) == 1 else f"{len(self.problems)} problems:\n  - "
        super().__init__(head + "\n  - ".join(str(problem) for problem in self.problems))


class InputError(UserError):
    """Images, masks, tables or settings that cannot be used as they are."""


class StateError(UserError):
    """The state of a run cannot be read, or does not belong to what was asked."""


def user_error_of(error: BaseException | None) -> UserError | None:
    """Return the :class:`UserError` in a chain of exceptions; frameworks wrap it in their own."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, UserError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def show_user_errors_plainly() -> None:
    """Let an uncaught :class:`UserError` end the program with its text alone; other errors keep their traceback.

    For programs, so it is called by the bundle's ``initialize``. The exit status stays 1.
    """
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        found = user_error_of(error)
        if found is None:
            usual(kind, error, traceback)
        else:
            sys.stderr.write(f"\nerror: {found}\n")

    sys.excepthook = hook
