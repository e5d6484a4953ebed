"""Runs at the edge: too few images, classes, masks or neighbours have a defined end, and nothing ever becomes NaN."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from PIL import Image

from scripts.active.handlers import RoundEvents
from scripts.active.rounds import default_phases
from scripts.active.run_checks import tell_other_precision
from scripts.core.errors import InputError, StateError, user_error_of
from scripts.data.run_data import RunData, open_data
from scripts.images.masks import MaskRule
from scripts.state.reader import StateReader
from scripts.state.run_state import RunState
from scripts.training.losses import JointLoss
from tests.active.test_rounds import Interrupt, learners
from tests.support.tiny_runs import make_images, open_tiny, tiny_loop, what_happened

__all__ = ["learners"]  # a fixture

SMALL = {"train": 6, "val": 2, "test": 2}


def listed(folder: Path, change: Callable[[dict[str, str]], dict[str, str] | None]) -> Path:
    """Change each row of the table; None drops it."""
    with open(folder / "data.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [row for row in map(change, rows) if row is not None]
    with open(folder / "data.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_images(tmp_path / "data", SMALL)


def faults(data: RunData, output: Path, method: str = "label_prop", **changes: Any) -> list[str]:
    with pytest.raises(RuntimeError) as caught:
        tiny_loop(data, output, method, **changes)
    error = user_error_of(caught.value)
    assert isinstance(error, InputError)
    assert not (output / f"{method}_seed0").exists()
    return [problem.what for problem in error.problems]


class TestRefused:
    def test_regions_of_an_oracle_that_draws_whole_images(self, folder: Path, tmp_path: Path) -> None:
        told = faults(open_tiny(folder), tmp_path, "entropy_region", oracle="desk")
        assert told == ["oracle draws whole images only"]

    def test_images_of_several_sizes_in_a_batch(self, folder: Path, tmp_path: Path) -> None:
        for name in ("train_01.png", "train_01_mask.png"):
            with Image.open(folder / name) as picture:
                picture.crop((0, 0, 48, 40)).save(folder / name)
        free = {"image_size": None, "geometry": {"_target_": "scripts.networks.outputs.PlainGeometry"}}
        told = faults(open_data(str(folder)), tmp_path, **free)
        assert told == ["images of several sizes in one batch"]
        tiny_loop(open_data(str(folder)), tmp_path, **free, batch_size=1)
        tiny_loop(open_tiny(folder), tmp_path)
        cropped = {"_target_": "scripts.images.published_geometry.PublishedGeometry", "min_side": 64, "crop": 48}
        tiny_loop(open_data(str(folder)), tmp_path, **{**free, "geometry": cropped})

    def test_without_validation_images(self, folder: Path, tmp_path: Path) -> None:
        data = open_tiny(listed(folder, lambda row: None if row["split"] == "val" else row))
        assert faults(data, tmp_path) == ["no validation image"]

    def test_without_validation_masks_unless_the_class_selects(
        self, folder: Path, tmp_path: Path, learners: Any
    ) -> None:
        data = open_tiny(listed(folder, lambda row: {**row, "mask": row["mask"] if row["split"] != "val" else ""}))
        assert faults(data, tmp_path) == ["no validation image has a mask"]
        loop = tiny_loop(data, tmp_path, selection="accuracy", **{"active#rounds": 1})
        loop.run()
        assert what_happened(loop.folder)["metrics"][0]["threshold"] == 0.5

    def test_without_any_mask_to_ask_for(self, folder: Path, tmp_path: Path, learners: Any) -> None:
        data = open_tiny(listed(folder, lambda row: {**row, "mask": row["mask"] if row["split"] != "train" else ""}))
        assert faults(data, tmp_path) == ["no training image to ask about"]
        loop = tiny_loop(data, tmp_path, "wsl")
        loop.run()
        assert what_happened(loop.folder)["metrics"][0]["masks"] == 0

    def test_without_validation_foreground_where_a_class_has_none(self, folder: Path, tmp_path: Path) -> None:
        for path in folder.glob("*_mask.png"):
            if int(path.name.split("_")[1]) % 2:
                Image.new("L", (64, 64)).save(path)
        listed(folder, lambda row: None if (row["split"], row["label"]) == ("val", "a") else row)
        told = faults(open_tiny(folder, background_classes=["b"]), tmp_path)
        assert told == ["no validation image has a mask with foreground"]
        tiny_loop(open_tiny(folder, background_classes=["b"]), tmp_path, selection="accuracy")

    def test_without_any_foreground_to_ask_for(self, folder: Path, tmp_path: Path) -> None:
        for path in folder.glob("*_mask.png"):
            if int(path.name.split("_")[1]) % 2:
                Image.new("L", (64, 64)).save(path)
        listed(
            folder, lambda row: {**row, "mask": "" if (row["split"], row["label"]) == ("train", "a") else row["mask"]}
        )
        assert faults(open_tiny(folder, background_classes=["b"]), tmp_path) == ["no training image to ask about"]

    def test_all_of_it_at_once(self, folder: Path, tmp_path: Path) -> None:
        data = open_tiny(listed(folder, lambda row: {**row, "mask": ""}))
        assert faults(data, tmp_path, num_classes=3, **{"active#rounds": 0}) == [
            "too small",
            "network and data differ in their classes",
            "no validation image has a mask",
            "no training image to ask about",
        ]


class TestDefined:
    """Each ends cleanly, and every number in its state is finite (the state refuses others)."""

    def test_more_rounds_than_images(
        self, folder: Path, tmp_path: Path, learners: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        loop = tiny_loop(open_tiny(folder), tmp_path, **{"active#rounds": 9})
        with caplog.at_level("INFO"):
            loop.run()
        happened = what_happened(loop.folder)
        assert [happened["metrics"][r]["masks"] for r in sorted(happened["metrics"])] == [2, 4, 6]
        assert (
            "round 3: every image that could be asked about has a mask, or was skipped; the run ends here"
            in caplog.text
        )

    def test_a_budget_that_is_used_up(
        self, folder: Path, tmp_path: Path, learners: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        loop = tiny_loop(open_tiny(folder), tmp_path, **{"active#rounds": 9, "active#budget": 3})
        with caplog.at_level("INFO"):
            loop.run()
        assert len(what_happened(loop.folder)["labels"]) == 3
        assert "round 2: the budget of 3 masks is used up; the run ends here" in caplog.text

    def test_a_class_with_one_image(
        self, folder: Path, tmp_path: Path, learners: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        spared = ("train_01", "val", "test")
        data = open_tiny(
            listed(folder, lambda row: row if row["label"] == "a" or row["image"].startswith(spared) else None)
        )
        assert data.datalist.counts()["train"] == {"a": 3, "b": 1}
        loop = tiny_loop(data, tmp_path, **{"active#initial_per_class": 2})
        loop.run()
        asked = [row.id for row in what_happened(loop.folder)["queries"] if row.round == 0]
        assert len(asked) == 3  # two of class a, and all there is of class b
        assert "train_01" in asked
        assert "fewer images than initial_per_class 2" in caplog.text
        assert "b (1)" in caplog.text

    def test_one_class_only(self, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        data = open_tiny(listed(folder, lambda row: row if row["label"] == "a" else None))
        loop = tiny_loop(data, tmp_path, num_classes=1)
        loop.run()
        assert "all images are of one class, a" in caplog.text
        metrics = what_happened(loop.folder)["metrics"]
        assert [metrics[r]["accuracy"] for r in (0, 1)] == [1.0, 1.0]
        assert all(math.isfinite(value) for values in metrics.values() for value in values.values())

    def test_more_neighbours_than_images(
        self, folder: Path, tmp_path: Path, learners: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        loop = tiny_loop(open_tiny(folder), tmp_path, **{"active#rounds": 1})
        with caplog.at_level("INFO"):
            loop.run()
        assert what_happened(loop.folder)["metrics"][0]["pseudo_n"] == 4
        assert "k 40 reaches beyond every class, the largest has 3 images" in caplog.text

    def test_masks_without_foreground_and_full_ones(self, folder: Path, tmp_path: Path) -> None:
        for path in folder.glob("*_mask.png"):
            number = int(path.name.split("_")[1])
            Image.new("L", (64, 64), int(number % 2)).save(path)  # class a without, class b nothing but foreground
        loop = tiny_loop(open_tiny(folder), tmp_path)
        loop.run()
        metrics = what_happened(loop.folder)["metrics"]
        assert set(metrics) == {0, 1}
        assert all(math.isfinite(value) for values in metrics.values() for value in values.values())

    def test_masks_that_are_ignored_everywhere(self, folder: Path, tmp_path: Path) -> None:
        for path in [*folder.glob("val_*_mask.png"), *folder.glob("test_*_mask.png")]:
            Image.new("L", (64, 64), 9).save(path)
        data = open_data(str(folder), image_size=(64, 64), mask_rule=MaskRule(ignore=9))
        loop = tiny_loop(data, tmp_path, **{"active#rounds": 1})
        loop.run()
        metrics = what_happened(loop.folder)["metrics"][0]
        assert metrics["dice"] == 0
        assert "pxap" not in metrics  # recall is not defined without foreground

    def test_without_test_images(
        self, folder: Path, tmp_path: Path, learners: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        loop = tiny_loop(open_tiny(listed(folder, lambda row: None if row["split"] == "test" else row)), tmp_path)
        loop.run()
        assert "no test image has a mask" in caplog.text
        assert "dice" not in what_happened(loop.folder)["metrics"][0]


class Meddler:
    """Does something to the files at an event of round 0, as a person might while a run is on."""

    def __init__(self, event: RoundEvents, deed: Callable[[], Any]) -> None:
        self.event, self.deed = event, deed

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(self.event, self)

    def __call__(self, engine: Engine) -> None:
        if engine.state.round.index == 0:  # type: ignore[attr-defined]
            self.deed()


@pytest.fixture
def once(folder: Path, tmp_path: Path, learners: Any) -> Iterator[Any]:
    """A run of two rounds in which ``once.meddle`` happens in the first."""
    loop = tiny_loop(open_tiny(folder), tmp_path)
    yield loop


class TestFilesThatChange:
    @pytest.mark.parametrize("name", ["train_03.png", "train_03_mask.png", "val_00.png"])
    @pytest.mark.parametrize("gone", [True, False])
    def test_between_rounds_of_one_process(self, folder: Path, once: Any, name: str, gone: bool) -> None:
        path = folder / name
        other = folder / ("train_04_mask.png" if "mask" in name else "train_04.png")
        deed = path.unlink if gone else lambda: path.write_bytes(other.read_bytes())
        once.phases = [*default_phases(), Meddler(RoundEvents.REPORT, deed)]
        with pytest.raises(StateError) as caught:
            once.run()
        (problem,) = caught.value.problems
        assert name.split(".")[0].removesuffix("_mask") in problem.where
        with StateReader.open(once.folder) as state:
            assert state.phases(0)[-1] == "refresh"
            assert state.phases(1) == []  # as before the round

    def test_a_file_written_again_with_the_same_content_is_no_change(self, folder: Path, once: Any) -> None:
        path = folder / "train_03.png"

        def rewrite() -> None:
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content)

        once.phases = [*default_phases(), Meddler(RoundEvents.REPORT, rewrite)]
        once.run()
        assert set(what_happened(once.folder)["metrics"]) == {0, 1}

    @pytest.mark.parametrize("name", ["train_03.png", "train_03_mask.png", "test_01_mask.png"])
    def test_between_two_starts(self, folder: Path, tmp_path: Path, once: Any, name: str) -> None:
        def stop() -> None:
            raise Interrupt

        once.phases = [Meddler(RoundEvents.CYCLE_1, stop), *default_phases()]
        with pytest.raises(Interrupt):
            once.run()
        before = (once.folder / "state.sqlite").read_bytes()
        other = "train_04_mask.png" if "mask" in name else "train_04.png"
        (folder / name).write_bytes((folder / other).read_bytes())
        with pytest.raises(StateError) as caught:
            tiny_loop(open_tiny(folder), tmp_path).run()
        (problem,) = caught.value.problems
        assert problem.where == name.split(".")[0].removesuffix("_mask")
        assert ("mask" in problem.what) == ("mask" in name)
        assert len(problem.expected) == len(problem.found) == 64
        assert (once.folder / "state.sqlite").read_bytes() == before


def test_a_loss_that_is_no_number_leaves_the_state_as_before_the_training(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = JointLoss.terms

    def poisoned(self: JointLoss, *arguments: Any) -> dict[str, torch.Tensor]:
        found = usual(self, *arguments)
        return {**found, "total": found["total"] * (1.0 if self.scale_seg == 0 else math.nan)}

    with monkeypatch.context() as patch:
        patch.setattr(JointLoss, "terms", poisoned)
        loop = tiny_loop(open_tiny(folder), tmp_path, "random")
        with pytest.raises(InputError) as caught:
            loop.run()
    (problem,) = caught.value.problems
    assert problem.where == "random_seed0/round_00_cycle0, epoch 1, step 1"
    with StateReader.open(loop.folder) as state:
        assert state.phases(0) == ["query", "oracle"]
        asked = set(state.labelled())
    assert set(problem.found.partition("batch of ")[2].split(", ")) <= asked
    tiny_loop(open_tiny(folder), tmp_path, "random").run()  # the cause is gone: the same command goes on
    assert set(what_happened(loop.folder)["metrics"]) == {0, 1}


class TestQuarantine:
    def open_skipping(self, folder: Path) -> RunData:
        return open_data(str(folder), image_size=(64, 64), on_bad_image="skip")

    @pytest.fixture
    def started(self, folder: Path, tmp_path: Path, learners: Any) -> Any:
        (folder / "train_03.png").write_bytes(b"")
        loop = tiny_loop(self.open_skipping(folder), tmp_path, **{"active#rounds": 1})
        loop.run()
        return loop

    def again(self, folder: Path, tmp_path: Path) -> None:
        tiny_loop(self.open_skipping(folder), tmp_path, **{"active#rounds": 2}).run()

    def test_the_run_goes_on_without_the_image_and_keeps_the_reason(self, started: Any) -> None:
        with StateReader.open(started.folder) as state:
            assert "train_03" not in {image.id for image in state.images()}
            assert list(state.quarantined()) == ["train_03"]
            assert "file is empty" in state.quarantined()["train_03"]

    def test_the_same_command_goes_on(self, started: Any, folder: Path, tmp_path: Path) -> None:
        self.again(folder, tmp_path)
        (folder / "train_03.png").unlink()  # another fault of the same image
        self.again(folder, tmp_path)
        listed(folder, lambda row: None if row["image"] == "train_03.png" else row)
        self.again(folder, tmp_path)
        with StateReader.open(started.folder) as state:
            assert state.quarantined() == {}

    def test_an_image_that_becomes_bad_later_is_a_changed_image(
        self, started: Any, folder: Path, tmp_path: Path
    ) -> None:
        (folder / "train_04.png").write_bytes(b"")
        with pytest.raises(StateError, match=r"train_04: image of the run cannot be used any more.*file is empty"):
            self.again(folder, tmp_path)

    def test_an_image_that_becomes_good_later_is_told_apart(self, started: Any, folder: Path, tmp_path: Path) -> None:
        (folder / "train_03.png").write_bytes((folder / "train_01.png").read_bytes())
        with pytest.raises(StateError, match="train_03: image was left out when the run began, and can be used now"):
            self.again(folder, tmp_path)


@pytest.mark.parametrize(("before", "told"), [("bfloat16", True), ("float32", False), (None, False)])
def test_another_precision_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, before: str | None, told: bool
) -> None:
    with RunState.open(tmp_path / "run") as state:
        state.register_run({} if before is None else {"precision": before}, (), [], "0" * 64)
        tell_other_precision(state, {"precision": "float32"})
    assert ("computed in bfloat16 and goes on in float32" in caplog.text) == told
