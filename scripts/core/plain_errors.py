"""A program that ends with one plain message: a user's error, or a mistake in the config that MONAI finds.

Mistakes of a config show only while MONAI builds its objects. MONAI wraps whatever happens in errors of its own. Here
the cause is found in the chain, and recognised where it can only come from the config: an argument that does not exist,
an unknown id, class or run id, an expression that fails by itself, a value that a class refuses. Anything else may be a
fault of the program and is left alone.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import traceback
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import TracebackType

from scripts.core.errors import InputError, Problem, UserError, exit_code, name_problem_of, user_error_of

_COMPONENT = re.compile(r"Failed to instantiate component '(?P<name>[^']*)'")
_EXPRESSION = re.compile(r"Failed to evaluate ConfigExpression:\s*(?P<text>.*)", re.DOTALL)
_REFERENCE = re.compile(r"the referring item `(?P<id>@[^`]*)` is not defined in the config content")
_RUN_ID = re.compile(r"run ID '(?P<id>[^']*)' doesn't exist")
_TARGET = re.compile(r"Cannot locate class or function path: '(?P<name>[^']*)'")
_ARGUMENTS = re.compile(r"unexpected keyword argument|missing \d+ required|takes \d+ positional|multiple values for")
_REFUSALS = (TypeError, ValueError, RuntimeError, AssertionError, KeyError, AttributeError, OSError)
_WRONG_KINDS = (TypeError, ValueError, AttributeError)
_CURE = "Check the value in the config and on the command line (docs/configuration.md)."
_DOUBT = "If it is right, run the command with python -X dev to see where it fails."


def config_problem_of(error: BaseException) -> Problem | None:
    """Return what is wrong with the config, None where the error may be one of the program.

    Args:
        error: as MONAI raised it, with its causes.
    """
    chain = list(_chain(error))
    for link in reversed(chain):  # the innermost knows most
        found = _told_by_monai(str(link))
        if found is not None:
            return found
    wrapped = [(outer, cause) for outer, cause in pairwise(chain) if _is_wrapper(outer)]
    return _of_cause(*wrapped[-1]) if wrapped else None


def _told_by_monai(message: str) -> Problem | None:
    if match := _REFERENCE.search(message):
        return Problem("config refers to an id that it does not have", match["id"], cure=_CURE)
    if match := _RUN_ID.search(message):
        return Problem("config has nothing of this name to run", match["id"], "training, run or evaluate", cure=_CURE)
    if match := _TARGET.search(message):
        return Problem("no such class or function", "_target_", "a dotted name", repr(match["name"]), _CURE)
    return None


def _of_cause(wrapper: BaseException, cause: BaseException) -> Problem | None:
    found = f"{type(cause).__name__}: {cause}"
    frames = traceback.extract_tb(cause.__traceback__)
    component = _COMPONENT.search(str(wrapper))
    if isinstance(cause, TypeError) and _ARGUMENTS.search(str(cause)):
        where = component["name"] if component else "config"
        return Problem("arguments that it does not take", where, found=found, cure=_CURE)
    if component:
        name = component["name"]
        foreign = not name.startswith("scripts.")
        is_class = name.rpartition(".")[2][:1].isupper()  # a function does its work here: it may be its fault
        if (isinstance(cause, _REFUSALS) and foreign) or (isinstance(cause, _WRONG_KINDS) and is_class):
            last = frames[-1] if frames else None
            place = f" ({Path(last.filename).name}, line {last.lineno})" if last else ""
            return Problem("cannot be built from its values", name, found=f"{found}{place}", cure=f"{_CURE} {_DOUBT}")
    expression = _EXPRESSION.search(str(wrapper))
    if expression and (not frames or frames[-1].filename == "<string>"):
        return Problem("expression of the config fails", expression["text"].strip(), found=found, cure=_CURE)
    return None


def _is_wrapper(error: BaseException) -> bool:
    return bool(_COMPONENT.search(str(error)) or _EXPRESSION.search(str(error)))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def show_user_errors_plainly() -> None:
    """Let an uncaught :class:`UserError` end the program with its text alone, and set the exit status by its kind.

    So does a mistake in the config that MONAI finds (:func:`config_problem_of`). Other errors keep their traceback,
    and all do under ``python -X dev``. For programs, so it is called by the bundle's ``initialize``.
    """
    usual = sys.excepthook
    for stream in (sys.stdout, sys.stderr):  # a name that a terminal cannot show must not break what is logged
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        found: BaseException = user_error_of(error) or error
        if found is error and isinstance(error, Exception):
            problem = name_problem_of(error) or config_problem_of(error)
            found = error if problem is None else InputError(problem)
        if sys.flags.dev_mode:
            usual(kind, error, traceback)
        if isinstance(found, UserError):
            sys.stderr.write(f"\nerror: {found}\n")
        elif isinstance(error, KeyboardInterrupt):
            sys.stderr.write("\ninterrupted. The same command goes on where this one stopped.\n")
        elif not sys.flags.dev_mode:
            usual(kind, error, traceback)
        raise SystemExit(exit_code(found))  # the interpreter takes the status from here

    sys.excepthook = hook
    # MONAI's handler of the single training logs every exception with its traceback, before the hook is asked.
    logging.getLogger("monai.handlers.StatsHandler").addFilter(_is_no_user_error)


def _is_no_user_error(record: logging.LogRecord) -> bool:
    return record.exc_info is None or user_error_of(record.exc_info[1]) is None
