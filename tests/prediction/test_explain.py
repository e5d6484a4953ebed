from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.bundle import ConfigParser
from PIL import Image

from scripts.state.reader import StateReader
from tests.prediction.test_transforms import asymmetric
from tests.support.colour_net import inference, refusal, write_colour_model
from tests.support.tiny_runs import tiny_loop

MAPS = {
    "class_maps",
    "class_scores",
    "class_probabilities",
    "classes",
    "grad_cam",
    "grad_cam_pp",
    "image",
    "mask",
    "about",
}
UNCERTAIN = {f"{kind}_{name}" for kind in ("dropout", "flips") for name in ("mean", "variance", "entropy")}
UNCERTAIN |= {"probability", "entropy"}


@pytest.fixture(scope="module")
def run(shapes_data: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of one round that paired images with donors."""
    folder = tmp_path_factory.mktemp("runs")
    tiny_loop(shapes_data, folder, **{"active#rounds": 1}).run()
    return folder


def of_run(run: Path, image: Path, output: Path, **changes: Any) -> ConfigParser:
    network = {"network_def": {"_target_": "scripts.networks.joint_net.JointNet", "pretrained": False}}
    paths = {"model#output_dir": str(run), "image": str(image), "output_dir": str(output)}
    return inference({**network, **paths, "explain#passes": 3, **changes})


def of_colours(folder: Path, **changes: Any) -> ConfigParser:
    write_colour_model(folder)
    Image.fromarray(asymmetric((64, 96), (10, 30, 40, 90))).save(folder / "a$1.png")
    paths = {"ckpt": str(folder / "model.pt"), "image": str(folder / "a$1.png"), "output_dir": str(folder / "out")}
    return inference({**paths, "explain#passes": 3, **changes})


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as content:
        return {name: content[name] for name in content.files}


class TestOfARun:
    def test_names_the_donor(self, run: Path, shapes_folder: Path, tmp_path: Path) -> None:
        with StateReader.open(run / "label_prop_seed0") as state:
            row = state.pseudo(0, "final")[0]
        image = shapes_folder / f"{row.id}.png"
        path = of_run(run, image, tmp_path / "out").get_parsed_content("explain")
        found = arrays(path.with_suffix(".npz"))
        about = json.loads(str(found["about"]))
        donor = {"id": row.donor, "distance": row.distance, "threshold": row.threshold}
        assert about["origin"]["donor"] == donor
        assert (about["origin"]["id"], about["origin"]["round"]) == (row.id, 0)
        assert about["model"]["provenance"]["round"] == 0
        assert set(found) == MAPS | UNCERTAIN | {"pseudo_mask", "donor_mask"}
        assert found["pseudo_mask"].shape == found["donor_mask"].shape == (64, 64)
        alone = of_run(run, shapes_folder / "test_00.png", tmp_path / "out").get_parsed_content("explain")
        with Image.open(path) as with_donor, Image.open(alone) as without:
            assert with_donor.size[0] == without.size[0] and with_donor.size[1] > without.size[1] + 300

    def test_is_repeatable_by_its_seed(self, run: Path, shapes_folder: Path, tmp_path: Path) -> None:
        image = shapes_folder / "test_00.png"
        paths = [
            of_run(run, image, tmp_path / name, **{"explain#seed": seed}).get_parsed_content("explain")
            for name, seed in (("a", 0), ("b", 0), ("c", 1))
        ]
        assert paths[0].read_bytes() == paths[1].read_bytes()
        first, second, third = (path.with_suffix(".npz").read_bytes() for path in paths)
        assert first == second != third

    def test_agrees_with_the_prediction(self, run: Path, shapes_folder: Path, tmp_path: Path) -> None:
        image = shapes_folder / "test_00.png"
        config = of_run(run, image, tmp_path / "out", dataset_dir=str(image))
        found = arrays(config.get_parsed_content("explain").with_suffix(".npz"))
        config.get_parsed_content("run")
        mask = np.asarray(Image.open(tmp_path / "out" / "masks" / "test_00.png"))
        assert np.array_equal(found["mask"] * 255, mask)


class TestPicture:
    @pytest.mark.parametrize("size", [(1, 1), (40, 300), (300, 40)])
    def test_any_size_of_image(self, size: tuple[int, int], tmp_path: Path) -> None:
        config = of_colours(tmp_path)
        Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(tmp_path / "a$1.png")
        with Image.open(config.get_parsed_content("explain")) as picture:
            assert picture.size[0] == 1702 and picture.size[1] > 700

    def test_shows_image_and_outline_in_their_fields(self, tmp_path: Path) -> None:
        with Image.open(of_colours(tmp_path).get_parsed_content("explain")) as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        scale, left, top = 400 / 96, 18, 66 + 34 + 24
        inside = pixels[round(top + 20 * scale), round(left + 60 * scale)]
        outside = pixels[round(top + 50 * scale), round(left + 60 * scale)]
        assert inside.tolist() == [255, 0, 0] and outside.tolist() == [0, 0, 255]
        second = pixels[top : top + round(64 * scale), left + 422 : left + 822]
        yellow = np.argwhere((second == (255, 230, 40)).all(axis=2)) / scale
        assert np.allclose([yellow.min(axis=0), yellow.max(axis=0)], [[10, 40], [30, 90]], atol=0.8)


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            ({"image": None}, "no image is named"),
            ({"image": "none.png"}, "file is missing"),
            ({"explain#label": "green"}, "unknown class"),
            ({"explain#passes": 1}, "explain#passes"),
            ({"explain#dropout": 0.0}, "explain#dropout"),
        ],
    )
    def test_are_told_before_anything_is_written(self, changes: dict[str, Any], text: str, tmp_path: Path) -> None:
        assert text in refusal(of_colours(tmp_path, **changes), "explain")
        assert not (tmp_path / "out").exists()


def test_a_background_class_leaves_nothing_to_draw(tmp_path: Path) -> None:
    parser = of_colours(tmp_path)
    write_colour_model(tmp_path, background_classes=("blue",))
    found = arrays(Path(parser.get_parsed_content("explain")).with_suffix(".npz"))
    assert not found["mask"].any() and not found["probability"].any()
    assert found["flips_mean"].max() > 0.9  # what the decoder says stays to be seen
