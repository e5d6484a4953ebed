"""A folder of pictures as people have them, to try the way from pictures to a model: no table, classes as folders."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from scripts.core.errors import InputError, Problem
from scripts.core.files import make_folder, write_atomic
from scripts.data.demo.data_set import make_demo
from scripts.data.tables import read_table

logger = logging.getLogger(__name__)


def write_pictures(folder: str, n: int = 60, seed: int = 1) -> str:
    """Write drawn tissue as ``CLASS/NAME.png`` and its masks as ``masks/NAME_mask.png``; return the folder.

    Args:
        folder: must be absent or empty.
        n: number of pictures, at least 12.
        seed: another seed gives other tissue than that of the embedded demo, whose seed is 0.

    Raises:
        InputError: the folder holds something, or there would be too few pictures.
        StateError: it cannot be written.
    """
    root = Path(folder)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(Problem("folder is not empty", folder, cure="Name another one."))
    if n < 12:
        raise InputError(Problem("too few pictures", "n", "12 or more", str(n)))
    with tempfile.TemporaryDirectory() as made:
        table = make_demo(made, seed, n_train=n - 8, n_val=4, n_test=4)
        for number, row in enumerate(read_table(table).rows, start=1):
            name = f"image_{number:02d}"
            for source, target in ((row.get("image"), f"{row.get('label')}/{name}.png"),
                                   (row.get("mask"), f"masks/{name}_mask.png")):  # fmt: skip
                make_folder((root / target).parent)
                write_atomic(root / target, (table.parent / source).read_bytes())
    logger.info("wrote %d pictures and their masks to %s", n, root)
    return folder
