"""The Markdown section of the benchmark of a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scripts.release.benchmarks.report import markdown_table

MARKERS = ("<!-- device:begin -->", "<!-- device:end -->")
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        device: where it is computed.
        rounds: of the run of ``label_prop``; 0 for none.
        steps: per training.
        batch: images per step.
        seeds: trainings at once; fewer than 2 for none.
    """

    device: str
    rounds: int
    steps: int
    batch: int
    seeds: int


@dataclass(frozen=True)
class Measured:
    """Figures at one size of the network's input.

    Attributes:
        size: (H, W) in pixels.
        run_seconds: of all rounds; None where no run was made.
        training_seconds: of the trainings among them.
        loop_rate: images per second of the training loop.
        step_rate: images per second of its step on tensors that are on the device, with nothing around it.
        together_rate: images per second of several seeds at once, all together; None where not measured.
        launches: kernels and recordings launched per step; None on the CPU.
        top: kernels or operators with most ms per step.
    """

    size: tuple[int, int]
    run_seconds: float | None
    training_seconds: float | None
    loop_rate: float
    step_rate: float
    together_rate: float | None
    launches: float | None
    top: Sequence[tuple[str, float]]


def section(about: Mapping[str, str], plan: Plan, found: Sequence[Measured]) -> str:
    """Return the Markdown section, without the markers."""
    device = "GPU" if plan.device.startswith("cuda") else "CPU"
    rows = [(device, *_row(one)) for one in found]
    if device == "CPU":
        rows += [("NVIDIA GPU", _size(one), *[NOT_MEASURED] * 7) for one in found]
    header = ("Device", "Input, pixels", f"{plan.rounds} rounds: s", "Trainings of them: s", "Loop: images/s",
        "Bare step: images/s", "Loop / step", f"{plan.seeds} seeds at once: images/s", "Launches per step")  # fmt: skip
    lines = [
        "## Training on the device",
        "",
        "Made by `python -m scripts.release benchmark_device`. On a machine with an NVIDIA GPU it measures the rows "
        "that are missing here.",
        "",
        *markdown_table(("Machine", ""), list(about.items())),
        "",
        f"`label_prop` from the bundle's own config, {plan.steps} steps of {plan.batch} images per training, features "
        "kept. Loop: the training loop of a run between its validations, best epoch. Bare step: the same forward pass, "
        "loss, backward pass and optimizer on one batch that stays on the device. Seeds at once: a process each, "
        "images of all together.",
        "",
        *markdown_table(header, rows),
    ]
    for one in found:
        what = "Kernels" if device == "GPU" else "Operators"
        lines += ["", f"{what} with most time in a step at {_size(one)}, ms:", ""]
        lines += markdown_table((what[:-1], "ms per step"), [(f"`{name[:80]}`", f"{ms:.2f}") for name, ms in one.top])
    return "\n".join(lines)


def _row(one: Measured) -> tuple[str, ...]:
    return (
        _size(one),
        _number(one.run_seconds),
        _number(one.training_seconds),
        _number(one.loop_rate),
        _number(one.step_rate),
        f"{one.loop_rate / one.step_rate:.2f}",
        _number(one.together_rate),
        _number(one.launches),
    )


def _size(one: Measured) -> str:
    return f"{one.size[0]} x {one.size[1]}"


def _number(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:,.1f}"
