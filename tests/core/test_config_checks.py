"""Slips of the keyboard end a run before its first step; what is meant is never refused."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from scripts.core.config_checks import RULES, check_config, unread_ids
from scripts.core.errors import InputError, Problem, user_error_of
from scripts.core.run_config import RunConfig
from tests.support.tiny_runs import CONFIGS, SMALL

OVERLAYS = [[], ["glas.json"], ["cub.json"], ["glas.json", "published.json"], ["glas.json", "evaluate.json"]]


def config(*overlays: str, **changes: Any) -> RunConfig:
    parser = ConfigParser(ConfigParser.load_config_files([CONFIGS / "train.json", *(CONFIGS / o for o in overlays)]))
    for key, value in changes.items():
        parser[key] = value
    return RunConfig(parser.get())


def problems(**changes: Any) -> tuple[Problem, ...]:
    with pytest.raises(InputError) as caught:
        check_config(config(**changes))
    return caught.value.problems


@pytest.mark.parametrize("overlays", OVERLAYS)
def test_the_configs_of_the_bundle_pass(overlays: list[str]) -> None:
    check_config(config(*overlays))
    check_config(config(*overlays, **SMALL))


def test_lengths_may_be_set_where_they_are_used() -> None:
    """MONAI Label sets ``train#trainer#max_epochs``; the top-level values are then read by the rounds alone."""
    check_config(config(**{"train#trainer#max_epochs": 3, "train#trainer#epoch_length": 5}))


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("active#methd", "active#method"),
        ("max_epoch", "max_epochs"),
        ("active#stage0#sed", "active#stage0#seed"),
        ("onbadimage", "on_bad_image"),
        ("xyzzy", ""),
    ],
)
def test_ids_that_nothing_reads_are_named_with_what_was_meant(wrong: str, meant: str) -> None:
    (problem,) = problems(**{wrong: 3})
    assert (problem.where, problem.expected) == (wrong, meant)


def test_ids_that_something_reads() -> None:
    assert unread_ids({"a": 1, "b": "@a", "_note": "text", "c": {"_target_": "x", "y": 1}, "run": ["$@b"]}) == []
    assert unread_ids({"a": {"b": 1, "c": 2}, "run": ["$@a#b + 1"]}) == ["a#c"]
    assert unread_ids({"a": {"b": 1, "c": 2}, "run": ["$@a::b + 1", "%a::c"]}) == []
    assert unread_ids({"a": {"b": {"c": 2}}, "run": ["$f(@a)"]}) == []
    assert unread_ids({"size": [1, 2], "run": ["$f()"], "end": [{"_target_": "x"}], "none": []}) == ["size"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("batch_size", 0), ("max_epochs", "abc"), ("max_epochs", 1.5), ("epoch_length", True), ("val_interval", 0),
        ("lr", 0), ("lr", "1e-3x"), ("image_size", 64), ("image_size", [64]), ("image_size", [0, 64]),
        ("labelled_share", 1), ("scale_seg_u", -1), ("selection", "dices"), ("on_bad_image", "ignore"), ("amp", "yes"),
        ("active#budget", 0), ("active#seed", "x"), ("active#rounds", 0), ("num_workers", -1), ("variants", -1),
        ("active#stage0#overrides#max_epochs", 0), ("active#checkpoint_seconds", -1),
    ],
)  # fmt: skip
def test_values_that_cannot_work_are_refused_by_name(key: str, value: Any) -> None:
    (problem,) = problems(**{key: value})
    assert (problem.where, problem.found) == (key, repr(value))
    assert problem.expected


def test_defaults_and_expressions_pass_every_rule() -> None:
    plain = config()
    for name, (_, accepts) in RULES.items():
        assert isinstance(plain[name], str) or accepts(plain[name]), name
    check_config(config(lr="$1 / 1000", batch_size="@num_classes", num_workers="$__import__('os').cpu_count() - 1"))


def test_all_of_it_comes_at_once() -> None:
    found = problems(batch_size=0, selection="dices", max_epoch=1, device="cud")
    assert {problem.where for problem in found} == {"batch_size", "selection", "max_epoch", "device"}


def test_devices() -> None:
    check_config(config(device="cpu"))
    assert problems(device="cud")[0].what == "no such device"
    (problem,) = problems(device=f"cuda:{torch.cuda.device_count()}")
    assert problem.what == "this machine has no such device"
    assert "cpu" in problem.expected


def test_initialize_checks_the_running_config() -> None:
    content = json.loads((CONFIGS / "train.json").read_text())
    checks = [entry for entry in content["initialize"] if "config_checks" in str(entry)]
    parser = ConfigParser({**content, "initialize": checks, "max_epoch": 3})
    with pytest.raises(RuntimeError) as caught:
        parser.get_parsed_content("initialize")
    assert "max_epoch" in str(user_error_of(caught.value))


def test_an_engine_that_is_not_installed_ends_a_run_before_its_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    (problem,) = problems(engine="openvino")
    assert problem.where == "openvino"
    assert "requirements-openvino.txt" in problem.cure
    check_config(config(engine="torch"))


def test_tracking_without_mlflow_ends_a_run_before_its_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    (problem,) = problems(**{"train#handlers": [*config()["train#handlers"], {"_target_": "MLFlowHandler"}]})
    assert problem.where == "mlflow"
    assert "requirements-tracking.txt" in problem.cure
