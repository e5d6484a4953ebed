"""Models of a run: the one it starts from, and the settings of its network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from scripts.core.errors import InputError
from scripts.trained.run_models import network_settings, read_start
from scripts.trained.source import load_model
from scripts.training.stage0 import theta0
from tests.support.small_runs import make_run
from tests.support.tiny_runs import tiny_config


class TestStart:
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
