"""What the handlers of a round work on. Everything about the past is read from the state, nothing is carried in memory.

So a round that was interrupted and one that was not look the same to every handler.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, cast

import numpy as np
from ignite.engine import Engine, EventEnum, State

from scripts.active.methods import Method
from scripts.active.neighbours import NeighbourGraph, neighbour_graph
from scripts.active.oracles import Oracle
from scripts.active.propagation import Donor, pseudo_pool
from scripts.active.pseudo.chain import DonorImage, PseudoCase
from scripts.active.run_record import RunSettings
from scripts.active.strategies.at_random import random_order
from scripts.active.strategies.pool import Pool, Strategy
from scripts.annotation.asked_windows import asked_windows, asks, windows_of_round
from scripts.annotation.person_oracle import PersonOracle, Proposal
from scripts.core.run_names import Metric, Phase, Stage
from scripts.data.run_data import RunData
from scripts.evaluation.agreement import consensus
from scripts.images.png import png_to_mask
from scripts.images.regions import mask_cost
from scripts.images.targets import target_of_png
from scripts.images.windows import Window
from scripts.networks.model_file import DEFAULT_THRESHOLD
from scripts.networks.outputs import Prediction, pseudo_mask
from scripts.networks.weights import Weights
from scripts.state.rows import SIMULATED
from scripts.state.run_state import RunState
from scripts.trained.run_models import weights_of_round
from scripts.training.learner import Learner
from scripts.training.losses import BACKGROUND, LABELLED, PSEUDO


class RoundEvents(EventEnum):
    """Events of a round, in the order in which Algorithm 1 needs them."""

    QUERY = Phase.QUERY.value
    ORACLE = Phase.ORACLE.value
    CYCLE_0 = Phase.CYCLE_0.value
    PSEUDO_LABEL = Phase.PSEUDO_LABEL.value
    CYCLE_1 = Phase.CYCLE_1.value
    EVALUATE = Phase.EVALUATE.value
    REFRESH = Phase.REFRESH.value
    REPORT = Phase.REPORT.value


@dataclass
class Run:
    """What stays the same over the rounds of a run.

    Attributes:
        state: where everything is kept.
        data: images.
        learner: trains and predicts.
        method: preset of parts.
        oracle: draws masks.
        settings: its numbers and names.
        start: picks the images of round 0.
        scale_seg_b: loss weight of images of background classes; with 0 no training sees them.
        todo: what people have to do before the run can go on; empty while it goes on by itself.
    """

    state: RunState
    data: RunData
    learner: Learner
    method: Method
    oracle: Oracle | PersonOracle
    settings: RunSettings
    start: Strategy = random_order
    scale_seg_b: float = 0.0
    todo: str = ""

    @cached_property
    def train_ids(self) -> list[str]:
        """Ids of the training images that can have foreground, in the order of the data list: L, U and P are of them.

        Those of background classes are in none of these: their masks are known, and cost nothing.
        """
        return [item["id"] for item in self.data.drawable("train")]

    @cached_property
    def class_of(self) -> dict[str, str]:
        """Class name of every image."""
        return {item["id"]: self.data.classes[item["label"]] for item in self.data.datalist.items}

    @cached_property
    def graph(self) -> NeighbourGraph:
        """Nearest training images of each training image, within its class; built once per run."""
        k = getattr(self.method.propagation, "k", 1)
        histograms = {key: self.data.histograms[key] for key in self.train_ids}
        return neighbour_graph(histograms, self.class_of, k=k)

    @cached_property
    def validation_cost(self) -> dict[str, float]:
        """What the validation masks cost, as metrics of a round; empty where they are free, or nothing uses them."""
        if not self.settings.count_validation or self.method.cycles == 0:
            return {}
        ids = [item["id"] for item in self.data.drawable("val")]
        masks = [mask for key in ids if (mask := self.data.store.true_mask(key)) is not None]
        costs = [mask_cost(mask) for mask in masks]
        book = getattr(self.oracle, "seconds", lambda mask: 0.0)  # what people take is known when they have drawn
        return {
            Metric.VAL_MASKS: float(len(masks)),
            Metric.VAL_PIXELS: float(sum(pixels for pixels, _ in costs)),
            Metric.VAL_BOUNDARY: float(sum(boundary for _, boundary in costs)),
            Metric.VAL_SECONDS: float(sum(map(book, masks))),
        }


@dataclass
class RoundContext:
    """One round of a run, as far as it has come.

    Attributes:
        run: see :class:`Run`.
        index: the round, from 0.
    """

    run: Run
    index: int

    def labelled(self) -> list[str]:
        """Ids of L: images with an oracle mask in this round."""
        return list(self.run.state.labelled(self.index))

    def unlabelled(self) -> list[str]:
        """Ids of the training images without an oracle mask, in the order of the data list."""
        known = set(self.labelled())
        return [key for key in self.run.train_ids if key not in known]

    def begun(self) -> set[str]:
        """Ids of L of which windows are drawn and another one is free: a round may ask for them again."""
        run, state = self.run, self.run.state
        if run.method.region is None:
            return set()
        drawn, pending = state.drawn(self.index - 1), {row.id for row in state.pending()}
        if not isinstance(run.oracle, PersonOracle):  # a simulated mask would not count beside that of a person
            drawn = {key: rows for key, rows in drawn.items() if all(row.user == SIMULATED for row in rows)}
        size = run.data.store.original_size
        return {
            key
            for key, taken in asked_windows(state, self.index - 1).items()
            if key in drawn and key not in pending and any(run.method.region.free(size(key), taken))
        }

    def windows(self) -> dict[str, list[Window]]:
        """All windows so far of each image of which this round asks for one."""
        state = self.run.state
        now = windows_of_round(state, self.index)
        return {key: taken for key, taken in asked_windows(state, self.index).items() if key in now}

    def spent(self) -> int:
        """How much of the budget is used up before this round; a window of an image counts as a mask."""
        state = self.run.state
        known = {*state.labelled(self.index - 1), *(row.id for row in state.pending())}
        return asks(asked_windows(state, self.index - 1), known)

    def pool(
        self, labelled: Sequence[str], unlabelled: Sequence[str], scores: Mapping[str, np.ndarray] | None = None
    ) -> Pool:
        """Return what the strategy of this round chooses from, of all classes."""
        run = self.run
        rounds = run.method.rounds or run.settings.rounds
        return Pool(labelled, unlabelled, scores or {}, run.learner.image_features, self.index, rounds)

    def donors(self) -> dict[str, Donor]:
        """P of this round: who lends each pseudo-labelled image its place (paper section 3.2: k-NN, same class)."""
        if self.run.method.propagation is None:
            return {}
        labelled = set(self.labelled())
        pairs = self.run.method.propagation(self.run.graph, labelled, self.unlabelled())
        previous = {
            row.id: Donor(row.donor, row.distance, 0) for row in self.run.state.pseudo(self.index - 1, Stage.FINAL)
        }
        return pseudo_pool(previous, pairs, labelled)

    def training_items(self, pseudo_round: int | None, stage: Stage) -> list[dict[str, Any]]:
        """Items of L ∪ P with their masks, P as stored in a stage of a round; oracle masks win.

        Where they have a weight, images of background classes follow in their place with their empty masks; they alone
        are no training.

        Args:
            pseudo_round: round whose pseudo-masks are taken; None for none, so L alone.
            stage: of those.
        """
        state = self.run.state
        masks = {key: (mask, LABELLED) for key, mask in self.oracle_masks().items()}
        for row in [] if pseudo_round is None else state.pseudo(pseudo_round, stage):
            if row.id not in masks:
                masks[row.id] = (target_of_png(state.read_blob(row.blob)).maps(), PSEUDO)
        if masks and self.run.scale_seg_b > 0:
            masks |= {key: (mask, BACKGROUND) for key, mask in self._empty_masks()}
        return [
            {**item, "mask": masks[item["id"]][0], "kind": masks[item["id"]][1]}
            for item in self.run.data.items("train")
            if item["id"] in masks
        ]

    def _empty_masks(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield id and mask, uint8 (H, W), of the training images of background classes."""
        for item in self.run.data.items("train"):
            mask = self.run.data.store.true_mask(item["id"]) if item.get("empty") else None
            if mask is not None:
                yield item["id"], mask

    def oracle_masks(self) -> dict[str, np.ndarray]:
        """Masks of L, uint8 (H, W): what most annotators say, each in the latest version."""
        state = self.run.state
        return {
            key: consensus([png_to_mask(state.read_blob(row.blob)) for row in rows])
            for key, rows in state.drawn(self.index).items()
        }

    def pseudo_case(self, found: Prediction, threshold: float, oracle_masks: Mapping[str, np.ndarray]) -> PseudoCase:
        """Return what the method's chain knows of an unlabelled image.

        Args:
            found: what the network says of it.
            threshold: chosen on validation, in (0, 1).
            oracle_masks: of L, by id.
        """
        run = self.run
        label = run.class_of[found.id]

        def donors() -> list[DonorImage]:
            return [DonorImage(key, mask) for key, mask in oracle_masks.items() if run.class_of[key] == label]

        image, truth = partial(run.data.store.original_image, found.id), partial(run.data.store.true_mask, found.id)
        return PseudoCase(found.id, found.probs, threshold, image, donors, truth, run.learner.dense_features)

    def weights(self, upto_cycle: int | None = None) -> Weights:
        """Weights of the best validation over this round's cycles (the later of equals); theta0 before any.

        Args:
            upto_cycle: the last cycle that counts; None for all.
        """
        last = self.run.method.cycles - 1 if upto_cycle is None else upto_cycle
        return weights_of_round(self.run.state, self.index, self.run.learner.theta0.weights, last)[0]

    def proposals(self, ids: Sequence[str]) -> Iterator[Proposal]:
        """Yield what people may begin with: the masks of the round before, without a trained decoder the CAM masks."""
        if not ids:
            return
        run, before = self.run, self.previous()
        threshold = run.state.metrics(before.index).get(before.index, {}).get(Metric.THRESHOLD, DEFAULT_THRESHOLD)
        is_trained = bool(run.state.labelled(before.index)) and run.method.cycles > 0
        for found in run.learner.predict(list(ids), before.weights()):
            label = run.data.classes.index(run.class_of[found.id])
            mask = pseudo_mask(found.probs, threshold) if is_trained else found.cam_mask(label)
            yield Proposal(found.id, run.data.store.original_image(found.id), mask, found.cam(label))

    def previous(self) -> RoundContext:
        """The round before."""
        return RoundContext(self.run, self.index - 1)


class RoundState(State):
    """State of an engine whose epoch is a round.

    Attributes:
        round: the round it is in.
    """

    round: RoundContext


def round_state(engine: Engine) -> RoundState:
    """Return the state of an engine of rounds; :mod:`scripts.active.rounds` puts the round into it."""
    return cast(RoundState, engine.state)
