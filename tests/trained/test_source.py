from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts.core.errors import InputError, StateError
from scripts.networks.model_file import HASH, weights_sha256, write_model
from scripts.state.reader import StateReader
from scripts.trained.run_models import network_settings, read_start, weights_of_round
from scripts.trained.source import find_run, load_model
from scripts.training.stage0 import theta0
from tests.support.small_runs import make_run
from tests.support.tiny_runs import tiny_config, tiny_loop


@pytest.fixture(scope="module")
def finished(shapes_data: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run of two rounds."""
    folder = tmp_path_factory.mktemp("runs")
    tiny_loop(shapes_data, folder).run()
    return folder


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

    def test_start_is_theta0_with_the_masks_of_the_classifier(self, finished: Path, shapes_data: Any) -> None:
        config = tiny_config(Path("unused"), finished)
        start = theta0(config, shapes_data, config["active#stage0#overrides"], finished / "stage0")
        weights, info = read_start(finished / "label_prop_seed0")
        assert weights.keys() == start.weights.keys()
        assert all(torch.equal(value, start.weights[name]) for name, value in weights.items())
        described = load_model(finished).info
        assert (info.mask_from, info.provenance["round"], info.provenance["masks"]) == ("cam", None, 0)
        assert (info.network, info.classes, info.image_size) == (
            described.network, described.classes, described.image_size,
        )  # fmt: skip

    def test_start_of_a_run_that_has_none(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="stage 0 is not done"):
            read_start(make_run(tmp_path / "label_prop_seed0", "label_prop", 0, []))

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


class TestNetworkSettings:
    SETTINGS = {  # noqa: RUF012
        "num_classes": 5,
        "network_def": {"_target_": "x.Net", "num_classes": "@num_classes", "dropout": 0.0},
    }

    def test_references_and_overrides(self) -> None:
        found = network_settings(self.SETTINGS, {"network_def#dropout": 0.2, "max_epochs": 3})
        assert found == {"_target_": "x.Net", "num_classes": 5, "dropout": 0.2}

    @pytest.mark.parametrize("value", ["$__import__('os').getcwd()", "@elsewhere", "%num_classes"])
    def test_expressions_are_not_evaluated(self, value: str) -> None:
        with pytest.raises(InputError, match="expression"):
            network_settings(self.SETTINGS, {"network_def::dropout": value})
