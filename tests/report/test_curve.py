"""The curve of a run: costs, areas, files that others can read, a table that fits a terminal."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.report.curve import curve_auc, curve_rows, summary_table, write_curve
from scripts.state.reader import StateReader
from scripts.state.run_state import RunState
from tests.support.small_runs import MASK_PX, make_run

DICES = [0.5, 0.7, 0.8]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", "label_prop", 0, DICES)


def test_rows_hold_costs_measures_and_times(run_dir: Path) -> None:
    with StateReader.open(run_dir) as state:
        rows = curve_rows(state)
    assert [row["round"] for row in rows] == [0, 1, 2]
    assert [row["masks"] for row in rows] == [2, 4, 6]
    assert [row["percent_masks"] for row in rows] == [20.0, 40.0, 60.0]
    assert [row["pixels"] for row in rows] == [2 * MASK_PX, 4 * MASK_PX, 6 * MASK_PX]
    assert rows[-1]["boundary_px"] == 6 * 120
    assert rows[-1]["annotation_seconds"] == 180.0
    assert [row["dice"] for row in rows] == DICES
    assert [row["pseudo_n"] for row in rows] == [8, 6, 4]
    assert rows[1]["seconds_train"] == 11.0
    assert rows[1]["seconds_total"] == pytest.approx(0.5 + 11.0 + 1.25)


def test_a_round_at_work_and_stage_0_are_no_rows(run_dir: Path) -> None:
    with RunState.open(run_dir) as state:
        state.commit(-1, "stage0", metrics={"dice": 0.1})
        state.commit(3, "query", metrics={"masks": 8})
        assert [row["round"] for row in curve_rows(state)] == [0, 1, 2]


def test_metrics_of_the_round_win_over_sums_and_extra_ones_are_kept(tmp_path: Path) -> None:
    with RunState.open(tmp_path) as state:
        state.commit(0, "evaluate", metrics={"dice": 0.9, "masks": 67, "pixels": 5, "val_dice": 0.8})
        row = curve_rows(state)[0]
    assert (row["masks"], row["pixels"], row["val_dice"]) == (67, 5, 0.8)
    assert row["percent_masks"] is None
    assert row["pxap"] is None


def test_area_equals_the_published_one(golden: Callable[[str], Any]) -> None:
    for case in golden("auc")["toy"]:
        rows = [{"dice": value, "miou": None} for value in case["curve"]]
        assert curve_auc(rows) == {"dice": pytest.approx(case["auc"], abs=1e-5), "miou": None}
    assert curve_auc([]) == {"dice": None, "miou": None}


def test_files_agree_with_the_rows(run_dir: Path) -> None:
    with StateReader.open(run_dir) as state:
        rows = curve_rows(state)
        table, document = write_curve(state, run_dir)
        settings = state.settings()
    with table.open() as stream:
        read = list(csv.DictReader(stream))
    assert [float(row["dice"]) for row in read] == DICES
    assert list(read[0])[:4] == ["round", "masks", "percent_masks", "pixels"]
    content = json.loads(document.read_text())
    assert content["rounds"] == rows
    assert content["auc"]["dice"] == pytest.approx((0.25 + 0.7 + 0.4) / 2)
    assert content["settings"] == settings
    assert content["data_sha256"] == "d" * 64
    assert {"python", "torch", "monai"} <= set(content["versions"])


def test_files_of_a_run_without_rounds(tmp_path: Path) -> None:
    with RunState.open(tmp_path) as state:
        table, document = write_curve(state, tmp_path)
        assert table.read_text().startswith("round,masks")
        assert json.loads(document.read_text())["auc"] == {"dice": None, "miou": None}
        assert summary_table(curve_rows(state)) == "no round has been evaluated yet"


def test_table_is_aligned_narrow_and_drops_empty_columns(run_dir: Path, tmp_path: Path) -> None:
    with StateReader.open(run_dir) as state:
        lines = summary_table(curve_rows(state)).splitlines()
    assert len({len(line) for line in lines[:-1]}) == 1
    assert len(lines[0]) <= 100
    assert lines[-1] == "AUC of Dice over 3 rounds: 0.6750"
    assert "0.8000" in lines[4]
    with StateReader.open(make_run(tmp_path / "random", "random", 0, [0.5])) as state:
        assert "pseudo" not in summary_table(curve_rows(state))


def test_images_of_background_classes_are_no_share_of_masks(tmp_path: Path) -> None:
    plain = make_run(tmp_path / "plain", "label_prop", 0, DICES)
    with StateReader.open(plain) as state:
        classes = state.settings()["classes"]
        free = sum(image.split == "train" and image.label == 1 for image in state.images())
        trained = sum(image.split == "train" for image in state.images())
    declared = make_run(tmp_path / "declared", "label_prop", 0, DICES, background_classes=[classes[1]])
    with StateReader.open(declared) as state:
        rows = curve_rows(state)
    assert 0 < free < trained
    assert [row["percent_masks"] for row in rows] == pytest.approx([100 * n / (trained - free) for n in (2, 4, 6)])
    shown = summary_table([{**row, "clean_share": 0.5} for row in rows])
    assert " clean " in shown and "0.5000" in shown and " clean " not in summary_table(rows)
