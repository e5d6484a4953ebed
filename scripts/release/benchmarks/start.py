"""Seconds from a command to its first line of work, and what is imported until then.

``python -m scripts.release benchmark_start --out docs/benchmarks.md`` starts each command, stops it at that line, and
writes a section into the Markdown file. A command's modules are counted by ``python -X importtime``.
"""

from __future__ import annotations

import logging
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scripts.core.errors import InputError, Problem
from scripts.core.files import write_atomic
from scripts.core.run_names import run_folder
from scripts.data.demo.data_set import make_demo
from scripts.data.demo.slide import write_slide
from scripts.release.benchmarks.report import insert_section, machine, markdown_table

logger = logging.getLogger(__name__)

MARKERS = ("<!-- start:begin -->", "<!-- start:end -->")
ROOT = Path(__file__).resolve().parents[3]
_IMPORT = re.compile(rb"import time:\s*(\d+) \|\s*\d+ \|\s*(\S+)")
_OWN = b"scripts"


@dataclass(frozen=True)
class Start:
    """One command.

    Attributes:
        name: of the command.
        seconds: until its first line of work, for each time it was started.
        imports: seconds of all imports until then, under ``-X importtime``, which slows them a little.
        modules: number of them.
        own_imports: seconds of those of this project, without what they import.
        own_modules: number of them.
    """

    name: str
    seconds: tuple[float, ...]
    imports: float
    modules: int
    own_imports: float
    own_modules: int


def benchmark_start(out: str = "docs/benchmarks.md", repetitions: int = 3) -> None:
    """Measure, and write the results between the markers of a Markdown file.

    Args:
        out: Markdown file; text outside the markers is kept.
        repetitions: how often each command is started; they take turns.

    Raises:
        InputError: no repetition, or a command that ends before its first line of work.
    """
    if repetitions < 1:
        raise InputError(Problem("nothing to measure", "--repetitions", "1 or more", str(repetitions)))
    with tempfile.TemporaryDirectory() as folder:
        commands = _commands(Path(folder))
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(repetitions):
            for name, (words, line) in commands.items():
                seconds[name].append(until(words, line)[0])
        found = []
        for name, (words, line) in commands.items():
            every, own = imported(until(["-X", "importtime", *words], line)[1])
            found.append(Start(name, tuple(seconds[name]), sum(every), len(every), sum(own), len(own)))
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    about = machine(torch.device("cpu"), "auto")
    write_atomic(path, insert_section(old, section(found, repetitions, about), MARKERS).encode())
    logger.info("results are in %s", out)


def _commands(folder: Path) -> dict[str, tuple[list[str], bytes | None]]:
    """Return name -> (words after ``python``, text of its first line of work, None for its end)."""
    data, runs = make_demo(folder / "data").parent, folder / "runs"
    slide = write_slide(str(folder / "slide.tif"), 512, levels=1)
    bundle = ["-m", "monai.bundle", "run"]
    configs = "bundle/configs"
    return {
        "training": ([*bundle, "training", "--config_file", f"{configs}/train.json", "--dataset_dir", str(data),
            "--output_dir", str(runs)], b"stage 0: training"),
        "predict": ([*bundle, "predict", "--config_file", f"{configs}/inference.json", "--dataset_dir", str(data),
            "--output_dir", str(folder / "predicted")], b"predicting"),
        "slide": ([*bundle, "slide", "--config_file", f"{configs}/slide.json", "--slides", str(slide),
            "--native_size", "[192, 256]", "--output_dir", str(folder / "slides")], b"tile/s"),
        "annotation status": (["-m", "scripts.annotation", "status", str(run_folder(runs, "label_prop", 0))], None),
        "data, its help": (["-m", "scripts.data", "--help"], None),
    }  # fmt: skip


def until(words: Sequence[str], line: bytes | None) -> tuple[float, bytes]:
    """Start ``python``, stop it at a line, and return the seconds until then and all that it wrote.

    Args:
        words: after ``python``.
        line: some of the text of that line; None for the end of the command.

    Raises:
        InputError: it fails, or ends without the line; what it wrote last says why.
    """
    started, text, found = time.perf_counter(), b"", False
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
    ) as process:
        while not found and process.stdout is not None and (part := process.stdout.read(1 << 16)):
            text += part
            found = line is not None and line in text
        seconds = time.perf_counter() - started
        if found:
            process.kill()
    if not found and (line is not None or process.returncode != 0):
        last = text.decode(errors="replace").strip().splitlines()[-1:]
        raise InputError(Problem("command failed", " ".join(words), found=" ".join(last)))
    return seconds, text


def imported(text: bytes) -> tuple[list[float], list[float]]:
    """Return the seconds of each import in what ``-X importtime`` wrote, without those inside it: all, and our own."""
    found = [(int(micro) / 1e6, name) for micro, name in _IMPORT.findall(text)]
    return [seconds for seconds, _ in found], [seconds for seconds, name in found if name.partition(b".")[0] == _OWN]


def section(found: Sequence[Start], repetitions: int, about: Mapping[str, Any]) -> str:
    """Return the Markdown section, without the markers."""
    rows = [
        (start.name, f"{statistics.median(start.seconds):.1f}", f"{min(start.seconds):.1f}", f"{start.imports:.1f}",
         f"{start.modules:,}", f"{start.own_imports:.2f}", f"{start.own_modules}")
        for start in found
    ]  # fmt: skip
    header = ("Command", "Median s", "Minimum s", "Imports: s", "Modules", "Of this project: s", "Modules of it")
    lines = [
        "## Start", "", f"Made by `python -m scripts.release benchmark_start --repetitions {repetitions}`.", "",
        *markdown_table(("Machine", ""), list(about.items())), "",
        "From the command to its first line of work: stage 0 of `training` (the data are read before it), the bar of "
        "`predict` and of `slide`; whole commands for the other two. Imports are timed in a start of their own; those "
        "of this project are what is left without torch, MONAI and the packages that these load.",
        "", *markdown_table(header, rows),
    ]  # fmt: skip
    return "\n".join(lines)
