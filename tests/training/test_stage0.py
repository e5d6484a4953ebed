from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import scripts.training.stage0
from scripts.core.errors import StateError
from scripts.networks.theta0 import Theta0
from scripts.state.settings_checks import flatten_settings
from scripts.training.stage0 import stage0_parser, stage0_settings, theta0
from scripts.training.train import Trained
from tests.support.tiny_runs import make_images, open_tiny, tiny_config


def overrides_of(config: Any) -> Any:
    return config["active#stage0#overrides"]


def run(data: Any, folder: Path, seed: int = 0, **changes: Any) -> Theta0:
    config = tiny_config(Path("unused"), folder, changes)
    return theta0(config, data, overrides_of(config), folder / "stage0", seed)


@pytest.fixture()
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Instead of training, note the seed."""
    seeds: list[int] = []

    def train(parser: Any, seed: int, checkpoint: Any) -> Trained:
        seeds.append(seed)
        return Trained({"w": torch.tensor([float(len(seeds))])}, 0.75, 3, 2.0)

    monkeypatch.setattr(scripts.training.stage0, "train", train)
    return seeds


class TestTheta0:
    def test_trains_encoder_and_classifier_but_not_the_decoder(self, shapes_data: Any, tmp_path: Path) -> None:
        config = tiny_config(Path("unused"), tmp_path)
        found = theta0(config, shapes_data, overrides_of(config), tmp_path / "stage0", 0)
        # one step at the smallest rates gives nearly the same initial weights: what does not train is equal
        still = theta0(
            config, shapes_data,
            {**overrides_of(config), "epoch_length": 1, "lr_scheduler#max_lr": [1e-12, 1e-12]}, tmp_path / "b", 0,
        )  # fmt: skip
        moved = {
            name.split(".")[0]
            for name, value in found.weights.items()
            if value.dtype.is_floating_point and (value - still.weights[name]).abs().max() > 1e-7
        }
        assert moved == {"encoder", "head"}
        assert 0 <= found.accuracy <= 1
        assert found.seconds > 0

    def test_again_is_read_from_disk(self, shapes_data: Any, tmp_path: Path, trainings: list[int]) -> None:
        first = run(shapes_data, tmp_path, seed=4)
        again = run(shapes_data, tmp_path, seed=4)
        assert trainings == [4]
        assert (again.sha256, again.accuracy, again.seconds) == (first.sha256, first.accuracy, first.seconds)
        assert torch.equal(again.weights["w"], first.weights["w"])

    @pytest.mark.parametrize(
        "same",
        [{"active#seed": 3}, {"active#method": "random"}, {"active#rounds": 7}, {"variants": 5}, {"max_epochs": 9},
         {"labelled_share": 0.5}, {"lr": 0.1}, {"num_workers": 1}, {"output_dir": "elsewhere"},
         {"active#methods#random#cycles": 2}],
    )  # fmt: skip
    def test_method_seed_and_later_trainings_share_it(
        self, shapes_data: Any, tmp_path: Path, trainings: list[int], same: dict[str, Any]
    ) -> None:
        assert run(shapes_data, tmp_path).sha256 == run(shapes_data, tmp_path, **same).sha256
        assert len(trainings) == 1

    @pytest.mark.parametrize(
        "other",
        [{"seed": 1}, {"image_size": [64, 32]}, {"batch_size": 3}, {"network_def#alpha": 0.1},
         {"active#stage0#overrides#max_epochs": 2}, {"train#augmentation#flip_prob": 0.1}],
    )  # fmt: skip
    def test_other_settings_have_their_own(
        self, shapes_data: Any, tmp_path: Path, trainings: list[int], other: dict[str, Any]
    ) -> None:
        run(shapes_data, tmp_path)
        run(shapes_data, tmp_path, **other)
        assert len(trainings) == 2

    def test_other_images_have_their_own(self, shapes_data: Any, tmp_path: Path, trainings: list[int]) -> None:
        run(shapes_data, tmp_path)
        run(open_tiny(make_images(tmp_path / "fewer", {"train": 10, "val": 4, "test": 4})), tmp_path)
        assert len(trainings) == 2

    def test_damage_is_noticed(self, shapes_data: Any, tmp_path: Path, trainings: list[int]) -> None:
        run(shapes_data, tmp_path)
        stored = next((tmp_path / "stage0").glob("*.pt"))
        content = bytearray(stored.read_bytes())
        content[len(content) // 2] ^= 1
        stored.write_bytes(content)
        with pytest.raises(StateError, match="theta0 is damaged"):
            run(shapes_data, tmp_path)
        stored.unlink()
        with pytest.raises(StateError, match="theta0 cannot be read"):
            run(shapes_data, tmp_path)
        stored.with_suffix(".json").unlink()
        run(shapes_data, tmp_path)
        assert len(trainings) == 2

    def test_of_several_processes_one_trains_and_the_others_wait(
        self, shapes_data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def train(parser: Any, seed: int, checkpoint: Any) -> Trained:
            with open(tmp_path / "trainings", "a") as file:
                file.write(f"{os.getpid()}\n")
            time.sleep(1.0)
            return Trained({"w": torch.tensor([3.0])}, 0.75, 3, 2.0)

        monkeypatch.setattr(scripts.training.stage0, "train", train)
        children = []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    status = int(run(shapes_data, tmp_path).accuracy != 0.75)
                finally:
                    os._exit(status)
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
        assert len((tmp_path / "trainings").read_text().split()) == 1
        assert run(shapes_data, tmp_path).weights["w"].tolist() == [3.0]

    def test_one_that_is_killed_leaves_the_training_to_the_next(
        self, shapes_data: Any, tmp_path: Path, trainings: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(scripts.training.stage0, "train", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
            child = os.fork()
            if child == 0:
                run(shapes_data, tmp_path)
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert run(shapes_data, tmp_path).accuracy == 0.75
        assert trainings == [0]

    def test_record_tells_what_it_was_made_of(self, shapes_data: Any, tmp_path: Path, trainings: list[int]) -> None:
        found = run(shapes_data, tmp_path)
        record = json.loads(next((tmp_path / "stage0").glob("*.json")).read_bytes())
        assert (record["sha256"], record["accuracy"], record["epoch"]) == (found.sha256, 0.75, 3)
        assert record["settings"]["data"] == shapes_data.datalist.sha256


class TestParser:
    def test_sees_labels_only_and_nothing_of_the_run(self, shapes_data: Any, tmp_path: Path) -> None:
        config = tiny_config(Path("unused"), tmp_path, {"active#seed": 7})
        parser = stage0_parser(config, shapes_data, overrides_of(config), 2)
        assert {(item["mask"], item["kind"]) for item in parser["train#dataset#data"]} == {(None, 1)}
        assert parser.get_parsed_content("train#dataset").seed == 2
        assert parser.get_parsed_content("train#batches").seed == 2

    def test_settings_are_json_and_follow_references(self, shapes_data: Any, tmp_path: Path) -> None:
        config = tiny_config(Path("unused"), tmp_path, {"lr": 0.125})
        own = overrides_of(config)
        settings = stage0_settings(config, shapes_data, own, 0)
        json.dumps(settings)
        assert (settings["batch_size"], settings["val_interval"]) == (2, 1)
        assert not {"output_dir", "device", "lr"} & set(settings)
        without_lr = {key: value for key, value in own.items() if key != "optimizer#lr"}
        assert stage0_settings(config, shapes_data, without_lr, 0)["lr"] == 0.125  # "@lr" of the optimizer


class TestBackground:
    def test_theta0_does_not_depend_on_how_images_without_foreground_enter(self, tmp_path: Path) -> None:
        folder = make_images(tmp_path / "data", normal={"train": 2})
        keys = []
        for declared, changes in (([], {}), (["n"], {}), (["n"], {"scale_seg_b": 1.0, "background_share": 0.5})):
            config = tiny_config(Path("unused"), tmp_path, changes)
            data = open_tiny(folder, background_classes=declared)
            keys.append(stage0_settings(config, data, overrides_of(config), 0))
        assert keys[0] == keys[1] == keys[2]

    def test_it_is_that_of_a_config_without_these_settings(self, shapes_data: Any, tmp_path: Path) -> None:
        config = tiny_config(Path("unused"), tmp_path)
        found = stage0_settings(config, shapes_data, overrides_of(config), 0)
        assert not [key for key in flatten_settings(found) if "background" in key or "seg_b" in key]
