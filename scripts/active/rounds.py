"""Algorithm 1: the rounds of active learning as an outer Ignite engine whose epoch is a round."""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from scripts.active.handlers import (
    CycleHandler,
    EvaluateHandler,
    OracleHandler,
    PhaseHandler,
    PseudoLabelHandler,
    QueryHandler,
    RoundEvents,
)
from scripts.active.methods import Method
from scripts.active.oracles import Oracle
from scripts.active.report_handler import ReportHandler
from scripts.active.round_context import RoundContext, Run, round_state
from scripts.active.run_checks import refuse_impossible, tell_oddities
from scripts.annotation.person_oracle import PersonOracle
from scripts.core.errors import InputError, Problem, StateError
from scripts.core.result_files import versions
from scripts.core.run_config import RunConfig, running_config
from scripts.data.run_data import RunData
from scripts.data.splits import patients_in_several_splits
from scripts.networks.feature_bank import FeatureBank
from scripts.networks.theta0 import Theta0
from scripts.report.curve import curve_rows, summary_table
from scripts.report.page import write_report
from scripts.state.run_state import RunState
from scripts.state.settings_checks import shortened
from scripts.training.checkpoints import CheckpointFile
from scripts.training.learner import Learner
from scripts.training.stage0 import APART, theta0

logger = logging.getLogger(__name__)

HARMLESS = (
    "active#rounds", "active#budget", "active#max_overlays", "device", "num_workers", "amp", "features", "data",
    "native_size",  # that of the images, which older runs did not store
    "oracle", "active#oracle",
)  # fmt: skip
"""Settings that may differ when a run is taken up again; people may take over from masks on disk, and the other way."""


def default_phases() -> list[PhaseHandler]:
    """Return the handlers of Algorithm 1 with two trainings per round, in no particular order: events order them."""
    return [
        QueryHandler(),
        OracleHandler(),
        CycleHandler(0),
        PseudoLabelHandler("cycle0"),
        CycleHandler(1),
        EvaluateHandler(),
        PseudoLabelHandler("final"),
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
        data: images of the run.
        method: name of an entry of ``methods``.
        methods: the presets.
        oracle: name of an entry of ``oracles``.
        oracles: who may draw the masks.
        output_dir: folder of all runs; this one is ``<output_dir>/<method>_seed<seed>``.
        rounds: number of rounds, the initial draw included.
        initial_per_class: masks per class in round 0.
        query_per_class: masks per class in each later round.
        seed: of the run: draws, queries, order, augmentation.
        stage0_dir: where theta0 is kept.
        stage0_seed: seed of stage 0, its own so that all runs share theta0.
        features: memory of frozen features; None computes them each time.
        budget: most masks in the run; None for no limit.
        protect_pseudo: see :class:`scripts.active.round_context.Run`.
        compute_matched: give methods of one training per round as many optimisation steps as those of two.
        max_overlays: pictures per round.
        checkpoint_seconds: least time between two checkpoints of a training; 0 makes one at the end of every epoch.
        phases: handlers of the round; None for :func:`default_phases`.
        config: the bundle config; None takes the one that is being resolved. Its ``active#stage0#overrides`` are the
            config values of stage 0 by nested id, read as they stand: they refer to objects of that training.

    Raises:
        InputError: an unknown method or oracle, or numbers that make no run.
    """

    def __init__(
        self,
        data: RunData,
        method: str,
        methods: Mapping[str, Method],
        oracle: str,
        oracles: Mapping[str, Oracle | PersonOracle],
        output_dir: str,
        rounds: int,
        initial_per_class: int,
        query_per_class: int,
        seed: int,
        stage0_dir: str,
        stage0_seed: int = 0,
        features: FeatureBank | None = None,
        budget: int | None = None,
        protect_pseudo: bool = True,
        compute_matched: bool = False,
        max_overlays: int = 4,
        checkpoint_seconds: float = 30.0,
        phases: Sequence[PhaseHandler] | None = None,
        config: RunConfig | None = None,
    ) -> None:
        self.config = config or running_config()
        if method not in methods:
            raise InputError(Problem("unknown method", "active#method", ", ".join(sorted(methods)), repr(method)))
        if oracle not in oracles:
            raise InputError(Problem("unknown oracle", "oracle", ", ".join(sorted(oracles)), repr(oracle)))
        counts = {"rounds": rounds, "initial_per_class": initial_per_class, "query_per_class": query_per_class}
        refuse_impossible(self.config, data, methods[method], oracles[oracle], counts)
        self.data, self.name, self.method, self.oracle = data, method, methods[method], oracles[oracle]
        self.oracle_name = oracle
        self.output_dir, self.seed = Path(output_dir), int(seed)
        self.rounds = self.method.rounds or int(rounds)
        self.initial_per_class, self.query_per_class = int(initial_per_class), int(query_per_class)
        self.stage0 = self.config.get("active#stage0#overrides", {})
        self.stage0_dir, self.stage0_seed = Path(stage0_dir), int(stage0_seed)
        self.features, self.budget, self.protect_pseudo = features, budget, protect_pseudo
        self.compute_matched, self.max_overlays = compute_matched, max_overlays
        self.checkpoint_seconds = float(checkpoint_seconds)
        self.phases = phases

    @property
    def folder(self) -> Path:
        """Folder of this run."""
        return self.output_dir / f"{self.name}_seed{self.seed}"

    def run(self) -> Path:
        """Run what is left of the run and return the path of its report."""
        with RunState.open(self.folder) as state:
            listed = self.data.datalist
            state.register_run(self._settings(), HARMLESS, listed.hashed_items(), listed.sha256, listed.quarantined)
            self._announce(state)
            tell_oddities(self.data, self.method, self.oracle, self.initial_per_class)
            start = theta0(
                self.config, self.data, self.stage0, self.stage0_dir, self.stage0_seed, self.checkpoint_seconds
            )
            _require_same_start(state, start)
            changes = self._overrides()
            checkpoint = CheckpointFile(self.folder / "training.ckpt", self.checkpoint_seconds)
            learner = Learner(
                self.config, self.data, self.features, start, changes, self.seed, self.folder.name, checkpoint
            )
            run = Run(
                state, self.data, learner, self.method, self.oracle, self.seed, self.folder,
                self.initial_per_class, self.query_per_class, self.budget, self.protect_pseudo,
            )  # fmt: skip
            self.engine(run).run([None], max_epochs=self.rounds)
            if not run.todo:
                checkpoint.remove()
            table = summary_table(curve_rows(state))
        report = write_report(self.output_dir)
        logger.info("%s, seed %d\n%s", self.name, self.seed, table)
        written = [self.folder / "curve.csv", self.folder / "overlays", self.output_dir / "learning_curve.png", report]
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
            _require_same_files(run)
            round_state(engine).round = RoundContext(run, engine.state.epoch - 1)

        for handler in self.phases or default_phases():
            handler.attach(engine)
        ReportHandler(self.max_overlays).attach(engine)

        @engine.on(RoundEvents.QUERY)
        def stop_when_nothing_is_left(engine: Engine) -> None:
            index = round_state(engine).round.index
            if index > 0 and not run.state.queries(index):
                logger.info("round %d: %s; the run ends here", index, _why_nothing_was_asked(run))
                engine.terminate()

        @engine.on(RoundEvents.ORACLE)
        def stop_while_people_draw(engine: Engine) -> None:
            if run.todo:
                engine.terminate()

        @engine.on(RoundEvents.REPORT)
        def tell(engine: Engine) -> None:
            index = round_state(engine).round.index
            values = run.state.metrics(index).get(index, {})
            shown = ", ".join(
                f"{name} {values[name]:.4f}" for name in ("dice", "miou", "pseudo_dice") if name in values
            )
            seconds = sum(run.state.seconds(index).values())
            logger.info(
                "round %d of %d: %d masks, %s, %.0f s",
                index,
                self.rounds - 1,
                int(values.get("masks", 0)),
                shown,
                seconds,
            )

        return engine

    def _overrides(self) -> dict[str, Any]:
        changes = dict(self.method.overrides)
        if self.compute_matched and self.method.cycles == 1 and not self.method.label_all:
            changes["max_epochs"] = 2 * int(changes.get("max_epochs", self.config["max_epochs"]))
        return changes

    def _settings(self) -> dict[str, Any]:
        """Return what the run depends on and the report shows, as JSON values."""
        raw = self.config["active"]
        kept = ("compute_matched", "protect_pseudo", "max_overlays", "rounds", "budget")
        sections = ["network_def", "loss", "optimizer", "lr_scheduler", "train", "max_epochs", "epoch_length"]
        sections += ["batch_size", "image_size", "freeze_classifier", "variants", "amp", "labelled_share", "device"]
        sections += ["validate", "mask_rule"]
        return {
            "method": self.name,
            "seed": self.seed,
            "oracle": self.oracle_name,
            "classes": list(self.data.classes),
            "native_size": list(self.data.native_size()),
            "patients_in_several_splits": len(patients_in_several_splits(self.data.datalist.items)),
            "active": {
                "initial_per_class": self.initial_per_class,
                "query_per_class": self.query_per_class,
                "preset": raw.get("methods", {}).get(self.name),
                "stage0": self.stage0,
                **{name: raw.get(name) for name in kept},
            },
            **self.config.with_references(sections, APART),
        }

    def _finished(self, state: RunState) -> bool:
        last = "evaluate" if self.method.propagation is None else "refresh"
        return all(state.done(index, last) for index in range(self.rounds))

    def _announce(self, state: RunState) -> None:
        counts = self.data.datalist.counts()
        sizes = "; ".join(
            f"{split} {sum(n.values())} ({', '.join(f'{c} {k}' for c, k in n.items())})" for split, n in counts.items()
        )
        first = self.initial_per_class * len(self.data.classes)
        last = min(
            first + (self.rounds - 1) * self.query_per_class * len(self.data.classes), sum(counts["train"].values())
        )
        first, last = (n if self.budget is None else min(n, self.budget) for n in (first, last))
        masks = (
            "all training masks" if self.method.label_all else f"{first} masks first, {last} after {self.rounds} rounds"
        )
        epochs = self._overrides().get("max_epochs", self.config["max_epochs"])
        steps = f"{self.method.cycles * self.rounds} trainings of {epochs} x {self.config['epoch_length']} steps"
        lines = {
            "run": f"{self.name}, seed {self.seed}, in {self.folder}",
            "data": f"{sizes}; SHA-256 {self.data.datalist.sha256[:16]}",
            "budget": "no masks" if self.method.cycles == 0 else masks,
            "cost": f"stage 0, then {steps} of {self.config['batch_size']} images",
            "device": _device_name(str(self.config.parser().get_parsed_content("device"))),
            "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
            "done": "the whole run; only the report is written again" if self._finished(state) else _last_phase(state),
        }
        logger.info("active learning\n%s", "\n".join(f"  {name:9s} {text}" for name, text in lines.items()))


def _require_same_start(state: RunState, start: Theta0) -> None:
    """Refuse to go on from another theta0: the run's weights are stored as what differs from it."""
    if not state.done(-1, "stage0"):
        state.commit(-1, "stage0", seconds=start.seconds, rng={"theta0": start.sha256})
    elif (stored := state.rng(-1, "stage0")["theta0"]) != start.sha256:
        cure = "Bring back the folder stage0 from a backup, or choose another output folder for a new run."
        raise StateError(
            Problem("theta0 is not the one the run started from", str(state.run_dir), stored, start.sha256, cure)
        )


def _require_same_files(run: Run) -> None:
    """Refuse to begin a round when an image or mask is no longer what the run read at its start."""
    problems = run.data.datalist.watch.changed()
    if problems:
        raise StateError(shortened(problems))


def _why_nothing_was_asked(run: Run) -> str:
    if run.budget is not None and len(run.state.labelled()) >= run.budget:
        return f"the budget of {run.budget} masks is used up"
    return "every image that could be asked about has a mask, or was skipped"


def _last_phase(state: RunState) -> str:
    last = state.last()
    if last is None:
        return "nothing yet"
    return "stage 0" if last[0] < 0 else f"up to round {last[0]}, {last[1]}"


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        return f"{device}, {torch.cuda.get_device_name(device)}"
    return f"{device}, {platform.machine()}, {torch.get_num_threads()} threads"
