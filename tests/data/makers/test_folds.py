"""Folds of whole patients: apart, alike, the same for any order of the rows."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.core.errors import InputError
from scripts.data.makers.folds import add_folds, fold_splits, patient_folds
from tests.conftest import SHARED

Case = tuple[dict[str, str], dict[str, str]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    sizes = draw(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=6, max_size=20))
    patient_of = {f"{p}-{n}": f"p{p}" for p, (size, _) in enumerate(sizes) for n in range(size)}
    class_of = {key: "b" if sizes[int(key.split("-")[0])][1] else "a" for key in patient_of}
    return class_of, patient_of


@settings(max_examples=40, deadline=None)
@given(case=cases(), folds=st.integers(2, 5), seed=st.integers(0, 3))
def test_each_patient_is_tested_on_once_and_in_one_split_of_a_fold(case: Case, folds: int, seed: int) -> None:
    class_of, patient_of = case
    try:
        splits = fold_splits(class_of, patient_of, folds, seed)
    except InputError as error:
        assert "too few patients" in str(error)
        return
    for split in splits:
        for patient in set(patient_of.values()):
            assert len({split[key] for key in class_of if patient_of[key] == patient}) == 1
        assert {class_of[key] for key, part in split.items() if part == "train"} == set(class_of.values())
    assert all(sum(split[key] == "test" for split in splits) == 1 for key in class_of)
    turned = dict(reversed(class_of.items()))
    assert fold_splits(turned, patient_of, folds, seed) == splits


def test_folds_are_nearly_as_even_as_any_can_be() -> None:
    """Of 8 patients over 2 folds all divisions are tried."""
    sizes = {
        "p0": (9, 0),
        "p1": (7, 0),
        "p2": (0, 6),
        "p3": (2, 5),
        "p4": (4, 0),
        "p5": (0, 3),
        "p6": (1, 1),
        "p7": (0, 2),
    }
    patient_of = {f"{p}{c}{n}": p for p, counts in sizes.items() for c in (0, 1) for n in range(counts[c])}
    class_of = {key: key[2] for key in patient_of}

    def unevenness(fold_of: dict[str, int]) -> float:
        held = np.zeros((2, 2))
        for patient, counts in sizes.items():
            held[fold_of[patient]] += np.array(counts) / (23, 17)
        return float(((held - held.mean(axis=0)) ** 2).sum())

    every = [dict(zip(sizes, folds, strict=True)) for folds in itertools.product((0, 1), repeat=8)]
    best, worst = min(map(unevenness, every)), max(map(unevenness, every))
    assert unevenness(patient_folds(class_of, patient_of, 2)) < best + 0.02 * worst


@pytest.mark.parametrize(("classes", "patients", "folds"), [(2, 4, 5), (10, 3, 5), (3, 2, 3)])
def test_patients_of_one_class_are_spread_over_all_folds(classes: int, patients: int, folds: int) -> None:
    patient_of = {f"{c}-{p}-{n}": f"{c}-{p}" for c in range(classes) for p in range(patients) for n in range(5)}
    fold_of = patient_folds({key: key[0] for key in patient_of}, patient_of, folds)
    sizes = [sum(fold == each for fold in fold_of.values()) for each in range(folds)]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("folds", [1, 4, 0])
def test_more_folds_than_patients_are_refused(folds: int) -> None:
    with pytest.raises(InputError, match="2 to 3"):
        patient_folds({"a": "x", "b": "x", "c": "y"}, {"a": "1", "b": "2", "c": "3"}, folds)


def test_a_class_of_one_patient_cannot_be_held_out() -> None:
    class_of = {str(n): "x" if n < 6 else "y" for n in range(8)}
    patient_of = {str(n): f"p{n}" if n < 6 else "only" for n in range(8)}
    with pytest.raises(InputError, match="too few patients for the folds"):
        fold_splits(class_of, patient_of, 3)


def test_the_table_keeps_its_columns_and_loses_old_folds(tmp_path: Path) -> None:
    rows = [["image", "label", "patient_id", "note", "disjoint_fold7"]]
    rows += [[f"i/{n}.png", "ab"[n % 2], f"p{n // 4}", f"n,{n}", "test"] for n in range(24)]
    with open(tmp_path / "t.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    counts = add_folds(tmp_path / "t.csv", tmp_path / "out.csv", folds=3)
    with open(tmp_path / "out.csv", newline="") as file:
        made = list(csv.DictReader(file))
    added = [f"disjoint_fold{fold}" for fold in range(3)]
    assert list(made[0]) == ["image", "label", "patient_id", "note", *added]
    assert [row["note"] for row in made] == [f"n,{n}" for n in range(24)]
    assert [count["test"] for count in counts] == [8, 8, 8]
    assert all(sorted(row[name] for name in added).count("test") == 1 for row in made)


def test_missing_columns_and_values_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,label\nx.png,a\n")
    with pytest.raises(InputError, match="patient_id"):
        add_folds(tmp_path / "a.csv", tmp_path / "out.csv")
    (tmp_path / "b.csv").write_text("image,label,patient_id\nx.png,a,1\ny.png,a,\n")
    with pytest.raises(InputError, match="line 3"):
        add_folds(tmp_path / "b.csv", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.skipif(not (SHARED / "data" / "glas").is_dir(), reason="the GlaS table is not here")
def test_glas(tmp_path: Path) -> None:
    counts = add_folds(SHARED / "data" / "glas" / "splits.csv", tmp_path / "folds.csv")
    assert sum(count["test"] for count in counts) == 165
    assert all(24 <= count["test"] <= 42 and count["val"] >= 10 for count in counts)
