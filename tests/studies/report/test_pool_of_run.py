from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts.core.errors import InputError
from scripts.core.result_files import Record
from scripts.data.run_data import RunData
from scripts.state.reader import StateReader
from scripts.state.rows import QueryRow
from scripts.studies.checks import ids_of_data
from scripts.studies.plan import StudyRun, plan_runs, write_configs
from scripts.studies.process import Ended
from scripts.studies.report.commands import report
from scripts.studies.report.pool_of_run import pool_of_run, why
from scripts.studies.report.study_report import best_arm, report_study
from scripts.studies.results import StudyNames, run_result, write_result
from scripts.studies.runners import LocalRunner
from scripts.studies.study import Study
from tests.support.study_results import make_result
from tests.support.tiny_runs import SIZES, make_images, open_tiny, tiny_config


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunData, Record]:
    """A study of one run of two rounds, with a real network."""
    root = tmp_path_factory.mktemp("study")
    folder = root / "small"
    data = open_tiny(make_images(root / "images"))
    config = tiny_config(root / "images", folder)
    (run,) = plan_runs(config, folder, ["entropy"], [3])
    write_configs(config, [run], {})
    run_it(run, data)
    result = run_result(run, StudyNames("small", "discs", "drawn"), Ended(0, 1.0, 0.5))
    write_result(run.result, result)
    return folder, data, result


def run_it(run: StudyRun, data: RunData) -> None:
    config = tiny_config(Path("unused"), run.output_dir, {"active#stage0#dir": str(run.study / "stage0")})
    own = {"active#method": run.method, "active#seed": run.seed}
    config.parser(own, objects={"data": data, "config": config}).get_parsed_content("active#loop").run()


def test_the_pool_of_a_run_is_read_from_its_state_and_weights(study: tuple[Path, RunData, Record]) -> None:
    folder, data, result = study
    view = pool_of_run(folder, "entropy", 3, data)
    train = [item["id"] for item in data.items("train")]
    assert list(view.ids) == train and view.images == SIZES["train"] and view.run == "entropy, seed 3"
    assert set(view.classes) == {"a", "b"}
    assert np.linalg.norm(view.features, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert [[one.id for one in view.asked if one.round == at] for at in (0, 1)] == result["queries"]
    assert [one.reason for one in view.asked if one.round == 0] == ["by lot"] * 2
    assert all(one.reason == f"highest score {one.score:.3g}" for one in view.asked if one.round == 1)
    for picture in view.thumbnails.values():
        assert max(Image.open(io.BytesIO(picture)).size) == 64


def test_masks_of_later_rounds_meet_the_model_of_the_round_before(study: tuple[Path, RunData, Record]) -> None:
    folder, data, result = study
    found = pool_of_run(folder, "entropy", 3, data).contradictions
    assert sorted(one.id for one in found) == sorted(result["queries"][1])
    assert [one.disagreement for one in found] == sorted((one.disagreement for one in found), reverse=True)
    assert all(one.round == 1 and 0 < one.disagreement <= 1 for one in found)
    assert Image.open(io.BytesIO(found[0].picture)).format == "JPEG"


def test_the_report_of_a_study_has_the_map_and_nothing_of_the_run_changes(
    study: tuple[Path, RunData, Record],
) -> None:
    folder, data, result = study
    with StateReader.open(folder / "entropy" / "entropy_seed3") as state:
        before = state.metrics(), state.queries()
    page = report_study(folder, [result], data, [("random, seed 0", "error: none")]).read_text()
    assert page.count("<circle") == SIZES["train"] and "highest score" in page and "random, seed 0" in page
    with StateReader.open(folder / "entropy" / "entropy_seed3") as state:
        assert before == (state.metrics(), state.queries())


def test_a_study_whose_runs_are_done_writes_its_report(study: tuple[Path, RunData, Record]) -> None:
    folder, data, _ = study
    (folder / "report.html").unlink(missing_ok=True)
    config = tiny_config(folder.parent / "images", folder)
    table = Study(config, data, str(folder), "local", {"local": LocalRunner(workers=1)}, ["entropy"], [3]).run()
    assert table == folder / "rounds.csv" and "Map of the pool" in (folder / "report.html").read_text()


@pytest.fixture
def other_data(study: tuple[Path, RunData, Record], tmp_path: Path) -> tuple[Path, RunData, Record]:
    """The same study, the run being one of an overlay that changes the data."""
    folder, data, result = study
    copied, arm = tmp_path / "copied", "entropy+smaller"
    shutil.copytree(folder, copied)
    (copied / "entropy").rename(copied / arm)
    own = copied / arm / "seed3.json"
    own.write_text(json.dumps({**json.loads(own.read_text()), "image_size": [64, 64]}))
    return copied, data, {**result, "method": arm}


def test_the_map_is_left_out_where_an_overlay_changes_the_data(
    other_data: tuple[Path, RunData, Record], caplog: pytest.LogCaptureFixture
) -> None:
    folder, data, result = other_data
    with pytest.raises(InputError, match="overlay changes the data"):
        pool_of_run(folder, "entropy+smaller", 3, data)
    page = report_study(folder, [result], data).read_text()
    assert "Map of the pool" not in page
    assert "no map of the pool" in caplog.text and "image_size" in caplog.text


def test_the_command_draws_the_pool_of_other_data_from_these(other_data: tuple[Path, RunData, Record]) -> None:
    folder, _, result = other_data
    shutil.rmtree(folder / "results")
    write_result(folder / "results" / "entropy+smaller_seed3.json", result)
    report(str(folder), pool=True, method="entropy+smaller")
    assert "Map of the pool" in (folder / "report.html").read_text()


@pytest.mark.parametrize("key", ["data#table", "data::table", "data", "dataset_dir", "demo#seed", "mask_rule#ignore"])
def test_ids_that_data_depend_on(key: str) -> None:
    assert ids_of_data([key, "max_epochs", "train#dataset#data", "lr"]) == [key]


def test_few_points_are_drawn_of_a_large_pool(study: tuple[Path, RunData, Record]) -> None:
    folder, data, _ = study
    view = pool_of_run(folder, "entropy", 3, data, most=5)
    assert len(view.ids) == 5 and {one.id for one in view.asked} <= set(view.ids) and view.images == 12


def test_a_run_that_is_gone_leaves_the_map_out(
    study: tuple[Path, RunData, Record], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, data, result = study
    page = report_study(tmp_path, [result], data).read_text()
    assert "Map of the pool" not in page and "no map of the pool" in caplog.text


def test_the_command_makes_the_page_again_from_results_alone(
    study: tuple[Path, RunData, Record], tmp_path: Path
) -> None:
    _, _, result = study
    write_result(tmp_path / "entropy_seed3.json", result)
    report(str(tmp_path))
    assert "Map of the pool" not in (tmp_path / "report.html").read_text()


def test_the_command_draws_the_pool_where_the_runs_are(study: tuple[Path, RunData, Record]) -> None:
    folder, _, _ = study
    report(str(folder), pool=True)
    assert "Map of the pool" in (folder / "report.html").read_text()


def test_the_command_reports_one_study(tmp_path: Path) -> None:
    for name, method in (("one", "random"), ("two", "entropy")):
        write_result(tmp_path / f"{method}_seed0.json", {**make_result(method, 0, 2), "study": name})
    with pytest.raises(InputError, match="one, two"):
        report(str(tmp_path))
    with pytest.raises(InputError, match="no result of 'three'"):
        report(str(tmp_path), study="three")
    report(str(tmp_path), study="two")
    assert "<h1>Study two</h1>" in (tmp_path / "report.html").read_text()


def test_the_best_method_has_the_largest_area() -> None:
    results = [make_result("random", 0), make_result("entropy", 0, gain=0.1), make_result("full_sup", 0, masks=[50])]
    assert best_arm(results) == "entropy"
    assert best_arm([make_result("random", 0, 1)]) is None


@pytest.mark.parametrize(
    ("round_", "score", "preset", "start", "expected"),
    [
        (0, None, {}, "random", "by lot"),
        (0, None, {}, "typical", "start: typical"),
        (0, None, {"start": {"_target_": "a.b.far_apart"}}, "random", "far apart"),
        (2, None, {"strategy": {"_target_": "a.b.random_order"}}, "random", "by lot"),
        (2, 0.3141, {"strategy": {"_target_": "a.b.highest_score"}}, "random", "highest score 0.314"),
        (2, 0.5, {"strategy": {"_target_": "a.b.core_set"}}, "random", "core set, score 0.5"),
        (2, None, {}, "random", "by lot"),
        (0, None, {"label_all": True}, "random", "all are asked"),
    ],
)
def test_why(round_: int, score: float | None, preset: dict[str, Any], start: str, expected: str) -> None:
    settings = json.loads(json.dumps({"active": {"preset": preset, "start": start}}))
    assert why(QueryRow(round_, 0, "i", score), settings) == expected
