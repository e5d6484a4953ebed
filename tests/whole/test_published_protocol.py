"""The published protocol is one overlay, each of its keys can be set alone, and the model card names them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from torch.nn import functional as F

from scripts.active.rounds import ActiveLearning
from scripts.data.run_data import RunData, open_data
from scripts.images.published_geometry import PublishedGeometry
from scripts.networks.outputs import Prediction
from scripts.state.reader import StateReader
from scripts.trained.source import ModelSource
from scripts.training.dataset import FromStored
from tests.support.tiny_runs import CONFIGS, SIDE, SMALL, tiny_config, what_happened

ROOT = CONFIGS.parents[1]
OVERLAY: dict[str, Any] = json.loads((CONFIGS / "published.json").read_text())
KEYS = [key for key in OVERLAY if key not in ("_desc_", "auto_plan")]  # the protocol needs no plan of its data
TINY_GEOMETRY = {"geometry#min_side": 80, "geometry#crop": 72}


@pytest.fixture(scope="module")
def native(shapes_folder: Path) -> RunData:
    """The images at their own size, as the published geometry needs them."""
    return open_data(str(shapes_folder), image_size=None)


def loop_of(data: RunData, output: Path, **changes: Any) -> ActiveLearning:
    config = tiny_config(Path("unused"), output, changes, overlay="published.json")
    return config.parser(objects={"data": data, "config": config}).get_parsed_content("active#loop")


def table() -> list[list[str]]:
    """Rows of the model card's table of differences, cells in order."""
    text = (ROOT / "docs" / "README.md").read_text().partition("## What differs from the published code")[2]
    rows = [line.strip("| ").split(" | ") for line in text.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    return [row for row in rows if len(row) == 4]


def test_a_round_of_the_published_protocol(native: RunData, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage0 = {**OVERLAY["active#stage0#overrides"], "max_epochs": 1}
    loop = loop_of(
        native, tmp_path, **TINY_GEOMETRY,
        **{
            "image_size": None, "variants": None, "batch_size": 5, "epoch_length": OVERLAY["epoch_length"],
            "network_def": {**OVERLAY["network_def"], "base_width": 4, "leak": 4, "pretrained": False},
            "active#stage0#overrides": stage0, "active#rounds": 1,
        },
    )  # fmt: skip
    loop.run()
    happened = what_happened(loop.folder)
    assert happened["phases"][0][-1] == "refresh" and happened["metrics"][0]["pseudo_n"] == 10
    assert 0 <= happened["metrics"][0]["dice"] <= 1
    with StateReader.open(loop.folder) as state:
        stored = state.settings()
    assert stored["geometry"]["_target_"].endswith("PublishedGeometry") and stored["geometry"]["crop"] == 72
    with caplog.at_level("WARNING"):
        ModelSource(output_dir=tmp_path).load()
    assert "trained with PublishedGeometry; new images are resized" in caplog.text


def parsed(native: RunData, shapes_data: RunData, output: Path, **changes: Any) -> ConfigParser:
    data = native if changes.get("image_size", SIDE) is None else shapes_data
    config = tiny_config(Path("unused"), output, {"network_def#pretrained": False, **changes})
    return config.parser(objects={"data": data, "config": config})


@pytest.mark.parametrize("key", KEYS)
def test_each_key_can_be_set_alone(key: str, native: RunData, shapes_data: RunData, tmp_path: Path) -> None:
    value = OVERLAY[key]
    if key == "network_def":
        value = {**value, "base_width": 4, "leak": 4, "pretrained": False}
    parser = parsed(native, shapes_data, tmp_path, **{key: value})
    if key == "network_def":
        parser["network_def"] = value  # nothing of our network is left in it
    trainer = parser.get_parsed_content("train#trainer")
    assert trainer.state.max_epochs >= 1 and parser.get_parsed_content("validate#evaluator") is not None


def test_a_training_sees_patches_and_an_evaluation_whole_images(
    native: RunData, shapes_data: RunData, tmp_path: Path
) -> None:
    geometry = {**OVERLAY["geometry"], "min_side": 80, "crop": 72}
    parser = parsed(native, shapes_data, tmp_path, image_size=None, geometry=geometry, variants=None)
    expected = PublishedGeometry(min_side=80, crop=72)
    draws = parser.get_parsed_content("train#dataset")
    first, again, other = draws[0, 0], draws[0, 0], draws[1, 0]
    side = expected.training_side
    assert first["image"].shape == (3, side, side) and first["mask"].shape == (1, side, side)
    assert torch.equal(first["image"], again["image"]) and not torch.equal(first["image"], other["image"])
    whole = parser.get_parsed_content("validate#dataset")[0]
    item = native.items("val")[0]
    pixels = FromStored(native.store)(item)["image"].mul(255).round().byte().permute(1, 2, 0).numpy()
    found = whole["image"].mul(255).round().byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(found, expected.prepare(pixels))


def test_an_epoch_is_one_pass_and_its_last_batch_is_short(
    native: RunData, shapes_data: RunData, tmp_path: Path
) -> None:
    keys = ("epoch_length", "labelled_share", "train#batches#short_last")
    changes = {"batch_size": 5, "max_epochs": 2, **{key: OVERLAY[key] for key in keys}}
    batches = list(parsed(native, shapes_data, tmp_path, **changes).get_parsed_content("train#batches"))
    assert [len(batch) for batch in batches] == [5, 5, 2, 5, 5, 2]
    for epoch in (0, 1):
        draws = [draw for batch in batches[3 * epoch : 3 * epoch + 3] for draw in batch]
        assert sorted(draws) == [(epoch, index) for index in range(12)]


def test_the_model_card_names_every_key_of_the_overlay() -> None:
    named = {key for row in table() for key in re.findall(r"`([a-z_]+(?:#\w+)*)`", row[3])}
    content = ConfigParser.load_config_files([str(CONFIGS / name) for name in ("train.json", "published.json")])
    parser = ConfigParser(content)
    assert len(table()) > 20
    assert not [key for key in named if key not in parser]
    assert not [key for key in KEYS if key not in named]


def test_small_runs_keep_the_plain_geometry() -> None:
    assert "geometry" not in SMALL
    assert json.loads((CONFIGS / "train.json").read_text())["geometry"]["_target_"].endswith("PlainGeometry")


def test_the_classifiers_mask_takes_the_published_way_back() -> None:
    height, width = 430, 567
    geometry = PublishedGeometry()
    h, w = geometry.network_size(height, width)
    maps = torch.randn(2, 13, 17, generator=torch.Generator().manual_seed(0))
    found = Prediction(
        "a", np.zeros((height, width), np.float32), np.zeros(2, np.float32), maps, (height, width), geometry
    )
    winner = F.interpolate(maps[None], (h, w), mode="bilinear", align_corners=True)[0].argmax(0)
    enlarged = F.interpolate((winner == 1).float()[None, None], (int(h / 0.9), int(w / 0.9)), mode="bilinear")
    rows, columns = geometry.padding(*geometry.upscaled_size(height, width))
    inner = enlarged[:, :, rows : enlarged.shape[2] - rows, columns : enlarged.shape[3] - columns]
    expected = F.interpolate(inner, (height, width), mode="bilinear")[0, 0] >= 0.5
    np.testing.assert_array_equal(found.cam_mask(1), expected.numpy().astype(np.uint8))
    assert 0.1 < expected.float().mean() < 0.9
