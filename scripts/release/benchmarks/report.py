"""The benchmark's results as a section of a Markdown file."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from scripts.core.machine.hardware import cores, cpu_model
from scripts.core.run_names import Phase
from scripts.networks.precision import computes_in_bfloat16
from scripts.release.benchmarks.cases import VARIANTS
from scripts.release.benchmarks.mc_scores import MC_ROWS, ORIGINAL, PASSES
from scripts.release.benchmarks.rounds import RANDOM

BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"
TITLE = """# Benchmarks

Speed and memory on one machine; the section below is written by `python -m scripts.release benchmark`.
"""
REFERENCE = "published"
MIB = 1024**2


class Timed(Protocol):
    """A case's times, see :class:`scripts.release.benchmarks.networks.Timing`."""

    @property
    def group(self) -> str: ...  # noqa: D102
    @property
    def key(self) -> str: ...  # noqa: D102
    @property
    def images(self) -> int: ...  # noqa: D102
    @property
    def median(self) -> float: ...  # noqa: D102
    @property
    def minimum(self) -> float: ...  # noqa: D102


@dataclass(frozen=True)
class Round:
    """What a round of active learning is computed from.

    Attributes:
        steps: training steps per cycle.
        batch: images per step.
        n_train: training images; all of them are predicted once, the pool.
        n_eval: validation and test images, predicted once.
    """

    steps: int
    batch: int
    n_train: int
    n_eval: int

    def seconds(self, cycles: int, train: float, predict: float) -> float:
        """Return the seconds of a round of ``cycles`` trainings from the seconds per image of both parts."""
        return self.steps * self.batch * cycles * train + (self.n_eval + self.n_train) * predict


@dataclass(frozen=True)
class Results:
    """All that a section tells.

    Attributes:
        timings: of each case.
        batches: variant -> images per training step.
        parameters: variant -> numbers of all parameters and of those that train.
        peaks: variant -> peak memory in bytes; empty where it was not measured.
        machine: what was measured on, description -> value.
        command: that made it.
        image_size: (H, W) of the network's input.
        images: what images were used.
        repetitions: timings per case.
        round: the computed round.
        measured: variant -> phase -> seconds of a whole round that was run; empty where none was.
        measured_steps: training steps per cycle of it.
        operations: variant -> ``"train"`` and ``"predict"`` -> multiplications with additions per image.
    """

    timings: Sequence[Timed]
    batches: Mapping[str, int]
    parameters: Mapping[str, tuple[int, int]]
    peaks: Mapping[str, int]
    machine: Mapping[str, str]
    command: str
    image_size: tuple[int, int]
    images: str
    repetitions: int
    round: Round
    measured: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    measured_steps: int = 0
    operations: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def of(self, group: str) -> dict[str, Timed]:
        """Return the timings of a group by variant."""
        return {timing.key: timing for timing in self.timings if timing.group == group}


def section(results: Results) -> str:
    """Return the Markdown section, without the markers."""
    height, width = results.image_size
    intro = [
        f"Made by `{results.command}`.",
        "",
        *markdown_table(("Machine", ""), [(name, value) for name, value in results.machine.items()]),
        "",
        f"Network input {height} x {width} pixels (height x width), images: {results.images}. Each case was timed "
        f"{results.repetitions} times after one untimed call; in every turn all cases ran one after the other. All "
        "networks run in the same precision and memory layout, with random initial weights; the published code itself "
        "computes in float32, as `--amp False` makes all do. Ratios are those of the "
        "published network's time to the row's: above 1 the row is faster.",
    ]
    parts = [intro, _training(results), _prediction(results)]
    parts += [_operations(results)] if results.operations else []
    parts += [_stage0(results)]
    parts += [_scores(results)] if results.of("mc") else []
    parts += [_data(results)]
    parts += [_measured(results)] if results.measured else []
    parts += [_rounds(results)]
    return "\n\n".join("\n".join(part) for part in parts)


def insert_section(text: str, body: str, markers: tuple[str, str] = (BEGIN, END)) -> str:
    """Return ``text`` with ``body`` between the two markers, everything else kept.

    Without a complete pair of markers the section is appended; an empty text gets a title.
    """
    first, last = markers
    block = f"{first}\n{body}\n{last}"
    begin = text.find(first)
    end = text.find(last, begin + len(first)) if begin >= 0 else -1
    if end >= 0:
        return text[:begin] + block + text[end + len(last) :]
    return f"{text.rstrip() or TITLE.rstrip()}\n\n{block}\n"


def machine(device: torch.device, amp: bool | str) -> dict[str, str]:
    """Return what the times depend on, without naming the machine."""
    found = {"CPU": f"{cpu_model()}, {cores()} cores, {torch.get_num_threads()} torch threads"}
    if device.type == "cuda":
        found["GPU"] = f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    reduced = computes_in_bfloat16(device, amp)
    if hasattr(os, "getloadavg"):
        found["Load average"] = f"{os.getloadavg()[0]:.1f} over the last minute when the timing had ended"
    return found | {
        "Precision": "bfloat16 autocast" if reduced else "float32",
        "Software": f"torch {torch.__version__}, Python {platform.python_version()}, {platform.system()}",
        "Date": datetime.date.today().isoformat(),
    }


def _training(results: Results) -> list[str]:
    rows = []
    timings = results.of("train")
    for key, timing in timings.items():
        total, trained = results.parameters[key]
        peak = f"{results.peaks[key] / MIB:,.0f}" if key in results.peaks else "not measured"
        rows.append(
            (VARIANTS[key], f"{total:,}", f"{trained:,}", str(results.batches[key]), *_times(timing, timings), peak)
        )
    header = ("Network", "Parameters", "Trained", "Batch", "Median s", "Minimum s", "Ratio of medians",
        "Ratio of minima", "Peak MiB")  # fmt: skip
    lines = ["### Training step, seconds per image", "", "Forward, loss (BCE + Dice), backward, AdamW step.", ""]
    lines += markdown_table(header, rows)
    if results.peaks:
        what = "GPU memory allocated by torch" if "GPU" in results.machine else "resident memory"
        note = f"Peak: {what} during two training steps at the row's own batch size, each row in a process of its own"
        idle = (
            f"; interpreter and libraries alone take {results.peaks[''] / MIB:,.0f} MiB"
            if results.peaks.get("")
            else ""
        )
        lines += ["", f"{note}{idle}."]
    return lines


def _prediction(results: Results) -> list[str]:
    plain, flips = results.of("predict"), results.of("flips")
    rows = [(VARIANTS[key], *_times(plain[key], plain), *_times(flips[key], flips)) for key in plain]
    header = ("Network", "Median s", "Minimum s", "Ratio of medians", "Ratio of minima", "4 flips: median s",
        "4 flips: minimum s", "4 flips: ratio of medians", "4 flips: ratio of minima")  # fmt: skip
    note = (
        "One image at a time. A network whose parts all train predicts as the second row. The network is trained "
        "between the turns, so that an engine's copy of it is made in each: its time is in that of the "
        f"{next(iter(plain.values())).images} images."
    )
    return ["### Prediction, seconds per image", "", note, "", *markdown_table(header, rows)]


def _operations(results: Results) -> list[str]:
    """What the machine is asked for against what it can do: a matrix product of the same run."""
    product = results.of("peak")[""]
    rows = [("A matrix product of 2048 x 2048", "", "", f"{1e-9 / product.minimum:,.0f}", "100 %")]
    for group, what in (("train", "training step"), ("predict", "prediction")):
        for key, timing in results.of(group).items():
            operations = results.operations.get(key, {}).get(group)
            if operations:
                share = product.minimum * operations / timing.minimum
                rows.append((f"{VARIANTS[key]}: {what}", f"{1e-9 * operations:.2f}", f"{timing.minimum:.4f}",
                    f"{1e-9 * operations / timing.minimum:,.0f}", f"{100 * share:.0f} %"))  # fmt: skip
    note = (
        "Multiplications with additions (MAC) of convolutions and matrix products, counted while they run, by the "
        "least time. The rest of it goes to norms, activations and memory, and to layers too small for the machine."
    )
    header = ("Work", "GMAC per image", "Minimum s", "GMAC per second", "Share of the product's")
    return ["### Operations", "", note, "", *markdown_table(header, rows)]


def _scores(results: Results) -> list[str]:
    timings = results.of("mc")
    slow = timings[next(iter(MC_ROWS))]
    rows = [(MC_ROWS[key], f"{timing.median:.3f}", f"{timing.minimum:.3f}", f"{slow.median / timing.median:.1f}",
        f"{slow.minimum / timing.minimum:.1f}") for key, timing in timings.items()]  # fmt: skip
    note = f"{PASSES} passes with dropout and the variance at {ORIGINAL[1]} x {ORIGINAL[0]} pixels."
    header = ("Monte-Carlo dropout, per image", "Median s", "Minimum s", "Ratio of medians", "Ratio of minima")
    return ["### Scores by Monte-Carlo dropout, seconds per image", "", note, "", *markdown_table(header, rows)]


def _stage0(results: Results) -> list[str]:
    names = {
        "joint": "JointNet: EfficientNet-Lite0 and class maps",
        "published": "PublishedNet: ResNet-18 and class maps",
    }
    timings = results.of("stage0")
    rows = [(names[key], str(timing.images), *_times(timing, timings)) for key, timing in timings.items()]
    header = ("Network", "Batch", "Median s", "Minimum s", "Ratio of medians", "Ratio of minima")
    note = "Training of encoder and classifier on image labels: forward and backward, without the decoder."
    return ["### Stage 0, seconds per image", "", note, "", *markdown_table(header, rows)]


def _data(results: Results) -> list[str]:
    names = {
        "decode": "Decode an image file and resize it",
        "histogram": "Colour histogram at original resolution",
        "graph": "Similarity graph of the histograms",
    }
    rows = []
    for group, name in names.items():
        for timing in results.of(group).values():
            total = timing.median * timing.images
            rows.append((name, f"{timing.median:.5f}", f"{timing.minimum:.5f}", str(timing.images), f"{total:.3f}"))
    header = ("Done once per run", "Median s per image", "Minimum s per image", "Images", "Median s of all")
    return ["### Data", "", *markdown_table(header, rows)]


def _measured(results: Results) -> list[str]:
    """A whole round of each network: training, the other phases, and both methods' sums."""
    trainings = (Phase.CYCLE_0, Phase.CYCLE_1)
    sums = {}
    for key, phases in results.measured.items():
        trained = sum(phases[name] for name in trainings)
        whole = sum(phases.values())
        sums[key] = (trained, whole - trained, sum(phases[name] for name in RANDOM), whole)
    reference = sums[REFERENCE]
    rows = [
        (VARIANTS[key], *(f"{found:,.1f} ({slow / found:.1f}x)" for found, slow in zip(values, reference, strict=True)))
        for key, values in sums.items()
    ]
    plan = results.round
    note = (
        "A round of `label_prop`, run whole by the bundle itself with each network, one after the other, on all images "
        "of the data set: round 1 where features are kept, since round 0 computes them, else round 0; "
        f"8 masks at first, {results.measured_steps} steps of {plan.batch} images per training with one "
        "validation, threshold, test and pseudo-masks by the mean of four flips. `random` is the sum of its phases in "
        "the same run. "
        "Trainings grow with the steps, the other phases do not."
    )
    header = ("Network", "Both trainings: s", "Other phases: s", "Round of `random`: s", "Round of `label_prop`: s")
    return ["### Seconds per round, measured", "", note, "", *markdown_table(header, rows)]


def _rounds(results: Results) -> list[str]:
    train, predict = results.of("train"), results.of("predict")
    plan = results.round
    seconds = {}
    for key in train:
        predicted = predict[key if key in predict else "computed"].median
        seconds[key] = [plan.seconds(cycles, train[key].median, predicted) for cycles in (1, 2)]
    rows = []
    for key, found in seconds.items():
        ratios = [slow / fast for slow, fast in zip(seconds[REFERENCE], found, strict=True)]
        rows.append(
            (VARIANTS[key], *(f"{time:,.1f} ({ratio:.1f}x)" for time, ratio in zip(found, ratios, strict=True)))
        )
    note = (
        f"**Computed, not measured**, from the medians above: {plan.steps} steps x {plan.batch} images x cycles x "
        f"training seconds + ({plan.n_eval} validation and test + {plan.n_train} pool images) x prediction seconds, "
        "without flips. Validations during training, the first filling of kept features, and files are not in it. Both "
        "networks get the same number of steps and images."
    )
    header = ("Network", "`random`, 1 cycle: s", "`label_prop`, 2 cycles: s")
    return ["### Seconds per round of a full training, computed", "", note, "", *markdown_table(header, rows)]


def _times(timing: Timed, group: Mapping[str, Timed]) -> tuple[str, str, str, str]:
    reference = group[REFERENCE]
    return (
        f"{timing.median:.4f}",
        f"{timing.minimum:.4f}",
        f"{reference.median / timing.median:.2f}",
        f"{reference.minimum / timing.minimum:.2f}",
    )


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; with more than two columns all but the first are aligned to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1) if len(header) > 2 else ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
