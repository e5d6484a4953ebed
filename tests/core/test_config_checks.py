"""Slips of the keyboard end a run before its first step; what is meant is never refused."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from scripts.core.config.ids import unread_ids
from scripts.core.config.rules import RULES
from scripts.core.config.words import CommandLine, read_value
from scripts.core.config_checks import check_config
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
    found = {name: plain.get(name, "$absent") for name in RULES}
    assert sum(value != "$absent" for value in found.values()) > 40
    for name, value in found.items():
        assert isinstance(value, str) or RULES[name][1](value), name
    check_config(config(lr="$1 / 1000", batch_size="@num_classes", num_workers="$__import__('os').cpu_count() - 1"))


def test_all_of_it_comes_at_once() -> None:
    found = problems(batch_size=0, selection="dices", max_epoch=1, device="cud")
    assert {problem.where for problem in found} == {"batch_size", "selection", "max_epoch", "device"}


def told(files: str, run_id: str, **texts: str | None) -> dict[str, Problem]:
    """What is said of a command line, by id; its values get into the config as MONAI and Fire let them."""
    parser = ConfigParser(ConfigParser.load_config_files([CONFIGS / name for name in files.split(",")]))
    for key, text in texts.items():
        if (value := read_value(text)) is not None:
            parser[key] = value
    parser.resolve_macro_and_relative_ids()
    try:
        check_config(RunConfig(parser.get()), CommandLine(run_id, texts))
    except InputError as error:
        assert len({problem.where for problem in error.problems}) == len(error.problems)
        return {problem.where: problem for problem in error.problems}
    return {}


PLACES = [
    ("train.json", "training", "dataset_dir"), ("train.json", "training", "output_dir"),
    ("train.json", "run", "ckpt_dir"), ("train.json", "run", "log_dir"), ("train.json", "training", "data#table"),
    ("train.json", "training", "active#stage0#dir"), ("train.json,evaluate.json", "evaluate", "ckpt"),
    ("train.json,evaluate.json", "evaluate", "evaluate#folder"), ("inference.json", "run", "dataset_dir"),
    ("inference.json", "explain", "image"), ("inference.json", "predict", "model#output_dir"),
    ("slide.json", "slide", "slides"), ("slide.json", "slide", "scratch_dir"), ("slide.json", "slide", "output_dir"),
    ("train.json,study.json", "study", "studies#results_dir"),
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "path",
    [
        "Study #2", "./Study #2", "/data/Study #2", "20241129", "2024_11_29", "[a]", "(a)", "study,2", "$x", "@x", "~x",
        "~/data", "Stu\u0308ck", "a ", "$HOME/data", "@x #2",
    ],
)  # fmt: skip
def test_a_path_that_would_change_is_refused_with_a_spelling_that_is_taken(
    place: tuple[str, str, str], path: str
) -> None:
    files, run_id, key = place
    (problem,) = told(files, run_id, **{key: path}).values()
    assert problem.where == key
    spelled = re.findall(rf"--{key} (.+?)(?:$|;|\.$| for | in a file)", problem.cure)[-1]
    name, text = shlex.split(f"--{key} {spelled.removesuffix('.')}")
    assert name == f"--{key}"
    assert told(files, run_id, **{key: text}) == {}
    taken = told_value(files, key, text)
    assert Path(taken) == Path(path)


def told_value(files: str, key: str, text: str) -> str:
    parser = ConfigParser(ConfigParser.load_config_files([CONFIGS / name for name in files.split(",")]))
    parser[key] = read_value(text)
    return parser.get_parsed_content(key)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "path", ["study", "./study", "/data/a b", "@my data", "'$HOME'/x", "a-b.c", "$@bundle_root + '/x'", "Stück"]
)
def test_other_paths_are_taken(place: tuple[str, str, str], path: str) -> None:
    files, run_id, key = place
    assert told(files, run_id, **{key: path}) == {}


@pytest.mark.parametrize("text", ["None", "", " ", None])
def test_a_path_that_is_no_path_is_refused(text: str | None) -> None:
    for files, run_id, key in PLACES:
        assert list(told(files, run_id, **{key: text})) == [key]


def test_a_path_that_is_there_and_looks_like_an_expression(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("@oracle", "%oracle", "$1"):
        (tmp_path / name).mkdir()
        (problem,) = told("train.json", "training", dataset_dir=name).values()
        assert f"./{name}" in problem.cure
    assert told("train.json", "training", dataset_dir="./@oracle") == {}


def test_text_of_a_file_with_a_number_sign(tmp_path: Path) -> None:
    """MONAI writes ``::`` for it, wherever it stands; in the spelling that is advised it stays."""
    for key, text in (("output_dir", "runs #1"), ("data#background_classes", ["Grade #1"])):
        parser = ConfigParser({**config().content, "list": ["@output_dir"]})
        parser[key] = text
        parser.resolve_macro_and_relative_ids()
        with pytest.raises(InputError) as caught:
            check_config(RunConfig({k: v for k, v in parser.get().items() if k != "list"}))
        (problem,) = caught.value.problems
        assert problem.where.startswith(key)
        assert json.loads(problem.cure.partition("in a file ")[2].rstrip(".")).startswith("$")


@pytest.mark.parametrize(
    ("files", "run_id", "key", "text", "words"),
    [
        ("train.json", "training", "amp", "true", "expected True, False or auto; found true. Write --amp True."),
        ("train.json", "training", "wait", "false", "--wait False"),
        ("train.json", "training", "active#budget", "null", "--active#budget '$None'"),
        ("train.json", "training", "mask_rule#foreground", "255", '--mask_rule#foreground "[255]"'),
        ("train.json", "training", "seed", "1", "--active#seed 1"),
        ("train.json", "training", "batch_size", "4 #8", "--batch_size"),
        ("train.json", "training", "image_size", "None", "'$None'"),
        ("train.json", "training", "active#oracles#folder#user", "007_1", ""),
        ("train.json", "training", "data#split_column", "2024", "'\"2024\"'"),
        ("inference.json", "run", "threshold", "0.99", "--model#threshold 0.99"),
        ("inference.json", "run", "overlay", "False", "--save#overlays False"),
        ("inference.json", "run", "datset_dir", "X", "--dataset_dir X"),
        ("inference.json", "run", "dataset_dir", "['a','b']", "(list)"),
        ("inference.json", "run", "device", f"cuda:{torch.cuda.device_count()}", "--device cpu"),
        ("inference.json", "run", "device", "0", "expected cpu or cuda:0; found 0"),
        ("inference.json", "run", "image", "a.png", "run does not read this id, but explain"),
        ("inference.json", "explain", "dataset_dir", "X", "--explain#dataset_dir X"),
        ("inference.json", "explain", "save#bits", "16", "explain does not read this id, but predict and run"),
        ("slide.json", "slide", "slides", "20241129", "--slides ./20241129"),
        ("slide.json", "slide", "slide", "x.tif", "an object"),
        ("inference.json", "run", "model", "runs/mine", "an object"),
        ("slide.json", "slide", "threshold", "0.5", "--model#threshold 0.5"),
        ("train.json,evaluate.json", "evaluate", "split", "val", "--evaluate#split val"),
        (
            "train.json,evaluate.json",
            "evaluate",
            "active#rounds",
            "2",
            "evaluate does not read this id, but plan and training",
        ),
        ("train.json,study.json", "study", "active#method", "wsl", "--studies#methods \"['wsl']\""),
        ("train.json,study.json", "study", "active#seed", "3", '--studies#seeds "[3]"'),
        ("train.json,study.json", "study", "seeds", "[1]", "--studies#seeds [1]"),
    ],
)
def test_slips_on_the_command_line(files: str, run_id: str, key: str, text: str, words: str) -> None:
    found = told(files, run_id, **{key: text})
    if not words and found == {}:
        return
    assert list(found) == [key]
    assert words in str(found[key])


def test_a_run_id_that_is_not_there_is_named_with_those_that_are() -> None:
    (problem,) = told("train.json", "evaluate").values()
    assert (problem.expected, "evaluate.json" in problem.cure) == ("plan or training or run", True)
    (problem,) = told("inference.json", "expalin").values()
    assert problem.expected == "predict or explain or run"


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
