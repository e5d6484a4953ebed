from __future__ import annotations

import json
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
    np.testing.assert_array_equal(read_whole_mask(cell, ""), [[1, 0, 1, 0]])


def test_each_file_is_read_by_the_rule(tmp_path: Path) -> None:
    cell = saved(tmp_path, [[1, 2, 9, 0]], [[9, 1, 9, 9]])
    found = read_whole_mask(cell, "", MaskRule([1], ignore=9))
    np.testing.assert_array_equal(found, [[1, 1, 255, 255]])


def test_one_file_is_read_as_it_is(tmp_path: Path) -> None:
    assert read_whole_mask_and_notes(saved(tmp_path, [[0, 0]]), "")[1] == ["without foreground"]


def test_faults_of_all_files(tmp_path: Path) -> None:
    cell = saved(tmp_path, [[0, 1]], [[0, 1, 1]], [[1, 1]])
    (tmp_path / "2.png").unlink()
    with pytest.raises(InputError) as caught:
        read_whole_mask(cell, "")
    assert [problem.what for problem in caught.value.problems] == [
        "file is missing", "masks of one image have several sizes",
    ]  # fmt: skip
    assert caught.value.problems[1].found == "2 x 1, 3 x 1"


def test_notes_are_about_the_whole(tmp_path: Path) -> None:
    assert read_whole_mask_and_notes(saved(tmp_path, [[0, 0]], [[0, 1]]), "")[1] == []
    assert read_whole_mask_and_notes(saved(tmp_path, [[1, 0]], [[0, 1]]), "")[1] == ["without background"]
    assert read_whole_mask_and_notes(saved(tmp_path, [[0, 0]], [[0, 0]]), "")[1] == ["without foreground"]


class TestObjects:
    def test_each_of_several_files_is_one(self, tmp_path: Path) -> None:
        cell = saved(tmp_path, [[255, 255, 0, 0]], [[0, 255, 255, 0]])
        np.testing.assert_array_equal(read_numbered_objects(cell, ""), [[1, 2, 2, 0]])

    def test_a_single_file_has_those_that_it_numbers(self, tmp_path: Path) -> None:
        assert read_numbered_objects(saved(tmp_path, [[255, 0]]), "") is None
        np.testing.assert_array_equal(read_numbered_objects(saved(tmp_path, [[3, 7]]), ""), [[3, 7]])


class TestOutlines:
    """A file of outlines in a cell, drawn in the size of the image."""

    def outlined(self, folder: Path, name: str, *frames: tuple[int, int, int, int], label: str = "gland") -> str:
        Image.new("RGB", (12, 9)).save(folder / "a.png")
        rings = [[[x, y], [u, y], [u, v], [x, v], [x, y]] for x, y, u, v in frames]
        features = [{"type": "Feature", "properties": {"classification": {"name": label}},
                     "geometry": {"type": "Polygon", "coordinates": [ring]}} for ring in rings]  # fmt: skip
        (folder / name).write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        return str(folder / name)

    def test_are_drawn_whatever_the_rule(self, tmp_path: Path) -> None:
        cell = self.outlined(tmp_path, "m.geojson", (1, 2, 4, 5), (6, 2, 8, 4))
        expected = np.zeros((9, 12), np.uint8)
        expected[2:5, 1:4] = expected[2:4, 6:8] = 1
        for rule in (MaskRule(), MaskRule("over:127.5"), MaskRule([3])):
            np.testing.assert_array_equal(read_whole_mask(cell, tmp_path / "a.png", rule), expected)
        numbers = read_numbered_objects(cell, tmp_path / "a.png")
        assert numbers is not None and numbers[3, 2] == 1 and numbers[3, 7] == 2 and ((numbers > 0) == expected).all()

    def test_beside_a_picture_and_ignored(self, tmp_path: Path) -> None:
        drawn = self.outlined(tmp_path, "m.geojson", (1, 2, 4, 5), label="ignore")
        values = np.zeros((9, 12), np.uint8)
        values[2, 1:6] = 255
        Image.fromarray(values).save(tmp_path / "m.png")
        found = read_whole_mask(f"{drawn}|{tmp_path / 'm.png'}", tmp_path / "a.png")
        assert (found[2, 1:6] == 1).all() and (found[3:5, 1:4] == 255).all()
        assert (found == 1).sum() == 5 and (found == 255).sum() == 6

    def test_what_is_wrong_is_told_as_by_the_gate(self, tmp_path: Path) -> None:
        beside = self.outlined(tmp_path, "m.geojson", (100, 2, 104, 5))
        with pytest.raises(InputError, match="outside the picture"):
            read_whole_mask(beside, tmp_path / "a.png")
        cut = self.outlined(tmp_path, "m.geojson", (1, 2, 40, 5))
        notes = read_whole_mask_and_notes(cut, tmp_path / "a.png")[1]
        assert notes == ["with shapes that are cut off at the border"]
        (tmp_path / "m.json").write_text('{"boxes": [[1, 2, 3, 4]]}')
        with pytest.raises(InputError, match="outlines of an unknown form"):
            read_whole_mask(str(tmp_path / "m.json"), tmp_path / "a.png")
