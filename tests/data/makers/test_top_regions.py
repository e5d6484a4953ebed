from __future__ import annotations

import csv
from pathlib import Path

import pytest

from scripts.core.errors import InputError
from scripts.data.makers.top_regions import keep_top
from tests.data.makers.test_commands import main

ROWS = [("n1", "benign", "train", "n"), *((f"p{k}", "malignant", "train", "p") for k in range(5)),
        ("q0", "malignant", "train", "q"), ("v0", "malignant", "val", "v")]  # fmt: skip
PROBABILITY = {"p0": 0.1, "p1": 0.9, "p2": 0.8, "p3": 0.8, "p4": 0.2, "q0": 0.01}


def write(folder: Path, without: str = "") -> tuple[Path, Path]:
    table, predictions = folder / "data.csv", folder / "predictions.csv"
    lines = [f"{','.join(row)},r/{row[0]}.region" for row in ROWS]
    table.write_text("\n".join(["id,label,split,slide,image", *lines]))
    rows = [f"{key},{value}" for key, value in PROBABILITY.items() if key != without]
    predictions.write_text("\n".join(["id,probability_malignant", *rows, *([f"{without},"] if without else [])]))
    return table, predictions


@pytest.mark.parametrize(("share", "kept"), [(0.5, "p1 p2 p3"), (0.4, "p1 p2"), (0.01, "p1"), (1.0, "p0 p1 p2 p3 p4")])
def test_the_top_of_each_positive_slide_stays(tmp_path: Path, share: float, kept: str) -> None:
    table, predictions = write(tmp_path)
    words = ["--predictions", str(predictions), "--positive", "malignant", "--share", str(share)]
    main(["top", str(table), *words, "--out", str(tmp_path / "top.csv")])
    with (tmp_path / "top.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["n1", *kept.split(), "q0", "v0"]
    assert rows[0] == {"id": "n1", "label": "benign", "split": "train", "slide": "n", "image": "r/n1.region"}


def test_what_was_left_out(tmp_path: Path) -> None:
    table, predictions = write(tmp_path)
    assert keep_top(table, predictions, tmp_path / "top.csv", ["malignant"], 0.5) == {"p": 2, "q": 0}


def test_refused(tmp_path: Path) -> None:
    table, predictions = write(tmp_path, without="p3")
    for positive, share, message in (
        (["malignant"], 0.5, "region was not predicted; expected p3"),
        (["malignant"], 0.0, "cannot be used"),
        (["other"], 0.5, "cannot be used.*other"),
        (["benign"], 0.5, "columns are missing; expected id, probability_benign|columns are missing"),
    ):
        with pytest.raises(InputError, match=message):
            keep_top(table, predictions, tmp_path / "top.csv", positive, share)
    assert not (tmp_path / "top.csv").exists()
