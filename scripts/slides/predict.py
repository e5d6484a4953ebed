"""The command ``slide``: whole slides to mask pyramids, polygons and classes, in memory that does not grow with them.

All tiles are seen small first: that tells glass from tissue, and how much there is to do. Then those with tissue are
read and predicted; their logits go to a temporary file, from which a process beside makes polygons and mask.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from scripts.core.errors import InputError, Problem, listed
from scripts.core.files import make_folder, remove_leftovers, write_atomic
from scripts.core.optional import needed
from scripts.core.result_files import Record, csv_bytes
from scripts.images.files.faults import IMAGE_COMMAND
from scripts.images.files.names import is_image_file
from scripts.images.slide_files.reader import SUFFIXES, Slide
from scripts.networks.engines.choice import engine_of
from scripts.networks.interface import joint_network
from scripts.networks.model_file import TrainedModel
from scripts.slides.disk_plane import DiskPlane
from scripts.slides.geojson import PolygonRule
from scripts.slides.glass import GlassMap
from scripts.slides.grid import Grid, Scale
from scripts.slides.logits import (
    BACKGROUND,
    Gathering,
    Inferer,
    PredictedTile,
    SlidePrediction,
    check_stride,
    class_columns,
    predict_tiles,
)
from scripts.slides.outputs import Ending, Outputs, Overview, SlideWriter, Written
from scripts.slides.pipeline.writer_process import Beside, WriterProcess, WrittenAfterwards, can_fork
from scripts.slides.tiles import BackgroundRule, TileReader

logger = logging.getLogger(__name__)

TABLE = "slides.csv"


@contextmanager
def _one_core_left() -> Iterator[None]:
    """Leave a core to what reads and writes beside the network: threads of torch that wait for it would spin."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@_one_core_left()
def predict_slides(
    slides: str | None,
    output_dir: str,
    model: TrainedModel,
    inferer: Inferer,
    scale: Scale,
    background: BackgroundRule,
    polygons: PolygonRule,
    outputs: Outputs,
    backend: str = "openslide",
    tile: int = 768,
    margin: int = 64,
    batch_size: int = 1,
    num_workers: int = 0,
    scratch_dir: str | None = None,
    engine: str = "torch",
    amp: bool | str = "auto",
) -> Path:
    """Predict slides and write the files of each and ``slides.csv``.

    Args:
        slides: a file, or a folder with slides in it.
        output_dir: where the results go; files of an earlier run there are replaced.
        model: that predicts.
        inferer: runs its network.
        scale: how large the network sees the slide.
        background: which tiles are left out.
        polygons: which polygons are written.
        outputs: which further files are written.
        backend: reader of the slides, see :class:`scripts.images.slide_files.reader.Slide`.
        tile: side of what is kept of one pass of the network, network pixels.
        margin: surroundings that the network sees besides, on each side, network pixels.
        batch_size: tiles per pass.
        num_workers: threads that read ahead, with a process that writes beside the network; 0 does one after the other.
            The results do not depend on it.
        scratch_dir: folder for temporary files; None for ``output_dir``.
        engine: what runs the network, see :func:`scripts.networks.engines.choice.engine_of`.
        amp: bfloat16: true, false, or ``"auto"`` for where the device computes in it natively.

    Returns:
        The path of ``slides.csv``.

    Raises:
        InputError: nothing to predict, or settings that do not fit; or, when all others are done, the slides that could
            not be predicted.
        StateError: a file cannot be written.
    """
    found = find_slides(slides, output_dir)
    _refuse_unfit(model, scale, tile, margin, batch_size, backend)
    model = replace(model, network=engine_of(engine, model.network, amp))
    out = Path(output_dir)
    scratch = out if scratch_dir is None else Path(scratch_dir)
    make_folder(out)
    remove_leftovers(out)
    writer = SlideWriter(out, outputs, polygons, model, scratch)
    predictor = _Predictor(model, inferer, scale, background, tile, margin, batch_size, num_workers, scratch)
    rows: list[Record] = []
    problems: list[Problem] = []
    for number, (name, path) in enumerate(found.items(), start=1):
        try:
            with Slide(path, backend) as slide:
                rows.append(_one(name, slide, predictor, writer, f"slide {number}/{len(found)}"))
        except InputError as error:
            problems.extend(error.problems)
            rows.append({"slide": name, "error": "; ".join(map(str, error.problems))})
            logger.error("%s", error)
        write_atomic(out / TABLE, _table(rows, model.info.classes))
    logger.info("%d of %d slides predicted: %s", len(found) - _failed(rows), len(found), out / TABLE)
    if problems:
        raise InputError(problems)
    return out / TABLE


class _Predictor:
    """What is the same for all slides; arguments as of :func:`predict_slides`."""

    def __init__(
        self,
        model: TrainedModel,
        inferer: Inferer,
        scale: Scale,
        background: BackgroundRule,
        tile: int,
        margin: int,
        batch_size: int,
        workers: int,
        scratch: Path,
    ) -> None:
        self.model, self.inferer, self.scale, self.background = model, inferer, scale, background
        self.tile, self.margin, self.batch_size, self.workers, self.scratch = tile, margin, batch_size, workers, scratch

    def grid(self, slide: Slide) -> Grid:
        """Return the grid of a slide."""
        by = self.scale.downsample(self.model.info, slide.mpp, str(slide.path))
        return Grid.of(slide.size, by, self.tile, self.margin)

    def look(self, slide: Slide, gathering: Gathering, overview: Overview | None) -> TileReader:
        """See all tiles small; return what reads those that are to be predicted."""
        reader = TileReader(slide, gathering.grid, self.background)
        with closing(reader.previews(self.workers)) as previews:  # no thread may read when the slide is closed
            for small in previews:
                wanted = gathering.see(small, self.background.min_tissue)
                if overview is not None:
                    overview.add(small.tile, small.pixels, wanted)
        return reader

    def predict(self, reader: TileReader, gathering: Gathering, beside: Beside, shown: str) -> SlidePrediction:
        """Read and predict the tiles that are wanted."""
        bar = tqdm(total=len(gathering.wanted), desc=shown, unit="tile", leave=False, dynamic_ncols=True)
        with bar, closing(reader.read_all(gathering.wanted, self.workers)) as tiles:
            found = predict_tiles(tiles, self.model, self.inferer, self.background, self.batch_size)
            return gathering.gather(_timed(found, bar, shown), beside.reached)


_TIMED = 4
"""Tiles after which it is said how long the others will take; the first is not typical."""


def _timed(tiles: Iterator[PredictedTile], bar: tqdm, shown: str) -> Iterator[PredictedTile]:
    """Yield tiles; say after some of them how long the others will take."""
    began = 0.0
    for number, found in enumerate(tiles, start=1):
        bar.update()
        if number == 1:
            began = time.perf_counter()
        if number == _TIMED and bar.total > _TIMED:
            left = (time.perf_counter() - began) / (number - 1) * (bar.total - number)
            logger.info("%s: about %.0f s to go", shown, left)
        yield found


def _one(name: str, slide: Slide, predictor: _Predictor, writer: SlideWriter, shown: str) -> Record:
    """Predict and write one slide; return its row of the table."""
    started = time.perf_counter()
    grid = predictor.grid(slide)
    mpp = slide.mpp if predictor.scale.slide_mpp is None else (predictor.scale.slide_mpp,) * 2
    overview = Overview(grid, writer.outputs.overview) if writer.outputs.overview else None
    logits = DiskPlane(grid.plane, np.int16, BACKGROUND, predictor.scratch)
    with closing(logits):
        least = predictor.background.least_glass(predictor.model.info.image_size)
        gathering = Gathering(grid, predictor.model, logits, GlassMap(grid, least) if least else None)
        reader = predictor.look(slide, gathering, overview)
        logger.info("%s: %s, %s", shown, name, _plan(gathering))

        def write(ending: Callable[[], Ending]) -> Written:
            return writer.write(name, logits, grid, mpp, overview, ending)

        apart = predictor.workers > 0 and can_fork()
        with closing(WriterProcess(write, logits) if apart else WrittenAfterwards(write)) as beside:
            predicted = predictor.predict(reader, gathering, beside, shown)
            row = _row(name, slide, grid, predicted, predictor.model, mpp)
            title = f"{name}: {row['class']} {row['p_' + row['class']]:.3f}" if row["class"] else f"{name}: no tissue"
            written = beside.finish(Ending(title, predicted.tiles))
    seconds = time.perf_counter() - started
    pixels = slide.size[0] * slide.size[1]
    logger.info("%s: %s, %d of %d tiles predicted, %d polygons, %.1f s, %.2f s per megapixel", shown, title,
                len(predicted.tiles), len(grid), written.polygons, seconds, 1e6 * seconds / pixels)  # fmt: skip
    return row | {
        "foreground_px": written.foreground,
        "foreground": round(written.foreground / pixels, 6),
        "polygons": written.polygons,
        "seconds": round(seconds, 2),
    }


def _plan(gathering: Gathering) -> str:
    """Return what is about to be done: tiles, and megapixels of the slide and of the network."""
    grid, tiles = gathering.grid, [tile for tile, _ in gathering.wanted]
    by = grid.downsample
    kept, shown = (sum(box.size[0] * box.size[1] for box in boxes) / 1e6
                   for boxes in ([tile.kept for tile in tiles], [tile.window for tile in tiles]))  # fmt: skip
    return (
        f"{len(tiles)} of {len(grid)} tiles have tissue: {kept * by[0] * by[1]:.1f} of "
        f"{grid.slide[0] * grid.slide[1] / 1e6:.1f} megapixels of the slide, {shown:.1f} through the network"
    )


def _row(
    name: str,
    slide: Slide,
    grid: Grid,
    predicted: SlidePrediction,
    model: TrainedModel,
    mpp: tuple[float, float] | None,
) -> Record:
    by = grid.downsample
    return {
        "slide": name,
        "error": "",
        **class_columns(predicted.scores, model.info.classes),
        "tissue": round(predicted.tissue, 6),
        "threshold": model.info.threshold,
        "width": slide.size[1],
        "height": slide.size[0],
        "mpp_x": "" if mpp is None else round(mpp[1], 5),
        "mpp_y": "" if mpp is None else round(mpp[0], 5),
        "level": slide.best_level(min(by)),
        "downsample_x": round(by[1], 5),
        "downsample_y": round(by[0], 5),
        "tiles": len(grid),
        "background_tiles": predicted.background,
    }


def _table(rows: list[Record], classes: tuple[str, ...]) -> bytes:
    """Return the rows as CSV; slides that failed have a name and an error only."""
    columns = [
        "slide", "error", "class", *(f"p_{name}" for name in classes), "foreground_px", "foreground", "tissue",
        "polygons", "threshold", "width", "height", "mpp_x", "mpp_y", "level", "downsample_x", "downsample_y",
        "tiles", "background_tiles", "seconds",
    ]  # fmt: skip
    return csv_bytes([{name: row.get(name, "") for name in columns} for row in rows])


def _failed(rows: list[Record]) -> int:
    return sum(bool(row["error"]) for row in rows)


def _refuse_unfit(model: TrainedModel, scale: Scale, tile: int, margin: int, batch_size: int, backend: str) -> None:
    """Refuse what would fail for every slide, before the first is opened."""
    for package in ("tifffile", "shapely", backend):
        if package in ("tifffile", "shapely", "openslide"):
            needed(package)
    scale.training_factors(model.info)
    Grid((1, 1), (1, 1), tile, margin)
    check_stride(tile, margin, joint_network(model.network).stride)
    problems = []
    if model.info.mask_from != "decoder":
        cure = "Use a model of another method than wsl."
        problems.append(Problem("the model has no decoder for masks", "model", "decoder", model.info.mask_from, cure))
    if batch_size < 1:
        problems.append(Problem("out of range", "batch_size", "1 or more", str(batch_size)))
    if problems:
        raise InputError(problems)


def find_slides(slides: str | None, output_dir: str | Path) -> dict[str, Path]:
    """Return the slides of a path by their names, in the order of the names.

    A name is the path from the folder without the suffix, ``"case1"`` or ``"a/case1"``; slides that would share one
    keep their suffix. Folders are searched with all in them, but for ``output_dir`` and for names that begin with a
    dot. A file is taken whatever its suffix.

    Args:
        slides: a file or a folder.
        output_dir: where the results go; it may lie inside the folder, but not be it.

    Raises:
        InputError: nothing there, or no slide in the folder, or the results would lie among the slides.
    """
    if not slides:
        raise InputError(Problem("no slide is named", "slides", "a file or a folder", cure="Add --slides PATH."))
    root, out = Path(slides), Path(output_dir).resolve()
    if root.is_file():
        _refuse_picture(root)
        return {root.stem: root}
    if not root.is_dir():
        raise InputError(Problem("slides are missing", str(root), "a file or a folder", "nothing there"))
    if root.resolve() == out:
        cure = "Name another --output_dir; it may be a folder inside this one."
        raise InputError(Problem("results would lie among the slides", str(root), "another folder", cure=cure))
    inside = root.resolve() in out.parents
    paths = [path for path in sorted(root.rglob("*"))
             if _is_slide(path, root) and not (inside and out in path.resolve().parents)]  # fmt: skip
    if not paths:
        pictures = [path.name for path in sorted(root.rglob("*")) if is_image_file(path) and path.is_file()]
        found = f"{len(pictures)} images: {listed(pictures, 3)}" if pictures else "none"
        cure = f"Predict images with {IMAGE_COMMAND} {root}." if pictures else "Check the path."
        expected = "files ending in " + ", ".join(SUFFIXES)
        raise InputError(Problem("no slide in the folder", str(root), expected, found, cure))
    short = [path.relative_to(root).with_suffix("").as_posix() for path in paths]
    return {
        name if short.count(name) == 1 else path.relative_to(root).as_posix(): path
        for name, path in zip(short, paths, strict=True)
    }


def _refuse_picture(path: Path) -> None:
    """Raise InputError for an image in a form that no scanner writes."""
    if is_image_file(path) and path.suffix.lower() not in SUFFIXES:
        cure = f"Predict an image with {IMAGE_COMMAND} {path}."
        raise InputError(Problem("an image, not a whole slide", str(path), ", ".join(SUFFIXES), path.suffix, cure))


def _is_slide(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in SUFFIXES and not hidden and path.is_file()
