"""Spoiled files through the loaders and the gate: each is read or refused, none crashes, hangs or raises else.

    python -m tests.support.fuzz --n 10000 --seed 0
    python -m tests.support.fuzz --gate --n 10000 --seed 0
    python -m tests.support.fuzz --seed 0 --only 1234

With ``--gate`` it is what people hand in, by way of the folder of a run (:mod:`tests.support.fuzz_gate`).

Cases are read in a child process with a limit on its memory. A case that takes longer than ``--limit`` seconds is
killed and counts as a hang; a child that dies counts as a crash; both go on with the next case. Findings are written
to ``--keep`` where it is given. The exit status is 1 when there are findings.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from scripts.core.errors import UserError
from scripts.data.datalist import read_datalist
from scripts.images.mask_files.several import read_numbered_objects, read_whole_mask
from scripts.images.masks import MaskRule, read_mask
from scripts.images.reading import highest_value, image_size, read_image
from scripts.networks.model_file import read_model
from tests.support import fuzz_gate
from tests.support.fuzz_cases import MODEL, TABLES, Case, make_case

MEMORY_BYTES = 2 * 2**30
"""What a case may take beside the program."""
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Folder where files need no disk: the state of a run waits for the disk at each write."""
OUTLINES = 0.1
"""Share of the cases."""
RULES = (MaskRule(), MaskRule("over:127.5"), MaskRule([1, 2], ignore=3))


@dataclass(frozen=True)
class Outcome:
    """What became of a case: ``"read"``, ``"refused"``, or a finding with its text; its row in the table."""

    number: int
    result: str
    seconds: float
    text: str = ""
    row: str = ""


def read_case(case: Case, folder: Path, number: int) -> str:
    """Read a case as the program would; return ``"read"`` or ``"refused"``, raise anything that is a finding.

    Raises:
        AssertionError: what was read breaks a promise of the loader.
    """
    path = folder / f"{number % 100}.{case.suffix}"
    path.write_bytes(case.data)
    try:
        if case.kind in TABLES:
            _read_table(path)
        elif case.kind == "model":
            path.with_suffix(".json").write_text(MODEL.to_json())
            weights, _ = read_model(path)
            assert all(isinstance(value, torch.Tensor) for value in weights.values()), weights
        elif case.kind == "mask":
            mask = read_mask(path, RULES[number % len(RULES)])
            assert mask.dtype == np.uint8, mask.dtype
            assert mask.ndim == 2, mask.shape
            assert set(np.unique(mask)) <= {0, 1, 255}, np.unique(mask)
        elif case.kind == "outlines":
            _read_outlines(path, folder / "train_00.png")
        else:
            image = read_image(path)
            highest_value(path)
            assert image.dtype == np.uint8, image.dtype
            assert image.ndim == 3, image.shape
            assert image.shape[2] == 3, image.shape
            assert image.shape[:2] == image_size(path), (image.shape, image_size(path))
    except UserError as error:
        assert error.problems
        assert str(error).encode()
        return "refused"
    finally:
        path.unlink()
    return "read"


def _read_outlines(path: Path, image: Path) -> None:
    mask = read_whole_mask(str(path), image)
    assert mask.dtype == np.uint8, mask.dtype
    assert mask.shape == (fuzz_gate.SIDE, fuzz_gate.SIDE), mask.shape
    assert set(np.unique(mask)) <= {0, 1, 255}, np.unique(mask)
    if path.stat().st_size < 100_000:  # as long again
        objects = read_numbered_objects(str(path), image)
        assert objects is not None
        assert ((objects > 0) == (mask == 1)).all()


def _read_table(path: Path) -> None:
    data = read_datalist(path, progress=False)
    root = path.parent.resolve()
    ids = [item["id"] for item in data.items]
    assert len(set(ids)) == len(ids), ids
    for item in data.items:
        assert item["split"] in ("train", "val", "test"), item
        assert 0 <= item["label"] < len(data.classes), item
        for file in filter(None, (item["image"], item["mask"])):
            assert Path(file).resolve().is_relative_to(root), file
    json.dumps([data.items, data.classes], allow_nan=False).encode()
    "".join(ids + list(data.classes)).encode()


def prepare(folder: Path) -> None:
    """Put the images in place that the tables name, and one outside that they must not reach."""
    (folder / "sub").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    for number, name in enumerate(("a", "b", "c", "sub/d")):
        Image.fromarray(np.roll(pixels, number, axis=1)).save(folder / f"{name}.png")
    Image.new("L", (fuzz_gate.SIDE, fuzz_gate.SIDE)).save(folder / "train_00.png")
    Image.fromarray((pixels[..., 0] > 128).astype(np.uint8)).save(folder / "m.png")
    (folder / "link.png").symlink_to("/etc/passwd")


@dataclass(frozen=True)
class Course:
    """What is spoiled, and how it is read.

    Attributes:
        make: case of a seed and a number.
        prepare: puts into a folder what cases need beside them.
        read: reads a case in this folder; ``"read"``, ``"refused"``, or an exception.
    """

    make: Callable[[int, int], Case]
    prepare: Callable[[Path], None]
    read: Callable[[Case, Path, int], str]


def make_file(seed: int, number: int) -> Case:
    """Return the case of this number: outlines that a table names, or a file of another kind."""
    rng = random.Random(f"table:{seed}:{number}")
    if rng.random() >= OUTLINES:
        return make_case(seed, number)
    suffix = rng.choice(("geojson", "json", "xml"))
    return Case("outlines", suffix, *fuzz_gate.spoiled_file(suffix, rng))


FILES = Course(make_file, prepare, read_case)
GATE = Course(fuzz_gate.make_case, fuzz_gate.prepare, fuzz_gate.read_case)


def child(course: Course, seed: int, numbers: Sequence[int], answers: int, folder: Path) -> None:
    """Read cases one after the other and write a line about each to a pipe."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    for number in numbers:
        began, row = time.monotonic(), "not made"
        try:
            case = course.make(seed, number)
            began, row = time.monotonic(), case.row
            result, text = course.read(case, folder, number), ""
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is a finding
            last = traceback.extract_tb(error.__traceback__)[-1]
            result, text = "error", f"{type(error).__name__}: {str(error)[:200]} ({last.filename}:{last.lineno})"
        line = Outcome(number, result, time.monotonic() - began, text, row)
        os.write(answers, (json.dumps(asdict(line)) + "\n").encode())


class Fuzzer:
    """Runs cases in a child and starts another one after a crash or a hang.

    Args:
        seed: of the cases.
        limit: seconds a case may take.
        course: what is spoiled.
    """

    def __init__(self, seed: int, limit: float, course: Course = FILES) -> None:
        self.seed, self.limit, self.course = seed, limit, course

    def run(self, numbers: Sequence[int], progress: bool = True) -> list[Outcome]:
        """Return the outcome of each case."""
        done: list[Outcome] = []
        with tqdm(total=len(numbers), unit="file", disable=not progress) as bar:
            while len(done) < len(numbers):
                with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
                    self.course.prepare(Path(folder))
                    for outcome in self._until_it_dies(numbers[len(done) :], Path(folder)):
                        done.append(outcome)
                        bar.update()
        return done

    def _until_it_dies(self, numbers: Sequence[int], folder: Path) -> Iterator[Outcome]:
        reading, writing = os.pipe()
        process = os.fork()
        if not process:
            os.close(reading)
            try:
                child(self.course, self.seed, numbers, writing, folder)
            finally:
                os._exit(0)
        os.close(writing)
        waiting, left, hangs = b"", list(numbers), False
        while True:
            ready, _, _ = select.select([reading], [], [], self.limit)
            received = os.read(reading, 65536) if ready else b""
            if not received:
                hangs = not ready
                break
            *lines, waiting = (waiting + received).split(b"\n")
            for line in map(json.loads, lines):
                yield Outcome(**line)
                left.remove(line["number"])
        os.close(reading)
        if hangs:
            os.kill(process, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        if hangs:
            yield self._lost(left[0], "hang", self.limit, f"more than {self.limit:g} s")
        elif left:
            yield self._lost(left[0], "crash", 0.0, f"the process ended with {status}")

    def _lost(self, number: int, result: str, seconds: float, text: str) -> Outcome:
        return Outcome(number, result, seconds, text, self.course.make(self.seed, number).row)


def summary(done: Sequence[Outcome]) -> str:
    """Return a Markdown table, one row per kind of file."""
    rows: dict[str, list[Outcome]] = {}
    for outcome in done:
        rows.setdefault(outcome.row, []).append(outcome)
    lines = ["| Files | Tried | Read | Refused | Else | Slowest (s) |", "|---|---:|---:|---:|---:|---:|"]
    for name, group in [*sorted(rows.items()), ("**all**", list(done))]:
        counts = Counter(outcome.result for outcome in group)
        others = len(group) - counts["read"] - counts["refused"]
        slowest = max(outcome.seconds for outcome in group)
        lines.append(f"| {name} | {len(group)} | {counts['read']} | {counts['refused']} | {others} | {slowest:.2f} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases and print the table and the findings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10000, help="how many files")
    parser.add_argument("--seed", type=int, default=0, help="another seed spoils other files")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds a file may take")
    parser.add_argument("--only", type=int, help="this case alone, in this process, with its traceback")
    parser.add_argument("--keep", type=Path, help="folder for the files that were neither read nor refused")
    parser.add_argument("--gate", action="store_true", help="files that people hand in, by way of a run's folder")
    options = parser.parse_args(arguments)
    course = GATE if options.gate else FILES
    if options.only is not None:
        case = course.make(options.seed, options.only)
        print(case.kind, case.suffix, case.how, ascii(case.place))  # noqa: T201
        with tempfile.TemporaryDirectory() as folder:
            course.prepare(Path(folder))
            print(course.read(case, Path(folder), options.only))  # noqa: T201
        return 0
    done = Fuzzer(options.seed, options.limit, course).run(range(options.n))
    print(summary(done))  # noqa: T201
    findings = [outcome for outcome in done if outcome.result not in ("read", "refused")]
    for outcome in findings:
        case = course.make(options.seed, outcome.number)
        print(f"{outcome.number}: {case.kind} {case.suffix}, {case.how}: {outcome.result}: {outcome.text}")  # noqa: T201
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / f"{options.seed}_{outcome.number}.{case.suffix}").write_bytes(case.data)
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
