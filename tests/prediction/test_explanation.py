"""What is said of one image: its arrays have their shapes, dtypes and ranges."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from scripts.prediction.listing import MARK, list_images
from tests.prediction.test_explain import MAPS, UNCERTAIN, arrays, of_colours
from tests.support.colour_net import write_colour_model


class TestArrays:
    def test_shapes_and_ranges(self, tmp_path: Path) -> None:
        path = of_colours(tmp_path).get_parsed_content("explain")
        assert path == tmp_path / "out" / "explanations" / "a$1.png"
        found = arrays(path.with_suffix(".npz"))
        assert set(found) == MAPS | UNCERTAIN
        assert found["image"].shape == (64, 96, 3) and found["image"].dtype == np.uint8
        assert found["class_maps"].shape == (2, 2, 3) and found["grad_cam"].shape == (2, 3)
        assert found["classes"].tolist() == ["blue", "red"]
        assert found["class_probabilities"].sum() == pytest.approx(1.0)
        for name in UNCERTAIN | {"mask"}:
            assert found[name].shape == (64, 96), name
        for name in UNCERTAIN:
            assert found[name].dtype == np.float32 and found[name].min() >= 0
        for name in ("entropy", "dropout_entropy", "flips_entropy"):
            assert found[name].max() <= math.log(2) + 1e-6
        assert np.array_equal(found["mask"] == 1, found["image"][..., 0] == 255)
        assert found["flips_variance"].max() < 1e-9 < found["dropout_variance"].max()

    def test_class_of_grad_cam_can_be_chosen(self, tmp_path: Path) -> None:
        path = of_colours(tmp_path, **{"explain#label": "red"}).get_parsed_content("explain")
        found = arrays(path.with_suffix(".npz"))
        assert json.loads(str(found["about"]))["grad_cam_class"] == "red"
        assert np.argmax(found["grad_cam"]) == np.argmax(found["class_maps"][1])

    def test_masks_of_the_classifier_have_no_uncertainty(self, tmp_path: Path) -> None:
        config = of_colours(tmp_path)
        write_colour_model(tmp_path, mask_from="cam")
        path = config.get_parsed_content("explain")
        assert set(arrays(path.with_suffix(".npz"))) == MAPS

    def test_results_are_never_images(self, tmp_path: Path) -> None:
        of_colours(tmp_path).get_parsed_content("explain")
        assert (tmp_path / "out" / MARK).is_file()
        assert [image.name for image in list_images(tmp_path, tmp_path / "elsewhere")] == ["a$1.png"]
