"""Which runs a study has, where they lie, what their commands read, and what is refused before the first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from scripts.core.errors import InputError
from scripts.core.run_config import RunConfig
from scripts.studies.plan import plan_runs, write_configs
from tests.support.study_runs import CONFIGS, ROOT, TINY


def config_of(**changes: Any) -> RunConfig:
    parser = ConfigParser(ConfigParser.load_config_files([str(ROOT / name) for name in CONFIGS]))
    for key, value in {**TINY, "bundle_root": str(ROOT), **changes}.items():
        parser[key] = value
    return RunConfig(parser.get())


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return config_of()


def overlay(folder: Path, content: Any) -> str:
    path = folder / "overlay.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_all_methods_of_a_seed_come_first(config: RunConfig, tmp_path: Path) -> None:
    path = overlay(tmp_path, {"_desc_": "note", "lr": 0.1, "active#rounds": 3})
    runs = plan_runs(config, tmp_path, ["random", "full_sup"], (2, 0), {"fast": path})
    names = [run.name for run in runs]
    assert names[:4] == ["random, seed 2", "full_sup, seed 2", "random+fast, seed 2", "full_sup+fast, seed 2"]
    assert names[4:] == [name.replace("seed 2", "seed 0") for name in names[:4]]
    assert [run.rounds for run in runs[:4]] == [2, 1, 3, 1]
    assert runs[2].changes == {"lr": 0.1, "active#rounds": 3}
    assert runs[2].folder == tmp_path / "random+fast" / "random_seed2"
    assert runs[2].result == tmp_path / "results" / "random+fast_seed2.json"
    assert len({run.lock for run in runs}) == len({run.config for run in runs}) == len({run.log for run in runs}) == 8


def test_rounds_may_be_an_expression(tmp_path: Path) -> None:
    runs = plan_runs(config_of(**{"active#rounds": "$1 + 2"}), tmp_path, ["random"], [0])
    assert runs[0].rounds == 3
    with pytest.raises(InputError, match="active#rounds: value cannot be used; expected a whole number from 1"):
        plan_runs(config_of(**{"active#rounds": "$0.5"}), tmp_path, ["random"], [0])


@pytest.mark.parametrize(
    ("methods", "seeds", "words"),
    [
        ("random", [0], "studies#methods: value cannot be used; expected a list of names; found 'random'"),
        ([], [0], "studies#methods: nothing, or one of them twice"),
        (["random", "random"], [0], "one of them twice"),
        (["rndom"], [0], "studies#methods: unknown method; expected .*label_prop.*; found 'rndom'"),
        ([1], [0], "a list of names"),
        (None, [0], "a list of names"),
        (["random"], 3, "studies#seeds: value cannot be used; expected a list of whole numbers; found 3"),
        (["random"], "0,1", "a list of whole numbers"),
        (["random"], [0, 1.0], "a list of whole numbers"),
        (["random"], [True], "a list of whole numbers"),
        (["random"], [[0]], "a list of whole numbers"),
        (["random"], [1, 1], "one of them twice"),
        (["random"], [], "nothing"),
    ],
)
def test_wrong_lists(config: RunConfig, tmp_path: Path, methods: Any, seeds: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        plan_runs(config, tmp_path, methods, seeds)


@pytest.mark.parametrize("overlays", ["a.json", ["a.json"], {"a": 3}, {"a": None}, 3])
def test_overlays_that_are_no_names_with_paths(config: RunConfig, tmp_path: Path, overlays: Any) -> None:
    with pytest.raises(InputError, match="studies#overlays: value cannot be used"):
        plan_runs(config, tmp_path, ["random"], [0], overlays)


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "a+b", ".a"])
def test_names_that_make_no_folder(config: RunConfig, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="this name makes no folder"):
        plan_runs(config, tmp_path, ["random"], [0], {name: overlay(tmp_path, {})})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x{", "overlay cannot be read"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), "overlay cannot be read"),
        ("[" * 10_000, "overlay cannot be read"),
        ([1], "not an overlay"),
        ({"nonsense": 1}, "nonsense: no such id in the config"),
        ({"batch_size": 0}, "batch_size: value cannot be used"),
        ({"active#seed": 1}, "an overlay of a study cannot change this"),
        ({"output_dir": "elsewhere"}, "an overlay of a study cannot change this"),
        ({"studies#seeds": [4]}, "an overlay of a study cannot change this"),
    ],
)
def test_wrong_overlays_are_named(config: RunConfig, tmp_path: Path, content: Any, words: str) -> None:
    path = overlay(tmp_path, content)
    with pytest.raises(InputError, match=words) as caught:
        plan_runs(config, tmp_path, ["random"], [0], {"a": path})
    assert path in str(caught.value)


def test_an_overlay_that_is_missing_or_no_file(config: RunConfig, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.json"):
        with pytest.raises(InputError, match=str(path)):
            plan_runs(config, tmp_path, ["random"], [0], {"a": str(path)})


def test_configs_are_what_monai_reads(config: RunConfig, tmp_path: Path) -> None:
    study = tmp_path / "a study [1]"
    runs = plan_runs(config, study, ["random", "label_prop"], [5], {"fast": overlay(tmp_path, {"lr": 0.1})})
    write_configs(config, runs, {"dataset_dir": "some data"})
    read = ConfigParser(ConfigParser.load_config_files([str(study / "config.json"), str(runs[3].config)]))
    assert (read["output_dir"], read["dataset_dir"]) == (str(study / "label_prop+fast"), "some data")
    assert (read["active#method"], read["active#seed"], read["lr"]) == ("label_prop", 5, 0.1)
    assert read["active#stage0#dir"] == str(study / "stage0")
    assert read["bundle_root"] == str(ROOT)
    assert not {"study", "studies", "runner"} & set(read.get())
    for name in ("metadata.json", "logging.conf"):
        assert (study / name).read_bytes() == (ROOT / "bundle" / "configs" / name).read_bytes()
    command = runs[0].command("python")
    assert command[:5] == ["python", "-m", "monai.bundle", "run", "training"]
    assert command[6] == str([str(study / "config.json"), str(runs[0].config)])


def test_the_bundle_alone_is_found_too(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "logging.conf").write_text("x")
    config = config_of(bundle_root=f"$'{tmp_path}'")
    write_configs(config, plan_runs(config, tmp_path / "s", ["random"], [0]), {})
    assert (tmp_path / "s" / "logging.conf").read_text() == "x"
    assert not (tmp_path / "s" / "metadata.json").exists()
