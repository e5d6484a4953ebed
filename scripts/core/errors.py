"""Errors made for users: each says what is wrong, where, what was expected, what was found and how to cure it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


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
        return visible(f"{line}. {self.cure}" if self.cure else line)


def visible(text: str) -> str:
    """Escape what no terminal should get from a file name or a table: control characters, halves of characters."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


class UserError(ValueError):
    """Base of the errors a user can mend; carries every :class:`Problem` found, not only the first.

    Args:
        problems: one problem or all of them.
    """

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        head = "" if len(self.problems) == 1 else f"{len(self.problems)} problems:\n  - "
        super().__init__(head + "\n  - ".join(str(problem) for problem in told_together(self.problems)))


class InputError(UserError):
    """Images, masks, tables or settings that cannot be used as they are."""


class StateError(UserError):
    """The state of a run cannot be read, or does not belong to what was asked."""


_TOLD_SINGLY = 3


def told_together(problems: Sequence[Problem]) -> list[Problem]:
    """Return problems with all of one kind (an equal ``what``) as one, where there are more than three of it.

    It counts them and names three places, first those where different things were found.
    """
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(problem.what, []).append(problem)
    together = {what: _as_one(kind) for what, kind in kinds.items() if len(kind) > _TOLD_SINGLY}
    told: list[Problem] = []
    for problem in problems:
        one = together.get(problem.what, problem)
        if one is problem or one not in told:
            told.append(one)
    return told


def _as_one(kind: Sequence[Problem]) -> Problem:
    first_of: dict[tuple[str, ...], Problem] = {}
    for problem in kind:
        first_of.setdefault((problem.expected, problem.found, problem.cure), problem)
    different = list(first_of.values())
    shown = [*different, *(problem for problem in kind if not any(problem is other for other in different[:3]))][:3]
    left = len(kind) - len(shown)

    def distinct(texts: Iterable[str], between: str = ", ") -> str:
        return between.join(dict.fromkeys(text for text in texts if text))

    found = distinct(problem.found for problem in shown)
    return Problem(
        f"{kind[0].what} ({len(kind)} times)",
        distinct(problem.where for problem in shown) + f" and {left} more",
        distinct(problem.expected for problem in shown),
        found if len(different) <= len(shown) else f"{found} and others",
        distinct((problem.cure for problem in shown), " "),
    )


def listed(names: Sequence[str], most: int = 10) -> str:
    """Return the first names and how many more there are: ``"a, b and 3 more"``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def user_error_of(error: BaseException | None) -> UserError | None:
    """Return the :class:`UserError` in a chain of exceptions; frameworks wrap it in their own."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, UserError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def name_problem_of(error: BaseException | None) -> Problem | None:
    """Return that names cannot be read or written in the locale of the process, where that is what ended it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, UnicodeError) and sys.getfilesystemencoding().lower() not in ("utf-8", "utf8"):
            cure = "Put PYTHONUTF8=1 before the command, or choose a locale of UTF-8."
            what = "names that are not ASCII cannot be read or written here"
            return Problem(what, "locale", "UTF-8", sys.getfilesystemencoding(), cure)
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def exit_code(error: BaseException) -> int:
    """Return the exit status of a program that an error ends: 2 input, 3 state, 130 interrupted, 1 anything else."""
    found = user_error_of(error)
    if isinstance(found, InputError):
        return 2
    if isinstance(found, StateError):
        return 3
    return 130 if isinstance(error, KeyboardInterrupt) else 1
