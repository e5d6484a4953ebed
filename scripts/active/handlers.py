"""The phases of a round as Ignite handlers; each can be attached alone, to any engine that fires its event.

A handler reads what was there before from the state, works, and commits its results in one transaction that marks the
phase as done. A phase that is done is skipped, so a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from ignite.engine import Engine

from scripts.active.oracles import Answer, WindowOracle
from scripts.active.pseudo.chain import pseudo_target
from scripts.active.regions import best_windows
from scripts.active.round_context import RoundContext, RoundEvents, round_state
from scripts.active.strategies.per_class import initial_query, query_pool, select_per_class, spare_images
from scripts.active.strategies.pool import Pool
from scripts.annotation.asked_windows import asked_windows, windows_json
from scripts.annotation.person_oracle import PersonOracle, asked_images
from scripts.core.errors import listed
from scripts.core.run_names import TEST_DICE, WINDOWS, Metric, Stage, selection_metric, weights_artifact
from scripts.core.seeds import python_generator
from scripts.images.png import mask_to_png
from scripts.images.windows import Window, drawn_cost
from scripts.networks.weights import pack_weights
from scripts.state.rows import OUTLINE, LabelRow, PseudoRow
from scripts.training.model_metrics import evaluate, pseudo_quality

logger = logging.getLogger(__name__)


class PhaseHandler(ABC):
    """One phase: run once per round, committed as a whole.

    ``engine.state.round`` must be a :class:`~scripts.active.round_context.RoundContext`.

    Attributes:
        event: when it runs; its value is the name of the phase in the state.
    """

    event: RoundEvents

    def attach(self, engine: Engine) -> None:
        """Run at this phase's event of ``engine``."""
        engine.add_event_handler(self.event, self)

    def __call__(self, engine: Engine) -> None:
        """Run the phase and commit it, unless that has been done."""
        context = round_state(engine).round
        state, name = context.run.state, str(self.event.value)
        if state.is_done(context.index, name):
            return
        started = time.perf_counter()
        results = self.run(context)
        if results is not None:
            state.commit(context.index, name, seconds=time.perf_counter() - started, **results)

    @abstractmethod
    def run(self, context: RoundContext) -> dict[str, Any] | None:
        """Return what ``RunState.commit`` stores; None when the method has no such phase."""


class QueryHandler(PhaseHandler):
    """Choose the images of this round: an initial draw per class in round 0, then the method's strategy per class.

    When the pool is empty or the budget is spent there is no such round: nothing is committed, so that the run can be
    taken up with a larger budget.
    """

    event = RoundEvents.QUERY

    def run(self, context: RoundContext) -> dict[str, Any] | None:
        """Return the queries; see :class:`PhaseHandler`."""
        run = context.run
        labelled = list(run.state.labelled(context.index - 1))
        known = {*labelled, *(row.id for row in run.state.pending())}
        begun = context.begun()
        out = (known - begun) | run.state.skipped().keys()
        pool = [key for key in run.train_ids if key not in out and run.oracle.can_answer(key)]
        if run.method.cycles == 0:
            return {"queries": []} if context.index == 0 else None
        rng = python_generator(run.settings.seed)  # published: the same generator is seeded anew in every round
        n, spare = run.settings.query_per_class, set[str]()
        chosen, windows = context.pool(labelled, pool), dict[str, Window]()
        if run.method.label_all:
            ids = pool
        elif context.index == 0:
            ids = initial_query(run.start, chosen, run.class_of, rng, n_per_class=run.settings.initial_per_class)
        elif pool:
            pseudo = [row.id for row in run.state.pseudo(context.index - 1, Stage.FINAL)]
            fresh = [key for key in pool if key not in begun]
            asked = [*begun, *query_pool(fresh, pseudo, len(run.data.drawable_classes), run.settings.protect_pseudo)]
            spare = set(spare_images(fresh, asked, run.class_of, n))
            pool = [key for key in pool if key in {*asked, *spare}]
            scores, windows = self._scores(context, pool)
            pool = pool if run.method.region is None else list(scores)
            chosen = context.pool(labelled, pool, scores)
            ids = select_per_class(run.method.strategy, chosen, run.class_of, rng, n_per_class=n, spare=spare)
        else:
            ids = []
        if run.settings.budget is not None and not run.method.label_all:
            ids = ids[: max(run.settings.budget - context.spent(), 0)]
        if not ids and context.index > 0:
            return None
        found: dict[str, Any] = {"queries": _with_scores(ids, chosen)}
        if isinstance(run.oracle, PersonOracle) and not run.method.label_all:
            rest = [key for key in pool if key not in set(ids)]
            reserves = self._reserves(context, replace(chosen, unlabelled=rest))
            found["reserves"] = _with_scores(reserves, chosen)
            ids = [*ids, *reserves]
        if windows:
            blob = run.state.put_blob(windows_json({key: windows[key] for key in ids}), ".json")
            found["artifacts"] = {WINDOWS: blob}
        return found

    def _reserves(self, context: RoundContext, rest: Pool) -> list[str]:
        """What people are asked for in place of images they cannot draw: as many again of each class."""
        run, is_start = context.run, context.index == 0
        n = run.settings.initial_per_class if is_start else run.settings.query_per_class
        rng = python_generator(run.settings.seed, context.index, "reserves")
        return select_per_class(run.start if is_start else run.method.strategy, rest, run.class_of, rng, n_per_class=n)

    def _scores(self, context: RoundContext, pool: list[str]) -> tuple[dict[str, np.ndarray], dict[str, Window]]:
        """Return the scores of images and, of a method with regions, the window of each that has a free one."""
        run, method = context.run, context.run.method
        score = method.query_score()
        if score is None:
            return {}, {}
        scores = run.learner.score(pool, context.previous().weights(), score, method.passes, context.index)
        if method.region is None:
            return scores, {}
        taken = asked_windows(run.state, context.index - 1)
        return best_windows(method.region, scores, run.data.store.original_size, taken)


def _with_scores(ids: Sequence[str], pool: Pool) -> list[tuple[str, float | None]]:
    """Return each id with the first number of its score, None where it has none."""
    return [(key, float(pool.scores[key][0]) if key in pool.scores else None) for key in ids]


class OracleHandler(PhaseHandler):
    """Ask the oracle for the masks of this round's queries and merge them into L.

    People take their time: while masks are missing nothing is committed, so that the run can end and be taken up. All
    that they sent until the phase ends belongs to this round, what comes later to the next.
    """

    event = RoundEvents.ORACLE

    def run(self, context: RoundContext) -> dict[str, Any] | None:
        """Return the label rows; see :class:`PhaseHandler`."""
        run, oracle = context.run, context.run.oracle
        if isinstance(oracle, PersonOracle):
            return {"claim": True} if self._has_all(context, oracle) else None
        ids, windows = [row.id for row in run.state.queries(context.index)], context.windows()
        answers = cast(WindowOracle, oracle).answer(ids, windows) if windows else oracle.answer(ids)
        blobs = run.state.put_blobs([mask_to_png(answer.mask) for answer in answers], ".png")
        rows = [
            _label_row(answer, context.index, blob, windows.get(answer.id, ()))
            for answer, blob in zip(answers, blobs, strict=True)
        ]
        return {"labels": rows, "claim": True}

    def _has_all(self, context: RoundContext, oracle: PersonOracle) -> bool:
        """Take in what came, ask for the rest, and wait for it where the oracle says so."""
        told: list[str] = []
        while True:
            is_changed = oracle.collect(context.run.state.run_dir)
            waiting = context.run.state.waiting(context.index)
            if not waiting:
                context.run.todo = ""
                return True
            if waiting != told or is_changed:
                told = waiting
                head = f"round {context.index}: {len(waiting)} images wait for a mask: {listed(waiting)}"
                asked = asked_images(context.run.state, context.index, context.run.class_of)
                what = oracle.ask(context.run.state.run_dir, context.index, asked, context.proposals)
                context.run.todo = f"{head}\n  {what}"
                if oracle.poll_seconds:
                    logger.info("%s", context.run.todo)
            if not oracle.poll_seconds:
                return False
            time.sleep(oracle.poll_seconds)


def _label_row(answer: Answer, index: int, blob: str, windows: Sequence[Window]) -> LabelRow:
    pixels, boundary = drawn_cost(answer.mask, windows)
    outlined = boundary if answer.kind == OUTLINE else 0  # around a box nothing is outlined
    return LabelRow(
        answer.id, index, blob, pixels, outlined, answer.seconds, answer.user, kind=answer.kind, objects=answer.objects
    )


class CycleHandler(PhaseHandler):
    """Train from theta0: cycle 0 on L and the pseudo-masks of the round before, cycle 1 on L and this round's.

    A method that does not ``carry`` pseudo-masks over trains cycle 0 on L alone; a ``warm`` one goes on in cycle 1 from
    the weights of cycle 0.
    """

    def __init__(self, cycle: int) -> None:
        self.cycle = cycle
        self.event = RoundEvents.CYCLE_0 if cycle == 0 else RoundEvents.CYCLE_1

    def run(self, context: RoundContext) -> dict[str, Any] | None:
        """Return weights and selection metric; see :class:`PhaseHandler`."""
        run = context.run
        if self.cycle >= run.method.cycles:
            return None
        items = self._items(context)
        if not items:
            return None
        start = context.weights(upto_cycle=0) if self.cycle == 1 and run.method.warm else None
        trained = run.learner.train(items, (context.index, self.cycle), start)
        blob = run.state.put_blob(pack_weights(trained.weights, run.learner.theta0.weights), ".pt")
        logger.info(
            "round %d, cycle %d: %d images, best validation %.4f in epoch %d, %.0f s",
            context.index, self.cycle, len(items), trained.metric, trained.epoch, trained.seconds,
        )  # fmt: skip
        return {
            "artifacts": {weights_artifact(self.cycle): blob},
            "metrics": {selection_metric(self.cycle): trained.metric},
        }

    def _items(self, context: RoundContext) -> list[dict[str, Any]]:
        if self.cycle == 1:
            return context.training_items(context.index, Stage.CYCLE_0)
        return context.training_items(context.index - 1 if context.run.method.carry else None, Stage.FINAL)


class PseudoLabelHandler(PhaseHandler):
    """Propagate and refresh: pair unlabelled images with labelled ones, and write the model's masks of all pairs.

    In mid-round (:attr:`Stage.CYCLE_0`) with the model of cycle 0 and a threshold estimated for it; at the end
    (:attr:`Stage.FINAL`) with the round's best model and threshold: the pseudo-masks that the next round starts with.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = Stage(stage)
        self.event = RoundEvents.PSEUDO_LABEL if self.stage is Stage.CYCLE_0 else RoundEvents.REFRESH

    def run(self, context: RoundContext) -> dict[str, Any] | None:
        """Return the pseudo-masks with their provenance; see :class:`PhaseHandler`."""
        run = context.run
        if run.method.propagation is None or (self.stage is Stage.CYCLE_0 and run.method.cycles < 2):
            return None
        weights = context.weights(upto_cycle=0 if self.stage is Stage.CYCLE_0 else None)
        threshold = self._threshold(context, weights)
        donors = context.donors()
        drawn = context.oracle_masks() if run.method.chain else {}
        masks, files = dict[str, np.ndarray](), dict[str, bytes]()
        for found in run.learner.predict(list(donors), weights):
            target = pseudo_target(context.pseudo_case(found, threshold, drawn), run.method.chain)
            masks[found.id], files[found.id] = target.hard(), target.to_png()
        blobs = run.state.put_blobs([files[key] for key in donors], ".png")
        rows = [
            PseudoRow(key, context.index, self.stage, donor.id, donor.distance, threshold, blob)
            for (key, donor), blob in zip(donors.items(), blobs, strict=True)
        ]
        quality = pseudo_quality(run.data, masks)
        if self.stage is Stage.FINAL:
            metrics, dice = {Metric.PSEUDO_N: float(len(rows))}, Metric.PSEUDO_DICE
        else:
            metrics, dice = {Metric.PSEUDO_N_CYCLE_0: float(len(rows))}, Metric.PSEUDO_DICE_CYCLE_0
            metrics[Metric.THRESHOLD_CYCLE_0] = threshold
        metrics |= {} if quality is None else {dice: quality}
        return {"pseudo": rows, "metrics": metrics}

    def _threshold(self, context: RoundContext, weights: Any) -> float:
        if self.stage is Stage.FINAL:
            return context.run.state.metrics(context.index)[context.index][Metric.THRESHOLD]
        return evaluate(context.run.learner, weights, test=False).metrics[Metric.THRESHOLD]


class EvaluateHandler(PhaseHandler):
    """Estimate the threshold on validation, then measure the round's best model on the test images."""

    event = RoundEvents.EVALUATE

    def run(self, context: RoundContext) -> dict[str, Any] | None:
        """Return the metrics; see :class:`PhaseHandler`."""
        run = context.run
        found = evaluate(run.learner, context.weights(), wsl=run.method.cycles == 0)
        drawn = run.state.drawn(context.index)
        pixels = sum(row.cost_px for rows in drawn.values() for row in rows)
        costs = {Metric.MASKS: float(len(drawn)), Metric.PIXELS: float(pixels)}
        each = json.dumps(found.test_dice, sort_keys=True).encode()
        return {
            "metrics": found.metrics | costs | run.validation_cost,
            "artifacts": {TEST_DICE: run.state.put_blob(each, ".json")} if found.test_dice else {},
        }
