from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.active.oracles import SimulatedBoxes, SimulatedOracle
from scripts.core.errors import InputError, Problem
from scripts.images.regions import component_boxes, mask_cost
from tests.support.tiny_runs import make_images, open_tiny


class TestSimulatedOracle:
    def test_returns_the_masks_on_disk_in_order(self, shapes_data) -> None:
        answers = SimulatedOracle(shapes_data, seconds_per_mask=12.5).answer(["train_03", "train_00"])
        assert [a.id for a in answers] == ["train_03", "train_00"]
        assert [(a.user, a.seconds) for a in answers] == [("simulated", 12.5)] * 2
        for answer in answers:
            np.testing.assert_array_equal(answer.mask, shapes_data.store.true_mask(answer.id))

    def test_names_images_without_mask(self, tmp_path: Path) -> None:
        data = open_tiny(make_images(tmp_path, without_mask={"train_01", "train_02"}))
        oracle = SimulatedOracle(data)
        assert [key for key in ("train_00", "train_01", "nowhere") if oracle.can_answer(key)] == ["train_00"]
        with pytest.raises(InputError) as error:
            oracle.answer(["train_00", "train_01", "train_02"])
        assert [problem.where for problem in error.value.problems] == ["train_01", "train_02"]


def test_longer_outlines_take_longer(shapes_data):
    oracle = SimulatedOracle(shapes_data, seconds_per_mask=10.0, seconds_per_boundary_px=0.5)
    (answer,) = oracle.answer(["train_03"])
    assert answer.seconds == 10.0 + 0.5 * mask_cost(shapes_data.store.true_mask("train_03"))[1]


def test_objects_take_time_of_their_own(shapes_data):
    oracle = SimulatedOracle(shapes_data, seconds_per_object=7.0)
    mask = shapes_data.store.true_mask("train_03")
    (answer,) = oracle.answer(["train_03"])
    assert answer.seconds == 7.0 * len(component_boxes(mask)) > 0
    assert oracle.seconds(mask, objects=3) == 21.0


class Frames:
    """A model whose masks are the boxes themselves, in whole pixels, at a probability."""

    def __init__(self, probability: float = 0.9) -> None:
        self.probability = probability
        self.asked: dict[str, np.ndarray] = {}

    def require(self) -> None:
        raise InputError(Problem("package is missing", "boxes"))

    def foreground(self, key, image, boxes):
        self.asked[key] = boxes
        found = np.zeros(image().shape[:2], np.float32)
        for x0, y0, x1, y1 in np.rint(boxes).astype(int):
            found[y0:y1, x0:x1] = self.probability
        return found


class TestSimulatedBoxes:
    def boxes(self, data, model=None, **settings):
        outlines = SimulatedOracle(data, seconds_per_mask=100.0)
        return SimulatedBoxes(data, model or Frames(), outlines, **settings)

    def test_exact_boxes_are_the_frames_of_the_objects(self, shapes_data) -> None:
        model = Frames()
        (answer,) = self.boxes(shapes_data, model, seconds_per_box=7.0).answer(["train_03"])
        frames = component_boxes(shapes_data.store.true_mask("train_03"))
        np.testing.assert_array_equal(model.asked["train_03"], frames)
        assert (answer.kind, answer.objects, answer.seconds) == ("box", len(frames), 7.0 * len(frames))
        assert answer.mask.sum() == sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in frames)

    def test_jitter_moves_each_side_by_its_share_and_the_same_each_time(self, shapes_data) -> None:
        frames = component_boxes(shapes_data.store.true_mask("train_03")).astype(float)
        drawn = []
        for _ in range(2):
            model = Frames()
            self.boxes(shapes_data, model, jitter=0.1).answer(["train_00", "train_03"])
            drawn.append(model.asked["train_03"])
        np.testing.assert_array_equal(*drawn)
        sides = np.tile(frames[:, 2:] - frames[:, :2], 2)
        moved = np.abs(drawn[0] - frames) / sides
        assert moved.max() <= 0.1 and (moved > 0).all()
        other = Frames()
        self.boxes(shapes_data, other, jitter=0.1, seed=1).answer(["train_03"])
        assert not np.array_equal(other.asked["train_03"], drawn[0])

    def test_an_unclear_mask_is_outlined_after_its_boxes(self, shapes_data) -> None:
        truth = shapes_data.store.true_mask("train_03")
        count = len(component_boxes(truth))
        (clear,) = self.boxes(shapes_data, Frames(0.9), unsure=0.5).answer(["train_03"])
        (unclear,) = self.boxes(shapes_data, Frames(0.6), unsure=0.5, seconds_per_box=7.0).answer(["train_03"])
        assert (clear.kind, unclear.kind) == ("box", "outline")
        np.testing.assert_array_equal(unclear.mask, truth)
        assert unclear.seconds == 100.0 + 7.0 * count

    def test_validation_masks_are_outlines(self, shapes_data) -> None:
        assert self.boxes(shapes_data).seconds(shapes_data.store.true_mask("train_03")) == 100.0

    def test_the_model_is_required_before_a_run(self, shapes_data) -> None:
        with pytest.raises(InputError, match="package is missing"):
            self.boxes(shapes_data).require()

    @pytest.mark.parametrize("setting", [{"jitter": -0.1}, {"jitter": 0.5}, {"unsure": 1.5}])
    def test_settings_out_of_range_are_refused(self, shapes_data, setting) -> None:
        with pytest.raises(InputError, match=next(iter(setting))):
            self.boxes(shapes_data, **setting)


def test_objects_that_a_file_numbers_have_a_box_each_though_they_touch(tmp_path: Path) -> None:
    folder = make_images(tmp_path)
    path = next(item["mask"] for item in open_tiny(folder).datalist.items if item["id"] == "train_03")
    numbers = np.zeros(np.asarray(Image.open(path)).shape, np.uint8)
    numbers[2:10, 3:8], numbers[2:10, 8:15] = 1, 5
    Image.fromarray(numbers).save(path)
    found = SimulatedOracle(open_tiny(folder)).boxes("train_03")
    np.testing.assert_array_equal(found, [[3, 2, 8, 10], [8, 2, 15, 10]])
