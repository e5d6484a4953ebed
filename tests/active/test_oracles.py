from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scripts.active.oracles import SimulatedOracle
from scripts.core.errors import InputError
from scripts.images.regions import mask_cost
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
