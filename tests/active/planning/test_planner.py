"""The command that plans, on tiny images, and that its overlay trains."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from scripts.active.planning.planner import Planner, seconds_in
from scripts.core.errors import InputError
from scripts.core.run_config import RunConfig
from scripts.images.masks import NONZERO
from tests.support.tiny_runs import CONFIGS, make_images


def planner(folder: Path, out: Path, **changes: object) -> Planner:
    config = RunConfig(ConfigParser.load_config_files([CONFIGS / "train.json"]))
    config = RunConfig(config.parser({"network_def#pretrained": False}).get())
    return Planner(config, str(folder), str(out), torch.device("cpu"), False, NONZERO, **changes)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90 s", 90), (90, 90), ("45 min", 2700), ("2 h", 7200), ("1.5h", 5400), ("1 d", 86400)]
)
def test_times(text: float | str, seconds: float) -> None:
    assert seconds_in(text) == seconds


@pytest.mark.parametrize("text", ["", "2 hours", "-3 h", "0", "h", "nan"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InputError, match="time_budget: not a time"):
        seconds_in(text)


def test_the_plan_is_told_and_is_an_overlay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_images(tmp_path / "data", {"train": 6, "val": 2, "test": 2}, normal={"train": 2, "val": 1, "test": 1})
    with caplog.at_level(logging.INFO):
        path = planner(folder, tmp_path / "out", time_budget="1 s").run()
    overlay = json.loads(path.read_text())
    assert (overlay["num_classes"], overlay["image_size"], overlay["active#rounds"]) == (3, [64, 64], 3)
    assert "data#background_classes" not in overlay
    for told in ('["n"] (proposed, not set)', "a round, ", "more than the budget of 1 s", f"'{path}']"):
        assert told in caplog.text
    content = ConfigParser.load_config_files([CONFIGS / "train.json", path])
    parser = ConfigParser(content)
    assert parser["active#rounds"] == 3
    assert parser["active#stage0#overrides#epoch_length"] == 6


def test_faults_of_the_table_are_told_before_anything_is_timed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        planner(tmp_path / "nowhere", tmp_path / "out").run()
