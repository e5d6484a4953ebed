"""The list of a folder of whole slides: its images are regions of them, written as text files without pixels.

A region has the class of its slide, and its slide's patient, or else the slide, as ``patient_id``, by which splits are
drawn. The files are those of :mod:`scripts.images.slide_files.region`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scripts.core.errors import InputError, Problem, listed
from scripts.core.files import file_stem, make_folder, writing
from scripts.data.labels import confusable_names
from scripts.data.makers.given import Made, given_file, given_folder, indexed, require_columns
from scripts.data.makers.slide_tiles import TileRule, Tiles, tiles_of
from scripts.data.splits import make_split_of_patients, split_name
from scripts.data.tables import Row, read_table
from scripts.images.drawn.drawings import Drawing
from scripts.images.drawn.forms import geojson
from scripts.images.drawn.outline_files import SUFFIXES as OUTLINES
from scripts.images.drawn.outline_files import fitting_outlines
from scripts.images.drawn.outlines import Outline, Picture
from scripts.images.drawn.placed import cut_to
from scripts.images.files.names import REGION_SUFFIX
from scripts.images.slide_files.box import Box
from scripts.images.slide_files.reader import SUFFIXES, Slide
from scripts.images.slide_files.region import Region, digest_of

logger = logging.getLogger(__name__)
_SAME_SHAPE = 0.01  # by which a mask may be higher or wider than its slide, after it was reduced


@dataclass(frozen=True)
class _Listed:
    """A slide of the table."""

    path: Path
    name: str
    row: Row
    mask: Path | None


def slide_items(
    slides: str | Path,
    labels: str | Path,
    out: str | Path,
    rule: TileRule,
    masks: str | Path | None = None,
    backend: str = "openslide",
    seed: int = 0,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
) -> Made:
    """Write the regions of slides into ``out`` and list them.

    Args:
        slides: folder, searched with all folders below.
        labels: CSV with columns ``slide,label[,patient_id][,split]``; ``slide`` with or without folder and suffix.
        out: folder of the pool; ``regions`` and ``masks`` in it are written.
        rule: which regions.
        masks: folder of masks, named as their slides: tiled TIFF, or outlines in pixels of level 0.
        backend: reader of slides and masks, see :class:`scripts.images.slide_files.reader.Slide`.
        seed, val_fraction, test_fraction: of a drawn split, where the table names none.

    Returns:
        items and classes; an item has ``slide``, its name, too.

    Raises:
        InputError: a slide without a row or a row without a slide, slides and masks that cannot be read, no tissue.
    """
    folder, pool = given_folder(slides), Path(out).expanduser().absolute()
    found = _slides_of(folder, given_file(Path(labels).absolute()), None if masks is None else given_folder(masks))
    items: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for each in found:
        try:
            items += _items_of(each, pool, rule, backend)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    if not any(item["split"] for item in items):
        label_of, group_of = ({item["id"]: item[name] for item in items} for name in ("label", "patient_id"))
        drawn = make_split_of_patients(label_of, group_of, seed, val_fraction, test_fraction)
        items = [{**item, "split": drawn[item["id"]]} for item in items]
    return indexed(items)


def _slides_of(folder: Path, labels: Path, masks: Path | None) -> list[_Listed]:
    """Return the slides of a folder with their rows and masks."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    paths = [path for path in paths if masks is None or masks == folder or not path.is_relative_to(masks)]
    table = read_table(labels)
    require_columns(table.columns, ("slide", "label"), labels)
    names = _names(paths, folder)
    by_name: dict[str, list[Path]] = {}
    for path, name in names.items():
        for known in {path.relative_to(folder).as_posix(), path.name, path.stem, name}:
            by_name.setdefault(known, []).append(path)
    rows: dict[Path, Row] = {}
    problems = confusable_names([row.get("label") for row in table.rows], labels)
    for row in table.rows:
        text = row.get("slide").replace("\\", "/")
        fits = by_name.get(text, [])
        if len(fits) != 1:
            there = " and ".join(map(str, fits)) or "none"
            problems.append(Problem("row fits not exactly one slide", row.where, f"one slide {text!r}", there))
        elif not row.get("label"):
            problems.append(Problem("row has no label", row.where, "a class name", "nothing"))
        elif rows.setdefault(fits[0], row) is not row:
            problems.append(Problem("slide is listed twice", row.where, text, f"also in {rows[fits[0]].where}"))
    cure = "Add the row or move the slide."
    problems += [Problem("slide has no label", str(p), f"a row in {labels}", "none", cure)
                 for p in paths if p not in rows and not problems]  # fmt: skip
    if any(row.get("split") for row in rows.values()):
        problems += [_no_split(row) for row in rows.values() if split_name(row.get("split")) is None]
    if not paths:
        problems = [Problem("no slide in the folder", str(folder), ", ".join(SUFFIXES), "none", "Check the path.")]
    if problems:
        raise InputError(problems)
    found = [_Listed(path, names[path], rows[path], _mask_of(path, masks)) for path in paths]
    without = [each.name for each in found if each.mask is None]
    if masks is not None and without:
        logger.warning("%d slides have no mask: %s", len(without), listed(without, 3))
    return found


def _names(paths: Sequence[Path], folder: Path) -> dict[Path, str]:
    """Return slide -> a name of its own that can be that of a file."""
    stems = [path.stem for path in paths]
    whole = len(set(stems)) < len(stems)
    return {p: file_stem(p.relative_to(folder).as_posix() if whole else p.stem).replace("%2F", "_") for p in paths}


def _mask_of(slide: Path, masks: Path | None) -> Path | None:
    if masks is None:
        return None
    found = sorted(p for p in masks.rglob(f"*{slide.stem}*") if p.stem == slide.stem and p != slide)
    found = [path for path in found if path.suffix.lower() in (*SUFFIXES, *OUTLINES)]
    if len(found) > 1:
        names = " and ".join(map(str, found))
        raise InputError(Problem("slide has several masks", str(slide), "one file of its name", names))
    return found[0] if found else None


def _no_split(row: Row) -> Problem:
    cure = "Fill column split in every row, or in none."
    return Problem("unknown split", row.where, "train, val or test", repr(row.get("split")), cure)


def _items_of(listed: _Listed, pool: Path, rule: TileRule, backend: str) -> list[dict[str, Any]]:
    """Write the regions of a slide, and return their items."""
    with Slide(listed.path, backend) as slide:
        tiles, size = tiles_of(slide, rule), slide.size
        scale = "of level 0" if rule.mpp is None else f"of {rule.mpp} µm"
    _tell(listed, tiles, f"{rule.tile} pixels {scale}")
    image = _region_of(listed.path, pool / "regions", backend, tiles, rule)
    mask = None if listed.mask is None else _mask_maker(listed.mask, pool / "masks", backend, size, image)
    split, patient = split_name(listed.row.get("split")) or "", listed.row.get("patient_id") or listed.name
    items = []
    for area in tiles.areas:
        key = f"{listed.name}_y{int(area.top):06d}_x{int(area.left):06d}"
        path = _write(pool / "regions" / listed.name / key, REGION_SUFFIX, replace(image, area=area).text())
        drawn = None if mask is None else _write(pool / "masks" / listed.name / key, *mask(area))
        items.append(
            {"id": key, "image": path, "label": listed.row.get("label"), "mask": drawn, "split": split,
             "patient_id": patient, "slide": listed.name}
        )  # fmt: skip
    return items


def _tell(listed: _Listed, tiles: Tiles, size: str) -> None:
    if not tiles.areas:
        cure = "Take a smaller --min_tissue, another --white, or take the slide out."
        found = f"{tiles.places} regions without"
        raise InputError(Problem("slide has no region with tissue", str(listed.path), "tissue", found, cure))
    text = "%s: %d regions with sides of %s, of %d with tissue and %d in all"
    logger.info(text, listed.name, len(tiles.areas), size, tiles.with_tissue, tiles.places)


def _region_of(path: Path, folder: Path, backend: str, tiles: Tiles, rule: TileRule) -> Region:
    """Return the first region of a slide, of which the others differ by their area."""
    size = (rule.tile, rule.tile)
    return Region(_from(folder, path), backend, tiles.level, tiles.areas[0], size, path.stat().st_size, digest_of(path))


def _from(folder: Path, path: Path) -> str:
    """Return the path of a slide as seen from a folder in ``folder``."""
    return Path(os.path.relpath(path.resolve(), folder.resolve() / "slide")).as_posix()


def _mask_maker(
    path: Path, folder: Path, backend: str, size: tuple[int, int], image: Region
) -> Callable[[Box], tuple[str, bytes]]:
    """Return what makes suffix and content of the mask's file of an area of a slide of (height, width) ``size``."""
    if path.suffix.lower() in OUTLINES:
        outlines = _outlines_of(path, size)
        return lambda area: (".geojson", _cut(outlines, area, image.size))
    told = replace(image, slide=_from(folder, path), file_bytes=path.stat().st_size, digest=digest_of(path))
    with Slide(path, backend) as slide:
        by = (slide.size[0] / size[0], slide.size[1] / size[1])
        level = slide.best_level(min(image.scale[0] * by[0], image.scale[1] * by[1]))
        if abs(by[0] / by[1] - 1) > _SAME_SHAPE:
            shape = f"{slide.size[1]} x {slide.size[0]}"
            cure = "Give a mask of the whole slide; it may be smaller."
            raise InputError(
                Problem("mask has another shape than its slide", str(path), f"{size[1]} x {size[0]}", shape, cure)
            )
    return lambda area: (REGION_SUFFIX, replace(told, level=level, area=area.scaled(by)).text())


def _outlines_of(path: Path, size: tuple[int, int]) -> list[Outline]:
    outlines = fitting_outlines(path, Picture(size, (path.stem,)))
    holes = sum(each.is_hole for each in outlines)
    if holes:
        cure = "Save it as GeoJSON, whose polygons have holes of their own."
        what = "mask has shapes that take others off"
        raise InputError(Problem(what, str(path), "shapes with holes", f"{holes}", cure))
    return outlines


def _cut(outlines: Sequence[Outline], area: Box, size: tuple[int, int]) -> bytes:
    """Return what lies of outlines in an area as GeoJSON in pixels of the region."""
    found = cut_to(outlines, area, size)
    rounded = tuple(replace(each, rings=tuple(ring.round(3) for ring in each.rings)) for each in found)
    return geojson.write([Drawing("", size, rounded)]).encode()


def _write(stem: Path, suffix: str, content: bytes) -> str:
    """Write a file and return its path; one that is there with this content stays."""
    path = stem.with_name(f"{stem.name}{suffix}")
    make_folder(path.parent)
    with writing(path):
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
    return str(path)
