"""Runs in an MLflow store, read back: whole, once each, whatever happened to the run or to the store before."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.utils import DEFAULT_MLFLOW_SETTINGS

import scripts.report.tracking
from scripts.core.errors import InputError, StateError
from scripts.core.optional import TRACKER
from scripts.core.run_config import RunConfig
from scripts.report.curve import curve_rows, write_curve
from scripts.report.tracking import PARENT_TAG, SELECTED, Tracking, run_identity, tracking_of
from scripts.state.reader import StateReader
from scripts.state.run_state import RunState
from tests.support.small_runs import make_run
from tests.support.tiny_runs import CONFIGS, SMALL, tiny_config, words_of

ROOT = CONFIGS.parents[1]
DICES = [0.5, 0.7, 0.8]


@pytest.fixture
def mlflow() -> Any:
    return pytest.importorskip("mlflow", reason="needs requirements-tracking.txt")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without runs: its tables take seconds to make."""
    mlflow = pytest.importorskip("mlflow", reason="needs requirements-tracking.txt")
    path = tmp_path_factory.mktemp("store") / "mlruns.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def output(tmp_path: Path, empty_store: Path) -> Path:
    """An output folder with a run of three rounds and a store that does not know it."""
    shutil.copyfile(empty_store, tmp_path / "mlruns.db")
    add_trainings(make_run(tmp_path / "label_prop_seed0", "label_prop", 0, DICES))
    return tmp_path


def add_trainings(run_dir: Path) -> None:
    with RunState.open(run_dir) as state:
        for at in range(len(DICES)):
            state.commit(at, "cycle0", metrics={"selection_cycle0": 0.6 + at / 10}, seconds=4.0 + at)
        write_curve(state, run_dir)


def tracking_in(output: Path) -> Tracking:
    return Tracking(f"sqlite:///{output / 'mlruns.db'}", "monai_experiment")


def update(output: Path, finished: bool = False, run: str = "label_prop_seed0") -> None:
    with StateReader.open(output / run) as state:
        tracking_in(output).update(state, finished)


def read_back(output: Path, trees: bool = True) -> dict[str, dict[str, Any]]:
    """Everything in the store by name of the run, without what MLflow made up: ids and times of writing."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking_in(output).uri)
    experiment = client.get_experiment_by_name("monai_experiment")
    assert experiment.artifact_location == (output / "mlruns").as_uri()
    runs = list(client.search_runs([experiment.experiment_id]))
    names = {run.info.run_id: run.info.run_name for run in runs}
    assert len(set(names.values())) == len(runs), "a run is there twice"
    return {
        run.info.run_name: {
            "params": run.data.params,
            "parent": names.get(run.data.tags.get(PARENT_TAG)),
            "status": run.info.status,
            "metrics": {key: history(client, run.info.run_id, key) for key in run.data.metrics},
            "artifacts": sorted(each.path for each in client.list_artifacts(run.info.run_id)),
        }
        for run in runs
    }


def history(client: Any, run_id: str, key: str) -> list[tuple[int, float]]:
    return sorted((each.step, each.value) for each in client.get_metric_history(run_id, key))


class TestUpdate:
    def test_run_trainings_metrics_artifacts(self, output: Path, mlflow: Any) -> None:
        (output / "report.html").write_text("report")
        update(output)
        found = read_back(output)
        run = found.pop("label_prop_seed0")
        with StateReader.open(output / "label_prop_seed0") as state:
            rows = curve_rows(state)
            asked = {f"round_{at:02d}": [row.id for row in state.queries(at)] for at in range(3)}
        assert run["params"].keys() == {"method", "seed"}
        assert run["parent"] is None and run["status"] == "RUNNING"
        columns = {name for row in rows for name, value in row.items() if value is not None}
        assert run["metrics"].keys() == columns
        for name in columns:
            assert run["metrics"][name] == [(row["masks"], row[name]) for row in rows if row[name] is not None]
        assert run["artifacts"] == ["curve.csv", "report.html", SELECTED]
        (selected,) = (output / "mlruns").rglob(SELECTED)
        assert json.loads(selected.read_text()) == asked
        assert sorted(found) == [f"round_{at:02d}_cycle0" for at in range(3)]
        for at, masks in enumerate((2, 4, 6)):
            child = found[f"round_{at:02d}_cycle0"]
            assert child["parent"] == "label_prop_seed0" and child["status"] == "FINISHED"
            assert child["metrics"] == {"validation": [(masks, 0.6 + at / 10)], "seconds": [(masks, 4.0 + at)]}
            assert (child["params"]["round"], child["params"]["cycle"]) == (str(at), "0")

    def test_round_by_round_and_again_is_the_same_as_at_once(
        self, output: Path, mlflow: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for rounds in (1, 1, 2, 3):
            monkeypatch.setattr(scripts.report.tracking, "curve_rows", lambda state, n=rounds: curve_rows(state)[:n])
            update(output)
        update(output, finished=True)
        grown = read_back(output)
        update(output)
        update(output, finished=True)
        assert read_back(output) == grown
        assert grown["label_prop_seed0"]["status"] == "FINISHED"
        (output / "mlruns.db").unlink()
        update(output, finished=True)
        assert read_back(output) == grown

    @pytest.mark.parametrize("method", ["create_run", "log_batch", "set_terminated", "log_artifact", "log_dict"])
    @pytest.mark.parametrize("after", [False, True])
    def test_killed_at_any_step(
        self, output: Path, mlflow: Any, monkeypatch: pytest.MonkeyPatch, method: str, after: bool
    ) -> None:
        class Killed(BaseException):
            pass

        whole = getattr(mlflow.MlflowClient, method)
        left = [0]  # calls until the end

        def killed(*arguments: Any, **more: Any) -> Any:
            left[0] -= 1
            result = None if left[0] == 0 and not after else whole(*arguments, **more)
            if left[0] == 0:
                raise Killed
            return result

        for calls in (1, 2):
            left[0] = calls
            with monkeypatch.context() as patch:
                patch.setattr(mlflow.MlflowClient, method, killed)
                with contextlib.suppress(Killed):
                    update(output, finished=True)
        update(output, finished=True)
        found = read_back(output)
        assert len(found) == 4 and {run["status"] for run in found.values()} == {"FINISHED"}
        assert found["label_prop_seed0"]["metrics"]["dice"] == [(2, 0.5), (4, 0.7), (6, 0.8)]
        assert all(len(found[f"round_{at:02d}_cycle0"]["metrics"]["validation"]) == 1 for at in range(3))
        assert all(found[name]["params"] for name in found)

    def test_runs_of_a_folder_share_the_store(self, output: Path, mlflow: Any) -> None:
        make_run(output / "random_seed1", "random", 1, [0.4])
        update(output)
        update(output, run="random_seed1")
        found = read_back(output)
        assert len(found) == 5 and found["random_seed1"]["metrics"]["dice"] == [(2, 0.4)]

    def test_a_run_without_a_round_makes_no_store(self, tmp_path: Path, mlflow: Any) -> None:
        with RunState.open(tmp_path / "run") as state:
            Tracking(f"sqlite:///{tmp_path / 'mlruns.db'}", "a").update(state)
        assert not (tmp_path / "mlruns.db").exists()

    def test_nothing_is_sent_to_the_makers(self, output: Path, mlflow: Any) -> None:
        update(output)
        assert mlflow.telemetry.get_telemetry_client() is None

    @pytest.mark.parametrize("uri", ["sqlite:///{}/damaged.db", "sqlite:////proc/none/a.db", "nonsense://a"])
    def test_a_store_that_fails_is_a_warning(
        self, output: Path, mlflow: Any, uri: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        (output / "damaged.db").write_bytes(b"x" * 5000)
        tracking = Tracking(uri.format(output), "a")
        with StateReader.open(output / "label_prop_seed0") as state:
            with pytest.raises(StateError, match="MLflow store cannot be written"):
                tracking.update(state)
            tracking.keep_up(state)
        assert "MLflow store cannot be written" in caplog.text and "The run goes on" in caplog.text


def test_a_run_is_known_by_itself(tmp_path: Path) -> None:
    def identity(folder: Path) -> str:
        with StateReader.open(folder) as state:
            return run_identity(state)

    first = make_run(tmp_path / "a" / "run", "random", 0, [0.5])
    known = identity(first)
    assert identity(make_run(tmp_path / "a" / "other", "random", 1, [0.5])) != known
    assert identity(shutil.move(first, tmp_path / "run")) == known


class TestConfig:
    def tracked(self, folder: Path, **changes: Any) -> RunConfig:
        """What MONAI makes of the config with ``--tracking mlflow``."""
        parser = ConfigParser(tiny_config(folder, folder / "out", changes).content)
        ConfigWorkflow.patch_bundle_tracking(parser, DEFAULT_MLFLOW_SETTINGS)
        return RunConfig(parser.get())

    def test_what_monai_asks_for_is_taken_out(self, tmp_path: Path, mlflow: Any) -> None:
        config = self.tracked(tmp_path)
        assert config.uses_handler(TRACKER)
        tracking, rest = tracking_of(config)
        assert tracking == tracking_in(tmp_path / "out")
        plain = ConfigParser(tiny_config(tmp_path, tmp_path / "out").content)
        plain.parse()  # MONAI writes "::" for "#" here
        for section in ("train", "validate"):
            assert rest[section] == plain[section]

    def test_without_the_switch(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path, tmp_path / "out")
        assert tracking_of(config) == (None, config)

    def test_name_and_place_of_monais_own_settings(self, tmp_path: Path, mlflow: Any) -> None:
        tracking, _ = tracking_of(self.tracked(tmp_path, tracking_uri="http://example.org", experiment_name="glas"))
        assert tracking == Tracking("http://example.org", "glas")

    def test_without_mlflow_nothing_begins(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "mlflow", None)
        with pytest.raises(InputError, match=r"mlflow: package is missing.*requirements-tracking\.txt"):
            tracking_of(self.tracked(tmp_path))


def train(folder: Path, output: Path, *arguments: str, run_id: str = "training") -> subprocess.CompletedProcess[str]:
    small: Mapping[str, Any] = {**SMALL, "dataset_dir": folder, "output_dir": output, "ckpt_dir": output / "models"}
    steps = words_of(small, run_id)
    command = [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", str(CONFIGS / "train.json")]
    return subprocess.run(
        [*command, *steps, *arguments], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


@pytest.mark.slow
class TestCommand:
    """``python -m monai.bundle run`` with exactly ``--tracking mlflow``."""

    def test_taken_up_with_another_round_and_begun_without(
        self, shapes_folder: Path, output: Path, mlflow: Any
    ) -> None:
        shutil.rmtree(output / "label_prop_seed0")
        for rounds, tracked in ((1, ()), (2, ("--tracking", "mlflow")), (2, ("--tracking", "mlflow"))):
            done = train(shapes_folder, output, f"--active#rounds={rounds}", *tracked)
            assert done.returncode == 0, done.stderr[-3000:]
            assert "MLflow" not in done.stdout + done.stderr
        found = read_back(output)
        run = found.pop("label_prop_seed0")
        assert run["params"] == {"method": "label_prop", "seed": "0"} and run["status"] == "FINISHED"
        assert [step for step, _ in run["metrics"]["dice"]] == [2, 4]
        assert run["artifacts"] == ["curve.csv", "learning_curve.png", "report.html", SELECTED]
        assert sorted(found) == [f"round_{at:02d}_cycle{cycle}" for at in (0, 1) for cycle in (0, 1)]
        assert all(child["status"] == "FINISHED" and child["metrics"]["validation"] for child in found.values())

    def test_single_training_has_monais_own_run(self, shapes_folder: Path, output: Path, mlflow: Any) -> None:
        done = train(shapes_folder, output, "--tracking", "mlflow", run_id="run")
        assert done.returncode == 0, done.stderr[-3000:]
        (run,) = read_back(output).values()
        assert len(run["metrics"]["train_loss"]) == 2
