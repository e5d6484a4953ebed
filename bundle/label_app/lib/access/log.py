"""The log of a server: in the folder of its run, and a line in it is a line that the program wrote."""

from __future__ import annotations

import logging
import os
from logging.handlers import RotatingFileHandler
from pathlib import Path

from scripts.core.errors import visible
from scripts.core.run_names import RunFile

_TIMES, _BYTES = 10, 10 * 1024**2
_FORM = "[%(asctime)s] [%(levelname)s] (%(name)s) %(message)s"
_MOST_BYTES = 2 * 1024**2


class OneLine(logging.Formatter):
    """Escapes what clients may have sent, and marks further lines of one message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        return visible(super().format(record)).replace("\n", "\n    | ")


def move_log(folder: Path, app_dir: Path) -> None:
    """Write the log of all loggers to ``folder`` from now on.

    MONAI Label writes it into the folder of the app, where the servers of several runs share one file.

    Args:
        folder: of the run; made where it is missing.
        app_dir: of the app.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ours = RotatingFileHandler(
        folder / RunFile.SERVER_LOG, maxBytes=_BYTES, backupCount=_TIMES, encoding="utf-8", delay=True
    )
    former = set()
    for logger in [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]:
        for handler in list(logger.handlers):
            if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename).is_relative_to(app_dir):
                former.add(Path(handler.baseFilename))
                logger.removeHandler(handler)
                handler.close()
                logger.addHandler(ours)
            else:
                handler.setFormatter(OneLine(_FORM))
    if ours not in logging.getLogger().handlers:
        logging.getLogger().addHandler(ours)
    ours.setFormatter(OneLine(_FORM))
    logging.getLogger("uvicorn.access").propagate = False
    for path in former:
        if path.is_file() and not path.stat().st_size:
            path.unlink()


def last_lines(folder: Path, lines: int) -> str:
    """Return the end of the log, at most 2 MiB of it; empty where there is none."""
    path = folder / RunFile.SERVER_LOG
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _MOST_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "".join(text.splitlines(keepends=True)[-lines:]) if lines else ""
