"""Runs that ask people for windows of images: what goes out to them, and what becomes of what comes back."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import scripts.active.rounds
from scripts.annotation.asked_windows import asked_windows, asks, windows_json, windows_of_round
from scripts.annotation.gate import Gate
from scripts.core.errors import InputError
from scripts.data.run_data import RunData
from scripts.images.png import png_to_mask
from scripts.images.windows import Window, covered, cut_out, drawn_cost, framed
from scripts.report.curve import curve_rows
from scripts.state.desk import Desk
from scripts.state.reader import StateReader
from scripts.state.rows import LabelRow
from tests.annotation.test_folder_oracle import draw, inbox, open_ids, person
from tests.support.people import a_label, a_mask, asking_run, png, save
from tests.support.tiny_runs import RegionLearner, fake_theta0, tiny_loop, what_happened

METHOD, CHANGES = "entropy_region", {"active#rounds": 4, "active#query_per_class": 5}


@pytest.fixture(autouse=True)
def _learners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(scripts.active.rounds, "Learner", RegionLearner)
    monkeypatch.setattr(scripts.active.rounds, "theta0", fake_theta0)


def started(data: RunData, output: Path) -> Any:
    """A run whose round 0 is drawn and whose round 1 asks for windows."""
    loop = person(data, output, METHOD, **CHANGES)
    loop.run()
    draw(loop, data, 0, open_ids(loop)[1])
    loop = person(data, output, METHOD, **CHANGES)
    loop.run()
    return loop


def windows_at(loop: Any, index: int) -> dict[str, Window]:
    with StateReader.open(loop.folder) as state:
        return {key: window for key, window in windows_of_round(state, index).items() if key in state.asked(index)}


def stored(loop: Any, key: str) -> tuple[LabelRow, np.ndarray]:
    with StateReader.open(loop.folder) as state:
        row = state.labelled()[key]
        return row, png_to_mask(state.read_blob(row.blob))


def test_a_person_and_the_simulation_give_the_same_run(shapes_data: RunData, tmp_path: Path) -> None:
    simulated = tiny_loop(shapes_data, tmp_path / "s", METHOD, **CHANGES)
    simulated.run()
    loop = started(shapes_data, tmp_path / "p")
    while True:
        at, ids = open_ids(loop)
        if at is None:
            break
        draw(loop, shapes_data, at, ids)  # whole masks: what lies outside of the windows is left out
        loop = person(shapes_data, tmp_path / "p", METHOD, **CHANGES)
        loop.run()
    ours, theirs = what_happened(loop.folder), what_happened(simulated.folder)
    assert ours["queries"] == theirs["queries"] and ours["metrics"] == theirs["metrics"]
    drawn = [[(r.id, r.round, r.blob[:64], r.cost_px, r.boundary_px, r.version) for r in found["labels"]]
             for found in (ours, theirs)]  # fmt: skip
    assert sorted(drawn[0]) == sorted(drawn[1])
    assert max(row.version for row in ours["labels"]) > 1
    with StateReader.open(loop.folder) as state, StateReader.open(simulated.folder) as other:
        assert [row["boundary_px"] for row in curve_rows(state)] == [row["boundary_px"] for row in curve_rows(other)]
        reserves = {row.id for index in range(4) for row in state.reserves(index)}
        assert reserves <= {key for index in range(4) for key in windows_of_round(state, index)}


def test_what_goes_out_shows_the_window(shapes_data: RunData, tmp_path: Path) -> None:
    loop = started(shapes_data, tmp_path)
    folder, windows = inbox(loop, 1).parent, windows_at(loop, 1)
    text = (folder / "README.txt").read_text()
    assert len(windows) == 10
    for key, window in windows.items():
        picture = shapes_data.store.original_image(key)
        with Image.open(folder / "images" / f"{key}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), framed(picture, window))
            np.testing.assert_array_equal(np.asarray(image)[window.at], picture[window.at])
        with Image.open(folder / "start" / f"{key}.png") as image:
            assert not np.asarray(image)[~covered((64, 64), [window])].any()
        assert f"yellow frame alone ({window})" in text
    page = (folder / "annotate.html").read_text()
    assert page.count('"part": {"x0"') == 10


def test_what_is_drawn_outside_is_left_out_and_told(
    shapes_data: RunData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = started(shapes_data, tmp_path)
    (key, window), *_ = windows_at(loop, 1).items()
    save(inbox(loop, 1) / f"{key}.png", np.ones((64, 64), np.uint8))
    person(shapes_data, tmp_path, METHOD, **CHANGES).run()
    row, mask = stored(loop, key)
    np.testing.assert_array_equal(mask, cut_out(np.ones((64, 64), np.uint8), [window]))
    assert (row.cost_px, row.boundary_px) == drawn_cost(mask, [window])
    assert f"{64 * 64 - 32 * 32} pixels outside of the window are left out ({window})" in caplog.text


def test_a_window_may_be_empty_and_a_whole_image_may_not(shapes_data: RunData, tmp_path: Path) -> None:
    gate, file = Gate(shapes_data), save(tmp_path / "train_00.png", np.zeros((64, 64), np.uint8))
    window = Window(0, 0, 32, 32)
    found = gate.admit("train_00", file, lambda key: True, window=window)
    np.testing.assert_array_equal(found.mask, cut_out(np.zeros((64, 64), np.uint8), [window]))
    assert found.notes == ("without foreground",)
    with pytest.raises(InputError, match="mask is empty"):
        gate.admit("train_00", file, lambda key: True)


class TestSecondWindow:
    """An image that has a mask of one window is asked for again."""

    @pytest.fixture
    def again(self, shapes_data: RunData, tmp_path: Path) -> tuple[Any, str, Window, Window]:
        loop = started(shapes_data, tmp_path)
        for index in range(1, 4):
            with StateReader.open(loop.folder) as state:
                before = asked_windows(state, index - 1)
                for key in state.waiting(index):
                    if key in before:
                        return loop, key, before[key][0], windows_of_round(state, index)[key]
            draw(loop, shapes_data, index, open_ids(loop)[1])
            loop = person(shapes_data, tmp_path, METHOD, **CHANGES)
            loop.run()
        raise AssertionError("no image was asked for twice")

    def test_is_added_and_a_corrected_first_one_replaces_it_alone(
        self, shapes_data: RunData, tmp_path: Path, again: tuple[Any, str, Window, Window]
    ) -> None:
        loop, key, first, second = again
        index = open_ids(loop)[0]
        assert index is not None and not first.overlaps(second)
        truth, ones = shapes_data.store.true_mask(key), np.ones((64, 64), np.uint8)
        assert truth is not None
        save(inbox(loop, index) / f"{key}.png", ones)
        person(shapes_data, tmp_path, METHOD, **CHANGES).run()
        expected = cut_out(truth, [first, second])
        expected[second.at] = 1
        row, mask = stored(loop, key)
        np.testing.assert_array_equal(mask, expected)
        assert (row.version, row.cost_px, row.boundary_px) == (2, *drawn_cost(expected, [first, second]))
        save(inbox(loop, index - 1) / f"{key}.png", 1 - truth)
        person(shapes_data, tmp_path, METHOD, **CHANGES).run()
        expected[first.at] = 1 - truth[first.at]
        np.testing.assert_array_equal(stored(loop, key)[1], expected)

    def test_can_be_skipped(self, shapes_data: RunData, tmp_path: Path, again: tuple[Any, str, Window, Window]) -> None:
        loop, key, *_ = again
        index = open_ids(loop)[0]
        assert index is not None
        (inbox(loop, index) / f"{key}.skip").write_text("folded")
        person(shapes_data, tmp_path, METHOD, **CHANGES).run()
        with StateReader.open(loop.folder) as state:
            assert key not in state.waiting(index) and key in state.skipped()
            assert key in state.labelled(), "its first window is learned from"


def test_a_mask_of_the_round_before_is_not_that_of_this_one(shapes_data: RunData, tmp_path: Path) -> None:
    run = asking_run(tmp_path / "run", shapes_data)
    from scripts.state.run_state import RunState

    with Desk.open(run) as desk:
        desk.submit(a_label("train_00"), png())
        desk.submit(a_label("train_01"), png())
    with RunState.open(run) as state:
        state.commit(0, "oracle", claim=True)
        blob = state.put_blob(windows_json({"train_00": Window(0, 0, 8, 8)}), ".json")
        state.commit(1, "query", queries=[("train_00", 0.5)], artifacts={"windows": blob})
    with Desk.open(run) as desk:
        assert desk.waiting(1) == ["train_00"]
        desk.submit(a_label("train_00"), png(left=20))
        assert desk.waiting(1) == []
        with pytest.raises(InputError, match="has a mask already"):
            desk.skip("train_00", "ann")
        assert asked_windows(desk, 1) == {"train_00": [Window(0, 0, 8, 8)]}
        assert asks(asked_windows(desk, 1), ["train_00", "train_01"]) == 2


def test_a_folder_of_another_name_has_no_windows(
    shapes_data: RunData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    loop = started(shapes_data, tmp_path)
    key = open_ids(loop)[1][0]
    save(inbox(loop, 1).parents[1] / "round_copy" / "masks" / f"{key}.png", a_mask())
    person(shapes_data, tmp_path, METHOD, **CHANGES).run()
    np.testing.assert_array_equal(stored(loop, key)[1], a_mask())
