"""``python -m scripts.data.demo slide`` and ``pictures``."""

from collections.abc import Callable
from typing import Any

from scripts.core.command_line import run
from scripts.data.demo.pictures import write_pictures
from scripts.data.demo.slide import write_slide

COMMANDS: dict[str, Callable[..., Any]] = {"slide": write_slide, "pictures": write_pictures}

if __name__ == "__main__":
    run("python -m scripts.data.demo", COMMANDS)
