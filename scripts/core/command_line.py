"""Functions as commands: ``python -m scripts.FOLDER COMMAND ...``."""

from __future__ import annotations

import difflib
import inspect
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pydoc import locate
from types import NoneType
from typing import Any, get_args, get_type_hints

import fire
from fire.decorators import SetParseFns

from scripts.core.config.words import as_fire_splits
from scripts.core.errors import InputError, Problem, UserError, exit_code, name_problem_of

logger = logging.getLogger(__name__)


def run(name: str, commands: Mapping[str, Callable[..., Any] | str], arguments: Sequence[str] | None = None) -> None:
    """Run the command that the first argument names; without one, its help lists them all.

    What a user can mend ends it with its message, without a traceback, and with
    :func:`scripts.core.errors.exit_code`.

    Args:
        name: what a user types before the command, such as ``"python -m scripts.data"``.
        commands: name -> function, or its dotted name: that module is only imported when the command is asked for.
        arguments: words after ``name``; None for those of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    chosen = {words[0]: commands[words[0]]} if words and words[0] in commands else commands
    functions = {key: locate(value) if isinstance(value, str) else value for key, value in chosen.items()}
    try:
        if inspect.isfunction(named := functions.get(words[0]) if words else None):
            _keep_texts(named, words[1:])
        # What a command returns is not printed; the table itself, where none was named, becomes the help.
        fire.Fire(functions, command=words, name=name, serialize=lambda found: found if found is functions else None)
    except UserError as error:
        logger.error("%s", error)
        raise SystemExit(exit_code(error)) from None
    except UnicodeError as error:
        problem = name_problem_of(error)
        if problem is None:
            raise
        logger.error("%s", problem)
        raise SystemExit(exit_code(InputError(problem))) from None


def _refuse_unknown(function: Callable[..., Any], named: Mapping[str, Any]) -> None:
    parameters = inspect.signature(function).parameters.values()
    known = [each.name for each in parameters if each.kind is not each.VAR_POSITIONAL]
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return
    # Fire takes one letter for the only name that begins with it.
    unknown = [name for name in named if name not in (*known, "help") and not (len(name) == 1 and name != "h")]
    if unknown:
        options = ", ".join(f"--{name}" for name in known)
        raise InputError([Problem("no such option", f"--{name}", options, cure=_cure(name, known)) for name in unknown])


def _cure(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"Write --{near[0]}, or leave it out." if near else "Leave it out."


def _keep_texts(function: Callable[..., Any], words: Sequence[str]) -> None:
    """Let Fire hand over texts and paths as they were typed: it would read ``2024_11_29`` as a number.

    Raises:
        InputError: one has no value, which Fire takes for True; or an option is unknown, which Fire tells only when
            the command has done its work.
    """
    hints = {name: get_args(hint) or (hint,) for name, hint in get_type_hints(function).items() if name != "return"}
    texts = [name for name, kinds in hints.items() if set(kinds) <= {str, Path, NoneType}]
    _, named = as_fire_splits(words)
    _refuse_unknown(function, named)
    empty = [name for name in texts if named.get(name, "") is None]
    if empty:
        raise InputError([Problem("no value follows", f"--{name}", "a text", cure="Give one.") for name in empty])
    SetParseFns(**dict.fromkeys(texts, str))(function)
