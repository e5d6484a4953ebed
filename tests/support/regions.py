"""Small slides with drawn truth and a pool of their regions, for the tests of regions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scripts.data.datalist import write_table
from scripts.data.makers.slide_tiles import TileRule
from scripts.data.makers.slides import slide_items
from scripts.images.slide_files.box import Box
from scripts.images.slide_files.region import Region, digest_of
from tests.support.slides import tissue, write_tiff

SIDE = 64
"""Of the regions, in pixels of level 0."""


def write_region(path: Path, slide: Path, area: Box, size: tuple[int, int], level: int = 0, **changes: object) -> Path:
    """Write the file of a region; ``changes`` by field."""
    values = {"file_bytes": slide.stat().st_size, "digest": digest_of(slide), "backend": "openslide", **changes}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(Region(str(slide), level=level, area=area, size=size, **values).text())  # type: ignore[arg-type]
    return path


def make_pool(folder: Path, slides: int = 2, side: int = 256) -> Path:
    """Slides of classes a and b with masks, and the pool of all their regions; return its folder."""
    rows = ["slide,label,split"]
    for number in range(slides):
        for split in ("train", "val", "test"):
            name, kind = f"{split}{number}", "ab"[number % 2]
            image = tissue(side, side, seed=len(rows))
            write_tiff(folder / "slides" / f"{name}.tif", image, photometric="rgb")
            dark = (image.max(axis=2) < 140).astype(np.uint8) * np.uint8(255)
            write_tiff(folder / "masks" / f"{name}.tif", dark, photometric="minisblack")
            rows.append(f"{name},{kind},{split}")
    (folder / "slides.csv").write_text("\n".join(rows))
    pool, rule = folder / "pool", TileRule(SIDE, thin=0.0)
    items, classes = slide_items(folder / "slides", folder / "slides.csv", pool, rule, folder / "masks")
    write_table(items, pool / "data.csv", classes, ("slide",))
    return pool
