"""Functions as commands: ``python -m scripts.FOLDER COMMAND ...``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pydoc import locate
from typing import Any

import fire

from scripts.core.errors import UserError, exit_code

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
        # What a command returns is not printed; the table itself, where none was named, becomes the help.
        fire.Fire(functions, command=words, name=name, serialize=lambda found: found if found is functions else None)
    except UserError as error:
        logger.error("%s", error)
        raise SystemExit(exit_code(error)) from None
