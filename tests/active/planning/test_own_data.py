"""Own data begin with a plan, made once per folder, and what a person sets wins."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser, ConfigWorkflow

from scripts.active.planning.own_data import settings_of_plan
from scripts.active.planning.planner import DATA, FILE
from scripts.core.config.words import CommandLine
from scripts.core.errors import InputError
from scripts.core.run_config import RunConfig
from tests.support.tiny_runs import CONFIGS, make_images

PLANNED = {
    "num_classes": 3, "image_size": [64, 64], "batch_size": 8, "epoch_length": 20, "max_epochs": 4,
    "active#stage0#overrides#epoch_length": 6, "active#initial_per_class": 2, "active#query_per_class": 1,
    "active#rounds": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = tmp_path_factory.mktemp("plan") / "data"
    return make_images(images, {"train": 6, "val": 2, "test": 2}, normal={"train": 2, "val": 1, "test": 1})


def config_of(folder: Path, out: Path, **changes: Any) -> RunConfig:
    config = RunConfig(ConfigParser.load_config_files([CONFIGS / "train.json"]))
    places = {"bundle_root": str(CONFIGS.parents[1]), "dataset_dir": str(folder), "output_dir": str(out)}
    return RunConfig(config.parser({**places, "device": "cpu", "network_def#pretrained": False, **changes}).get())


def plan(folder: Path, out: Path, typed: CommandLine | None = None, **changes: Any) -> Mapping[str, Any]:
    return settings_of_plan(config_of(folder, out, **changes), typed or CommandLine("training"))


def test_a_plan_is_made_once_and_then_taken(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert plan(folder, tmp_path) == PLANNED
    path = tmp_path / FILE
    content = json.loads(path.read_text())
    assert content[DATA] == str(folder) and content["auto_plan"] is False
    path.write_text(json.dumps({**content, "active#rounds": 7}))
    with caplog.at_level(logging.INFO):
        assert plan(folder, tmp_path)["active#rounds"] == 7
    assert "made before" in caplog.text


def test_what_a_person_sets_wins(folder: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "mine.json"
    overlay.write_text(json.dumps({"_desc_": "note", "active::initial_per_class": 2, "max_epochs": 4}))  # as shipped
    files = (str(CONFIGS / "train.json"), str(overlay))
    typed = CommandLine("training", texts={"active#stage0#overrides#epoch_length": "6"}, files=files)
    found = plan(folder, tmp_path / "out", typed, num_classes=5)  # other than shipped: by hand, however it came
    given = {"num_classes", "max_epochs", "active#initial_per_class", "active#stage0#overrides#epoch_length"}
    assert found == {key: value for key, value in PLANNED.items() if key not in given}
    kept = json.loads((tmp_path / "out" / FILE).read_text())
    assert {key: kept[key] for key in PLANNED} == PLANNED  # for a later run without them


def test_a_budget_leaves_what_a_person_set(folder: Path, tmp_path: Path) -> None:
    typed = CommandLine("training", texts={"max_epochs": "9"})
    found = plan(folder, tmp_path, typed, max_epochs=9, time_budget="1 s")
    assert found["active#rounds"] == 3 and "max_epochs" not in found
    assert json.loads((tmp_path / FILE).read_text())["max_epochs"] == 4


def test_no_plan_for_the_demo_or_where_it_is_switched_off(folder: Path, tmp_path: Path) -> None:
    assert plan(folder, tmp_path, auto_plan=False) == {}
    assert plan(tmp_path / "demo_data", tmp_path) == {}
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("name", ["random_seed0", "random/random_seed0"])
def test_runs_that_began_without_a_plan_go_on_without(folder: Path, tmp_path: Path, name: str) -> None:
    run = tmp_path / name
    run.mkdir(parents=True)
    (run / "state.sqlite").touch()
    assert plan(folder, tmp_path) == {}


def test_a_plan_follows_the_table_until_a_run_begins(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = tmp_path / "data"
    shutil.copytree(folder, images)
    plan(images, tmp_path / "out")
    table = next(images.glob("*.csv"))
    lines = table.read_text().splitlines()
    table.write_text("\n".join(line for line in lines if "_n" not in line))
    with caplog.at_level(logging.INFO):
        assert plan(images, tmp_path / "out")["num_classes"] == 2
    assert "made anew" in caplog.text
    (tmp_path / "out" / "random_seed0").mkdir()
    (tmp_path / "out" / "random_seed0" / "state.sqlite").touch()
    table.write_text("\n".join(lines))
    assert plan(images, tmp_path / "out")["num_classes"] == 2  # the run itself says what has changed


def test_faults_are_told_in_one_list_as_without_a_plan(folder: Path, tmp_path: Path) -> None:
    images = tmp_path / "data"
    shutil.copytree(folder, images)
    table = next(images.glob("*.csv"))
    for name in ("train_00.png", "test_00.png"):
        (images / name).write_bytes(b"no image")
    table.write_text(table.read_text() + "gone.png,a,train,\n")
    with pytest.raises(InputError) as caught:
        plan(images, tmp_path / "out")
    assert {Path(problem.where).name for problem in caught.value.problems} >= {
        "train_00.png",
        "test_00.png",
        "gone.png",
    }
    assert not (tmp_path / "out" / FILE).exists()
    table.write_text(table.read_text().replace("gone.png,a,train,\n", ""))
    assert plan(images, tmp_path / "out", on_bad_image="skip") == PLANNED


def test_a_plan_that_cannot_be_taken_is_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_text(json.dumps({DATA: "/elsewhere", "num_classes": 2}))
    with pytest.raises(InputError, match=r"plan is of another data set; expected .*data; found /elsewhere"):
        plan(folder, tmp_path)
    path.write_text("{")
    with pytest.raises(InputError, match="plan cannot be read"):
        plan(folder, tmp_path)
    path.write_text("[1]")
    with pytest.raises(InputError, match="not a plan"):
        plan(folder, tmp_path)


@pytest.mark.parametrize("run_id", ["training", "plan"])
def test_the_bundles_own_start_lays_the_plan_under_the_config(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_id: str
) -> None:
    words = ["run", run_id, "--config_file", str(CONFIGS / "train.json"), "--active#rounds", "4"]
    monkeypatch.setattr("sys.argv", ["monai.bundle", *words])
    places = {"bundle_root": str(CONFIGS.parents[1]), "dataset_dir": str(folder), "output_dir": str(tmp_path)}
    workflow = ConfigWorkflow(
        str(CONFIGS / "train.json"), str(CONFIGS / "metadata.json"), False, run_id=run_id,
        **places, **{"device": "cpu", "network_def#pretrained": False, "active#rounds": 4, "threads": 1},
    )  # fmt: skip
    workflow.initialize()
    parsed = workflow.parser.get_parsed_content
    is_planned = run_id != "plan"  # which makes its own
    assert parsed("image_size") == ([64, 64] if is_planned else [192, 256])
    assert parsed("data").store.image_size == ((64, 64) if is_planned else (192, 256))
    assert parsed("active#loop#settings").rounds == 4
    assert (tmp_path / FILE).exists() == is_planned
