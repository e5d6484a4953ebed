"""Whole slides through the config, read back by other programs: OpenSlide, tifffile, Pillow."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

from scripts.core.errors import InputError, StateError, user_error_of
from scripts.networks.inferer import JointInferer
from scripts.networks.joint_net import JointNet
from scripts.networks.model_file import ModelInfo, write_model
from scripts.networks.outputs import restore, unpack_outputs
from scripts.slides import outputs
from scripts.slides.predict import TABLE, find_slides
from tests.support.slides import CLASSES, LocalNet, filled, model, openslide, shapely, tifffile, tissue, write_tiff

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "bundle" / "configs" / "slide.json"
IMAGE = tissue(900, 1500, glass=True)
FILES = {"a.geojson", "a_mask.tif", "a_overview.png", "a_tiles.csv"}


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiff(tmp_path_factory.mktemp("slides") / "a.tif", IMAGE, levels=3)


def config(slides: Path | None, out: Path, **changes: Any) -> ConfigParser:
    """The config of ``slide``, as the command line makes it, with a network of known answers."""
    parser = ConfigParser(ConfigParser.load_config_file(CONFIG))
    small = {"device": "cpu", "tile": 256, "margin": 64, "native_size": [64, 64], "model": model()}
    for key, value in {"slides": slides and str(slides), "output_dir": str(out), **small, **changes}.items():
        key = "slide#model" if key == "model" else key  # a model that is loaded already
        parser[key] = value
    return parser


def predict(slides: Path | None, out: Path, **changes: Any) -> dict[str, dict[str, str]]:
    """Run ``slide``; return the rows of the table by slide."""
    assert config(slides, out, **changes).get_parsed_content("slide") == out / TABLE
    return table(out)


def refusal(slides: Path | None, out: Path, **changes: Any) -> str:
    with pytest.raises(Exception) as caught:  # MONAI wraps the error in its own
        predict(slides, out, **changes)
    return str(user_error_of(caught.value))


def table(out: Path) -> dict[str, dict[str, str]]:
    with open(out / TABLE, newline="") as file:
        return {row["slide"]: row for row in csv.DictReader(file)}


def mask_of(path: Path) -> np.ndarray:
    return tifffile.imread(path, key=0) > 0


def features_of(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["features"]


def whole(image: np.ndarray, network: Any, size: tuple[int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Probability at the image's size and class scores, of the image in one pass."""
    pixels = image if size is None else np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))
    images = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        logits, maps = unpack_outputs(JointInferer(amp=False)(images, network), 32)
        return restore(logits[0, 0], image.shape[:2]).numpy(), network.pool(maps)[0].numpy()


class TestResults:
    def test_mask_is_that_of_the_whole_image(self, slide: Path, tmp_path: Path) -> None:
        rows = predict(slide, tmp_path, **{"background#min_tissue": 0.0, "background#glass": 0})
        expected, scores = whole(IMAGE, LocalNet())
        found = mask_of(tmp_path / "a_mask.tif")
        assert found.shape == IMAGE.shape[:2]
        assert (found != (expected >= 0.4)).mean() < 1e-4
        shares = torch.softmax(torch.from_numpy(scores), 0)
        assert float(rows["a"]["p_malignant"]) == pytest.approx(float(shares[1]), abs=1e-4)
        assert int(rows["a"]["foreground_px"]) == found.sum() and rows["a"]["error"] == ""

    @pytest.mark.parametrize(("native", "level"), [((96, 96), 0), ((128, 128), 1), ((176, 160), 1), ((48, 48), 0)])
    def test_scale_is_that_of_training(self, native: tuple[int, int], level: int, slide: Path, tmp_path: Path) -> None:
        changes = {"native_size": list(native), "background#min_tissue": 0.0, "background#glass": 0, "tile": 192}
        row = predict(slide, tmp_path, **changes)["a"]
        plane = tuple(round(n * 64 / by) for n, by in zip(IMAGE.shape[:2], native, strict=True))
        assert float(row["downsample_x"]) == pytest.approx(1500 / plane[1], abs=1e-4) and int(row["level"]) == level
        expected, _ = whole(IMAGE, LocalNet(), plane)  # type: ignore[arg-type]
        away = np.abs(expected - 0.4) > 0.05  # a reduced level is another way to resize
        assert (mask_of(tmp_path / "a_mask.tif") != (expected >= 0.4))[away].mean() < 2e-3

    def test_tiles_and_batches_do_not_show(self, slide: Path, tmp_path: Path) -> None:
        exact = {"background#min_tissue": 0.0, "background#glass": 0, "native_size": [96, 96]}
        masks = []
        for number, (side, margin, batch, workers) in enumerate([(128, 32, 3, 0), (448, 64, 1, 2), (2048, 0, 1, 0)]):
            out, how = (
                tmp_path / str(number),
                {"tile": side, "margin": margin, "batch_size": batch, "num_workers": workers},
            )
            predict(slide, out, **exact, **how)
            masks.append(mask_of(out / "a_mask.tif"))
        assert masks[0].any() and all((mask != masks[2]).mean() < 1e-5 for mask in masks[:2])

    def test_network_with_a_wide_view(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        network = JointNet(2, "efficientnet_lite0", pretrained=False, decoder_channels=(8,) * 5).eval()
        image = tissue(384, 640)
        with torch.no_grad():
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
            logits = network(pixels)[:, 0]  # they differ little in a network that was never trained
            network.segmentation_head[0].bias -= logits.mean()
            for parameter in network.segmentation_head.parameters():
                parameter *= 3 / logits.std()
        expected, _ = whole(image, network)
        assert np.quantile(expected, 0.95) - np.quantile(expected, 0.05) > 0.2
        path = write_tiff(tmp_path / "in" / "a.tif", image)
        changes = {"background#min_tissue": 0.0, "background#glass": 0, "amp": False, "tile": 320,
                   "model": model(network), "outputs#probability": True}  # fmt: skip
        away = []
        for margin in (0, 128):
            predict(path, tmp_path / "out", **changes, margin=margin)
            found = tifffile.imread(tmp_path / "out" / "a_probability.tif", key=0) / 255
            away.append(np.abs(found - expected).mean())
        assert away[1] < 0.01
        assert away[1] < away[0] / 2  # what the margin is for

    def test_the_number_of_workers_does_not_show(self, slide: Path, tmp_path: Path) -> None:
        rows = [predict(slide, tmp_path / str(number), num_workers=number)["a"] for number in (0, 1, 3)]
        assert rows[0] | {"seconds": ""} == rows[1] | {"seconds": ""} == rows[2] | {"seconds": ""}
        for name in FILES:
            assert len({(tmp_path / str(number) / name).read_bytes() for number in (0, 1, 3)}) == 1, name

    def test_what_is_to_be_done_is_told_first(
        self, slide: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level("INFO"):
            predict(slide, tmp_path)
        plan, left = caplog.messages[0], caplog.messages[1]
        assert "20 of 24 tiles have tissue: 1.1 of 1.4 megapixels of the slide, 2.3 through the network" in plan
        assert "s to go" in left

    def test_one_core_is_left_to_reading_and_writing(self, slide: Path, tmp_path: Path) -> None:
        seen: list[int] = []

        class Watched(LocalNet):
            def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
                seen.append(torch.get_num_threads())
                return super().encode(x)

        before = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            predict(slide, tmp_path, model=model(Watched()))
            assert set(seen) == {1} and torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(before)

    def test_engines_agree(self, tmp_path: Path) -> None:
        pytest.importorskip("openvino")
        torch.manual_seed(0)
        network = JointNet(2, "efficientnet_lite0", pretrained=False, decoder_channels=(8,) * 5).eval()
        image = tissue(256, 320)
        with torch.no_grad():
            logits = network(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[:, 0]
            network.segmentation_head[0].bias -= logits.mean()
            for parameter in network.segmentation_head.parameters():
                parameter *= 3 / logits.std()
        path = write_tiff(tmp_path / "in" / "a.tif", image)
        masks = []
        for engine in ("torch", "openvino"):
            predict(path, tmp_path / engine, model=model(network), engine=engine, amp=False)
            masks.append(mask_of(tmp_path / engine / "a_mask.tif"))
        assert 0.05 < masks[0].mean() < 0.95 and (masks[0] != masks[1]).mean() < 1e-4

    def test_both_backends_agree(self, slide: Path, tmp_path: Path) -> None:
        rows = [predict(slide, tmp_path / name, backend=name)["a"] for name in ("openslide", "tifffile")]
        assert rows[0] | {"seconds": ""} == rows[1] | {"seconds": ""}
        masks = [mask_of(tmp_path / name / "a_mask.tif") for name in ("openslide", "tifffile")]
        np.testing.assert_array_equal(*masks)

    def test_polygons_are_the_mask(self, slide: Path, tmp_path: Path) -> None:
        rules = {
            "polygons#min_area": 0.0,
            "polygons#min_hole": 0.0,
            "polygons#tolerance": 0.2,
            "native_size": [128, 128],
        }
        row = predict(slide, tmp_path, **rules)["a"]
        features, mask = features_of(tmp_path / "a.geojson"), mask_of(tmp_path / "a_mask.tif")
        assert len(features) == int(row["polygons"]) > 10
        assert sum(len(feature["geometry"]["coordinates"]) - 1 for feature in features) > 5  # holes
        drawn = filled(features, IMAGE.shape[:2])
        assert 2 * (drawn & mask).sum() / (drawn.sum() + mask.sum()) > 0.98
        grown = np.asarray(Image.fromarray(mask).resize(mask.shape[::-1])).astype(bool)
        for _ in range(2):  # no pixel is wrong that is farther from the border than a network pixel
            padded = np.pad(grown, 1)
            grown = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:] | padded[1:-1, 1:-1]
        assert not (drawn & ~grown).any()
        area = sum(feature["properties"]["measurements"]["Area px^2"] for feature in features)
        assert area == pytest.approx(mask.sum(), rel=0.01)
        assert all(shapely.geometry.shape(feature["geometry"]).is_valid for feature in features)

    def test_glass_has_no_mask(self, slide: Path, tmp_path: Path) -> None:
        class Everything(LocalNet):
            def decode(self, features: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
                return torch.full_like(x[:, :1], 5.0)

        row = predict(slide, tmp_path, model=model(Everything()))["a"]
        found = mask_of(tmp_path / "a_mask.tif")
        assert not found[:, :300].any() and found[:, 300:].all()  # a fifth of the slide is glass
        assert int(row["background_tiles"]) == 4 and float(row["tissue"]) == pytest.approx(0.8, abs=0.01)
        (feature,) = features_of(tmp_path / "a.geojson")
        assert shapely.geometry.shape(feature["geometry"]).bounds == pytest.approx((300, 0, 1500, 900), abs=1)

    def test_table_of_tiles(self, slide: Path, tmp_path: Path) -> None:
        row = predict(slide, tmp_path)["a"]
        with open(tmp_path / "a_tiles.csv", newline="") as file:
            tiles = list(csv.DictReader(file))
        assert len(tiles) == int(row["tiles"]) - int(row["background_tiles"]) == 20
        mask = mask_of(tmp_path / "a_mask.tif")
        for tile in tiles:
            x, y, width, height = (int(tile[name]) for name in ("x", "y", "width", "height"))
            share = mask[y : y + height, x : x + width].mean()
            assert float(tile["foreground"]) == pytest.approx(share, abs=1e-4)
            assert float(tile["p_benign"]) + float(tile["p_malignant"]) == pytest.approx(1, abs=1e-5)

    def test_pyramids_and_pictures_open(self, slide: Path, tmp_path: Path) -> None:
        predict(slide, tmp_path, **{"outputs#probability": True, "slide_mpp": 0.5, "native_size": [128, 128]})
        mask, probability = (openslide.OpenSlide(tmp_path / f"a_{name}.tif") for name in ("mask", "probability"))
        assert mask.dimensions == (1500, 900) and mask.level_count == 3
        assert probability.dimensions == (750, 450) and float(probability.properties["openslide.mpp-x"]) == 1.0
        about = json.loads(mask.properties["tiff.ImageDescription"])
        assert about["slide"] == "a" and about["threshold"] == 0.4 and about["model"]["classes"] == list(CLASSES)
        with Image.open(tmp_path / "a_overview.png") as picture:
            assert picture.size == (1516, 942)

    def test_a_slide_of_glass(self, tmp_path: Path) -> None:
        write_tiff(tmp_path / "in" / "a.tif", np.full((700, 300, 3), 250, np.uint8))
        row = predict(tmp_path / "in", tmp_path / "out")["a"]
        assert row["class"] == "" and row["foreground_px"] == "0" and row["tiles"] == row["background_tiles"]
        assert not mask_of(tmp_path / "out" / "a_mask.tif").any() and features_of(tmp_path / "out" / "a.geojson") == []

    def test_only_what_is_asked_for_is_written(self, slide: Path, tmp_path: Path) -> None:
        predict(slide, tmp_path / "all")
        assert {path.name for path in (tmp_path / "all").iterdir()} == FILES | {TABLE}
        predict(slide, tmp_path / "few", **{"outputs#tile_table": False, "outputs#overview": 0})
        assert {path.name for path in (tmp_path / "few").iterdir()} == {"a.geojson", "a_mask.tif", TABLE}


class TestFolders:
    def test_bad_slides_are_listed_and_the_rest_is_done(self, slide: Path, tmp_path: Path) -> None:
        folder, out = tmp_path / "in", tmp_path / "in" / "results"
        (folder / "deep").mkdir(parents=True)
        for name in ("a.tif", "deep/z.tif"):
            (folder / name).write_bytes(slide.read_bytes())
        content = slide.read_bytes()
        (folder / "cut.svs").write_bytes(content[: len(content) // 2])
        (folder / "text.tif").write_text("no slide")
        message = refusal(folder, out)
        assert "2 problems" in message and "cut.svs" in message and "text.tif" in message
        rows = table(out)
        assert list(rows) == ["a", "cut", "deep/z", "text"]
        assert [bool(row["error"]) for row in rows.values()] == [False, True, False, True]
        assert rows["cut"]["class"] == "" and (out / "deep" / "z_mask.tif").is_file()
        assert not list(out.glob("cut*")) and not list(out.glob("text*"))
        (folder / "cut.svs").unlink()
        (folder / "text.tif").unlink()
        assert list(predict(folder, out)) == ["a", "deep/z"]  # results in the folder are no slides

    def test_damage_inside_leaves_nothing(self, slide: Path, tmp_path: Path) -> None:
        content = bytearray(slide.read_bytes())
        with tifffile.TiffFile(slide) as file:
            page = file.pages[0]
            at, count = page.dataoffsets[40], page.databytecounts[40]
        content[at : at + count] = bytes(count)
        (tmp_path / "b.tif").write_bytes(content)
        out = tmp_path / "out"
        assert "b.tif, level 0" in refusal(tmp_path / "b.tif", out)
        assert [path.name for path in out.iterdir()] == [TABLE]

    def test_a_fault_while_writing_leaves_what_was_there(
        self, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        predict(slide, tmp_path)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(outputs.FeatureWriter, "write", full)
        with pytest.raises(Exception) as caught:
            predict(slide, tmp_path, native_size=[128, 128])
        error = user_error_of(caught.value)
        assert isinstance(error, StateError) and "No space left" in str(error)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_the_same_command_again_replaces(self, slide: Path, tmp_path: Path) -> None:
        predict(slide, tmp_path)
        first = {name: (tmp_path / name).read_bytes() for name in FILES}
        predict(slide, tmp_path)
        assert {name: (tmp_path / name).read_bytes() for name in FILES} == first
        predict(slide, tmp_path, model=model(threshold=0.6))
        assert (tmp_path / "a_mask.tif").read_bytes() != first["a_mask.tif"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"slides": None}, "--slides PATH"),
        ({"native_size": None}, "--native_size"),
        ({"mpp": 0.5}, "--slide_mpp"),
        ({"tile": 100}, "multiple of 32"),
        ({"tile": 0}, "tile"),
        ({"batch_size": 0}, "batch_size"),
        ({"engine": "tensorrt"}, "torch or openvino"),
        ({"backend": "cucim"}, "openslide or tifffile"),
        ({"model": model(mask_from="cam")}, "no decoder"),
    ],
)
def test_refusals(changes: dict[str, Any], text: str, slide: Path, tmp_path: Path) -> None:
    slides = changes.pop("slides", slide)
    assert text in refusal(slides, tmp_path / "out", **changes)


def test_command_line_with_a_model_file(slide: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    arguments = {"num_classes": 2, "backbone": "efficientnet_lite0", "decoder_channels": [8] * 5}
    network = JointNet(**arguments, pretrained=False)  # type: ignore[arg-type]
    info = ModelInfo({"_target_": "scripts.networks.joint_net.JointNet", **arguments}, CLASSES, (64, 64), 0.5)
    write_model(tmp_path / "model.safetensors", network.state_dict(), info)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.tif").write_bytes(slide.read_bytes())
    (folder / "bad.tif").write_text("no slide")
    command = [sys.executable, "-m", "monai.bundle", "run", "slide", "--config_file", str(CONFIG),
               "--slides", str(folder), "--bundle_root", str(ROOT), "--output_dir", str(tmp_path / "out"),
               "--native_size", "[128, 128]",
               "--ckpt", str(tmp_path / "model.safetensors"), "--tile", "256", "--margin", "32"]  # fmt: skip
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode != 0
    assert "Traceback" not in found.stderr and "bad.tif" in found.stderr.splitlines()[-1]
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES | {TABLE}
    assert float(table(tmp_path / "out")["a"]["p_benign"]) > 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.svs", "a.TIF", "deep/c.ndpi", "deep/.hidden.tif", ".cache/d.tif", "notes.txt", "out/a_mask.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_folders_are_searched_but_not_the_results(folder: Path) -> None:
    found = find_slides(str(folder), folder / "out")
    assert list(found) == ["a", "b", "deep/c"]
    assert found["deep/c"] == folder / "deep" / "c.ndpi"
    assert "out/a_mask" in find_slides(str(folder), folder / "elsewhere")


def test_results_in_a_folder_above_are_no_obstacle(folder: Path) -> None:
    assert list(find_slides(str(folder / "deep"), folder)) == ["c"]


def test_one_file_whatever_its_suffix(folder: Path) -> None:
    assert find_slides(str(folder / "notes.txt"), folder) == {"notes": folder / "notes.txt"}


def test_names_that_would_be_shared_keep_their_suffix(folder: Path) -> None:
    (folder / "b.tif").touch()
    assert list(find_slides(str(folder), folder / "out")) == ["a", "b.svs", "b.tif", "deep/c"]


@pytest.mark.parametrize(
    ("path", "text"), [(None, "--slides PATH"), ("none", "nothing there"), ("empty", "no slide in the folder")]
)
def test_nothing_to_predict(path: str | None, text: str, folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match=text):
        find_slides(path and str(folder / path), folder / "out")


def test_images_are_sent_to_their_own_command(folder: Path) -> None:
    image = folder / "empty" / "x.png"
    image.parent.mkdir()
    image.touch()
    for named in (image, image.parent):
        with pytest.raises(InputError) as caught:
            find_slides(str(named), folder / "out")
        assert f"inference.json --dataset_dir {named}." in str(caught.value)


def test_results_must_not_lie_among_the_slides(folder: Path) -> None:
    with pytest.raises(InputError, match=r"among the slides.*--output_dir"):
        find_slides(str(folder), folder / "deep" / "..")
