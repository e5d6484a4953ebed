"""Names of the files that the mask of an image lies in, as a table has them in one cell."""

from __future__ import annotations

import os
from pathlib import Path

SEPARATOR = "|"


def mask_paths(cell: str, base: str | Path = "") -> list[str]:
    """Return the files that an item's ``mask``, or the cell of a table, names: ``"a.png|b.png"`` -> two.

    Args:
        cell: paths; one that holds the separator and is the name of a file is one path.
        base: folder that they are relative to.
    """
    if SEPARATOR not in cell or os.path.isfile(os.path.join(base, cell)):
        return [cell]
    return [part.strip() for part in cell.split(SEPARATOR) if part.strip()]
