"""Every id of every config has an effect where it is run, and what has none is named with what was meant."""

from __future__ import annotations

from typing import Any

import pytest
from monai.bundle import ConfigParser

from scripts.core.config.ids import entrances, ids_read_by, is_among, similar_id, unread_ids, value_at
from tests.support.tiny_runs import CONFIGS

SETS = {
    "train.json": ["plan", "training", "run"],
    "train.json,glas.json": ["plan", "training", "run"],
    "train.json,cub.json": ["plan", "training", "run"],
    "train.json,glas.json,published.json": ["plan", "training", "run"],
    "train.json,evaluate.json": ["plan", "training", "run", "evaluate"],
    "train.json,study.json": ["plan", "training", "run", "study"],
    "inference.json": ["predict", "explain", "run"],
    "inference.json,inference_trt.json": ["predict", "explain", "run"],
    "slide.json": ["slide"],
}
"""Files of ``--config_file`` -> what can be run with them."""


def content(files: str) -> dict[str, Any]:
    return ConfigParser.load_config_files([str(CONFIGS / name) for name in files.split(",")])


def test_every_config_is_looked_at() -> None:
    known = {name for files in SETS for name in files.split(",")}
    assert {path.name for path in CONFIGS.glob("*.json")} - known == {"metadata.json", "onnx_export.json"}


@pytest.mark.parametrize(("files", "runs"), SETS.items())
def test_every_id_is_read_by_what_can_be_run(files: str, runs: list[str]) -> None:
    config = content(files)
    assert entrances(config) == runs
    assert unread_ids(config) == []
    read = set[str]().union(*(ids_read_by(config, name) for name in runs))
    known = ("config", "_desc_", *runs, *(["num_classes"] if "evaluate" in runs else []))  # the model knows its classes
    assert [key for key in config if key not in known and not is_among(key, read)] == []


@pytest.mark.parametrize("files", SETS)
def test_every_config_is_checked_before_anything_else_is_built(files: str) -> None:
    steps = [step["_target_"] for step in content(files)["initialize"] if isinstance(step, dict)]
    assert steps[:2] == [
        "scripts.core.plain_errors.show_user_errors_plainly", "scripts.core.config_checks.check_config",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "run_id", "read", "not_read"),
    [
        (
            "inference.json",
            "run",
            "dataset_dir save#overlays model#threshold ckpt cleaning#holes",
            "image explain#seed",
        ),
        ("inference.json", "explain", "image model#run explain#label inferer#flips", "dataset_dir save#bits cleaning"),
        ("train.json,evaluate.json", "evaluate", "model#run data#table evaluate#split", "active#rounds lr max_epochs"),
        ("train.json", "training", "active#rounds lr variants box_model#amp active#methods#random#passes", ""),
        ("train.json", "run", "lr ckpt_dir batch_size train#trainer#max_epochs", "oracle active#rounds active#budget"),
        ("train.json,study.json", "study", "studies#seeds lr active#rounds runner train#handlers#0#interval", ""),
        ("slide.json", "slide", "slides tile model#run outputs#probability background#white", ""),
    ],
)
def test_what_an_entrance_reads(files: str, run_id: str, read: str, not_read: str) -> None:
    found = ids_read_by(content(files), run_id)
    assert [name for name in read.split() if not is_among(name, found)] == []
    assert [name for name in not_read.split() if is_among(name, found)] == []


@pytest.mark.parametrize(
    ("files", "wrong", "meant"),
    [
        ("train.json", "seed", "active#seed"),
        ("train.json", "method", "active#method"),
        ("train.json", "max_epoch", "max_epochs"),
        ("train.json", "active#stage0#sed", "active#stage0#seed"),
        ("inference.json", "threshold", "model#threshold"),
        ("inference.json", "overlay", "save#overlays"),
        ("inference.json", "datset_dir", "dataset_dir"),
        ("inference.json", "xyzzy", ""),
        ("slide.json", "slide_dir", ""),
        ("slide.json", "white", "background#white"),
    ],
)
def test_what_was_meant(files: str, wrong: str, meant: str) -> None:
    config = content(files)
    assert similar_id(wrong, {**config, wrong: 1} if "#" not in wrong else config) == meant


def test_what_was_meant_among_what_is_read() -> None:
    config = content("inference.json")
    assert similar_id("dataset_dir", config, ids_read_by(config, "explain")) == "explain#dataset_dir"


def test_values_at_ids() -> None:
    config = {"a": [{"b": None}]}
    assert value_at(config, "a#0#b") is None
    assert value_at(config, "a#0") == {"b": None}
    assert {str(value_at(config, name)) for name in ("b", "a#1", "a#x", "a#0#b#c")} == {str(value_at(config, "none"))}
