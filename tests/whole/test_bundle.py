"""The bundle as MONAI sees it: metadata, properties, run ids, and the overlays."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from pydoc import locate
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ComponentLocator, ConfigParser, ConfigWorkflow, verify_metadata, verify_net_in_out
from monai.bundle.config_item import ConfigComponent
from PIL import Image

from scripts.core.command_line import run
from scripts.core.errors import InputError, user_error_of
from scripts.data.__main__ import COMMANDS
from scripts.data.datalist import read_datalist
from scripts.images.masks import MaskRule
from tests.support.tiny_runs import CONFIGS, SMALL, tiny_config, what_happened, words_of

BUNDLE = CONFIGS.parent
ROOT = BUNDLE.parent
METADATA = json.loads((CONFIGS / "metadata.json").read_text())
WHOLE = ("metadata", "train", "inference", "inference_trt", "evaluate", "onnx_export", "slide")
OVERLAYS = sorted(path.name for path in CONFIGS.glob("*.json") if path.stem not in WHOLE)
OF_STUDIES = ("runner", "studies", "study")
"""What the overlay of studies adds; all else it changes."""
PUBLISHED_RATES: dict[str, tuple[dict[str, Any], int]] = {
    "glas_AL": ({}, 1000),
    "glas_WSL": ({}, 1000),
    "cub_AL": ({"lr_scheduler#milestones": "$list(range(11, 31, 10))", "lr_scheduler#gamma": 0.95}, 30),
    "cub_WSL": ({"optimizer#lr": 0.01, "lr_scheduler#milestones": "$list(range(11, 91, 10))"}, 90),
}
"""Phase of the published code -> what it changes in published.json, which is that of GlaS, and its epochs."""


def merged(*names: str) -> ConfigParser:
    return ConfigParser(ConfigParser.load_config_files([CONFIGS / name for name in names]))


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a config."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for child in value:
            yield from nodes(child)


class TestLayout:
    @pytest.mark.parametrize("name", ["scripts", "models", "docs", "LICENSE"])
    def test_symlinks_resolve(self, name: str) -> None:
        assert (BUNDLE / name).is_symlink()
        assert (BUNDLE / name).resolve() == (ROOT / name).resolve()
        assert not Path(os.readlink(BUNDLE / name)).is_absolute()

    def test_no_configuration_names_a_machine(self) -> None:
        for path in CONFIGS.iterdir():
            assert not re.search(r"/(home|work|root|tmp|Users)/", path.read_text()), path.name


class TestMetadata:
    def test_versions_are_the_pins(self) -> None:
        lines = (ROOT / "requirements.txt").read_text().splitlines()
        pins = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
        known = {name: pins.pop(name) for name in ("torch", "monai", "numpy")}
        named = {"torch": "pytorch_version", "monai": "monai_version", "numpy": "numpy_version"}
        assert known == {name: METADATA[key] for name, key in named.items()}
        assert METADATA["required_packages_version"] == pins

    def test_version_is_the_projects_and_in_the_changelog(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert METADATA["version"] == project["version"]
        assert METADATA["version"] in METADATA["changelog"]

    def test_passes_monais_schema_offline(self, shared: Path, tmp_path: Path) -> None:
        schema = tmp_path / "schema.json"  # MONAI does not download what is there
        shutil.copyfile(shared / "reference" / "meta_schema_20240725.json", schema)
        assert METADATA["schema"].endswith("meta_schema_20240725.json")
        verify_metadata(meta_file=str(CONFIGS / "metadata.json"), filepath=str(schema))
        broken = {**METADATA, "network_data_format": {"inputs": {"image": {"type": "image"}}, "outputs": {}}}
        (tmp_path / "metadata.json").write_text(json.dumps(broken))
        with pytest.raises(ValueError, match="image"):
            verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(schema))

    def test_network_has_the_shapes_it_says(self) -> None:
        for n in (1, 3):
            verify_net_in_out(
                net_id="network_def", meta_file=str(CONFIGS / "metadata.json"), config_file=str(CONFIGS / "train.json"),
                device="cpu", n=n, **{"network_def#pretrained": False},
            )  # fmt: skip


class TestProperties:
    @pytest.mark.parametrize("overlay", [None, *OVERLAYS])
    def test_training_has_all(
        self, overlay: str | None, shapes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "path", [*sys.path])
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        files = [str(CONFIGS / name) for name in ("train.json", overlay) if name]
        # MONAI builds what it checks
        small = {"dataset_dir": str(shapes_folder), "data#table": None, "data#split_column": "split", "demo": None}
        small |= {
            "mask_rule#foreground": "nonzero",
            "image_size": [64, 64],
            "network_def#pretrained": False,
            "output_dir": str(tmp_path),
        }
        workflow = ConfigWorkflow(
            config_file=files, meta_file=str(CONFIGS / "metadata.json"), logging_file=False, workflow_type="train",
            **small,
        )  # fmt: skip
        workflow.initialize()
        assert workflow.check_properties() == []


class TestConfigs:
    @pytest.mark.parametrize("files", [["train.json"], *(["train.json", name] for name in OVERLAYS)])
    def test_every_target_exists(self, files: list[str]) -> None:
        found = [node for node in nodes(merged(*files).get()) if "_target_" in node]
        assert len(found) > 30
        self.check_targets(found)

    def test_every_target_of_slides_exists(self) -> None:
        found = [node for node in nodes(merged("slide.json").get()) if "_target_" in node]
        assert len(found) > 5
        self.check_targets(found)

    @staticmethod
    def check_targets(found: list[dict[str, Any]]) -> None:
        locator = ComponentLocator()
        for node in found:
            name = ConfigComponent(config=node, id="", locator=locator).resolve_module_name()
            assert callable(name) or locate(name) is not None, node["_target_"]

    @pytest.mark.parametrize("name", OVERLAYS)
    def test_overlays_are_small_and_change_what_there_is(self, name: str) -> None:
        overlay = json.loads((CONFIGS / name).read_text())
        train = merged("train.json")
        assert overlay.pop("_desc_")
        for key in overlay:
            assert key in train or (name == "study.json" and key in OF_STUDIES), key
        assert len(overlay) <= 30

    def test_every_reference_has_its_id(self) -> None:
        train = merged("train.json")
        for text in re.findall(r"@([\w#:]+)", json.dumps(train.get())):
            assert text in train or locate(text) is not None, text


class TestTensorRT:
    FILES = ("inference.json", "inference_trt.json")

    @pytest.fixture
    def parser(self) -> ConfigParser:
        if not (CONFIGS / "inference.json").is_file():
            pytest.skip("the bundle has no inference.json")
        return merged(*self.FILES)

    def test_overlay_changes_what_there_is(self, parser: ConfigParser) -> None:
        overlay = json.loads((CONFIGS / "inference_trt.json").read_text())
        inference = merged("inference.json")
        assert [key for key in overlay if key not in inference] == ["trt"]
        assert "@network" in json.dumps(inference["evaluator"])  # so that the engine is what predicts

    def test_without_a_gpu_one_message_tells_what_is_missing(self, parser: ConfigParser, tmp_path: Path) -> None:
        for key, value in {"bundle_root": str(BUNDLE), "trt": str(tmp_path / "no.ts"), "device": "cpu"}.items():
            parser[key] = value
        with pytest.raises(RuntimeError) as caught:  # MONAI wraps what a target raises
            parser.get_parsed_content("network")
        error = user_error_of(caught.value)
        assert isinstance(error, InputError)
        assert {"device", str(tmp_path / "no.ts")} <= {problem.where for problem in error.problems}


def monai_run(run_id: str, folder: Path, config: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m monai.bundle run``, in tiny steps."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    command = [
        sys.executable,
        "-m",
        "monai.bundle",
        "run",
        run_id,
        "--config_file",
        config,
        *words_of(SMALL, run_id),
        *arguments,
    ]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
class TestCommands:
    def train(self, folder: Path, config: str, data: Path, output: Path, *arguments: str) -> None:
        done = monai_run(
            "training", folder, config, "--dataset_dir", str(data), "--output_dir", str(output), "--active#rounds=1",
            "--active#method", "random", *arguments,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        assert (output / "report.html").is_file()
        assert re.search(r"^\d\d:\d\d:\d\d INFO: round 0 of 0: 2 masks, dice 0\.\d{4}", done.stdout, re.MULTILINE)
        happened = what_happened(output / "random_seed0")
        assert (list(happened["phases"]), happened["metrics"][0]["masks"]) == ([0], 2)

    def test_from_the_root_of_the_repository(self, shapes_folder: Path, tmp_path: Path) -> None:
        self.train(ROOT, "bundle/configs/train.json", shapes_folder, tmp_path / "out")

    def test_from_inside_the_bundle(self, shapes_folder: Path, tmp_path: Path) -> None:
        self.train(BUNDLE, "configs/train.json", shapes_folder, tmp_path / "out")

    def test_from_another_folder(self, shapes_folder: Path, tmp_path: Path) -> None:
        config = str(CONFIGS / "train.json")
        self.train(tmp_path, config, shapes_folder, tmp_path / "out", "--bundle_root", str(BUNDLE))

    def test_run_trains_once_and_writes_the_model(self, shapes_folder: Path, tmp_path: Path) -> None:
        done = monai_run(
            "run", ROOT, "bundle/configs/train.json", "--dataset_dir", str(shapes_folder), "--output_dir",
            str(tmp_path / "out"), "--ckpt_dir", str(tmp_path / "models"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        weights = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
        network = tiny_config(shapes_folder, tmp_path).parser().get_parsed_content("network")
        network.load_state_dict(weights)


def cub_tree(folder: Path) -> Path:
    """CUB-200-2011 with two classes of eight images, five of each in the official training part."""
    rng = np.random.default_rng(0)
    text = {"images": "", "classes": "", "image_class_labels": "", "train_test_split": ""}
    for c, name in enumerate(("001.Black_footed_Albatross", "002.Laysan_Albatross"), start=1):
        text["classes"] += f"{c} {name}\n"
        for i in range(8):
            number = 8 * (c - 1) + i + 1
            mask = np.zeros((70, 90), dtype=np.uint8)
            mask[20:50, 10 + 2 * i : 60] = 255
            mask[15:20, 20:40] = 51  # one of five annotators: not foreground
            pixels = rng.integers(0, 120, (70, 90, 3)) + 60 * c * (mask[..., None] > 0)
            for part, ending, array in (("images", "jpg", pixels), ("segmentations", "png", mask)):
                path = folder / part / name / f"bird_{number}.{ending}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array.astype(np.uint8)).save(path)
            text["images"] += f"{number} {name}/bird_{number}.jpg\n"
            text["image_class_labels"] += f"{number} {c}\n"
            text["train_test_split"] += f"{number} {int(i < 5)}\n"
    for name, content in text.items():
        (folder / f"{name}.txt").write_text(content)
    return folder


class TestOverlays:
    def test_cub_end_to_end(self, tmp_path: Path) -> None:
        tree = cub_tree(tmp_path / "CUB_200_2011")
        run("python -m scripts.data", COMMANDS, ["cub", str(tree), "--val_per_class", "1"])
        config = tiny_config(tree, tmp_path / "out", {"num_classes": 2, "active#rounds": 1}, overlay="cub.json")
        config.parser().get_parsed_content("active#loop").run()
        happened = what_happened(tmp_path / "out" / "label_prop_seed0")
        assert happened["metrics"][0]["masks"] == 2
        assert config["mask_rule#foreground"] == "over:127.5"
        found = {row.id: row.cost_px for row in happened["labels"]}
        assert all(1000 < pixels <= 30 * 50 for pixels in found.values())  # without the pixels of one annotator
        listed = read_datalist(str(tree), table="splits.csv", mask_rule=MaskRule("over:127.5"))
        assert listed.counts()["train"] == dict.fromkeys(listed.classes, 4)

    def test_published_trains(self, shapes_folder: Path, tmp_path: Path) -> None:
        changes = {
            "network_def#base_width": 4, "network_def#leak": 4, "active#rounds": 1, "active#max_overlays": 0,
            "geometry#min_side": 80, "geometry#crop": 72,  # the images are small: 432 would only take longer
            "active#stage0#overrides": {
                **json.loads((CONFIGS / "published.json").read_text())["active#stage0#overrides"], "max_epochs": 1,
            },
        }  # fmt: skip
        small = {key: value for key, value in SMALL.items() if not key.startswith(("network_def#dec", "active#stage0"))}
        parser = merged("train.json", "glas.json", "published.json")
        paths = {"dataset_dir": str(shapes_folder), "output_dir": str(tmp_path), "data#table": None}
        for key, value in {**small, **paths, "data#split_column": "split", "variants": None, **changes}.items():
            parser[key] = value
        parser.get_parsed_content("active#loop").run()
        happened = what_happened(tmp_path / "label_prop_seed0")
        assert happened["phases"][0][-1] == "refresh"
        assert happened["metrics"][0]["pseudo_n"] == 10
        assert parser.get_parsed_content("network").frozen

    def test_published_optimisation(self, tmp_path: Path) -> None:
        parser = merged("train.json", "published.json")
        parser["network_def#pretrained"], parser["device"] = False, "cpu"
        optimizer = parser.get_parsed_content("optimizer")
        assert isinstance(optimizer, torch.optim.SGD)
        group = optimizer.param_groups[0]
        assert [group[name] for name in ("lr", "momentum", "nesterov", "weight_decay")] == [0.1, 0.9, True, 1e-4]
        assert parser["train#handlers#1#_target_"] == "LrScheduleHandler" and parser["train#handlers#1#epoch_level"]
        branch = sum(p.numel() for p in parser.get_parsed_content("network").parameters() if p.requires_grad)
        assert branch == 15_719_809

    @pytest.mark.parametrize("phase", PUBLISHED_RATES)
    def test_published_rates_equal_golden_in_every_epoch(self, phase: str, golden: Any) -> None:
        steps, (changes, epochs) = golden("lr_schedule")[phase], PUBLISHED_RATES[phase]
        ends = [*(first for first, _ in steps[1:]), epochs]
        expected = [rate for (first, rate), end in zip(steps, ends, strict=True) for _ in range(end - first)]
        parser = merged("train.json", "published.json")
        own = parser["active#stage0#overrides"] if phase.endswith("WSL") else {}
        for key, value in {"optimizer#params": [torch.nn.Parameter(torch.zeros(1))], **own, **changes}.items():
            parser[key] = value
        optimizer, schedule = (parser.get_parsed_content(name) for name in ("optimizer", "lr_scheduler"))
        rates = []
        for _ in range(epochs):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()  # as LrScheduleHandler, at the end of the epoch
        assert rates == pytest.approx(expected, abs=1e-9)
