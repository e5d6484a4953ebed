from __future__ import annotations

import logging
from pathlib import Path

import pytest

from scripts.core.errors import Problem
from scripts.data.labels import confusable_names, tell_of_empty_names, unknown_labels, with_class_labels
from scripts.data.tables import Row, Table

PATH = Path("t.csv")


def table(*rows: dict[str, str]) -> Table:
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    return Table(PATH, columns, tuple(Row(f"line {n}", row) for n, row in enumerate(rows)))


class TestFilesAsLabels:
    @pytest.mark.parametrize("column", ["class", "Diagnosis", "class_name"])
    def test_they_are_masks_where_another_column_has_the_classes(self, column: str, caplog) -> None:
        problems: list[Problem] = []
        with caplog.at_level(logging.WARNING):
            read = with_class_labels(table({"image": "a.png", "label": "m/a.nii.gz", column: "x"}), problems)
        assert problems == []
        assert read.rows[0].get("label") == "x" and read.rows[0].get("mask") == "m/a.nii.gz"
        assert "mask" in read.columns and "the classes from" in caplog.text

    def test_outlines_and_lists_are_files_too(self) -> None:
        problems: list[Problem] = []
        rows = [{"image": "a.png", "label": text, "class": "x"} for text in ("a.geojson", "m/a.png|m/b.png")]
        read = with_class_labels(table(*rows), problems)
        assert problems == [] and [row.get("mask") for row in read.rows] == ["a.geojson", "m/a.png|m/b.png"]

    def test_they_are_named_for_what_they_are_where_none_has(self) -> None:
        problems: list[Problem] = []
        rows = [{"image": f"{n}.png", "label": f"m/{n}.png", "fold": "0"} for n in range(24)]
        with_class_labels(table(*rows), problems)
        (problem,) = problems
        assert problem.what == "labels are files of masks, not classes"
        assert problem.found == "24 of 24, such as m/0.png"
        assert "num_classes" not in str(problem)

    def test_a_mask_beside_them_or_classes_among_them_are_no_guess(self) -> None:
        for rows in (
            [{"image": "a.png", "label": "a_m.png", "mask": "b_m.png", "class": "x"}],
            [{"image": "a.png", "label": "a_m.png", "class": "x"}, {"image": "b.png", "label": "x", "class": "x"}],
        ):
            problems: list[Problem] = []
            with_class_labels(table(*rows), problems)
            assert len(problems) == 1 and "or add class" not in problems[0].cure

    def test_names_of_classes_stay(self) -> None:
        problems: list[Problem] = []
        before = table({"image": "a.png", "label": "x.y", "class": "z"}, {"image": "b.png"})
        assert with_class_labels(before, problems) is before and problems == []


@pytest.mark.parametrize(
    ("names", "difference"),
    [
        (["Benign", "benign", "benign", "malignant"], "case or signs"),
        (["non-tumour", "non_tumour", "Non tumour"], "case or signs"),
        (["caf\u00e9", "cafe\u0301"], "case or signs"),
        (["0", "0.0", "1"], "the form of a number"),
        (["01", "1", "2"], "the form of a number"),
        (["1.", "+1"], "the form of a number"),
    ],
)
def test_names_that_seem_to_mean_one_class(names: list[str], difference: str) -> None:
    (problem,) = confusable_names(names, PATH)
    assert problem.what == f"classes differ only in {difference}"


def test_the_common_spelling_is_proposed() -> None:
    (problem,) = confusable_names(["b", "B", "b", "b"], PATH)
    assert problem.found == "'B' (1), 'b' (3)"
    assert problem.cure == "Write 'b' in all these rows."


def test_other_names_are_classes_of_their_own() -> None:
    assert (
        confusable_names(["a", "b", "1", "2", "1e1", "10", "grade 1", "grade 2", "-1", "1a", "", "0", "-"], PATH) == []
    )


def test_names_as_of_empty_cells_are_told(caplog: pytest.LogCaptureFixture) -> None:
    tell_of_empty_names(["x", "y"], PATH)
    assert caplog.text == ""
    tell_of_empty_names(["x", "None"], PATH)
    assert "None is taken for a class" in caplog.text


def test_an_empty_label_is_to_be_filled() -> None:
    problems = unknown_labels([Row("line 1", {}), Row("line 2", {"label": "c"}), Row("line 3", {"label": "a"})], ["a"])
    assert [(problem.where, problem.cure) for problem in problems] == [
        ("line 1", "Fill the column label, or remove the row."),
        ("line 2", "Mend the label or classes."),
    ]
