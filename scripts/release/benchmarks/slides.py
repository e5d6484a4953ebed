"""Time and memory of predicting whole slides, measured on synthetic slides of growing size.

``python -m scripts.release slide_benchmark --model runs/demo --out docs/benchmarks.md`` writes slides of several sizes
into a temporary folder, predicts each by the command that users give, in a process of its own, and writes a section
into the Markdown file.
"""

from __future__ import annotations

import csv
import inspect
import json
import logging
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from scripts.core.errors import InputError, Problem
from scripts.core.files import write_atomic
from scripts.data.demo.slide import write_slide
from scripts.release.benchmarks.report import MIB, insert_section, machine, markdown_table

logger = logging.getLogger(__name__)

MARKERS = ("<!-- slides:begin -->", "<!-- slides:end -->")
CONFIG = "bundle/configs/slide.json"


@dataclass(frozen=True)
class Measured:
    """The prediction of one slide.

    Attributes:
        side: pixels of the slide's sides.
        engine: that ran the network.
        file: bytes of the slide.
        seconds: of the whole command, with the start of Python and the loading of the model.
        peak: bytes of resident memory of all its processes together, at most.
        row: of ``slides.csv``.
        predicted: slide pixels of the tiles that were predicted.
        results: bytes of the files that were written.
    """

    side: int
    engine: str
    file: int
    seconds: float
    peak: int
    row: dict[str, str]
    predicted: int
    results: int


@dataclass(frozen=True)
class Peer:
    """Another program on the same slide with the same network; None where it was not measured.

    Attributes:
        name: of the program and its parts.
        side: pixels of the slide's sides.
        seconds: from the open model to the end.
        megapixels: of what is predicted.
        peak: bytes of resident memory of all its processes together, at most.
    """

    name: str
    side: int
    seconds: float | None = None
    megapixels: float | None = None
    peak: int | None = None


def slide_benchmark(
    model: str = "runs/demo",
    native_size: Sequence[int] = (192, 256),
    out: str = "docs/benchmarks.md",
    sides: Sequence[int] = (5000, 10000, 20000),
    levels: int = 3,
    threads: int = 2,
    engines: Sequence[str] = ("torch", "openvino"),
    peers: bool = True,
    folder: str | None = None,
) -> None:
    """Measure, and write the results between the markers of a Markdown file, and as ``<out>_slides.json`` beside it.

    Args:
        model: folder of a run, or a model file.
        native_size: (H, W) in pixels of the images that the model was trained on.
        out: Markdown file; text outside the markers is kept.
        sides: pixels of the slides.
        levels: of the slides' pyramids.
        threads: of torch on the CPU.
        engines: that run the network, see ``engine`` of the command ``slide``.
        peers: measure other programs on the smallest slide too.
        folder: for slides and results, which are removed in the end; None for the system's temporary folder. A
            slide of 20,000 pixels takes 0.7 GB, and 1 GB more while it is predicted.

    Raises:
        InputError: an argument cannot be used, or a slide cannot be predicted.
    """
    command = written_command({name: value for name, value in locals().items() if name in ARGUMENTS})
    wanted = tuple(sides) if isinstance(sides, list | tuple) else (sides,)
    if not wanted or not all(isinstance(side, int) and side >= 64 for side in wanted):
        raise InputError(Problem("not sizes", "--sides", "pixels, at least 64 each", str(sides)))
    chosen = (engines,) if isinstance(engines, str) else tuple(engines)
    found, others = [], []
    with tempfile.TemporaryDirectory(dir=folder) as place:
        for side in tqdm(wanted, desc="slides", unit="slide"):
            slide = write_slide(str(Path(place) / f"{side}.tif"), side, levels=levels)
            for engine in chosen:
                size = tuple(native_size)
                found.append(measure(slide, side, model, size, threads, Path(place) / "out", engine))
            if peers and side == min(wanted):
                others = measure_peers(slide, side, model, threads)
            slide.unlink()
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    write_atomic(path, insert_section(old, section(found, command, threads, others), MARKERS).encode())
    about = {"command": command, "machine": _machine(threads), "slides": [asdict(one) for one in found],
             "peers": [asdict(one) for one in others]}  # fmt: skip
    write_atomic(path.with_name(f"{path.stem}_slides.json"), (json.dumps(about, indent=1) + "\n").encode())
    logger.info("results are in %s", out)


ARGUMENTS = {name: parameter.default for name, parameter in inspect.signature(slide_benchmark).parameters.items()}


def measure(
    slide: Path, side: int, model: str, native_size: tuple[int, ...], threads: int, out: Path, engine: str = "torch"
) -> Measured:
    """Predict a slide in a process of its own.

    Raises:
        InputError: the command fails; its last line says why.
    """
    words = [
        *("-m", "monai.bundle", "run", "slide", "--config_file", CONFIG, "--device", "cpu", "--engine", engine),
        *("--ckpt" if Path(model).is_file() else "--model#output_dir", model),
        *("--native_size", str(list(native_size)), "--slides", str(slide), "--output_dir", str(out)),
    ]
    seconds, peak, _ = _timed(words, slide, threads)
    (row,) = _rows(out / "slides.csv")
    predicted = sum(int(tile["width"]) * int(tile["height"]) for tile in _rows(out / f"{slide.stem}_tiles.csv"))
    results = sum(path.stat().st_size for path in out.iterdir() if path.name.startswith(slide.stem))
    return Measured(side, engine, slide.stat().st_size, seconds, peak, row, predicted, results)


def measure_peers(slide: Path, side: int, model: str, threads: int) -> list[Peer]:
    """Predict a slide by other programs, each in a process of its own, with the tiles of ``slide.json``."""
    config = json.loads(Path(CONFIG).read_text(encoding="utf-8"))
    around = [str(config["tile"]), str(config["margin"])]
    _, peak, last = _timed(["-m", "scripts.release.benchmarks.slide_peers", str(slide), model, *around], slide, threads)
    told = json.loads(last)
    return [
        Peer("MONAI: `SlidingPatchWSIDataset`, `DataLoader`", side, told["seconds"], told["megapixels"], peak),
        Peer("TIAToolbox", side),
    ]


def _timed(words: list[str], slide: Path, threads: int) -> tuple[float, int, str]:
    """Run Python with ``words``; return seconds, most bytes of memory, and the last line of what it says."""
    log = slide.with_suffix(".log")
    with open(log, "wb") as stream:
        started = time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        process = subprocess.Popen([sys.executable, *words], stdout=stream, stderr=subprocess.STDOUT, env=environment)
        peak = 0
        while process.poll() is None:
            peak = max(peak, memory_of(process.pid))
            time.sleep(_SAMPLED)
        seconds = time.perf_counter() - started
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    if process.returncode != 0:
        raise InputError(Problem("slide cannot be predicted", str(slide), found=" ".join(last)))
    return seconds, peak, " ".join(last)


_SAMPLED = 0.1
"""Seconds between looks at the memory."""


def memory_of(pid: int) -> int:
    """Return the bytes of resident memory of a process and those it started; what they share counts once.

    0 where the system does not tell.
    """
    total = 0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total = 1024 * int(line.split()[1])
        children = [int(word) for path in Path(f"/proc/{pid}/task").glob("*/children")
                    for word in path.read_text().split()]  # fmt: skip
    except (OSError, ValueError):  # it has just ended
        return total
    return total + sum(map(memory_of, children))


def section(found: Sequence[Measured], command: str, threads: int, peers: Sequence[Peer] = ()) -> str:
    """Return the Markdown section, without the markers."""
    rows = []
    for one in found:
        tiles, seconds = int(one.row["tiles"]), float(one.row["seconds"])
        rows.append((f"{one.side:,} x {one.side:,}", one.engine, f"{one.file / MIB:,.0f}",
            f"{tiles - int(one.row['background_tiles'])} of {tiles}", f"{seconds:,.0f}",
            f"{1e6 * seconds / one.side**2:.2f}", f"{1e6 * seconds / one.predicted:.2f}", f"{one.peak / MIB:,.0f}",
            f"{int(one.row['polygons']):,}", f"{one.results / MIB:,.1f}"))  # fmt: skip
    header = ("Slide, pixels", "Engine", "File, MiB", "Tiles predicted", "Seconds", "Seconds per megapixel",
        "Seconds per megapixel of predicted tiles", "Peak MiB", "Polygons", "Results, MiB")  # fmt: skip
    lines = [
        "## Whole slides",
        "",
        f"Made by `{command}`.",
        "",
        *markdown_table(("Machine", ""), list(_machine(threads).items())),
        "",
        "Synthetic slides of `python -m scripts.data.demo slide`, predicted by `run slide` with its defaults at full "
        "resolution (one network pixel per slide pixel). Mask "
        "pyramid, polygons, table of tiles and picture are in the time; the start of Python and the loading of the "
        f"model, about {_least_start(found):.0f} s, are not. Megapixels are those of level 0; tiles of bare glass are "
        f"not predicted. Peak: resident memory of all processes, looked at every {_SAMPLED} s; pages that they share "
        "count once.",
        "",
        *markdown_table(header, rows),
    ]
    return "\n".join(lines + _peer_lines(peers))


def _peer_lines(peers: Sequence[Peer]) -> list[str]:
    if not peers:
        return []
    rows = [
        (one.name, f"{one.side:,} x {one.side:,}", *("not measured",) * 3)
        if one.seconds is None or one.megapixels is None or one.peak is None
        else (one.name, f"{one.side:,} x {one.side:,}", f"{one.seconds:,.0f}",
              f"{one.seconds / one.megapixels:.2f}", f"{one.peak / MIB:,.0f}")
        for one in peers
    ]  # fmt: skip
    header = ("Other programs", "Slide, pixels", "Seconds", "Seconds per megapixel of predicted tiles", "Peak MiB")
    return [
        "",
        "The same network on the same slide, with the same tiles and margins, through other programs: logits in memory "
        "only, no mask, polygons or pyramid. MONAI's data set has no rule for glass. TIAToolbox needs torchvision, "
        "which is no requirement here.",
        "",
        *markdown_table(header, rows),
    ]


def _machine(threads: int) -> dict[str, str]:
    about = machine(torch.device("cpu"), "auto")
    about["CPU"] = about["CPU"].rpartition(",")[0] + f", {threads} torch thread{'s' if threads > 1 else ''}"
    return about


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
