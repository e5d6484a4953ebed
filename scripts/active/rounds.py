"""Algorithm 1: the rounds of active learning as an outer Ignite engine whose epoch is a round."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ignite.engine import Engine, Events

from scripts.active.handlers import (
    CycleHandler,
    EvaluateHandler,
    OracleHandler,
    PhaseHandler,
    PseudoLabelHandler,
    QueryHandler,
)
from scripts.active.methods import Method
from scripts.active.oracles import Oracle
from scripts.active.report_handler import ReportHandler
from scripts.active.round_context import RoundContext, RoundEvents, Run, round_state
from scripts.active.run_checks import refuse_impossible, tell_oddities, tell_of_empty_classes, tell_other_precision
from scripts.active.run_record import (
    HARMLESS,
    RunSettings,
    announcement,
    background_weight,
    require_same_files,
    require_same_start,
    stage0_overrides,
    stored_settings,
    training_overrides,
)
from scripts.active.strategies.pool import Strategy
from scripts.annotation.person_oracle import PersonOracle
from scripts.core.errors import InputError, Problem
from scripts.core.machine.threads import keep_threads
from scripts.core.run_config import RunConfig
from scripts.core.run_names import Metric, OutputFile, RunFile, Stage
from scripts.data.run_data import RunData
from scripts.networks.feature_bank import FeatureBank
from scripts.report.curve import curve_rows, summary_table
from scripts.report.page import write_report
from scripts.report.tracking import tracking_of
from scripts.state.reader import StateReader
from scripts.state.run_state import RunState
from scripts.training.checkpoints import CheckpointFile
from scripts.training.learner import Learner
from scripts.training.stage0 import theta0

logger = logging.getLogger(__name__)

Chosen = TypeVar("Chosen")


def default_phases() -> list[PhaseHandler]:
    """Return the handlers of Algorithm 1 with two trainings per round, in no particular order: events order them."""
    return [
        QueryHandler(),
        OracleHandler(),
        CycleHandler(0),
        PseudoLabelHandler(Stage.CYCLE_0),
        CycleHandler(1),
        EvaluateHandler(),
        PseudoLabelHandler(Stage.FINAL),
    ]


def run_round(engine: Engine, _: Any) -> None:
    """Fire the events of one round (Belharbi et al. 2021, Algorithm 1, as the published code runs it)."""
    engine.fire_event(RoundEvents.QUERY)  # U'_r: choose images to ask about
    if engine.should_terminate:  # no image was left
        return
    engine.fire_event(RoundEvents.ORACLE)  # L_r = L_{r-1} + U'_r with the oracle's masks
    if engine.should_terminate:  # people still draw
        return
    engine.fire_event(RoundEvents.CYCLE_0)  # theta <- theta0; train on L_r and P_{r-1}
    engine.fire_event(RoundEvents.PSEUDO_LABEL)  # U''_r: near, same class; P_r = P_{r-1} + U''_r - L_r; label P_r
    engine.fire_event(RoundEvents.CYCLE_1)  # theta <- theta0; train on L_r and P_r
    engine.fire_event(RoundEvents.EVALUATE)  # threshold on validation; test
    engine.fire_event(RoundEvents.REFRESH)  # label P_r again with the best model of the round
    engine.fire_event(RoundEvents.REPORT)


class ActiveLearning:
    """A run of active learning: stage 0, then rounds, then the report. The same call again goes on where it stopped.

    Args:
        config: the bundle config, of which every training is parsed afresh.
        data: images of the run.
        methods: the presets by name.
        oracles: who may draw the masks, by name.
        starts: what may pick the images of round 0, by name.
        settings: numbers and names of the run.
        features: memory of frozen features; None computes them each time.
        phases: handlers of the round; None for :func:`default_phases`.

    Raises:
        InputError: an unknown method, oracle or start, numbers that make no run, or tracking without MLflow.
    """

    def __init__(
        self,
        config: RunConfig,
        data: RunData,
        methods: Mapping[str, Method],
        oracles: Mapping[str, Oracle | PersonOracle],
        starts: Mapping[str, Strategy],
        settings: RunSettings,
        features: FeatureBank | None = None,
        phases: Sequence[PhaseHandler] | None = None,
    ) -> None:
        self.tracking, self.config = tracking_of(config)
        self.data, self.settings = data, settings
        self.method = _chosen("active#method", "unknown method", settings.method, methods)
        self.oracle = _chosen("oracle", "unknown oracle", settings.oracle, oracles)
        self.start = self.method.start or _chosen("active#start", "unknown start", settings.start, starts)
        refuse_impossible(self.config, data, self.method, self.oracle, settings)
        self.rounds = self.method.rounds or settings.rounds
        self.features, self.phases = features, phases

    @property
    def folder(self) -> Path:
        """Folder of this run."""
        return self.settings.folder

    def run(self) -> Path:
        """Run what is left of the run and return the path of its report."""
        settings = self.settings
        with RunState.open(self.folder) as state:
            listed = self.data.datalist
            config = self.config
            keep_threads(state.settings().get("threads"), config.get("threads"), config.get("image_size"))
            now = stored_settings(config, self.data, settings)
            tell_other_precision(state, now)
            state.register_run(now, HARMLESS, listed.hashed_items(), listed.sha256, listed.quarantined)
            told = announcement(config, self.data, self.method, settings, state)
            logger.info("active learning\n%s", told)
            tell_oddities(self.data, self.method, self.oracle, settings.initial_per_class)
            tell_of_empty_classes(config, self.data, self.method)
            checkpoint = CheckpointFile(self.folder / RunFile.CHECKPOINT, settings.checkpoint_seconds)
            run = Run(
                state, self.data, self._learner(state, checkpoint), self.method, self.oracle, settings, self.start,
                background_weight(config, self.method),
            )  # fmt: skip
            self.engine(run).run([None], max_epochs=self.rounds)
            if not run.todo:
                checkpoint.remove()
            table = summary_table(curve_rows(state))
        report = write_report(settings.output_dir)
        if self.tracking is not None:
            with StateReader.open(self.folder) as reader:
                self.tracking.keep_up(reader, finished=not run.todo)
        logger.info("%s, seed %d\n%s", settings.method, settings.seed, table)
        curve = Path(settings.output_dir) / OutputFile.LEARNING_CURVE
        written = [self.folder / RunFile.CURVE_CSV, self.folder / RunFile.OVERLAYS, curve, report]
        logger.info("written:\n  %s", "\n  ".join(str(path) for path in written if path.exists()))
        if run.todo:
            logger.info("%s", run.todo)
        return report

    def engine(self, run: Run) -> Engine:
        """Return the engine whose epoch is a round, with all handlers attached."""
        engine = Engine(run_round)
        engine.register_events(*RoundEvents)

        @engine.on(Events.EPOCH_STARTED)
        def enter_round(engine: Engine) -> None:
            require_same_files(run.data)
            round_state(engine).round = RoundContext(run, engine.state.epoch - 1)

        for handler in self.phases or default_phases():
            handler.attach(engine)
        ReportHandler(self.settings.max_overlays, self.tracking).attach(engine)

        @engine.on(RoundEvents.QUERY)
        def stop_when_nothing_is_left(engine: Engine) -> None:
            index = round_state(engine).round.index
            if index > 0 and not run.state.queries(index):
                logger.info("round %d: %s; the run ends here", index, _why_nothing_was_asked(round_state(engine).round))
                engine.terminate()

        @engine.on(RoundEvents.ORACLE)
        def stop_while_people_draw(engine: Engine) -> None:
            if run.todo:
                engine.terminate()

        @engine.on(RoundEvents.REPORT)
        def tell(engine: Engine) -> None:
            index = round_state(engine).round.index
            values = run.state.metrics(index).get(index, {})
            told = [
                name for name in (Metric.DICE, Metric.MIOU, Metric.CLEAN_SHARE, Metric.PSEUDO_DICE) if name in values
            ]
            shown = ", ".join(f"{name} {values[name]:.4f}" for name in told)
            masks, seconds = int(values.get(Metric.MASKS, 0)), sum(run.state.seconds(index).values())
            logger.info("round %d of %d: %d masks, %s, %.0f s", index, self.rounds - 1, masks, shown, seconds)

        return engine

    def _learner(self, state: RunState, checkpoint: CheckpointFile) -> Learner:
        """Return the learner of the run, which starts every training from theta0; stage 0 trains it where it must."""
        settings, config = self.settings, self.config
        start = theta0(
            config, self.data, stage0_overrides(config), settings.stage0_folder, settings.stage0_seed,
            settings.checkpoint_seconds,
        )  # fmt: skip
        require_same_start(state, start)
        changes = training_overrides(config, self.method)
        name = self.folder.name
        return Learner(config, self.data, self.features, start, changes, settings.seed, name, checkpoint)


def _chosen(where: str, what: str, name: str, known: Mapping[str, Chosen]) -> Chosen:
    if name not in known:
        raise InputError(Problem(what, where, ", ".join(sorted(known)), repr(name)))
    return known[name]


def _why_nothing_was_asked(context: RoundContext) -> str:
    budget = context.run.settings.budget
    if budget is not None and context.spent() >= budget:
        return f"the budget of {budget} masks is used up"
    return "every image that could be asked about has a mask, or was skipped"
