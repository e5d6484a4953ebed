from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose, SaveImaged
from PIL import Image

from scripts.core.errors import InputError, user_error_of
from scripts.images.store import ImageStore
from scripts.prediction.transforms import ReadImaged, RestoreOutputd
from scripts.trained.source import ModelSource
from tests.support.colour_net import TARGET, ColourNet, colour_source, write_colour_model
from tests.support.tiny_runs import CONFIGS


def asymmetric(size: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """Blue (H, W, 3) with a red box: (top, bottom, left, right)."""
    pixels = np.full((*size, 3), (0, 0, 255), np.uint8)
    top, bottom, left, right = box
    pixels[top:bottom, left:right] = (255, 0, 0)
    return pixels


class TestReading:
    def test_pixels_are_those_of_training(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        Image.fromarray(rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(tmp_path / "a.png")
        store = ImageStore([{"id": "a", "image": tmp_path / "a.png", "mask": None}], image_size=(64, 96))
        found = ReadImaged("image", colour_source(tmp_path))({"image": str(tmp_path / "a.png")})
        assert torch.equal(found["image"], store.image("a"))
        assert found["size"].tolist() == [70, 90]
        assert found["preview"].shape == (70, 90, 3)

    def test_16_bit_numbers_are_read_in_the_bits_of_the_model(self, tmp_path: Path) -> None:
        values = np.random.default_rng(0).integers(0, 4096, (64, 96)).astype(np.uint16)
        Image.fromarray(values).save(tmp_path / "a.tif")
        read = ReadImaged("image", colour_source(tmp_path, bits=12))
        assert np.array_equal(read({"image": tmp_path / "a.tif"})["image"][0], values >> 4)
        Image.fromarray(values * 9).save(tmp_path / "b.tif")
        with pytest.raises(InputError, match="brighter than white"):
            read({"image": tmp_path / "b.tif"})

    def test_large_images_keep_the_scale_and_get_a_small_preview(self, tmp_path: Path) -> None:
        Image.fromarray(np.zeros((128, 1440, 3), np.uint8)).save(tmp_path / "a.png")
        source = colour_source(tmp_path, image_size=(32, 48))
        found = ReadImaged("image", source)({"image": tmp_path / "a.png"})
        assert (found["image"].shape, found["preview"].shape) == ((3, 64, 720), (57, 640, 3))

    def test_arrays_are_width_first(self, tmp_path: Path) -> None:
        source, pixels = colour_source(tmp_path), asymmetric((70, 90), (0, 10, 40, 90))
        Image.fromarray(pixels).save(tmp_path / "a.png")
        read = ReadImaged("image", source)
        assert torch.equal(
            read({"image": pixels.swapaxes(0, 1)})["image"], read({"image": str(tmp_path / "a.png")})["image"]
        )

    @pytest.mark.parametrize("value", [np.zeros((4, 5), np.uint8), np.zeros((4, 5, 3), np.float32), 7])
    def test_what_is_no_image(self, value: Any, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="not an image"):
            ReadImaged("image", colour_source(tmp_path))({"image": value})


def server(folder: Path, **changes: Any) -> ConfigParser:
    """The config as MONAI Label's stock task takes it: the file, its folder as root, the device as text."""
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / "inference.json"))
    parser.config.update({"bundle_root": str(folder), "network_def": {"_target_": TARGET}, "device": "cpu"})
    for key, value in changes.items():
        parser[key] = value
    return parser


class StockTask:
    """What ``monailabel.tasks.infer.bundle.BundleInferTask`` 0.8.5 does with a bundle, step by step."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder, self.config = folder, server(folder, **changes)
        self.network = self.config.get_parsed_content("network_def", instantiate=True)

    def __call__(self, image: Any) -> dict[str, Any]:
        data: dict[str, Any] = {"image": image, "image_path": image, "device": "cpu", "model": "x"}
        for transform in self.transforms("preprocessing"):
            data = transform(data)
        network = self.network
        network.load_state_dict(torch.load(self.folder / "models" / "model.pt", weights_only=True), strict=False)
        network.eval()
        with torch.no_grad():
            data["pred"] = self.config.get_parsed_content("inferer", instantiate=True)(data["image"][None], network)[0]
        for transform in self.transforms("postprocessing"):
            data = transform(data)
        return data

    def transforms(self, key: str) -> list[Any]:
        content = self.config.get_parsed_content(key, instantiate=True)
        listed = list(content.transforms) if isinstance(content, Compose) else content
        return [transform for transform in listed if not isinstance(transform, SaveImaged)]


class TestStockServer:
    @pytest.mark.parametrize(("size", "box"), [((64, 96), (3, 20, 50, 90)), ((120, 70), (80, 110, 5, 40))])
    def test_mask_is_width_first_and_the_class_is_told(
        self, size: tuple[int, int], box: tuple[int, int, int, int], tmp_path: Path
    ) -> None:
        (tmp_path / "models").mkdir()
        write_colour_model(tmp_path / "models", image_size=size, native_size=size)
        pixels = asymmetric(size, box)
        Image.fromarray(pixels).save(tmp_path / "a.png")
        found = StockTask(tmp_path)(str(tmp_path / "a.png"))
        mask = np.asarray(found["pred"])
        assert (mask.shape, mask.dtype) == ((size[1], size[0]), np.uint8)
        assert np.array_equal(mask, np.asarray(Image.fromarray(pixels).split()[0]).T > 0)
        told = json.loads(json.dumps(found["result"]))
        assert told["classification"]["class"] == "blue"
        assert sum(told["classification"]["probabilities"].values()) == pytest.approx(1.0)
        assert told["threshold"] == 0.5
        assert told["foreground_fraction"] == pytest.approx(mask.mean())
        assert "spatial_shape" not in getattr(found["image"], "meta", {})  # by which the server would resize

    def test_specks_are_removed_where_wanted(self, tmp_path: Path) -> None:
        (tmp_path / "models").mkdir()
        write_colour_model(tmp_path / "models", image_size=(64, 96), native_size=(64, 96))
        Image.fromarray(asymmetric((64, 96), (3, 9, 50, 60))).save(tmp_path / "a.png")
        mask = StockTask(tmp_path)(str(tmp_path / "a.png"))["pred"]
        assert np.asarray(mask).sum() == 60
        found = StockTask(tmp_path, **{"cleaning#objects": 61})(str(tmp_path / "a.png"))
        assert np.asarray(found["pred"]).sum() == found["result"]["foreground_fraction"] == 0

    def test_a_new_model_is_taken_without_a_restart(self, tmp_path: Path) -> None:
        (tmp_path / "models").mkdir()
        write_colour_model(tmp_path / "models")
        Image.fromarray(asymmetric((64, 96), (0, 10, 0, 10))).save(tmp_path / "a.png")
        task = StockTask(tmp_path)
        before = task(str(tmp_path / "a.png"))
        write_colour_model(tmp_path / "models", threshold=1.0)
        os.utime(tmp_path / "models" / "model.json", ns=(1, 1))
        after = task(str(tmp_path / "a.png"))
        assert [int(np.asarray(d["pred"]).sum()) for d in (before, after)] == [100, 0]

    def test_large_images_pass_in_tiles(self, tmp_path: Path) -> None:
        (tmp_path / "models").mkdir()
        write_colour_model(tmp_path / "models")
        pixels = asymmetric((200, 300), (20, 50, 110, 280))
        Image.fromarray(pixels).save(tmp_path / "a.png")
        task = StockTask(tmp_path)
        found = task(str(tmp_path / "a.png"))
        assert np.array_equal(np.asarray(found["pred"]).T, pixels[..., 0] > 0)
        assert {size[2:] for size in task.network.sizes} == {(64, 96)}

    def test_scripts_may_be_imported_anew(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The server forgets the bundle's modules before each request."""
        (tmp_path / "models").mkdir()
        write_colour_model(tmp_path / "models")
        Image.fromarray(asymmetric((64, 96), (0, 10, 0, 10))).save(tmp_path / "a.png")
        task = StockTask(tmp_path)
        for name in [name for name in sys.modules if name == "scripts" or name.startswith("scripts.")]:
            monkeypatch.delitem(sys.modules, name)
        assert int(np.asarray(task(str(tmp_path / "a.png"))["pred"]).sum()) == 100

    def test_an_image_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "models").mkdir()
        write_colour_model(tmp_path / "models")
        (tmp_path / "a.png").write_text("text")
        with pytest.raises(InputError) as caught:
            StockTask(tmp_path)(str(tmp_path / "a.png"))
        assert "a.png" in str(user_error_of(caught.value))


def test_weights_of_the_config_are_never_used(tmp_path: Path) -> None:
    """Before the model is loaded the network of the config gives pooling and stride alone."""
    source = colour_source(tmp_path)
    assert source.network.stride == ColourNet.stride


class TestBackground:
    """A blue image with a red box: predicted blue, which has foreground only where that is not a background class."""

    def restored(self, folder: Path, gate: bool = True, **changes: Any) -> dict[Any, Any]:
        folder.mkdir()
        source = colour_source(folder, background_classes=("blue",), **changes)
        Image.fromarray(asymmetric((64, 96), (10, 30, 40, 90))).save(folder / "a.png")
        data: dict[Any, Any] = ReadImaged("image", source)({"image": str(folder / "a.png")})
        with torch.no_grad():
            data["pred"] = ColourNet()(data["image"][None].float() / 255.0)[0]
        return RestoreOutputd("pred", source, gate=gate)(data)

    def test_the_class_is_a_gate(self, tmp_path: Path) -> None:
        found = self.restored(tmp_path / "closed", threshold=0.0)
        assert found["result"]["classification"]["class"] == "blue"
        assert found["result"]["foreground_fraction"] == 0.0 and not found["pred"].any()
        assert not found["prediction"].probs.any()

    def test_unless_the_model_or_the_caller_says_otherwise(self, tmp_path: Path) -> None:
        expected = 20 * 50 / (64 * 96)
        for name, changes in {"model": {"background_gate": False}, "proposal": {"gate": False}}.items():
            assert self.restored(tmp_path / name, **changes)["result"]["foreground_fraction"] == pytest.approx(expected)

    def test_the_source_can_open_the_gate(self, tmp_path: Path) -> None:
        path = write_colour_model(tmp_path, background_classes=("blue",))
        assert ModelSource(ColourNet(), ckpt=path).info.gated == (0,)
        assert ModelSource(ColourNet(), ckpt=path, background_gate=False).info.gated == ()
