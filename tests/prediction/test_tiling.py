from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import scripts.networks.inferer
from scripts.data.run_data import RunData
from scripts.evaluation.metrics import dice
from scripts.networks.inferer import JointInferer
from scripts.networks.joint_net import JointNet
from scripts.networks.model_file import ModelInfo, write_model
from scripts.networks.outputs import unpack_outputs
from scripts.prediction.tiling import DEFAULT_TILE, TiledInferer, is_whole, tile_size, working_size
from scripts.trained.source import ModelSource
from tests.support.colour_net import INFO, ColourNet, colour_source
from tests.support.tiny_runs import SIDE

GLAS = replace(INFO, image_size=(256, 384), native_size=(522, 775))


@pytest.mark.parametrize("size", [(522, 775), (1, 1), (783, 1162), (433, 574)])
def test_images_about_as_large_as_in_training_pass_whole(size: tuple[int, int]) -> None:
    assert is_whole(size, GLAS)
    assert working_size(size, GLAS) == (256, 384)


@pytest.mark.parametrize(
    ("size", "expected"), [((1044, 1550), (512, 768)), ((784, 775), (384, 384)), ((20, 7750), (10, 3840))]
)
def test_larger_ones_keep_the_scale_of_training(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert not is_whole(size, GLAS)
    assert working_size(size, GLAS) == expected


def test_limit_can_be_moved() -> None:
    assert working_size((1044, 1550), GLAS, whole_up_to=2.0) == (256, 384)
    assert working_size((522, 775), GLAS, whole_up_to=0.5) == (256, 384)  # the same scale


def test_without_the_size_of_training_every_image_passes_whole() -> None:
    assert working_size((5000, 5000), replace(GLAS, native_size=None)) == (256, 384)


def test_a_model_of_images_of_any_size_never_resizes() -> None:
    free = replace(INFO, image_size=None, native_size=(100, 200))
    assert working_size((7, 9), free) == (7, 9)
    assert working_size((1000, 1000), free) == (1000, 1000)
    assert (tile_size(free), tile_size(replace(free, native_size=None))) == ((100, 200), DEFAULT_TILE)
    assert tile_size(GLAS) == (256, 384)


class TestColours:
    """A network that sees one pixel at a time, so that tiles must give exactly what the whole gives."""

    @pytest.mark.parametrize("size", [(64, 96), (30, 96), (33, 50)])
    def test_up_to_a_tile_an_image_passes_whole(self, size: tuple[int, int], tmp_path: Path) -> None:
        network, x = ColourNet(), torch.rand(1, 3, *size)
        found = TiledInferer(colour_source(tmp_path), flips=False)(x, network)
        assert torch.equal(found, JointInferer()(x, network))
        assert network.sizes[0] == (1, 3, *size)

    @pytest.mark.parametrize("size", [(65, 96), (200, 310), (40, 500), (128, 192)])
    def test_tiles_give_the_mask_of_the_whole(
        self, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scripts.networks.inferer, "_MOST_PIXELS", 6 * 64 * 96)  # of flips at a time
        network, x = ColourNet(), torch.rand(1, 3, *size)
        with torch.no_grad():
            found = TiledInferer(colour_source(tmp_path))(x, network)
            tiles, network.sizes = network.sizes, []
            expected = JointInferer(flips=True)(x, network)
        assert torch.allclose(found[:, :1], expected[:, :1], atol=1e-5)
        assert found.shape == expected.shape == (1, 3, *size)
        assert max(b * h * w for b, _, h, w in tiles) <= 6 * 64 * 96
        assert {(h, w) for _, _, h, w in tiles} == {(min(64, size[0]), min(96, size[1]))}

    def test_class_maps_keep_their_places(self, tmp_path: Path) -> None:
        x = torch.zeros(1, 3, 128, 192)
        x[:, 2] = 1.0
        x[:, :, 64:, 96:] = torch.tensor([1.0, 0.0, 0.0])[None, :, None, None]
        with torch.no_grad():
            packed = TiledInferer(colour_source(tmp_path), flips=False)(x, ColourNet())
        maps = unpack_outputs(packed, 32)[1][0]  # (2, 4, 6): blue, red
        winner = maps.argmax(0)
        assert winner[2:, 3:].all() and not winner[:2].any() and not winner[:, :3].any()


@pytest.fixture(scope="module")
def trained(shapes_data: RunData) -> JointNet:
    """A network whose decoder has learned the discs and squares, in two seconds."""
    torch.manual_seed(0)
    network = JointNet(2, pretrained=True, decoder_channels=(16,) * 5, freeze_classifier=True)
    items = shapes_data.items("train")
    x = torch.stack([shapes_data.store.image(item["id"]) for item in items]).float() / 255
    masks = [shapes_data.store.true_mask(item["id"]) for item in items]
    y = torch.stack([torch.from_numpy(mask) for mask in masks if mask is not None])[:, None].float()
    with torch.no_grad():
        features = network.encode(x)
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=0.01)
    for _ in range(50):
        loss = F.binary_cross_entropy_with_logits(network.decode(features, x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def test_a_mosaic_has_nearly_the_masks_of_its_parts(trained: JointNet, shapes_data: RunData, tmp_path: Path) -> None:
    info = ModelInfo(
        {"_target_": "scripts.networks.joint_net.JointNet"}, ("a", "b"), (SIDE, SIDE), 0.5, native_size=(SIDE, SIDE)
    )
    write_model(tmp_path / "m.safetensors", trained.state_dict(), info)
    inferer = TiledInferer(ModelSource(trained, ckpt=tmp_path / "m.safetensors"))
    parts = [shapes_data.store.image(item["id"]).float()[None] / 255 for item in shapes_data.items("test")]
    rows = [torch.cat(parts[place : place + 2], dim=3) for place in (0, 2)]

    def mask(x: torch.Tensor) -> np.ndarray:
        with torch.no_grad():
            return (inferer(x, trained)[0, 0].sigmoid() >= 0.5).numpy().astype(np.uint8)

    whole = mask(torch.cat(rows, dim=2))
    for place, part in enumerate(parts):
        top, left = SIDE * (place // 2), SIDE * (place % 2)
        alone = mask(part)
        assert 0.01 < alone.mean() < 0.5
        assert dice(whole[top : top + SIDE, left : left + SIDE], alone) > 0.9


def test_window_of_a_model_of_any_size(tmp_path: Path) -> None:
    source: Any = colour_source(tmp_path, image_size=None, native_size=(32, 32))
    network = ColourNet()
    TiledInferer(source, flips=False, tiles=2)(torch.rand(1, 3, 80, 40), network)
    assert {size[2:] for size in network.sizes} == {(32, 32)} and max(size[0] for size in network.sizes) == 2
    assert replace(source.info, native_size=None) != source.info
