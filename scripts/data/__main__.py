"""``python -m scripts.data folder | glas | cub | folds | slides | top``."""

from collections.abc import Callable
from typing import Any

from scripts.core.command_line import run
from scripts.data.makers.commands import cub, folder, folds, glas, slides, top

COMMANDS: dict[str, Callable[..., Any]] = {
    "folder": folder, "glas": glas, "cub": cub, "folds": folds, "slides": slides, "top": top,
}  # fmt: skip

if __name__ == "__main__":
    run("python -m scripts.data", COMMANDS)
