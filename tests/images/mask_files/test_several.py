from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.core.errors import InputError
from scripts.images.mask_files.names import mask_paths
from scripts.images.mask_files.several import read_numbered_objects, read_whole_mask, read_whole_mask_and_notes
from scripts.images.masks import MaskRule


def saved(folder: Path, *masks: list[list[int]]) -> str:
    for number, values in enumerate(masks):
        Image.fromarray(np.array(values, np.uint8)).save(folder / f"{number}.png")
    return "|".join(str(folder / f"{number}.png") for number in range(len(masks)))


def test_the_files_of_a_cell(tmp_path: Path) -> None:
    assert mask_paths("a.png") == ["a.png"]
    assert mask_paths("a.png | b.png|") == ["a.png", "b.png"]
    (tmp_path / "x|y.png").write_bytes(b"")
    assert mask_paths("x|y.png", tmp_path) == ["x|y.png"]
    assert mask_paths(str(tmp_path / "x|y.png")) == [str(tmp_path / "x|y.png")]
    assert mask_paths("x|y.png") == ["x", "y.png"]


def test_foreground_of_any_file_is_foreground(tmp_path: Path) -> None:
    cell = saved(tmp_path, [[255, 0, 0, 0]], [[0, 0, 255, 0]], [[0, 0, 255, 0]])
    np.testing.assert_array_equal(read_whole_mask(cell), [[1, 0, 1, 0]])


def test_each_file_is_read_by_the_rule(tmp_path: Path) -> None:
    cell = saved(tmp_path, [[1, 2, 9, 0]], [[9, 1, 9, 9]])
    found = read_whole_mask(cell, MaskRule([1], ignore=9))
    np.testing.assert_array_equal(found, [[1, 1, 255, 255]])


def test_one_file_is_read_as_it_is(tmp_path: Path) -> None:
    assert read_whole_mask_and_notes(saved(tmp_path, [[0, 0]]))[1] == ["without foreground"]


def test_faults_of_all_files(tmp_path: Path) -> None:
    cell = saved(tmp_path, [[0, 1]], [[0, 1, 1]], [[1, 1]])
    (tmp_path / "2.png").unlink()
    with pytest.raises(InputError) as caught:
        read_whole_mask(cell)
    assert [problem.what for problem in caught.value.problems] == [
        "file is missing", "masks of one image have several sizes",
    ]  # fmt: skip
    assert caught.value.problems[1].found == "2 x 1, 3 x 1"


def test_notes_are_about_the_whole(tmp_path: Path) -> None:
    assert read_whole_mask_and_notes(saved(tmp_path, [[0, 0]], [[0, 1]]))[1] == []
    assert read_whole_mask_and_notes(saved(tmp_path, [[1, 0]], [[0, 1]]))[1] == ["without background"]
    assert read_whole_mask_and_notes(saved(tmp_path, [[0, 0]], [[0, 0]]))[1] == ["without foreground"]


class TestObjects:
    def test_each_of_several_files_is_one(self, tmp_path: Path) -> None:
        cell = saved(tmp_path, [[255, 255, 0, 0]], [[0, 255, 255, 0]])
        np.testing.assert_array_equal(read_numbered_objects(cell), [[1, 2, 2, 0]])

    def test_a_single_file_has_those_that_it_numbers(self, tmp_path: Path) -> None:
        assert read_numbered_objects(saved(tmp_path, [[255, 0]])) is None
        np.testing.assert_array_equal(read_numbered_objects(saved(tmp_path, [[3, 7]])), [[3, 7]])
