"""The benchmark's Markdown: right numbers in it, and nothing lost around it."""

from __future__ import annotations

import platform

import pytest
import torch

from scripts.core.machine.hardware import cpu_model
from scripts.release.benchmarks.cases import VARIANTS
from scripts.release.benchmarks.networks import Timing
from scripts.release.benchmarks.report import BEGIN, END, Results, Round, insert_section, machine, section

TRAIN = {"kept": (0.1, 0.2, 0.3), "computed": (0.4,) * 3, "joint": (0.5,) * 3, "published": (1.0, 2.0, 6.0)}
PREDICT = {"kept": (0.01,), "computed": (0.02,), "published": (0.04,)}


def results(**changes) -> Results:
    timings = [Timing("train", key, 8, seconds) for key, seconds in TRAIN.items()]
    for group in ("predict", "flips"):
        timings += [Timing(group, key, 4, seconds) for key, seconds in PREDICT.items()]
    timings += [Timing("stage0", key, 4, (0.3,)) for key in ("joint", "published")]
    timings += [Timing(group, "", 67, (0.002,)) for group in ("decode", "histogram", "graph")]
    values = {
        "timings": timings,
        "batches": {key: 4 if key == "published" else 8 for key in VARIANTS},
        "parameters": dict.fromkeys(VARIANTS, (4000000, 1234567)),
        "peaks": {"": 300 * 1024**2, **dict.fromkeys(VARIANTS, 1500 * 1024**2)},
        "machine": {"CPU": "a CPU"},
        "command": "python -m scripts.release benchmark",
        "image_size": (256, 384),
        "images": "`../glas`",
        "repetitions": 3,
        "round": Round(120, 8, 67, 98),
    }
    return Results(**(values | changes))


def rows_of(text: str, title: str) -> dict[str, list[str]]:
    """Cells of the table under a title, by the first cell of each row."""
    part = text.split(f"### {title}")[1].split("\n### ")[0]
    rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1
    return {row[0]: row[1:] for row in rows[2:]}


def test_times_and_ratios():
    rows = rows_of(section(results()), "Training step, seconds per image")
    assert rows[VARIANTS["kept"]] == ["4,000,000", "1,234,567", "8", "0.2000", "0.1000", "10.00", "10.00", "1,500"]
    assert rows[VARIANTS["published"]][2:7] == ["4", "2.0000", "1.0000", "1.00", "1.00"]
    predicted = rows_of(section(results()), "Prediction, seconds per image")
    assert list(predicted) == [VARIANTS[key] for key in PREDICT]
    assert predicted[VARIANTS["kept"]] == ["0.0100", "0.0100", "4.00", "4.00"] * 2
    data = rows_of(section(results()), "Data")
    assert data["Decode an image file and resize it"] == ["0.00200", "0.00200", "67", "0.134"]


def test_rounds_are_computed_from_the_medians_and_marked_so():
    text = section(results())
    rows = rows_of(text, "Seconds per round")
    fast, slow = [960 * 0.2 * cycles + 165 * 0.01 for cycles in (1, 2)], [960 * 2.0 * c + 165 * 0.04 for c in (1, 2)]
    expected = [f"{a:,.1f} ({b / a:.1f}x)" for a, b in zip(fast, slow, strict=True)]
    assert rows[VARIANTS["kept"]] == expected
    joint = 960 * 0.5 + 165 * 0.02  # predicts as the network whose features are computed
    assert rows[VARIANTS["joint"]][0] == f"{joint:,.1f} ({slow[0] / joint:.1f}x)"
    assert rows[VARIANTS["published"]][1] == f"{slow[1]:,.1f} (1.0x)"
    assert "Computed, not measured" in text.split("### Seconds per round")[1]


def test_memory_is_described_as_what_it_is():
    assert "300 MiB" in section(results()) and "resident memory" in section(results())
    assert "allocated by torch" in section(results(machine={"CPU": "c", "GPU": "g"}))
    unmeasured = section(results(peaks={}))
    assert "not measured" in unmeasured and "Peak:" not in unmeasured


def test_a_missing_file_gets_a_title():
    text = insert_section("", "body")
    assert text.startswith("# Benchmarks\n") and text.endswith(f"{BEGIN}\nbody\n{END}\n")


def test_other_text_is_kept():
    first = insert_section("# Mine\n\nabove\n", "one")
    assert first == f"# Mine\n\nabove\n\n{BEGIN}\none\n{END}\n"
    second = insert_section(first + "\nbelow\n", "two")
    assert second == f"# Mine\n\nabove\n\n{BEGIN}\ntwo\n{END}\n\nbelow\n"
    assert insert_section(second, "two") == second


@pytest.mark.parametrize("broken", [f"{BEGIN}\nold", f"{END}\n{BEGIN}\nold"])
def test_half_a_pair_of_markers_loses_nothing(broken):
    text = insert_section(broken, "new")
    assert text.startswith(broken) and text.endswith(f"{BEGIN}\nnew\n{END}\n")


def test_the_machine_is_described_without_its_name():
    found = machine(torch.device("cpu"), amp=True)
    assert found["CPU"].startswith(cpu_model()) and f"{torch.get_num_threads()} torch threads" in found["CPU"]
    assert torch.__version__ in found["Software"] and found["Precision"] == "bfloat16 autocast"
    assert machine(torch.device("cpu"), amp=False)["Precision"] == "float32"
    assert "GPU" not in found
    assert not platform.node() or platform.node() not in " ".join(found.values())


def test_measured_rounds_are_told_apart_from_computed_ones():
    phases = {"query": 0.0, "oracle": 0.0, "cycle0": 1.0, "pseudo": 2.0, "cycle1": 1.0, "evaluate": 3.0, "refresh": 1.0}
    slow = {name: 10 * seconds for name, seconds in phases.items()}
    text = section(results(measured={"kept": phases, "published": slow}, measured_steps=7))
    assert "### Seconds per round, measured" in text and "7 steps of" in text
    assert "| 2.0 (10.0x) | 6.0 (10.0x) | 4.0 (10.0x) | 8.0 (10.0x) |" in text
    assert "measured" not in section(results()).partition("### Seconds per round")[2].partition("\n")[0]


def test_operations_are_compared_with_a_matrix_product():
    timings = [*results().timings, Timing("peak", "", 10**9, (2e-11, 1e-11))]  # 100 GMAC per second at best
    counted = {"kept": {"train": 2e9, "predict": 1e8}}
    rows = rows_of(section(results(timings=timings, operations=counted)), "Operations")
    assert rows["A matrix product of 2048 x 2048"] == ["", "", "100", "100 %"]
    assert rows[f"{VARIANTS['kept']}: training step"] == ["2.00", "0.1000", "20", "20 %"]
    assert rows[f"{VARIANTS['kept']}: prediction"] == ["0.10", "0.0100", "10", "10 %"]
    assert len(rows) == 3
    assert "### Operations" not in section(results())


def test_scores_before_and_after():
    timings = [
        *results().timings,
        Timing("mc", "wide", 1, (3.0, 5.0, 4.0)),
        Timing("mc", "kept", 1, (0.4, 0.5, 0.6)),
    ]
    rows = rows_of(section(results(timings=timings)), "Scores by Monte-Carlo dropout")
    assert [row[:2] for row in rows.values()] == [["4.000", "3.000"], ["0.500", "0.400"]]
    assert [row[2:] for row in rows.values()] == [["1.0", "1.0"], ["8.0", "7.5"]]
