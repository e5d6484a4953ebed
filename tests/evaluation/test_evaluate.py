from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from PIL import Image

from scripts.core.errors import user_error_of
from scripts.evaluation.metrics import dice
from scripts.evaluation.tables import TITLES
from scripts.images.masks import read_mask
from scripts.networks.model_file import write_model
from scripts.state.reader import StateReader
from scripts.trained.source import load_model
from tests.support.tiny_runs import CONFIGS, make_images, open_tiny, tiny_loop

FILES = {"per_image.csv", "summary.csv", "summary.json", "confusion.csv"}


@pytest.fixture(scope="module")
def finished(shapes_data: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run of one round."""
    folder = tmp_path_factory.mktemp("runs")
    tiny_loop(shapes_data, folder, "random", **{"active#rounds": 1}).run()
    return folder


def evaluation(data: Path, output: Path, **changes: Any) -> ConfigParser:
    """The config of ``evaluate``, as the command line makes it."""
    parser = ConfigParser(ConfigParser.load_config_files([CONFIGS / "train.json", CONFIGS / "evaluate.json"]))
    small = {"device": "cpu", "demo": None, "dataset_dir": str(data), "output_dir": str(output)}
    for key, value in {**small, "evaluate#resamples": 50, **changes}.items():
        parser[key] = value
    return parser


def evaluate(data: Path, output: Path, **changes: Any) -> Path:
    return evaluation(data, output, **changes).get_parsed_content("evaluate")


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def values(folder: Path, group: str = "all", name: str = "") -> dict[str, Any]:
    content = json.loads((folder / "summary.json").read_text())
    (found,) = [g["metrics"] for g in content["groups"] if (g["group"], g["name"]) == (group, name)]
    return {metric: cell["value"] for metric, cell in found.items()}


def refusal(*arguments: Any, **changes: Any) -> str:
    with pytest.raises(Exception) as caught:  # MONAI wraps the error in its own
        evaluate(*arguments, **changes)
    return str(user_error_of(caught.value))


class TestCommand:
    def test_measures_what_the_run_measured(self, shapes_folder: Path, finished: Path, tmp_path: Path) -> None:
        folder = evaluate(shapes_folder, finished, **{"evaluate#folder": str(tmp_path)})
        assert {path.name for path in folder.iterdir()} == FILES
        with StateReader.open(finished / "random_seed0") as state:
            expected = state.metrics(0)[0]
        found = values(folder)
        for name in ("dice", "pxap", "accuracy"):
            assert found[name] == pytest.approx(expected[name], abs=1e-6), name
        content = json.loads((folder / "summary.json").read_text())
        assert content["model"]["threshold"] == expected["threshold"]
        assert content["model"]["provenance"]["run"] == "random_seed0"
        assert content["data"] | {"sha256": ""} == {
            "split": "test", "images": 4, "masks": 4, "masks_with_numbered_objects": 0, "empty_masks": 0,
            "left_out": {}, "sha256": "",
        }  # fmt: skip
        assert sum(number for number, *_ in content["calibration"]["pixels"]) == 4 * 64 * 64
        assert sum(number for number, *_ in content["calibration"]["class"]) == 4
        assert [group["name"] for group in content["groups"]] == ["", "a", "b"]

    def test_tables_agree(self, shapes_folder: Path, finished: Path, tmp_path: Path) -> None:
        folder = evaluate(shapes_folder, finished, **{"evaluate#folder": str(tmp_path)})
        images = rows(folder / "per_image.csv")
        assert [row["id"] for row in images] == [f"test_{i:02d}" for i in range(4)]
        summary = {(row["group"], row["name"], row["metric"]): row for row in rows(folder / "summary.csv")}
        for metric in ("dice", "iou", "hd95"):
            mean = np.mean([float(row[metric]) for row in images])
            assert float(summary["all", "", metric]["value"]) == pytest.approx(mean, abs=1e-6)
        right = np.mean([row["class"] == row["predicted"] for row in images])
        assert float(summary["all", "", "accuracy"]["value"]) == right
        confusion = rows(folder / "confusion.csv")
        assert sum(int(v) for row in confusion for k, v in row.items() if k != "true") == 4

    def test_bad_images_stop_it_or_are_named_in_the_summary(self, finished: Path, tmp_path: Path) -> None:
        data = make_images(tmp_path / "data")
        (data / "test_01.png").write_bytes(b"")
        where = {"evaluate#folder": str(tmp_path / "evaluation")}
        assert "test_01.png: file is empty" in refusal(data, finished, **where)
        folder = evaluate(data, finished, on_bad_image="skip", **where)
        assert len(rows(folder / "per_image.csv")) == 3
        left_out = json.loads((folder / "summary.json").read_text())["data"]["left_out"]
        assert list(left_out) == ["test_01"]
        assert "file is empty" in left_out["test_01"]

    def test_is_repeatable(self, shapes_folder: Path, finished: Path, tmp_path: Path) -> None:
        folders = [evaluate(shapes_folder, finished, **{"evaluate#folder": str(tmp_path / n)}) for n in "ab"]
        for name in FILES:
            assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()

    def test_split_threshold_and_default_folder(self, shapes_folder: Path, finished: Path) -> None:
        folder = evaluate(shapes_folder, finished, **{"evaluate#split": "val", "model#threshold": 0.0})
        assert folder == finished / "evaluation"
        images = rows(folder / "per_image.csv")
        assert {row["split"] for row in images} == {"val"}
        assert all(int(row["pred_px"]) == 64 * 64 for row in images)

    def test_of_a_file(self, shapes_folder: Path, finished: Path, tmp_path: Path) -> None:
        model = load_model(finished)
        write_model(tmp_path / "model.safetensors", model.network.state_dict(), model.info)
        direct = evaluate(shapes_folder, finished, **{"evaluate#folder": str(tmp_path / "direct")})
        changes = {"ckpt": str(tmp_path / "model.safetensors"), "evaluate#folder": str(tmp_path / "file")}
        again = evaluate(shapes_folder, tmp_path / "nothing", **changes)
        assert (again / "summary.csv").read_bytes() == (direct / "summary.csv").read_bytes()
        assert json.loads((again / "summary.json").read_text())["model"]["provenance"]["file"] == "model.safetensors"

    def test_classifiers_masks_of_wsl(self, shapes_folder: Path, shapes_data: Any, tmp_path: Path) -> None:
        tiny_loop(shapes_data, tmp_path, "wsl").run()
        found = values(evaluate(shapes_folder, tmp_path))
        with StateReader.open(tmp_path / "wsl_seed0") as state:
            assert found["dice"] == pytest.approx(state.metrics(0)[0]["dice"], abs=1e-6)
        assert "pixel_ece" not in found


class TestTruth:
    def test_numbered_objects_are_read_from_the_files(self, finished: Path, tmp_path: Path) -> None:
        data = make_images(tmp_path / "data")
        for path in data.glob("test_*_mask.png"):
            numbers = np.asarray(Image.open(path)).copy()
            numbers[:, 32:] *= 7
            Image.fromarray(numbers).save(path)
        # the same foreground in other files: the run's images, another hash of the data
        numbered, joined = (
            evaluate(data, finished, **{"evaluate#instances": how, "evaluate#folder": str(tmp_path / how)})
            for how in ("auto", "components")
        )
        count = {f: [int(row["true_objects"]) for row in rows(f / "per_image.csv")] for f in (numbered, joined)}
        expected = [len(np.unique(np.asarray(Image.open(p)))) - 1 for p in sorted(data.glob("test_*_mask.png"))]
        assert count[numbered] == expected and max(expected) == 2
        assert count[joined] == [1, 1, 1, 1]
        assert values(numbered)["dice"] == values(joined)["dice"]

    def test_predicted_masks_can_be_cleaned_first(self, finished: Path, tmp_path: Path) -> None:
        data = make_images(tmp_path / "data")
        folder = evaluate(
            data, finished, **{"evaluate#folder": str(tmp_path / "out"), "evaluate#cleaning#objects": 64 * 64 + 1}
        )
        assert {row["pred_px"] for row in rows(folder / "per_image.csv")} == {"0"}
        assert json.loads((folder / "summary.json").read_text())["cleaning"] == {"objects": 4097, "holes": 0}

    def test_images_without_masks_count_for_the_class(self, finished: Path, tmp_path: Path) -> None:
        data = make_images(tmp_path / "data", without_mask={"test_01"})
        folder = evaluate(data, finished, **{"evaluate#folder": str(tmp_path / "out")})
        images = rows(folder / "per_image.csv")
        assert [row["dice"] == "" for row in images] == [False, True, False, False]
        summary = {row["metric"]: row for row in rows(folder / "summary.csv") if row["group"] == "all"}
        assert (summary["dice"]["n"], summary["accuracy"]["n"]) == ("3", "4")

    def test_dice_is_that_of_the_mask_at_the_threshold(
        self, shapes_folder: Path, finished: Path, tmp_path: Path
    ) -> None:
        changes = {"model#threshold": 1.0, "evaluate#folder": str(tmp_path)}
        images = rows(evaluate(shapes_folder, finished, **changes) / "per_image.csv")
        assert all(int(row["pred_px"]) == 0 and float(row["dice"]) == 0 for row in images)
        truth = read_mask(shapes_folder / "test_00_mask.png")
        assert int(images[0]["true_px"]) == truth.sum()
        assert dice(np.zeros_like(truth), truth) == 0.0
        assert float(images[0]["hd95"]) == pytest.approx(64 * 2**0.5, abs=1e-6)


class TestRefusals:
    def test_images_the_run_was_trained_on(self, finished: Path, tmp_path: Path) -> None:
        data = make_images(tmp_path / "data")
        table = (data / "data.csv").read_text()
        (data / "data.csv").write_text(table.replace("train_00_mask.png,train", "train_00_mask.png,test"))
        text = refusal(data, finished, **{"evaluate#folder": str(tmp_path / "out")})
        assert "test images were in another split of the run" in text and "1 images, the first is train_00" in text
        assert not (tmp_path / "out").exists()

    def test_other_classes(self, finished: Path, tmp_path: Path) -> None:
        data = make_images(tmp_path / "data")
        (data / "data.csv").write_text((data / "data.csv").read_text().replace(",b,", ",c,"))
        assert "differ in their classes" in refusal(data, finished)

    @pytest.mark.parametrize(
        ("key", "value"), [("split", "all"), ("instances", "ids"), ("unit", "x"), ("level", 2.0), ("resamples", 0)]
    )
    def test_settings(self, key: str, value: Any, shapes_folder: Path, finished: Path) -> None:
        assert f"evaluate#{key}" in refusal(shapes_folder, finished, **{f"evaluate#{key}": value})

    def test_no_run(self, shapes_folder: Path, tmp_path: Path) -> None:
        assert "which run is not clear" in refusal(shapes_folder, tmp_path)


class TestBundle:
    @pytest.mark.parametrize("kind", ["train", "evaluation"])
    def test_has_all_properties(
        self, kind: str, shapes_folder: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "path", [*sys.path])
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        workflow = ConfigWorkflow(
            config_file=[str(CONFIGS / name) for name in ("train.json", "evaluate.json")],
            meta_file=str(CONFIGS / "metadata.json"), logging_file=False, workflow_type=kind, run_id="evaluate",
            **{"dataset_dir": str(shapes_folder), "output_dir": str(finished), "demo": None, "device": "cpu",
               "network_def#pretrained": False},
        )  # fmt: skip
        workflow.initialize()
        assert workflow.check_properties() == []

    def test_run_id_evaluates(self, shapes_folder: Path, finished: Path, tmp_path: Path) -> None:
        workflow = ConfigWorkflow(
            config_file=[str(CONFIGS / name) for name in ("train.json", "evaluate.json")],
            meta_file=str(CONFIGS / "metadata.json"), logging_file=False, workflow_type="evaluation", run_id="evaluate",
            **{"dataset_dir": str(shapes_folder), "output_dir": str(finished), "demo": None, "device": "cpu",
               "evaluate#folder": str(tmp_path), "evaluate#resamples": 20},
        )  # fmt: skip
        before = torch.get_rng_state()
        assert workflow.run() == [tmp_path]
        assert {path.name for path in tmp_path.iterdir()} == FILES
        assert torch.equal(torch.get_rng_state(), before)

    def test_the_run_is_only_read(self, shapes_folder: Path, finished: Path, tmp_path: Path) -> None:
        run = finished / "random_seed0"
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and "blobs" in path.parts}
        database = (run / "state.sqlite").read_bytes()
        evaluate(shapes_folder, finished, **{"evaluate#folder": str(tmp_path)})
        assert (run / "state.sqlite").read_bytes() == database
        assert all(path.read_bytes() == content for path, content in before.items())


class TestPage:
    """docs/evaluation.md against the overlay and the code."""

    PAGE = (CONFIGS.parents[1] / "docs" / "evaluation.md").read_text()
    OVERLAY = ConfigParser(json.loads((CONFIGS / "evaluate.json").read_text()))

    def test_names_every_setting(self) -> None:
        built = {"evaluator", "model", "data", "mask_rule"}
        names = {f"evaluate#{key}" for key in self.OVERLAY["evaluate"] if not key.startswith("_")}
        names |= {f"model#{key}" for key in ("run", "round", "threshold", "network")} | {"ckpt"}
        listed = set(re.findall(r"^\| `([\w#]+)` \| ", self.PAGE, re.MULTILINE))
        assert names - {f"evaluate#{key}" for key in built} == {
            name for name in listed if "#" in name or name == "ckpt"
        }

    def test_states_the_defaults(self) -> None:
        found = re.findall(r"^\| `([\w#]+)` \| `([^`<]+)` \|", self.PAGE, re.MULTILINE)
        assert len(found) == 10
        for name, default in found:
            assert self.OVERLAY[name] == json.loads(default), name

    def test_names_every_metric(self) -> None:
        assert set(TITLES) <= set(re.findall(r"`(\w+)`", self.PAGE))


class TestBackground:
    """A run whose class ``n`` has no foreground, and its evaluation, which takes that from the model."""

    NORMAL: ClassVar[dict[str, int]] = {"train": 2, "val": 1, "test": 2}

    @pytest.fixture(scope="class")
    def folders(self, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
        data = make_images(tmp_path_factory.mktemp("data"), normal=self.NORMAL, without_mask=["test_n0"])
        output = tmp_path_factory.mktemp("runs")
        opened = open_tiny(data, background_classes=["n"])
        tiny_loop(opened, output, "random", num_classes=3, **{"active#rounds": 1}).run()
        return data, output

    def test_measures_what_the_run_measured(self, folders: tuple[Path, Path], tmp_path: Path) -> None:
        data, output = folders
        folder = evaluate(data, output, **{"evaluate#folder": str(tmp_path)})
        with StateReader.open(output / "random_seed0") as state:
            expected = state.metrics(0)[0]
        found = values(folder)
        for name in ("dice", "dice_all", "clean_share", "false_area", "pxap", "accuracy"):
            assert found[name] == pytest.approx(expected[name], abs=1e-6), name
        content = json.loads((folder / "summary.json").read_text())
        assert content["model"]["background_classes"] == content["data"]["background_classes"] == ["n"]
        assert (content["data"]["gate"], content["data"]["masks"], content["data"]["empty_masks"]) == (True, 6, 2)
        counts = {row["metric"]: row["n"] for row in rows(folder / "summary.csv") if row["group"] == "all"}
        assert (counts["dice"], counts["dice_all"], counts["clean_share"]) == ("4", "6", "2")
        assert "dice" not in values(folder, "class", "n") and "clean_share" not in values(folder, "class", "a")

    def test_switches_of_the_command_line_win(self, folders: tuple[Path, Path], tmp_path: Path) -> None:
        data, output = folders
        where = {"evaluate#folder": str(tmp_path)}
        gate = evaluate(data, output, background_gate=False, **where)
        assert json.loads((gate / "summary.json").read_text())["data"]["gate"] is False
        found = values(evaluate(data, output, **{"data#background_classes": [], **where}))
        assert not {"dice_all", "clean_share", "false_area"} & found.keys()

    def test_a_predicted_background_class_has_an_empty_mask(self, folders: tuple[Path, Path], tmp_path: Path) -> None:
        data, output = folders
        changes = {"evaluate#folder": str(tmp_path), "model#threshold": 0.0}  # all of an image that is not closed
        for row in rows(evaluate(data, output, **changes) / "per_image.csv"):
            assert (int(row["pred_px"]) == 0) is (row["predicted"] == "n")
