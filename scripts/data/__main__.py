"""``python -m scripts.data folder | glas | cub``."""

from collections.abc import Callable
from typing import Any

from scripts.core.command_line import run
from scripts.data.commands import cub, folder, glas

COMMANDS: dict[str, Callable[..., Any]] = {"folder": folder, "glas": glas, "cub": cub}

if __name__ == "__main__":
    run("python -m scripts.data", COMMANDS)
