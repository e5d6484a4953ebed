"""Time and memory of predicting whole slides, measured on synthetic slides of growing size.

``python -m scripts.release slide_benchmark --model runs/demo --out docs/benchmarks.md`` writes slides of several sizes
into a temporary folder, predicts each by the command that users give, in a process of its own, and writes a section
into the Markdown file.
"""

from __future__ import annotations

import csv
import inspect
import logging
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from scripts.core.errors import InputError, Problem
from scripts.core.files import write_atomic
from scripts.data.demo.slide import write_slide
from scripts.release.benchmark_report import MIB, insert_section, machine, markdown_table

logger = logging.getLogger(__name__)

MARKERS = ("<!-- slides:begin -->", "<!-- slides:end -->")
CONFIG = "bundle/configs/slide.json"


@dataclass(frozen=True)
class Measured:
    """The prediction of one slide.

    Attributes:
        side: pixels of the slide's sides.
        file: bytes of the slide.
        seconds: of the whole command, with the start of Python and the loading of the model.
        peak: bytes of resident memory, at most.
        row: of ``slides.csv``.
        predicted: slide pixels of the tiles that were predicted.
        results: bytes of the files that were written.
    """

    side: int
    file: int
    seconds: float
    peak: int
    row: dict[str, str]
    predicted: int
    results: int


def slide_benchmark(
    model: str = "runs/demo",
    native_size: Sequence[int] = (192, 256),
    out: str = "docs/benchmarks.md",
    sides: Sequence[int] = (5000, 10000, 20000),
    levels: int = 3,
    threads: int = 1,
    folder: str | None = None,
) -> None:
    """Measure, and write the results between the markers of a Markdown file.

    Args:
        model: folder of a run, or a model file.
        native_size: (H, W) in pixels of the images that the model was trained on.
        out: Markdown file; text outside the markers is kept.
        sides: pixels of the slides.
        levels: of the slides' pyramids.
        threads: of torch on the CPU.
        folder: for slides and results, which are removed in the end; None for the system's temporary folder. A
            slide of 20,000 pixels takes 0.7 GB, and 1 GB more while it is predicted.

    Raises:
        InputError: an argument cannot be used, or a slide cannot be predicted.
    """
    command = written_command({name: value for name, value in locals().items() if name in ARGUMENTS})
    wanted = tuple(sides) if isinstance(sides, list | tuple) else (sides,)
    if not wanted or not all(isinstance(side, int) and side >= 64 for side in wanted):
        raise InputError(Problem("not sizes", "--sides", "pixels, at least 64 each", str(sides)))
    found = []
    with tempfile.TemporaryDirectory(dir=folder) as place:
        for side in tqdm(wanted, desc="slides", unit="slide"):
            slide = write_slide(str(Path(place) / f"{side}.tif"), side, levels=levels)
            found.append(measure(slide, side, model, tuple(native_size), threads, Path(place) / "out"))
            slide.unlink()
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    write_atomic(path, insert_section(old, section(found, command, threads), MARKERS).encode())
    logger.info("results are in %s", out)


ARGUMENTS = {name: parameter.default for name, parameter in inspect.signature(slide_benchmark).parameters.items()}


def measure(slide: Path, side: int, model: str, native_size: tuple[int, ...], threads: int, out: Path) -> Measured:
    """Predict a slide in a process of its own.

    Raises:
        InputError: the command fails; its last line says why.
    """
    words = [
        *(sys.executable, "-m", "monai.bundle", "run", "slide", "--config_file", CONFIG, "--device", "cpu"),
        *("--ckpt" if Path(model).is_file() else "--model#output_dir", model),
        *("--native_size", str(list(native_size)), "--slides", str(slide), "--output_dir", str(out)),
    ]
    log = slide.with_suffix(".log")
    with open(log, "wb") as stream:
        started = time.perf_counter()
        process = subprocess.Popen(
            words, stdout=stream, stderr=stream, env={**os.environ, "OMP_NUM_THREADS": str(threads)}
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise InputError(Problem("slide cannot be predicted", str(slide), found=" ".join(last)))
    (row,) = _rows(out / "slides.csv")
    predicted = sum(int(tile["width"]) * int(tile["height"]) for tile in _rows(out / f"{slide.stem}_tiles.csv"))
    results = sum(path.stat().st_size for path in out.iterdir() if path.name.startswith(slide.stem))
    return Measured(side, slide.stat().st_size, seconds, 1024 * usage.ru_maxrss, row, predicted, results)


def section(found: Sequence[Measured], command: str, threads: int) -> str:
    """Return the Markdown section, without the markers."""
    about = machine(torch.device("cpu"), "auto")
    about["CPU"] = about["CPU"].rpartition(",")[0] + f", {threads} torch thread{'s' if threads > 1 else ''}"
    rows = []
    for one in found:
        tiles, seconds = int(one.row["tiles"]), float(one.row["seconds"])
        rows.append((f"{one.side:,} x {one.side:,}", f"{one.file / MIB:,.0f}",
            f"{tiles - int(one.row['background_tiles'])} of {tiles}", f"{seconds:,.0f}",
            f"{1e6 * seconds / one.side**2:.2f}", f"{1e6 * seconds / one.predicted:.2f}", f"{one.peak / MIB:,.0f}",
            f"{int(one.row['polygons']):,}", f"{one.results / MIB:,.1f}"))  # fmt: skip
    header = ("Slide, pixels", "File, MiB", "Tiles predicted", "Seconds", "Seconds per megapixel",
        "Seconds per megapixel of predicted tiles", "Peak MiB", "Polygons", "Results, MiB")  # fmt: skip
    lines = [
        "## Whole slides",
        "",
        f"Made by `{command}`.",
        "",
        *markdown_table(("Machine", ""), list(about.items())),
        "",
        "Synthetic slides of `python -m scripts.data.demo slide`, predicted by `run slide` with its defaults at full "
        "resolution (one network pixel per slide pixel, tiles of 768 pixels and 128 around them, one at a time). Mask "
        "pyramid, polygons, table of tiles and picture are in the time; the start of Python and the loading of the "
        f"model, about {_least_start(found):.0f} s, are not. Megapixels are those of level 0; tiles of bare glass are "
        "not predicted. Peak: resident memory of the whole process.",
        "",
        *markdown_table(header, rows),
    ]
    return "\n".join(lines)


def written_command(values: dict[str, Any]) -> str:
    """Return the command line that makes the same benchmark: arguments that differ from their defaults."""
    words = ["python", "-m", "scripts.release", "slide_benchmark"]
    for name, default in ARGUMENTS.items():
        value = values.get(name, default)
        value = tuple(value) if isinstance(value, list) else value
        if value != default or name in ("model", "out"):
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [f"--{name}", shlex.quote(text)]
    return " ".join(words)


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _least_start(found: Sequence[Measured]) -> float:
    return min(one.seconds - float(one.row["seconds"]) for one in found)
