"""Time of commands as the choice of threads makes them, against one thread: alone, and beside a busy program.

``python -m scripts.release benchmark_threads --out docs/benchmarks.md`` runs the commands that users give, each in a
process of its own, on data of the demo, and writes a section into the Markdown file.
"""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from scripts.core.errors import InputError, Problem
from scripts.core.files import write_atomic
from scripts.core.machine.threads import WAITING, cores
from scripts.core.run_names import run_folder
from scripts.data.demo.data_set import make_demo
from scripts.release.benchmarks.report import insert_section, machine, markdown_table
from scripts.state.reader import StateReader

logger = logging.getLogger(__name__)

MARKERS = ("<!-- threads:begin -->", "<!-- threads:end -->")
ROOT = Path(__file__).resolve().parents[3]
CASES = {
    "predict": "`predict`, 48 images of 192 x 256",
    "round": "`training`, a round of `label_prop`",
    "demo": "`training` with its defaults, whole command",
}
PLACES = {"alone": "alone", "busy": "beside one busy program"}
ONE, DEFAULT, TORCH = "one", "default", "torch"
_CHOICE = re.compile(r"threads: (\d+) \(")
_SPINS = "300000"  # what GNU's OpenMP takes where nobody says anything


@dataclass(frozen=True)
class Timed:
    """One command.

    Attributes:
        case: key of :data:`CASES`.
        place: key of :data:`PLACES`.
        variant: ``"one"`` thread, the ``"default"`` of this project, or ``"torch"``: a thread per core that keeps its
            core while it waits, which is what torch does by itself.
        seconds: of the work; those of the start are only in those of the demo.
        threads: that were chosen.
    """

    case: str
    place: str
    variant: str
    seconds: float
    threads: int


def benchmark_threads(
    out: str = "docs/benchmarks.md",
    json_out: str | None = None,
    cases: Sequence[str] = tuple(CASES),
    repetitions: int = 3,
    torch_alone: bool = False,
) -> None:
    """Measure, and write the results between the markers of a Markdown file.

    Args:
        out: Markdown file; text outside the markers is kept.
        json_out: file for every single time; None for none.
        cases: which of ``predict``, ``round``, ``demo``; a demo takes minutes.
        repetitions: how often each command runs; variants and places take turns.
        torch_alone: time ``predict`` with torch's own threads too, which takes minutes beside a busy program.

    Raises:
        InputError: an unknown case, no repetition, or a command that fails.
    """
    wanted = (cases,) if isinstance(cases, str) else tuple(cases)
    if unknown := set(wanted) - set(CASES):
        raise InputError(Problem("unknown case", "--cases", ", ".join(CASES), ", ".join(sorted(unknown))))
    if repetitions < 1:
        raise InputError(Problem("nothing to measure", "--repetitions", "1 or more", str(repetitions)))
    with tempfile.TemporaryDirectory() as folder:
        found = list(_measured(Path(folder), wanted, repetitions, torch_alone))
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    flags = [] if wanted == tuple(CASES) else [f"--cases {','.join(wanted)}"]
    flags += [f"--repetitions {repetitions}"] + ["--torch_alone"] * torch_alone
    command = " ".join(("python -m scripts.release benchmark_threads", *flags))
    about = machine(torch.device("cpu"), "auto")
    about["CPU"] = about["CPU"].rpartition(",")[0]
    write_atomic(path, insert_section(old, section(found, command, about), MARKERS).encode())
    if json_out is not None:
        content = {"machine": about, "times": [vars(one) for one in found]}
        write_atomic(Path(json_out), (json.dumps(content, indent=1) + "\n").encode())
    logger.info("results are in %s", out)


def _measured(folder: Path, cases: Sequence[str], repetitions: int, torch_alone: bool) -> Iterator[Timed]:
    make_demo(folder / "data")
    if "round" in cases:  # stage 0 once, untimed
        run_case("round", ONE, folder)
    plan = [
        (case, place, variant)
        for turn in range(repetitions)
        for case in cases
        for place in PLACES
        for variant in (((ONE, DEFAULT), (DEFAULT, ONE))[turn % 2] + (TORCH,) * (torch_alone and case == "predict"))
    ]
    for case, place, variant in tqdm(plan, desc="commands", unit="command"):
        with busy_program() if place == "busy" else contextlib.nullcontext():
            yield Timed(case, place, variant, *run_case(case, variant, folder))


@contextlib.contextmanager
def busy_program() -> Iterator[subprocess.Popen[bytes]]:
    """Let another program compute all the time on one core."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def run_case(case: str, variant: str, folder: Path) -> tuple[float, int]:
    """Run a command in a process of its own and return its seconds and its number of threads.

    Args:
        case: key of :data:`CASES`.
        variant: see :class:`Timed`.
        folder: where ``data`` is; stage 0 of rounds is kept there.

    Raises:
        InputError: the command fails; its last line says why.
    """
    with tempfile.TemporaryDirectory(dir=folder) as place:
        words = [sys.executable, "-m", "monai.bundle", "run", *_words(case, folder, Path(place))]
        words += {ONE: ["--threads", "1"], DEFAULT: [], TORCH: ["--threads", str(cores())]}[variant]
        apart = {"OMP_NUM_THREADS", *WAITING}
        env = {name: text for name, text in os.environ.items() if name not in apart}
        started = time.perf_counter()
        done = subprocess.run(
            words, env=env | ({"GOMP_SPINCOUNT": _SPINS} if variant == TORCH else {}), cwd=ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        wall = time.perf_counter() - started
        choice = _CHOICE.search(done.stdout)
        if done.returncode != 0 or choice is None:
            last = " ".join(done.stdout.strip().splitlines()[-1:])
            raise InputError(Problem("command failed", " ".join(words[2:]), found=last))
        return _seconds(case, Path(place), wall), int(choice[1])


def _words(case: str, folder: Path, place: Path) -> list[str]:
    if case == "predict":
        return ["predict", "--config_file", "bundle/configs/inference.json", "--device", "cpu", "--dataset_dir",
                str(folder / "data"), "--output_dir", str(place)]  # fmt: skip
    words = ["training", "--config_file", "bundle/configs/train.json", "--device", "cpu", "--output_dir", str(place)]
    if case == "round":
        words += ["--dataset_dir", str(folder / "data"), "--active#stage0#dir", str(folder / "stage0"),
                  "--active#rounds", "1"]  # fmt: skip
    return words


def _seconds(case: str, place: Path, wall: float) -> float:
    if case == "predict":
        with open(place / "predictions.csv", newline="", encoding="utf-8") as file:
            return sum(float(row["seconds"]) for row in csv.DictReader(file))
    if case == "round":
        with StateReader.open(run_folder(place, "label_prop", 0)) as state:
            return sum(state.seconds(0).values())
    return wall


def section(found: Sequence[Timed], command: str, about: Mapping[str, Any]) -> str:
    """Return the Markdown section, without the markers.

    Args:
        found: at least one time of ``"one"`` and ``"default"`` for each case and place that has any.
        command: that made them.
        about: the machine.
    """
    rows = []
    for case, name in CASES.items():
        for place, where in PLACES.items():
            of = {
                variant: [one for one in found if (one.case, one.place, one.variant) == (case, place, variant)]
                for variant in (ONE, DEFAULT, TORCH)
            }
            if not of[ONE] or not of[DEFAULT]:
                continue
            one, default = _median(of[ONE]), _median(of[DEFAULT])
            chosen = ", ".join(str(count) for count in sorted({each.threads for each in of[DEFAULT]}))
            rows.append((name, where, f"{one:.1f}", f"{default:.1f}", chosen, f"{default / one:.2f}",
                f"{_least(of[DEFAULT]) / _least(of[ONE]):.2f}",
                f"{_median(of[TORCH]) / one:.2f}" if of[TORCH] else "not measured"))  # fmt: skip
    header = ("Command", "Where", "One thread: median s", "Default: median s", "Threads chosen", "Ratio of medians",
        "Ratio of minima", "Torch by itself: ratio of medians")  # fmt: skip
    lines = [
        "## Threads", "", f"Made by `{command}`.", "", *markdown_table(("Machine", ""), list(about.items())), "",
        "Commands as users give them, each in a process of its own, in turns; the busy program is an endless loop. "
        "Ratios are the default's time to that of `--threads 1`: below 1 the default is faster. Seconds are those of "
        "the images or the phases of the round, and of the whole command for the demo. Torch by itself: as many "
        "threads as cores, which keep their cores while they wait.",
        "", *markdown_table(header, rows),
    ]  # fmt: skip
    return "\n".join(lines)


def _median(times: Sequence[Timed]) -> float:
    return statistics.median(one.seconds for one in times)


def _least(times: Sequence[Timed]) -> float:
    return min(one.seconds for one in times)
