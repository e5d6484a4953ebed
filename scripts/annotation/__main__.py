"""``python -m scripts.annotation status | skip | unskip | export | queue | restore``."""

from collections.abc import Callable
from typing import Any

from scripts.annotation.commands import restore, skip, status, unskip
from scripts.annotation.export import export
from scripts.annotation.labelling.queue import queue
from scripts.core.command_line import run

COMMANDS: dict[str, Callable[..., Any]] = {
    "status": status, "skip": skip, "unskip": unskip, "export": export, "queue": queue, "restore": restore,
}  # fmt: skip

if __name__ == "__main__":
    run("python -m scripts.annotation", COMMANDS)
