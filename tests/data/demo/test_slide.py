from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.core.command_line import run
from scripts.core.errors import InputError
from scripts.data.demo.__main__ import COMMANDS
from scripts.data.demo.slide import Mosaic, write_slide
from tests.support.slides import openslide


@pytest.fixture(scope="module")
def mosaic() -> Mosaic:
    return Mosaic(700, seed=1, fields=2)


def test_regions_are_parts_of_one_slide(mosaic: Mosaic) -> None:
    image, mask = mosaic.region(0, 0, 700, 700)
    for top, left, height, width in ((0, 0, 10, 10), (333, 100, 200, 317), (699, 699, 1, 1)):
        part, truth = mosaic.region(top, left, height, width)
        np.testing.assert_array_equal(part, image[top : top + height, left : left + width])
        np.testing.assert_array_equal(truth, mask[top : top + height, left : left + width])
    beyond, _ = mosaic.region(690, 0, 20, 700)
    assert (beyond[10:] == beyond[9]).all()


def test_section_on_glass(mosaic: Mosaic) -> None:
    image, mask = mosaic.region(0, 0, 700, 700)
    corners = np.concatenate([image[:60, :60].reshape(-1, 3), image[-60:, -60:].reshape(-1, 3)])
    assert corners.min() >= 220 and not mask[:60, :60].any()
    assert image[300:400, 300:400].min() < 150 and 0.02 < mask.mean() < 0.6


def test_file_is_a_pyramid_of_the_mosaic(tmp_path: Path, mosaic: Mosaic) -> None:
    run(
        "demo",
        COMMANDS,
        ["slide", "--out", str(tmp_path / "a.tif"), "--side", "700", "--seed", "1", "--fields", "2", "--mpp", "0.25"],
    )
    slide = openslide.OpenSlide(tmp_path / "a.tif")
    assert slide.level_dimensions == ((700, 700), (175, 175), (44, 44))
    assert float(slide.properties["openslide.mpp-x"]) == 0.25
    image, _ = mosaic.region(0, 0, 700, 700)
    np.testing.assert_array_equal(np.asarray(slide.read_region((0, 0), 0, (700, 700)).convert("RGB")), image)
    small = np.asarray(slide.read_region((0, 0), 1, (175, 175)).convert("RGB"))
    np.testing.assert_array_equal(small, np.asarray(Image.fromarray(image).reduce(4)))


def test_refuses_sizes_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"2 problems.*\n.*--side.*\n.*--levels"):
        write_slide(str(tmp_path / "a.tif"), side=1, levels=0)
    with pytest.raises(SystemExit, match="2"):
        run("demo", COMMANDS, ["slide", str(tmp_path / "a.tif"), "--fields", "0"])
