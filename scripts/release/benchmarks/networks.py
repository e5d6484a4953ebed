"""Speed and memory of this project's network and of the published one, measured in one run on one machine.

``python -m scripts.release benchmark --dataset_dir FOLDER --out docs/benchmarks.md`` takes minutes and writes its
results into the Markdown file, and as JSON beside it. All cases are timed in turn, again and again, so that whatever
else slows the machine down hits all alike; a slow stretch then widens every case's spread instead of spoiling one.
"""

from __future__ import annotations

import inspect
import json
import logging
import multiprocessing
import shlex
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tqdm import tqdm

from scripts.core.errors import InputError, Problem
from scripts.core.files import write_atomic
from scripts.core.machine.memory import keep_freed_memory
from scripts.release.benchmarks.cases import (
    VARIANTS,
    Case,
    Samples,
    Variant,
    data_cases,
    load_samples,
    network_cases,
    peak_case,
    peak_memory,
    write_random_images,
)
from scripts.release.benchmarks.mc_scores import mc_cases
from scripts.release.benchmarks.report import Results, Round, insert_section, machine, section
from scripts.release.benchmarks.rounds import measured_rounds

logger = logging.getLogger(__name__)


def benchmark(
    dataset_dir: str = "",
    table: str | None = None,
    split_column: str = "split",
    out: str = "docs/benchmarks.md",
    image_size: Sequence[int] = (256, 384),
    batch: int = 8,
    published_batch: int = 4,
    predictions: int = 4,
    repetitions: int = 5,
    steps: int = 120,
    n_train: int = 67,
    n_eval: int = 98,
    device: str = "cpu",
    threads: int = 0,
    amp: bool | str = "auto",
    memory: bool = True,
    round_steps: int = 20,
    seed: int = 0,
) -> None:
    """Measure, and write the results between the markers of a Markdown file, and as JSON beside it.

    Args:
        dataset_dir: folder or table of a data set with masks; random images where it is left out.
        table: the data set's table, where its name is not a usual one.
        split_column: column of the table with train/val/test.
        out: Markdown file; text outside the markers is kept.
        image_size: (H, W) of the network's input, in pixels.
        batch: images per training step, when measured and in the computed rounds.
        published_batch: images per measured training step of the published network, which is slow.
        predictions: images per measured prediction; they are predicted one at a time.
        repetitions: how often each case is timed, after one call that is not.
        steps: training steps per cycle of a computed round.
        n_train: training images: of a computed round, and how many are decoded and compared at most.
        n_eval: validation and test images of a computed round.
        device: cpu, cuda, cuda:1 ...
        threads: of torch on the CPU; 0 leaves them as they are.
        amp: bfloat16 for every network: true, false, or auto (where the device has it).
        memory: also measure peak memory, in a process per variant.
        round_steps: training steps per cycle of a whole round that is run with each network; 0 runs none. It needs a
            data set with validation and test masks.
        seed: of initial weights and random images.

    Raises:
        InputError: an argument or the data set cannot be used.
    """
    command = written_command({name: value for name, value in locals().items() if name in ARGUMENTS})
    size = _checked(image_size, device, {"batch": batch, "published_batch": published_batch, "steps": steps,
        "predictions": predictions, "repetitions": repetitions, "n_train": n_train, "n_eval": n_eval})  # fmt: skip
    place = torch.device(device)
    keep_freed_memory()
    batches = {key: published_batch if key == "published" else batch for key in VARIANTS}
    with _threads(threads), ExitStack() as stack:
        # before anything large exists here: a child's peak starts from its parent's
        peaks = measure_memory(size, batches, device, amp, threads) if memory else {}
        folder = dataset_dir
        if not dataset_dir:
            temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            folder = str(write_random_images(temporary, n_train, (2 * size[0], 2 * size[1]), seed))
        samples = load_samples(folder, table, split_column, size, max(batches.values()), n_train)
        reading = {"table": table, "split_column": split_column}
        rounds = {}
        if round_steps and dataset_dir:
            rounds = measured_rounds(dataset_dir, reading, size, round_steps, batch, device, threads, amp, seed)
        variants = _variants(samples, batches, place, amp, seed)
        cases = [*network_cases(variants, predictions), *data_cases(samples, size), peak_case(place, amp)]
        cases += mc_cases(samples.images[:1].to(place), amp)
        timings = time_in_turn(cases, repetitions, place)
        results = Results(
            timings=timings,
            batches=batches,
            parameters={key: variant.parameters() for key, variant in variants.items()},
            peaks=peaks,
            machine=machine(place, amp),
            command=command,
            image_size=size,
            images=f"`{dataset_dir}`" if dataset_dir else "random images",
            repetitions=repetitions,
            round=Round(steps, batch, n_train, n_eval),
            measured=rounds,
            measured_steps=round_steps,
            # torch counts the backward pass of grouped convolutions, which only "joint" has, as if they had no groups
            operations={key: variant.operations() for key, variant in variants.items() if key != "joint"},
        )
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    write_atomic(path, insert_section(old, section(results)).encode())
    write_atomic(path.with_suffix(".json"), (json.dumps(asdict(results), indent=1) + "\n").encode())
    logger.info("results are in %s", out)


ARGUMENTS = {name: parameter.default for name, parameter in inspect.signature(benchmark).parameters.items()}


def written_command(values: dict[str, Any]) -> str:
    """Return the command line that makes the same benchmark: arguments that differ from their defaults."""
    words = ["python", "-m", "scripts.release", "benchmark"]
    for name, default in ARGUMENTS.items():
        value = values.get(name, default)
        value = tuple(value) if isinstance(value, list) else value
        if value != default or name == "out":
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [f"--{name}", shlex.quote(text)]
    return " ".join(words)


@dataclass(frozen=True)
class Timing:
    """How long a case took, per image.

    Attributes:
        group: as of its :class:`scripts.release.benchmarks.cases.Case`, as are the next two.
        key: of the variant.
        images: per call.
        seconds: per image, of each repetition.
    """

    group: str
    key: str
    images: int
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median seconds per image."""
        return median(self.seconds)

    @property
    def minimum(self) -> float:
        """Least seconds per image."""
        return min(self.seconds)


def time_in_turn(cases: Sequence[Case], repetitions: int, device: torch.device) -> list[Timing]:
    """Time each case ``repetitions`` times, one after the other in every repetition.

    Every case runs once before, untimed: memory is allocated, files are in the system's cache, features are kept.
    """
    seconds: list[list[float]] = [[] for _ in cases]
    for repetition in tqdm(range(repetitions + 1), desc="benchmark", unit="turn"):
        for case, found in zip(cases, seconds, strict=True):
            _synchronize(device)
            started = time.perf_counter()
            case.run()
            _synchronize(device)
            if repetition > 0:
                found.append((time.perf_counter() - started) / case.images)
    return [Timing(case.group, case.key, case.images, tuple(found)) for case, found in zip(cases, seconds, strict=True)]


def measure_memory(
    size: tuple[int, int], batches: dict[str, int], device: str, amp: bool | str, threads: int
) -> dict[str, int]:
    """Return the peak memory in bytes of each variant, each in a process of its own; key ``""`` is an idle process."""
    context = multiprocessing.get_context("spawn")
    peaks = {}
    for key in ("", *batches):
        with context.Pool(1) as pool:
            peaks[key] = pool.apply(peak_memory, (key, size, batches.get(key, 1), device, amp, threads))
    return peaks


def _variants(
    samples: Samples, batches: dict[str, int], device: torch.device, amp: bool | str, seed: int
) -> dict[str, Variant]:
    return {key: Variant(key, samples, batch, device, amp, seed) for key, batch in batches.items()}


def _checked(image_size: Any, device: str, counts: dict[str, int]) -> tuple[int, int]:
    problems = [
        Problem("not a count", f"--{name}", "at least 1", str(value))
        for name, value in counts.items()
        if not isinstance(value, int) or value < 1
    ]
    size = tuple(image_size) if isinstance(image_size, list | tuple) else ()
    if len(size) != 2 or not all(isinstance(side, int) and side >= 32 for side in size):
        problems.append(Problem("not a size", "--image_size", "height,width of at least 32 pixels", str(image_size)))
    if str(device).startswith("cuda") and not torch.cuda.is_available():
        problems.append(Problem("no such device", "--device", found=str(device), cure="Use --device cpu."))
    if problems:
        raise InputError(problems)
    return size[0], size[1]


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
