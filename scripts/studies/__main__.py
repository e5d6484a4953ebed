"""``python -m scripts.studies report``."""

from collections.abc import Callable
from typing import Any

from scripts.core.command_line import run
from scripts.studies.commands import report

COMMANDS: dict[str, Callable[..., Any]] = {"report": report}

if __name__ == "__main__":
    run("python -m scripts.studies", COMMANDS)
