"""A run in an MLflow store: one run, in it one per training, metrics over masks, artifacts.

All is taken from the state of the run, and what the store has already is left alone. So a run that was killed and taken
up again is there once and whole, and a store that was lost is made anew by the same command. MONAI's own handlers would
make a run of each training, begin another where a training is taken up, and know no rounds: they are taken out of the
config (:func:`tracking_of`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.core.errors import Problem, StateError
from scripts.core.optional import TRACKER, needed, quiet_mlflow
from scripts.core.result_files import Record
from scripts.core.run_names import SELECTION, Metric, OutputFile, Phase, RunFile, round_name, selection_metric
from scripts.report.curve import PHASE_SECONDS, curve_rows
from scripts.state.reader import StateReader

if TYPE_CHECKING:  # it loads torch
    from scripts.core.run_config import RunConfig

logger = logging.getLogger(__name__)

RUN_TAG, TRAINING_TAG = "active_learning.run", "active_learning.training"
PARENT_TAG = "mlflow.parentRunId"  # by which MLflow's pages show one run below another
SELECTED = "selected.json"
VALIDATION = "validation"
_FINISHED, _RUNNING = "FINISHED", "RUNNING"
_CURE = "The run goes on and lacks nothing: its next round, or the same command again, writes what is missing here."


@dataclass(frozen=True)
class Tracking:
    """Where runs are told of.

    Attributes:
        uri: MLflow's tracking URI, such as ``"sqlite:////data/runs/mlruns.db"``.
        experiment: name of the experiment in it; made where it is missing, with its artifacts beside an SQLite file.
    """

    uri: str
    experiment: str

    def keep_up(self, state: StateReader, finished: bool = False) -> None:
        """Do :meth:`update`, with a warning where it fails: a store is no reason to lose hours of training."""
        try:
            self.update(state, finished)
        except StateError as error:
            logger.warning("%s", error)

    def update(self, state: StateReader, finished: bool = False) -> None:
        """Bring the store up to date with a run; a run of which no round was evaluated is not told of.

        Args:
            state: of the run; report and picture are looked for in the folder above.
            finished: nothing of the run is left to do.

        Raises:
            StateError: the store cannot be read or written.
            InputError: MLflow is not installed.
        """
        mlflow = quiet_mlflow()
        failures = (mlflow.MlflowException, needed("sqlalchemy.exc").SQLAlchemyError, OSError)
        try:
            if rows := curve_rows(state):
                _Store(mlflow, self).write(state, rows, finished)
        except failures as error:
            found = str(error).partition("\n")[0]
            raise StateError(Problem("MLflow store cannot be written", self.uri, found=found, cure=_CURE)) from error


def tracking_of(config: RunConfig) -> tuple[Tracking | None, RunConfig]:
    """Return what MONAI's ``--tracking mlflow`` asks for and the config without it; None where it was not given.

    Raises:
        InputError: MLflow is not installed.
    """
    if not config.uses_handler(TRACKER):
        return None, config
    quiet_mlflow()
    parser = config.parser()
    uri, experiment = (str(parser.get_parsed_content(key)) for key in ("tracking_uri", "experiment_name"))
    return Tracking(uri, experiment), config.without_handler(TRACKER)


def run_identity(state: StateReader) -> str:
    """Return what tells a run from any other, also one in the same folder later, and stays when the folder is moved.

    Not even two runs of equal settings have equal times.
    """
    times = [state.seconds(0).get(phase) for phase in (Phase.QUERY, Phase.EVALUATE)]
    settings = state.settings()
    known = [settings.get("method"), settings.get("seed"), state.data_sha256(), state.run_dir.name, times]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]


class _Store:
    """The runs of one experiment; what fails is raised as MLflow, SQLAlchemy or the system raise it.

    A run is found again by its tags, which are made with it. Metrics of a round are written in one transaction, so that
    the round is there with all of them or not at all.
    """

    def __init__(self, mlflow: Any, tracking: Tracking) -> None:
        self.entities = mlflow.entities
        self.client = mlflow.MlflowClient(tracking_uri=tracking.uri)
        known = self.client.get_experiment_by_name(tracking.experiment)
        folder = _artifact_folder(tracking.uri)
        self.experiment = known.experiment_id if known else self.client.create_experiment(tracking.experiment, folder)

    def write(self, state: StateReader, rows: Sequence[Record], finished: bool) -> None:
        """Write what the store lacks of a run.

        Args:
            state: of the run.
            rows: its learning curve, one row at least.
            finished: nothing of the run is left to do.
        """
        identity, settings = run_identity(state), state.settings()
        told = {name: settings.get(name) for name in ("method", "seed")}
        known = self._known(identity)
        parent = known.get("") or self._begin(state.run_dir.name, {RUN_TAG: identity})
        run_id = parent.info.run_id
        for row in rows:
            for cycle in _cycles(row):
                name = f"{round_name(row['round'])}_cycle{cycle}"
                tags = {RUN_TAG: identity, TRAINING_TAG: name, PARENT_TAG: run_id}
                run = known.get(name) or self._begin(name, tags)
                self._write_training(run, {**told, "round": row["round"], "cycle": cycle}, row)
        written = {int(each.value) for each in self.client.get_metric_history(run_id, "round")}
        new = [row for row in rows if row["round"] not in written]
        for row in new:
            self._log(run_id, told, row, row[Metric.MASKS])
        self._write_artifacts(state, run_id)
        status = _FINISHED if finished else _RUNNING if new else parent.info.status
        if status != parent.info.status:
            (self.client.set_terminated if finished else self.client.update_run)(run_id, status=status)

    def _known(self, identity: str) -> dict[str, Any]:
        """Return the runs of an identity by the name of their training, that of the whole run under ``""``."""
        found: dict[str, Any] = {}
        page = None
        while page is None or page:
            query = f"tags.`{RUN_TAG}` = '{identity}'"
            runs = self.client.search_runs([self.experiment], query, max_results=1000, page_token=page)
            found |= {run.data.tags.get(TRAINING_TAG, ""): run for run in runs}
            page = runs.token or ""
        return found

    def _begin(self, name: str, tags: Mapping[str, str]) -> Any:
        return self.client.create_run(self.experiment, tags=dict(tags), run_name=name)

    def _write_training(self, run: Any, told: Mapping[str, Any], row: Record) -> None:
        """Write and close the run of a training, unless that has been done."""
        if run.info.status == _FINISHED:
            return
        if not run.data.metrics:
            cycle = told["cycle"]
            values = {VALIDATION: row[selection_metric(cycle)], "seconds": row.get(f"{PHASE_SECONDS}cycle{cycle}")}
            self._log(run.info.run_id, told, values, row[Metric.MASKS])
        self.client.set_terminated(run.info.run_id, _FINISHED)

    def _log(self, run_id: str, told: Mapping[str, Any], values: Mapping[str, Any], step: int) -> None:
        """Write parameters, which may be there already, and metrics in one transaction."""
        now, entities = int(time.time() * 1000), self.entities
        metrics = [entities.Metric(name, float(v), now, step) for name, v in values.items() if v is not None]
        self.client.log_batch(run_id, metrics, [entities.Param(name, str(v)) for name, v in told.items()])

    def _write_artifacts(self, state: StateReader, run_id: str) -> None:
        folder, output = state.run_dir, state.run_dir.parent
        for path in (folder / RunFile.CURVE_CSV, output / OutputFile.REPORT, output / OutputFile.LEARNING_CURVE):
            if path.is_file():
                self.client.log_artifact(run_id, str(path))
        selected: dict[str, list[str]] = {}
        for query in state.queries():
            selected.setdefault(round_name(query.round), []).append(query.id)
        self.client.log_dict(run_id, selected, SELECTED)


def _cycles(row: Record) -> list[int]:
    """Return the trainings that a round had: each has a metric that chose its weights."""
    chosen = [name for name, value in row.items() if name.startswith(SELECTION) and value is not None]
    return [int(name.removeprefix(SELECTION)) for name in chosen]


def _artifact_folder(uri: str) -> str | None:
    """Return where artifacts lie: beside an SQLite file; None leaves it to the server."""
    if not uri.startswith("sqlite:///"):
        return None
    return (Path(needed("sqlalchemy.engine").make_url(uri).database).parent / "mlruns").absolute().as_uri()
