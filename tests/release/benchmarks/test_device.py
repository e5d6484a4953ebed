"""The benchmark of a device, small and on the CPU, and the text it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts.core.command_line import run
from scripts.release.__main__ import COMMANDS
from scripts.release.benchmarks.device import benchmark_device, profiled
from scripts.release.benchmarks.device_report import Measured, Plan, section
from tests.support.tiny_runs import make_images

NAME = "python -m scripts.release"


def measured(**changes: Any) -> Measured:
    values: dict[str, Any] = {"size": (64, 96), "run_seconds": 100.0, "training_seconds": 60.0, "loop_rate": 1500.0,
                              "step_rate": 2000.0, "together_rate": 3000.0, "launches": 7.0,
                              "top": [("sgemm", 1.25)]}  # fmt: skip
    return Measured(**{**values, **changes})


def rows(text: str, device: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(f"| {device} |")]


def test_numbers_of_a_gpu() -> None:
    text = section({"GPU": "x"}, Plan("cuda:0", 25, 200, 8, 4), [measured(), measured(size=(522, 775))])
    assert rows(text, "GPU")[1:] == [  # the first one names the machine
        ["GPU", "64 x 96", "100.0", "60.0", "1,500.0", "2,000.0", "0.75", "3,000.0", "7.0"],
        ["GPU", "522 x 775", "100.0", "60.0", "1,500.0", "2,000.0", "0.75", "3,000.0", "7.0"],
    ]
    assert "not measured" not in text
    assert "| `sgemm` | 1.25 |" in text and "25 rounds: s" in text and "4 seeds at once" in text


def test_what_a_cpu_does_not_tell_is_not_measured() -> None:
    one = measured(launches=None, run_seconds=None, training_seconds=None, together_rate=None)
    text = section({}, Plan("cpu", 0, 10, 8, 0), [one])
    assert rows(text, "CPU")[0][2:] == ["not measured"] * 2 + ["1,500.0", "2,000.0", "0.75"] + ["not measured"] * 2
    assert rows(text, "NVIDIA GPU") == [["NVIDIA GPU", "64 x 96", *["not measured"] * 7]]


def test_everything_is_measured_and_written(tmp_path: Path) -> None:
    folder, figures, page = make_images(tmp_path / "data"), tmp_path / "out.json", tmp_path / "b.md"
    page.write_text("# Before\n\n<!-- device:begin -->\nold\n<!-- device:end -->\n\nAfter\n")
    benchmark_device(
        str(folder), device="cpu", json=str(figures), out=str(page), image_size=(64, 64), full_size=False, rounds=1,
        steps=2, batch=2, seeds=2,
    )  # fmt: skip
    found = json.loads(figures.read_text())["measured"]
    assert [one["size"] for one in found] == [[64, 64]]
    for one in found:
        assert 0 < one["training_seconds"] < one["run_seconds"]
        assert min(one["loop_rate"], one["step_rate"], one["together_rate"]) > 0
        assert one["launches"] is None
        assert "convolution" in " ".join(name for name, _ in one["top"])
    text = page.read_text()
    assert text.startswith("# Before") and text.endswith("After\n") and "old" not in text
    assert len(rows(text, "NVIDIA GPU")) == 1


def test_times_of_operators_are_per_step_and_sorted() -> None:
    x = torch.rand(256, 256)
    top, launches = profiled(lambda: torch.relu(x @ x), "cpu")
    assert top[0][0] == "aten::mm" and launches is None
    assert [ms for _, ms in top] == sorted((ms for _, ms in top), reverse=True)


@pytest.mark.parametrize(
    "wrong", [["--steps", "0"], ["--image_size", "8,8"], ["--seeds", "-1"], ["--device", "cuda:7"]]
)
def test_bad_arguments_end_without_a_traceback(wrong: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(NAME, COMMANDS, ["benchmark_device", *(["--device", "cpu"] if wrong[0] != "--device" else []), *wrong])
