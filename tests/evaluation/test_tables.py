from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.core.result_files import csv_bytes
from scripts.evaluation.set_metrics import ImageSet
from scripts.evaluation.tables import Resampling, confusion_rows, image_rows, nested, summary_rows, terminal_table
from tests.support.measured import made_images

CLASSES = ("benign", "malignant")
HOW = Resampling(resamples=200)


def by_key(rows: list[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(row["group"], row["name"], row["metric"]): row for row in rows}


def test_groups_and_values() -> None:
    images = made_images(8, without_mask=(7,))
    found = by_key(summary_rows(images, CLASSES, HOW))
    assert list(dict.fromkeys(key[:2] for key in found)) == [
        ("all", ""), ("class", "benign"), ("class", "malignant"), *[("patient", str(i)) for i in range(4)],
    ]  # fmt: skip
    dices = [float(image.mask.pixels.dice) for image in images if image.mask]
    assert found["all", "", "dice"]["value"] == pytest.approx(np.mean(dices), abs=1e-6)
    assert found["class", "benign", "dice"]["value"] == pytest.approx(np.mean(dices[::2]), abs=1e-6)
    assert found["patient", "1", "dice"]["value"] == pytest.approx(np.mean(dices[2:4]), abs=1e-6)
    assert (found["all", "", "dice"]["n"], found["all", "", "accuracy"]["n"]) == (7, 8)
    assert ("class", "benign", "auroc") not in found
    for row in found.values():
        assert row["low"] is None or row["low"] <= row["high"]


def test_intervals_come_from_the_seed() -> None:
    images = made_images(6)
    assert summary_rows(images, CLASSES, HOW) == summary_rows(images, CLASSES, HOW)
    other = summary_rows(images, CLASSES, Resampling(resamples=200, seed=1))
    assert other != summary_rows(images, CLASSES, HOW)
    assert [row["value"] for row in other] == [row["value"] for row in summary_rows(images, CLASSES, HOW)]


def test_one_image_or_one_patient_has_no_interval() -> None:
    rows = by_key(summary_rows(made_images(1), CLASSES, HOW))
    assert rows["all", "", "dice"]["low"] is None and rows["all", "", "dice"]["value"] is not None
    patients = by_key(summary_rows(made_images(6), CLASSES, Resampling(resamples=200, unit="patient")))
    assert patients["patient", "0", "dice"]["low"] is None
    assert patients["all", "", "dice"]["low"] is not None


def test_patients_are_drawn_with_all_their_images() -> None:
    images = made_images(8)
    per_image, per_patient = (
        by_key(summary_rows(images, CLASSES, Resampling(resamples=200, unit=unit)))["all", "", "dice"]
        for unit in ("image", "patient")
    )
    assert per_image["value"] == per_patient["value"]
    assert (per_image["low"], per_image["high"]) != (per_patient["low"], per_patient["high"])


def test_images_without_a_patient_are_drawn_by_themselves() -> None:
    images = made_images(4)
    for image in images:
        image.item["patient_id"] = None
    rows = by_key(summary_rows(images, CLASSES, Resampling(resamples=200, unit="patient")))
    assert not [key for key in rows if key[0] == "patient"]
    assert rows["all", "", "dice"]["low"] < rows["all", "", "dice"]["high"]


def test_image_rows() -> None:
    images = made_images(3, without_mask=(2,))
    first, _, last = image_rows(images, CLASSES)
    assert (first["id"], first["class"], first["patient_id"], first["height"]) == ("i0", "benign", "0", 24)
    assert first["confidence"] >= 0.5 and first["predicted"] in CLASSES
    assert first["dice"] == pytest.approx(float(images[0].mask.pixels.dice), abs=1e-6)  # type: ignore[union-attr]
    assert list(first) == list(last) and last["dice"] is None and last["true_objects"] is None
    read = list(csv.DictReader(io.StringIO(csv_bytes([first, last]).decode())))
    assert read[1]["hd95"] == "" and float(read[0]["hd95"]) == first["hd95"]


def test_confusion_rows() -> None:
    rows = confusion_rows(np.array([[3, 1], [0, 2]]), CLASSES)
    assert [list(row.values()) for row in rows] == [["benign", 3, 1], ["malignant", 0, 2]]
    assert json.loads(json.dumps(rows)) == rows


def test_a_class_may_have_the_name_of_a_column() -> None:
    rows = confusion_rows(ImageSet(made_images(4), 2).confusion_matrix(), ("false", "true"))
    (first, second) = csv.DictReader(io.StringIO(csv_bytes(rows).decode()))
    assert (first["true"], second["true"]) == ("false", "true")
    assert list(first) == ["true", "predicted false", "predicted true"]


def test_nested() -> None:
    groups = nested(summary_rows(made_images(4), CLASSES, HOW))
    assert [group["name"] for group in groups] == ["", "benign", "malignant", "0", "1"]
    assert set(groups[0]["metrics"]["dice"]) == {"n", "value", "low", "high"}
    json.dumps(groups, allow_nan=False)


def test_terminal_table() -> None:
    rows = summary_rows(made_images(4), CLASSES, HOW)
    header, *lines = terminal_table(rows, 0.95).splitlines()
    assert "95 % interval" in header and "benign" in header and "malignant" in header
    (dice,) = [line for line in lines if line.startswith("Dice")]
    assert f"{by_key(rows)['all', '', 'dice']['value']:.4f}" in dice
    assert len(lines) == 13 and len({len(line) for line in (header, *lines)}) == 1


@pytest.mark.parametrize("wrong", [{"resamples": 0}, {"unit": "slide"}, {"level": 1.0}])
def test_no_resampling(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Resampling(**wrong)
