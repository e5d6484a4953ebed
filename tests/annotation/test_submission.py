"""A mask from outside ends in the state, or as a refusal that costs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from scripts.annotation.gate import Gate
from scripts.annotation.shown_boxes import Shown
from scripts.annotation.submission import Submission, take_in
from scripts.core.errors import InputError
from scripts.core.files import file_sha256
from scripts.images.png import png_to_mask
from scripts.images.windows import Window
from scripts.state.desk import Desk
from scripts.state.rows import LabelRow
from tests.annotation.test_gate import Frames
from tests.support.people import a_mask, asking_run, save


@pytest.fixture()
def gate(shapes_data: Any) -> Gate:
    return Gate(shapes_data)


@pytest.fixture()
def desk(tmp_path: Path, shapes_data: Any) -> Iterator[Desk]:
    with Desk.open(asking_run(tmp_path / "run", shapes_data)) as opened:
        yield opened


def with_texts(path: Path, **texts: str) -> Path:
    info = PngImagePlugin.PngInfo()
    for name, value in texts.items():
        info.add_text(name, value)
    Image.fromarray(a_mask() * 255).save(path, pnginfo=info)
    return path


def written(path: Path, left: int) -> Path:
    """A square of 20 pixels that begins at row 10 and column ``left``, as a file of the suffix's format."""
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[10:30, left : left + 20] = 1
    if path.suffix == ".geojson":
        ring = [[left, 10], [left + 20, 10], [left + 20, 30], [left, 30], [left, 10]]
        path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    elif path.suffix == ".gz":
        nibabel.save(nibabel.Nifti1Image(mask.T.copy(), np.eye(4)), path)
    else:
        Image.fromarray(mask * 255).save(path)
    return path


def test_accepted(desk: Desk, gate: Gate, tmp_path: Path) -> None:
    path = save(tmp_path / "train_00.png", a_mask())
    row = take_in(desk, gate, Submission("train_00", path, "ann", "inbox/train_00.png", 12.0, "a"))
    assert desk.pending() == [row]
    assert (row.user, row.seconds, row.said, row.version) == ("ann", 12.0, "a", 1)
    assert (row.cost_px, row.boundary_px) == (400, 76)
    assert (row.origin, row.origin_sha256) == ("inbox/train_00.png", file_sha256(path))
    np.testing.assert_array_equal(png_to_mask(desk.read_blob(row.blob)), a_mask())
    assert desk.waiting(0) == ["train_01"]


@pytest.mark.parametrize("suffix", [".png", ".nii.gz", ".geojson"])
def test_a_file_that_changes_meanwhile_is_stored_as_it_was_read(
    desk: Desk, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path, other = written(tmp_path / f"train_00{suffix}", 10), written(tmp_path / f"other{suffix}", 30)
    digest, admit = file_sha256(path), gate.admit

    def late(*arguments: Any, **named: Any) -> Any:
        path.write_bytes(other.read_bytes())
        return admit(*arguments, **named)

    monkeypatch.setattr(gate, "admit", late)
    row = take_in(desk, gate, Submission("train_00", path, "ann"))
    assert row.origin_sha256 == digest
    expected = np.zeros((64, 64), dtype=np.uint8)
    expected[10:30, 10:30] = 1
    np.testing.assert_array_equal(png_to_mask(desk.read_blob(row.blob)), expected)


def test_a_second_mask_is_version_2_and_the_first_is_kept(desk: Desk, gate: Gate, tmp_path: Path) -> None:
    first = take_in(desk, gate, Submission("train_00", save(tmp_path / "a.png", a_mask()), "ann"))
    second = take_in(desk, gate, Submission("train_00", save(tmp_path / "a.png", a_mask(left=20)), "ann"))
    assert (first.version, second.version) == (1, 2)
    np.testing.assert_array_equal(png_to_mask(desk.read_blob(first.blob)), a_mask())


def test_refused(desk: Desk, gate: Gate, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save(tmp_path / "train_00.png", a_mask() * 0)
    with pytest.raises(InputError, match="mask is empty"):
        take_in(desk, gate, Submission("train_00", path, "ann"))
    (row,) = desk.refusals()
    assert (row.id, row.user, row.origin, row.origin_sha256) == ("train_00", "ann", path.name, file_sha256(path))
    assert "mask is empty; expected foreground" in row.reason
    assert desk.pending() == []
    assert desk.waiting(0) == ["train_00", "train_01"]


def test_what_a_png_tells_of_itself(desk: Desk, gate: Gate, tmp_path: Path) -> None:
    path = with_texts(tmp_path / "a.png", annotator="Dr. Ä", seconds="41.5", other="x")
    row = take_in(desk, gate, Submission("train_00", path, "folder"))
    assert (row.user, row.seconds) == ("Dr. Ä", 41.5)
    assert take_in(desk, gate, Submission("train_00", path, "folder", seconds=7.0)).seconds == 7.0


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "1e9", "soon"])
def test_times_that_cannot_be(desk: Desk, gate: Gate, tmp_path: Path, seconds: str) -> None:
    path = with_texts(tmp_path / "a.png", seconds=seconds)
    assert take_in(desk, gate, Submission("train_00", path, "ann")).seconds == 0.0


@pytest.mark.parametrize("user", ["", "a\x00b", "x" * 200, "a\nb"])
def test_names_that_cannot_be(desk: Desk, gate: Gate, tmp_path: Path, user: str) -> None:
    with pytest.raises(InputError, match=r"annotator of \S+\.png: annotator's name cannot be used"):
        take_in(desk, gate, Submission("train_00", save(tmp_path / "a.png", a_mask()), user))
    assert desk.refusals()[0].user == "unknown"


def test_notes_are_told(desk: Desk, gate: Gate, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    take_in(desk, gate, Submission("train_00", save(tmp_path / "a.png", a_mask()), "ann", said="b"))
    assert "mask of train_00 taken, annotator says b, the data list says a" in caplog.text


def test_a_missing_file_is_refused(desk: Desk, gate: Gate, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        take_in(desk, gate, Submission("train_00", tmp_path / "none.png", "ann"))
    assert desk.refusals()[0].origin_sha256 == ""


def test_a_certain_name_wins_over_the_text_of_a_png(desk: Desk, gate: Gate, tmp_path: Path) -> None:
    path = with_texts(tmp_path / "m.png", annotator="eve", seconds="7")
    assert take_in(desk, gate, Submission("train_00", path, "dee")).user == "eve"
    row = take_in(desk, gate, Submission("train_00", path, "dee", certain=True))
    assert (row.user, row.seconds) == ("dee", 7.0)


def test_the_folder_of_a_refused_file_is_not_remembered(desk: Desk, gate: Gate, tmp_path: Path) -> None:
    """A server and an archive have a new folder each time: the same fault would be a new one."""
    for number in range(2):
        folder = tmp_path / f"upload{number}"
        folder.mkdir()
        (folder / "train_00.png").write_bytes(b"no image")
        with pytest.raises(InputError, match="the content is no image"):
            take_in(desk, gate, Submission("train_00", folder / "train_00.png", "dee"))
    (row,) = desk.refusals()
    assert row.reason.startswith("train_00.png: the content is no image")


class TestBoxesInWindows:
    """What was outlined is counted; around boxes nothing is, whichever comes first."""

    LEFT, RIGHT = Window(0, 0, 64, 32), Window(0, 32, 64, 32)

    def boxed(self, desk: Desk, gate: Gate, tmp_path: Path, window: Window) -> LabelRow:
        path = tmp_path / f"train_00_{window.left}.json"
        path.write_text(json.dumps({"boxes": [[window.left + 5, 10, window.left + 25, 30]], "seconds": 4}))
        return take_in(desk, gate, Submission("train_00", path, "ann", path.name, window=window))

    def drawn(self, desk: Desk, gate: Gate, tmp_path: Path, window: Window) -> LabelRow:
        path = save(tmp_path / f"train_00_{window.left}.png", a_mask(left=window.left + 5))
        return take_in(desk, gate, Submission("train_00", path, "ann", path.name, 10.0, window=window))

    def test_a_box_and_then_an_outline(self, desk: Desk, shapes_data: Any, tmp_path: Path) -> None:
        gate = Gate(shapes_data, box_model=Frames(), accept_boxes=True)
        first = self.boxed(desk, gate, tmp_path, self.LEFT)
        assert (first.kind, first.objects, first.boundary_px, first.cost_px, first.seconds) == ("box", 1, 0, 400, 4.0)
        second = self.drawn(desk, gate, tmp_path, self.RIGHT)
        assert (second.kind, second.objects, second.boundary_px, second.cost_px) == ("outline", 1, 76, 800)
        assert second.seconds == 14.0

    def test_an_outline_and_then_a_box(self, desk: Desk, shapes_data: Any, tmp_path: Path) -> None:
        gate = Gate(shapes_data, box_model=Frames(), accept_boxes=True)
        assert self.drawn(desk, gate, tmp_path, self.LEFT).boundary_px == 76
        second = self.boxed(desk, gate, tmp_path, self.RIGHT)
        assert (second.kind, second.objects, second.boundary_px, second.cost_px) == ("box", 1, 76, 800)

    def test_a_mask_of_boxes_that_was_shown_counts_in_a_window_too(
        self, desk: Desk, gate: Gate, tmp_path: Path
    ) -> None:
        path = save(tmp_path / "train_00.png", a_mask(left=5))
        shown = Shown(a_mask(left=5), 3, {"ann": 6.0})
        row = take_in(desk, gate, Submission("train_00", path, "ann", "x", 1.0, window=self.LEFT, shown=shown))
        assert (row.kind, row.objects, row.seconds) == ("box", 3, 7.0)
