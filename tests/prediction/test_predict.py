from __future__ import annotations

import csv
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, verify_net_in_out
from PIL import Image

from scripts.active.run_record import stage0_overrides
from scripts.data.run_data import RunData
from scripts.networks.model_file import build_network, read_info
from scripts.prediction.listing import MARK, RESULT_FOLDERS
from scripts.state.reader import StateReader
from scripts.trained.source import load_model
from scripts.training.learner import Learner
from scripts.training.stage0 import theta0
from tests.prediction.test_transforms import asymmetric
from tests.support.colour_net import TARGET, inference, refusal, write_colour_model
from tests.support.tiny import tiny_net
from tests.support.tiny_runs import CONFIGS, tiny_loop

Predict = Callable[..., Path]


@pytest.fixture
def predict(tmp_path: Path) -> Predict:
    """``predict(dataset_dir, output_dir, **changes)`` runs the command with the network of colours."""

    def run(data: Path, output: Path | None = None, **changes: Any) -> Path:
        return settings(tmp_path, data, output, **changes).get_parsed_content("run")[0]

    return run


def settings(folder: Path, data: Path, output: Path | None = None, **changes: Any) -> ConfigParser:
    (folder / "model").mkdir(exist_ok=True)
    if not (folder / "model" / "model.pt").exists():
        write_colour_model(folder / "model")
    paths = {"dataset_dir": str(data), "output_dir": str(output or folder / "out")}
    return inference({"ckpt": str(folder / "model" / "model.pt"), **paths, **changes})


def save(folder: Path, name: str, pixels: np.ndarray | None = None) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(asymmetric((64, 96), (5, 25, 50, 90)) if pixels is None else pixels).save(path)
    return path


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "predictions.csv", newline="") as file:
        return list(csv.DictReader(file))


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


class TestResults:
    def test_every_image_gets_its_files_and_a_row(self, predict: Predict, tmp_path: Path) -> None:
        for name in ("a.png", "a.jpg", "s/a.bmp", "s/b.tif"):
            save(tmp_path / "in", name)
        out = predict(tmp_path / "in")
        ids = ["a.jpg", "a.png", "s/a", "s/b"]
        expected = {f"{kind}/{key}.png" for kind in RESULT_FOLDERS[:4] for key in ids}
        assert files(out) == expected | {"predictions.csv", "predictions.json", MARK}
        found = rows(out)
        assert [row["id"] for row in found] == ids
        assert [row["image"] for row in found] == ["a.jpg", "a.png", "s/a.bmp", "s/b.tif"]
        for row in found:
            assert (row["class"], row["threshold"], row["error"]) == ("blue", "0.500000", "")
            assert (row["height"], row["width"]) == ("64", "96")
            assert float(row["probability_blue"]) + float(row["probability_red"]) == pytest.approx(1, abs=2e-6)
            assert float(row["seconds"]) > 0
        assert float(found[1]["foreground_fraction"]) == pytest.approx(20 * 40 / (64 * 96), abs=1e-6)
        content = json.loads((out / "predictions.json").read_text())
        assert (content["images"], content["skipped"]) == (4, 0)
        assert content["model"]["classes"] == ["blue", "red"]

    @pytest.mark.parametrize(("size", "box"), [((30, 70), (2, 9, 40, 65)), ((75, 40), (50, 70, 3, 30))])
    def test_orientation_of_pictures(
        self, size: tuple[int, int], box: tuple[int, int, int, int], predict: Predict, tmp_path: Path
    ) -> None:
        write_colour_model_at(tmp_path, image_size=size, native_size=size)
        source = save(tmp_path / "in", "a.png", asymmetric(size, box))
        out = predict(source)
        with Image.open(source) as picture, Image.open(out / "masks" / "a.png") as mask:
            assert mask.size == picture.size
            for at in ((box[2], box[0]), (box[3] - 1, box[1] - 1), (box[2] - 1, box[0]), (box[2], box[1]), (0, 0)):
                assert (mask.getpixel(at) == 255) == (picture.getpixel(at) == (255, 0, 0)), at

    def test_orientation_of_nifti(self, predict: Predict, tmp_path: Path) -> None:
        write_colour_model_at(tmp_path, image_size=(20, 50), native_size=(20, 50))
        values = np.zeros((50, 20, 3), np.uint8)  # x, y, colour
        values[..., 2], values[33:47, 2:9] = 255, (255, 0, 0)
        affine = np.diag([0.5, 0.25, 1, 1])
        (tmp_path / "in").mkdir()
        nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "in" / "a.nii.gz")
        out = predict(tmp_path / "in")
        mask: Any = nibabel.load(out / "masks" / "a.nii.gz")
        assert np.array_equal(np.asanyarray(mask.dataobj), values[..., 0] == 255)
        assert np.array_equal(mask.affine, affine)
        assert files(out) >= {"probabilities/a.nii.gz", "cams/a.nii.gz", "overlays/a.png"}

    def test_is_what_the_run_itself_predicts(self, shapes_folder: Path, shapes_data: RunData, tmp_path: Path) -> None:
        loop = tiny_loop(shapes_data, tmp_path, "random", **{"active#rounds": 1})
        loop.run()
        changes = {"dataset_dir": str(shapes_folder), "output_dir": str(tmp_path / "out"), "save#bits": 16}
        network = {"network_def": {"_target_": "scripts.networks.joint_net.JointNet", "pretrained": False}}
        out = inference({**network, **changes, "model#output_dir": str(tmp_path)}).get_parsed_content("run")[0]
        model = load_model(tmp_path)
        with StateReader.open(tmp_path / "random_seed0") as state:
            assert model.info.threshold == state.metrics(0)[0]["threshold"]
        expected = next(run_learner(loop, shapes_data).predict(["test_01"], model.network.state_dict()))
        found = np.asarray(Image.open(out / "probabilities" / "test_01.png")) / 65535
        assert np.abs(found - expected.probs).max() < 1e-4
        mask = np.asarray(Image.open(out / "masks" / "test_01.png"))
        assert np.array_equal(mask == 255, expected.probs >= model.info.threshold)
        (row,) = [row for row in rows(out) if row["id"] == "test_01"]
        assert row["threshold"] == f"{model.info.threshold:.6f}"
        assert len(rows(out)) == 20  # the images of the table, not its masks

    def test_masks_of_the_classifier(self, predict: Predict, tmp_path: Path) -> None:
        write_colour_model_at(tmp_path, mask_from="cam")
        pixels = asymmetric((64, 96), (0, 64, 0, 64)) // np.array([1, 1, 2], np.uint8)  # half as blue as red
        out = predict(save(tmp_path / "in", "a.png", pixels))
        (row,) = rows(out)
        assert (row["class"], row["threshold"]) == ("red", "")
        assert not (out / "probabilities").exists()
        mask = np.asarray(Image.open(out / "masks" / "a.png"))
        assert mask[:, :40].all() and not mask[:, 80:].any()

    def test_a_large_image_passes_in_tiles(self, predict: Predict, tmp_path: Path) -> None:
        pixels = asymmetric((150, 400), (100, 140, 300, 390))
        out = predict(save(tmp_path / "in", "a.png", pixels))
        assert np.array_equal(np.asarray(Image.open(out / "masks" / "a.png")) == 255, pixels[..., 0] == 255)

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
    def test_a_gpu_gives_the_same(self, predict: Predict, tmp_path: Path) -> None:
        save(tmp_path / "in", "small.png")
        save(tmp_path / "in", "large.png", asymmetric((150, 400), (100, 140, 300, 390)))
        outs = [predict(tmp_path / "in", tmp_path / kind, device=kind) for kind in ("cpu", "cuda")]
        for name in ("small", "large"):
            masks = [np.asarray(Image.open(out / "masks" / f"{name}.png")) for out in outs]
            assert np.array_equal(*masks)
        image = str(tmp_path / "in" / "small.png")
        settings(tmp_path, tmp_path / "in", device="cuda", image=image).get_parsed_content("explain")

    def test_options(self, predict: Predict, tmp_path: Path) -> None:
        save(tmp_path / "in", "a.png")
        out = predict(tmp_path / "in", **{"save#overlays": False, "save#bits": 16, "model#threshold": 1.0})
        assert not (out / "overlays").exists()
        with Image.open(out / "probabilities" / "a.png") as picture:
            assert picture.mode.startswith("I;16")
        assert not np.asarray(Image.open(out / "masks" / "a.png")).any()

    def test_global_random_numbers_are_left_alone(self, predict: Predict, tmp_path: Path) -> None:
        save(tmp_path / "in", "a.png")
        config = settings(tmp_path, tmp_path / "in")
        config.get_parsed_content("network_def")
        before = torch.get_rng_state()
        config.get_parsed_content("run")
        assert torch.equal(torch.get_rng_state(), before)


def write_colour_model_at(folder: Path, **changes: Any) -> None:
    (folder / "model").mkdir()
    write_colour_model(folder / "model", **changes)


def run_learner(loop: Any, data: RunData) -> Learner:
    start = theta0(loop.config, data, stage0_overrides(loop.config), loop.settings.stage0_folder)
    return Learner(loop.config, data, None, start)


class TestOddImages:
    @pytest.mark.parametrize(
        ("name", "pixels"),
        [
            ("one.png", np.full((1, 1, 3), 200, np.uint8)),
            ("grey.png", np.full((40, 30), 90, np.uint8)),
            ("deep.png", np.linspace(0, 65535, 1200).reshape(40, 30).astype(np.uint16)),
            ("deep.tif", np.linspace(0, 65535, 1200).reshape(40, 30).astype(np.uint16)),
            ("line.png", np.full((1, 300, 3), 7, np.uint8)),
            ("alpha.png", np.full((30, 20, 4), 128, np.uint8)),
        ],
    )
    def test_are_predicted(self, name: str, pixels: np.ndarray, predict: Predict, tmp_path: Path) -> None:
        out = predict(save(tmp_path / "in", name, pixels))
        (row,) = rows(out)
        assert (int(row["height"]), int(row["width"])) == pixels.shape[:2]
        assert np.asarray(Image.open(out / "masks" / f"{Path(name).stem}.png")).shape == pixels.shape[:2]

    def test_what_cannot_be_read_is_listed_and_the_rest_done(self, predict: Predict, tmp_path: Path) -> None:
        data = tmp_path / "in"
        for name in ("a.png", "c.png", "e.png"):
            save(data, name)
        (data / "b.png").write_text("no image")
        (data / "d.png").write_bytes((data / "a.png").read_bytes()[:120])
        (data / "f.png").write_bytes(b"")
        text = refusal(settings(tmp_path, data))
        assert text.startswith("3 problems") and all(f"{name}.png" in text for name in "bdf")
        out = tmp_path / "out"
        assert [row["id"] for row in rows(out) if not row["error"]] == ["a", "c", "e"]
        assert [row["class"] for row in rows(out) if row["error"]] == ["", "", ""]
        assert {path.stem for path in (out / "masks").iterdir()} == {"a", "c", "e"}
        assert json.loads((out / "predictions.json").read_text())["skipped"] == 3

    def test_only_a_text_file_named_png(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "a.png").write_text("no image")
        assert "a.png" in refusal(settings(tmp_path, tmp_path / "in"))
        assert files(tmp_path / "out") == {"predictions.csv", "predictions.json", MARK}

    def test_names_that_are_no_text(self, tmp_path: Path) -> None:
        data = tmp_path / "in"
        try:
            save(data, os.fsdecode(b"a\xff.png"))
            (data / os.fsdecode(b"b\xff.png")).write_text("no image")
        except OSError:
            pytest.skip("the file system takes only names that are text")
        refusal(settings(tmp_path, data))
        assert [(row["image"], row["error"] == "") for row in rows(tmp_path / "out")] == [
            ("a?.png", True),
            ("b?.png", False),
        ]
        assert (tmp_path / "out" / "masks" / os.fsdecode(b"a\xff.png")).is_file()

    def test_a_row_without_its_file(self, predict: Predict, tmp_path: Path) -> None:
        save(tmp_path / "in", "a.png")
        (tmp_path / "in" / "list.csv").write_text("image\nnowhere.png\na.png\n")
        assert "file is missing" in refusal(settings(tmp_path, tmp_path / "in" / "list.csv"))
        assert [row["error"] == "" for row in rows(tmp_path / "out")] == [False, True]


class TestRefusals:
    def test_a_folder_without_images(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        assert "no image in the folder" in refusal(settings(tmp_path, tmp_path / "in"))
        assert not (tmp_path / "out").exists()

    def test_a_checkpoint_of_another_network(self, tmp_path: Path) -> None:
        save(tmp_path / "in", "a.png")
        config = settings(tmp_path, tmp_path / "in")
        torch.save(tiny_net(2).state_dict(), tmp_path / "model" / "model.pt")
        assert "model does not fit its network" in refusal(config)
        assert not (tmp_path / "out").exists()

    def test_a_pickle_in_place_of_a_checkpoint(self, tmp_path: Path) -> None:
        class Payload:
            def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
                return os.mkdir, (str(tmp_path / "canary"),)

        save(tmp_path / "in", "a.png")
        config = settings(tmp_path, tmp_path / "in")
        (tmp_path / "model" / "model.pt").write_bytes(pickle.dumps(Payload()))
        assert "model.pt" in refusal(config)
        assert not (tmp_path / "canary").exists() and not (tmp_path / "out").exists()

    @pytest.mark.parametrize(("key", "value"), [("save#bits", 12), ("save#writers", 0), ("model#threshold", 2.0)])
    def test_settings(self, key: str, value: Any, tmp_path: Path) -> None:
        save(tmp_path / "in", "a.png")
        assert key.rpartition("#")[2] in refusal(settings(tmp_path, tmp_path / "in", **{key: value}))

    def test_images_and_results_in_one_folder(self, tmp_path: Path) -> None:
        save(tmp_path / "in", "a.png")
        assert "in one folder" in refusal(settings(tmp_path, tmp_path / "in", tmp_path / "in"))
        assert files(tmp_path / "in") == {"a.png"}


class TestAgain:
    def test_results_inside_the_images_are_never_images(self, predict: Predict, tmp_path: Path) -> None:
        data = tmp_path / "in"
        save(data, "a.png")
        save(data, "a_mask.png")
        for output in (data / "out", data / "out", data / "other"):
            assert [row["image"] for row in rows(predict(data, output))] == ["a.png"]

    def test_results_are_replaced_and_leftovers_removed(self, predict: Predict, tmp_path: Path) -> None:
        data, out = tmp_path / "in", tmp_path / "out"
        save(data, "a.png")
        save(data, "b.png")
        predict(data)
        (out / "masks" / ".write-0123456789abcdef.tmp").write_bytes(b"half")
        save(data, "a.png", asymmetric((64, 96), (0, 64, 0, 96)))
        (data / "b.png").write_text("damaged since")
        refusal(settings(tmp_path, data))
        assert np.asarray(Image.open(out / "masks" / "a.png")).all()
        assert not [name for name in files(out) if name.endswith(".tmp") or "/b." in name]

    def test_a_run_that_was_cut_off_can_be_repeated(
        self, predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data, out = tmp_path / "in", tmp_path / "out"
        for name in "abcd":
            save(data, f"{name}.png")
        before = files(predict(data))

        def failing(folder: Path, image: Any, *rest: Any) -> None:
            if image.id == "b":
                raise OSError("disk is gone")

        with monkeypatch.context() as patch:
            patch.setattr("scripts.prediction.predict.write_results", failing)
            with pytest.raises(Exception) as caught:  # MONAI wraps the error
                predict(data)
        assert "disk is gone" in str(caught.getrepr(chain=True))
        assert not (out / "predictions.csv").exists()  # which says that all is done
        assert files(predict(data)) == before


class TestBundle:
    def test_has_all_properties(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "path", [*sys.path])
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        save(tmp_path / "in", "a.png")
        settings(tmp_path, tmp_path / "in")
        workflow = ConfigWorkflow(
            config_file=str(CONFIGS / "inference.json"), meta_file=str(CONFIGS / "metadata.json"), logging_file=False,
            workflow_type="infer", dataset_dir=str(tmp_path / "in"), output_dir=str(tmp_path / "out"), device="cpu",
            ckpt=str(tmp_path / "model" / "model.pt"), network_def={"_target_": TARGET},
        )  # fmt: skip
        workflow.initialize()
        assert workflow.check_properties() == []
        assert not (tmp_path / "out").exists()
        workflow.run()
        workflow.finalize()
        assert len(rows(tmp_path / "out")) == 1

    def test_network_has_the_shapes_of_the_metadata(self) -> None:
        verify_net_in_out(
            net_id="network_def", meta_file=str(CONFIGS / "metadata.json"),
            config_file=str(CONFIGS / "inference.json"), device="cpu", n=2,
        )  # fmt: skip

    def test_network_is_the_one_that_is_trained_by_default(self) -> None:
        trained = json.loads((CONFIGS / "train.json").read_text())["network_def"]
        here = json.loads((CONFIGS / "inference.json").read_text())["network_def"]
        assert here.pop("_requires_") == {"_target_": "scripts.core.config_checks.check_export", "config": "@config"}
        assert not [value for value in here.values() if isinstance(value, str) and value[:1] in "$@%"]
        trained |= {"num_classes": 2, "pretrained": False, "freeze_classifier": False}
        assert here == trained

    def test_released_model_fits(self) -> None:
        path = CONFIGS.parents[1] / "models" / "model.pt"
        if not path.is_file():
            pytest.skip("no model is released yet")
        here = json.loads((CONFIGS / "inference.json").read_text())["network_def"]
        info = read_info(path)
        build_network(info, torch.load(path, weights_only=True), torch.device("cpu"), {info.network["_target_"]})
        same = {key: value for key, value in info.network.items() if key not in ("pretrained", "freeze_classifier")}
        assert {key: here[key] for key in same} == same

    @pytest.mark.slow
    def test_command_fails_at_its_end(self, tmp_path: Path) -> None:
        save(tmp_path / "in", "a.png")
        (tmp_path / "in" / "b.png").write_text("no image")
        settings(tmp_path, tmp_path / "in")
        done = subprocess.run(
            [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(CONFIGS / "inference.json"),
             "--bundle_root", str(CONFIGS.parent), "--dataset_dir", "in", "--output_dir", "out", "--device", "cpu",
             "--ckpt", "model/model.pt", "--network_def", f"{{'_target_': '{TARGET}'}}"],
            cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(CONFIGS.parents[1])},
        )  # fmt: skip
        assert done.returncode != 0
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("error: ") and "b.png" in last
        assert "1 of 2 images predicted" in done.stdout
        assert len(rows(tmp_path / "out")) == 2


class TestPage:
    """docs/predict.md against the config."""

    PAGE = (CONFIGS.parents[1] / "docs" / "predict.md").read_text()
    CONFIG = ConfigParser(json.loads((CONFIGS / "inference.json").read_text()))
    DOCUMENTED = ("model", "save", "explain", "inferer", "cleaning")

    def test_names_every_setting(self) -> None:
        listed = set(re.findall(r"^\| `([\w#]+)` \| ", self.PAGE, re.MULTILINE))
        names = {f"{owner}#{key}" for owner in self.DOCUMENTED for key in self.CONFIG[owner] if key[0] != "_"}
        built = {name for name in names if str(self.CONFIG[name])[:1] == "@"}
        assert names - built <= listed | {"model#released"}
        assert {name for name in listed if "#" in name} <= names | {"preprocessing#transforms#0#whole_up_to"}

    def test_states_the_defaults(self) -> None:
        found = re.findall(r"^\| `([\w#]+)` \| `([^`<]+)` \|", self.PAGE, re.MULTILINE)
        assert len(found) > 15
        for name, default in found:
            assert self.CONFIG[name] == json.loads(default), name

    def test_commands_name_ids_that_exist(self) -> None:
        commands = re.findall(r"^python -m monai.bundle run (.*)$", self.PAGE, re.MULTILINE)
        assert len(commands) == 3
        for command in commands:
            first = command.split()[0]
            keys = [*re.findall(r"--([\w#]+)", command), *([] if first.startswith("--") else [first])]
            assert [key for key in keys if key not in self.CONFIG] == ["config_file"]

    def test_names_every_column_and_array(self) -> None:
        named = set(re.findall(r"`(\w+)`", self.PAGE))
        assert {
            "image",
            "id",
            "class",
            "foreground_fraction",
            "threshold",
            "height",
            "width",
            "seconds",
            "error",
        } <= named
