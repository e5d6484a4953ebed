from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts.core.errors import InputError, StateError
from scripts.networks.model_file import HASH, weights_sha256, write_model
from scripts.state.reader import StateReader
from scripts.trained.run_models import weights_of_round
from scripts.trained.source import ModelSource, find_run, load_model
from scripts.training.stage0 import theta0
from tests.support.colour_net import INFO, ColourNet, colour_source, write_colour_model
from tests.support.small_runs import make_run
from tests.support.tiny_runs import tiny_config, tiny_loop


class TestRuns:
    def test_is_the_model_that_the_run_evaluated(self, finished: Path, shapes_data: Any) -> None:
        model = load_model(finished)
        config = tiny_config(Path("unused"), finished)
        start = theta0(config, shapes_data, config["active#stage0#overrides"], finished / "stage0")
        with StateReader.open(finished / "label_prop_seed0") as state:
            weights, blob = weights_of_round(state, 1, start.weights)
            threshold = state.metrics(1)[1]["threshold"]
        found = model.network.state_dict()
        assert found.keys() == weights.keys()
        assert all(torch.equal(value, weights[name]) for name, value in found.items())
        assert model.info.threshold == threshold
        assert (model.info.classes, model.info.image_size) == (("a", "b"), (64, 64))
        known = model.info.provenance
        assert (known["round"], known["method"], known["masks"], known["weights"]) == (1, "label_prop", 4, blob)
        assert known["data_sha256"] == shapes_data.datalist.sha256
        assert not model.network.training
        assert sorted(model.split_of.values()) == ["test"] * 4 + ["train"] * 12 + ["val"] * 4

    def test_round_and_threshold_can_be_chosen(self, finished: Path) -> None:
        first, last = load_model(finished, round=0, threshold=0.3), load_model(finished)
        assert (first.info.provenance["round"], first.info.provenance["masks"]) == (0, 2)
        assert first.info.threshold == 0.3
        changed = [
            name for name, value in first.network.state_dict().items()
            if not torch.equal(value, last.network.state_dict()[name])
        ]  # fmt: skip
        assert changed and not [name for name in changed if name.startswith(("encoder", "head"))]

    def test_run_folder_itself_is_accepted(self, finished: Path) -> None:
        assert load_model(finished / "label_prop_seed0").info == load_model(finished, run="label_prop_seed0").info

    def test_size_of_the_training_images(self, shapes_data: Any, tmp_path: Path) -> None:
        loop = tiny_loop(shapes_data, tmp_path, "random", **{"active#rounds": 1})
        loop.run()
        assert load_model(tmp_path).info.native_size == (64, 64)

    def test_rounds_that_were_not_evaluated_are_refused(self, finished: Path) -> None:
        with pytest.raises(InputError, match="one of: 0, 1; found round 7"):
            load_model(finished, round=7)

    def test_damaged_or_lost_stage0(self, finished: Path, tmp_path: Path) -> None:
        with pytest.raises(StateError, match="stage 0 of the run is missing"):
            load_model(finished, stage0_dir=tmp_path)
        for path in (finished / "stage0").iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (weights,) = tmp_path.glob("*.pt")
        weights.write_bytes(weights.read_bytes()[:-1])
        with pytest.raises(StateError, match="damaged"):
            load_model(finished, stage0_dir=tmp_path)

    def test_which_run(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="found none"):
            find_run(tmp_path)
        make_run(tmp_path / "random_seed0", "random", 0, [0.5])
        assert find_run(tmp_path) == tmp_path / "random_seed0"
        make_run(tmp_path / "wsl_seed0", "wsl", 0, [0.5])
        with pytest.raises(InputError, match=r"random_seed0, wsl_seed0.*--model#run"):
            find_run(tmp_path)
        assert find_run(tmp_path, "wsl_seed0").name == "wsl_seed0"
        for folder, name in ((tmp_path, "wsl_seed1"), (tmp_path / "random_seed0", "../wsl_seed0")):
            with pytest.raises(InputError, match="no such run"):
                find_run(folder, name)

    def test_wsl_masks_are_the_classifiers(self, shapes_data: Any, tmp_path: Path) -> None:
        tiny_loop(shapes_data, tmp_path, "wsl").run()
        model = load_model(tmp_path)
        assert (model.info.mask_from, model.info.threshold) == ("cam", 0.5)
        assert model.info.provenance["weights"] == "theta0"


class TestFiles:
    @pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
    def test_a_run_written_as_a_file_is_the_same_model(self, name: str, finished: Path, tmp_path: Path) -> None:
        model = load_model(finished)
        write_model(tmp_path / name, model.network.state_dict(), model.info)
        again = load_model("unused", ckpt=tmp_path / name)
        image = torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            assert torch.equal(again.network(image), model.network(image))
        assert again.info == replace(model.info, provenance={"file": name, **model.info.provenance})

    def test_a_file_names_no_other_code(self, finished: Path, tmp_path: Path) -> None:
        model = load_model(finished)
        for target in ("os.mkdir", "torch.nn.Linear", "scripts.networks.joint_net"):
            info = replace(model.info, network={"_target_": target, "path": str(tmp_path / "canary")})
            write_model(tmp_path / "m.safetensors", model.network.state_dict(), info)
            with pytest.raises(InputError, match="not known"):
                load_model("unused", ckpt=tmp_path / "m.safetensors")
        assert not (tmp_path / "canary").exists()

    @pytest.mark.parametrize("change", [{"num_classes": 3}, {"no_such": 1}, {"backbone": "no_such"}])
    def test_what_does_not_fit_is_refused(self, change: dict[str, Any], finished: Path, tmp_path: Path) -> None:
        model = load_model(finished)
        info = replace(model.info, network={**model.info.network, **change})
        write_model(tmp_path / "m.safetensors", model.network.state_dict(), info)
        with pytest.raises(InputError, match="does not fit"):
            load_model("unused", ckpt=tmp_path / "m.safetensors")

    def test_exchanged_weights_are_warned_about(
        self, finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        model, path = load_model(finished), tmp_path / "model.pt"
        weights = model.network.state_dict()
        write_model(path, weights, replace(model.info, provenance={HASH: weights_sha256(weights)}))
        load_model("unused", ckpt=path)
        assert "not those of its description" not in caplog.text
        torch.save({name: torch.zeros_like(value) for name, value in weights.items()}, path)
        load_model("unused", ckpt=path)
        assert "model.pt: the weights are not those of its description" in caplog.text

    def test_a_file_and_a_run_exclude_each_other(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="a file and a run"):
            load_model(tmp_path, round=1, ckpt=tmp_path / "m.pt")


class TestSourceOfFiles:
    def test_is_described_without_its_weights(self, tmp_path: Path) -> None:
        path = write_colour_model(tmp_path)
        path.write_bytes(b"no weights")
        assert ModelSource(ColourNet(), ckpt=path).info.classes == ("blue", "red")

    def test_description_follows_the_file_until_it_is_loaded(self, tmp_path: Path) -> None:
        source = colour_source(tmp_path)
        assert source.info.threshold == 0.5
        write_colour_model(tmp_path, threshold=0.7)
        os.utime(tmp_path / "model.json", ns=(1, 1))
        assert source.info.threshold == 0.7
        source.load()
        write_colour_model(tmp_path, threshold=0.9)
        assert source.info.threshold == 0.7
        assert source.load() is source.load()

    def test_values_of_the_command_replace_stored_ones(self, tmp_path: Path) -> None:
        path = write_colour_model(tmp_path)
        source = ModelSource(ColourNet(), ckpt=path, threshold=0.3, native_size=[10, 20])
        assert (source.info.threshold, source.info.native_size) == (0.3, (10, 20))
        found = source.load().info
        assert (found.threshold, found.native_size) == (0.3, (10, 20))

    def test_network_is_that_of_the_config_until_it_is_loaded(self, tmp_path: Path) -> None:
        default = ColourNet()
        source = ModelSource(default, ckpt=write_colour_model(tmp_path))
        assert source.network is default
        assert source.load().network is source.network and source.network is not default

    def test_released_model_is_taken_where_nothing_is_named(self, tmp_path: Path) -> None:
        released = write_colour_model(tmp_path)
        (tmp_path / "other").mkdir()
        named = write_colour_model(tmp_path / "other", threshold=0.9)
        assert ModelSource(ColourNet(), released=released).info.threshold == 0.5
        assert ModelSource(ColourNet(), released=released, ckpt=named).info.threshold == 0.9

    def test_safetensors_too(self, tmp_path: Path) -> None:
        write_model(tmp_path / "m.safetensors", ColourNet().state_dict(), INFO)
        assert ModelSource(ColourNet(), ckpt=tmp_path / "m.safetensors").info == INFO

    def test_another_network_and_a_pickle_are_refused(self, tmp_path: Path) -> None:
        path = write_colour_model(tmp_path)
        torch.save({"weight": torch.zeros(3)}, path)
        with pytest.raises(InputError, match="does not fit"):
            ModelSource(ColourNet(), ckpt=path).load()
        torch.save({"x": Path("canary")}, path)
        with pytest.raises(StateError):
            ModelSource(ColourNet(), ckpt=path).load()


class TestSourceOfRuns:
    def test_of_a_run(self, shapes_data: Any, tmp_path: Path) -> None:
        tiny_loop(shapes_data, tmp_path, "random", **{"active#rounds": 1}).run()
        source = ModelSource(ColourNet(), released="unused", output_dir=tmp_path)
        assert source.info.provenance["run"] == "random_seed0"
        assert source.run_folder == tmp_path / "random_seed0"
        assert source.info.native_size == (64, 64)
        assert colour_source(tmp_path).run_folder is None

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({}, "no model is named"),
            ({"ckpt": "a.pt", "output_dir": "runs"}, "a file and a run"),
            ({"released": "a.pt", "run": "x"}, "run without its folder"),
            ({"released": "a.pt", "round": 0}, "run without its folder"),
        ],
    )
    def test_what_is_not_clear_is_refused(self, arguments: dict[str, Any], text: str) -> None:
        with pytest.raises(InputError, match=text):
            ModelSource(ColourNet(), **arguments)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    source = ModelSource(ColourNet(), released=tmp_path / "model.pt")
    with pytest.raises(InputError, match="model is missing"):
        source.load()
    with pytest.raises(InputError, match="--ckpt"):
        _ = source.info
