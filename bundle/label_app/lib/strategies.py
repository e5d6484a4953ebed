"""Which image a person gets next: from the run's own round, or, beyond it, by the scores of an acquisition function.

A strategy only reads what is stored, so an answer takes milliseconds. Each answer leases its image.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from lib.refusals import NotNowError
from lib.run import ServedRun
from scripts.active.methods import Method
from scripts.active.strategies import random_order
from scripts.annotation.person_oracle import asked_images
from scripts.core.seeds import python_generator
from scripts.state.desk import Desk
from scripts.state.rows import LeaseRow


class QueueStrategy(Strategy):
    """Images of the open round, in the order in which the run asks for them.

    Args:
        run: the run.
    """

    def __init__(self, run: ServedRun) -> None:
        super().__init__("The images that the run asks for, in their order; with them it is the run of a simulation")
        self.run = run

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Return an image with why it is asked for, or a ``message`` where there is nothing to do.

        Args:
            request: ``user``; ``image``, which a viewer has open and is preferred where it waits too.
            datastore: not needed.
        """
        situation = self.run.situation(bool(request.get("starting")))
        if situation.kind != "draw":
            return {"message": situation.text, "state": situation.kind, "round": situation.round}
        desk, seconds = self.run.desk(), self.run.settings.lease_seconds
        lease = None
        if request.get("image") in situation.waiting:
            lease = desk.hand_out(request["user"], [request["image"]], seconds)
        lease = lease or desk.hand_out(request["user"], None, seconds)
        if lease is None:
            text = self.run.held_text(situation)
            return {"message": text, "state": "draw", "round": situation.round, "waiting": len(situation.waiting)}
        return {**handed_out(self.run, lease), **self._reason(desk, lease.id, situation.round or 0),
                "waiting": len(situation.waiting)}  # fmt: skip

    def _reason(self, desk: Desk, key: str, index: int) -> dict[str, Any]:
        class_of = {id_: self.run.class_of(id_) for id_ in desk.asked(index)}
        asked = {image.id: image for image in asked_images(desk, index, class_of)}[key]
        return {"round": index, "rank": asked.rank, "score": asked.score, "why": asked.reason}


class RankedStrategy(Strategy):
    """Any image without a mask, by the scores that were made last, the class with the fewest masks first.

    What is drawn by it is learned from in the next round, besides what the run asks for.

    Args:
        run: the run.
        name: of the strategy, and of its scores.
        method: the preset whose score it is.
    """

    def __init__(self, run: ServedRun, name: str, method: Method) -> None:
        how = f"highest score first; POST /scoring/{name} makes the scores" if method.score else "by lot"
        super().__init__(f"Any image without a mask, {how}")
        self.run, self.name, self.scored = run, name, method.score is not None
        self._by_lot = _shuffled(run, name)

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Return an image with its score, or a ``message``; see :class:`QueueStrategy`."""
        situation = self.run.situation(bool(request.get("starting")))
        try:
            desk = self.run.desk()
        except NotNowError:
            return {"message": situation.text, "state": situation.kind, "round": None}
        scores = desk.scores(self.name) if self.scored else {}
        if self.scored and not scores:
            cure = f"Make them when a round is done: POST /scoring/{self.name}. Until then take strategy queue."
            return {"message": f"there are no scores of {self.name}. {cure}", "state": situation.kind, "round": None}
        order = self.order(desk, scores)
        lease = desk.hand_out(request["user"], order, self.run.settings.lease_seconds)
        if lease is None:
            return {"message": "every image is drawn, skipped or in other hands", "state": situation.kind,
                    "round": situation.round}  # fmt: skip
        score, rank = scores.get(lease.id), order.index(lease.id)
        found = {**handed_out(self.run, lease), "round": situation.round, "rank": rank, "score": score}
        if not self.scored:
            return {**found, "why": f"chosen by lot from class {self.run.class_of(lease.id)}"}
        why = f"{self.name}, {'no score' if score is None else f'score {score:.4f}'}"
        return {**found, "scored_model": desk.scored_model(self.name), "why": why}

    def order(self, desk: Desk, scores: Mapping[str, float]) -> list[str]:
        """Return the ids without a mask, the most wanted first: in turn one of each class, by score or by lot."""
        drawn = desk.labelled()
        count = Counter(self.run.class_of(key) for key in drawn)
        rest = [key for key in self._by_lot if key not in drawn]
        if self.scored:  # ties by id, as in scripts.active.strategies.highest_score; what has no score comes last
            rest.sort(key=lambda key: (-scores[key], key) if key in scores else (float("inf"), key))
        return _in_turn(rest, {key: self.run.class_of(key) for key in rest}, count)


def handed_out(run: ServedRun, lease: LeaseRow) -> dict[str, Any]:
    """Return what every answer with an image tells; ``bbox`` is the whole image, for viewers of slides."""
    height, width = run.data.store.original_size(lease.id)
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(lease.until))
    return {"id": lease.id, "class": run.class_of(lease.id), "user": lease.user, "until": until,
            "lease_seconds": round(lease.until - time.time(), 1), "bbox": [0, 0, width, height]}  # fmt: skip


def strategies_of(run: ServedRun) -> dict[str, Strategy]:
    """Return the queue, and a strategy for each score of the presets of the config, and for choosing by lot.

    A preset with a strategy of another kind chooses for the queue alone: it would need the images' features here.
    """
    found: dict[str, Strategy] = {"queue": QueueStrategy(run)}
    known = set()
    for name, method in sorted(run.methods.items(), key=lambda entry: (entry[0] != "random", entry[0])):
        way = (method.score, method.passes)
        by_score_or_lot = method.score is not None or method.strategy is random_order
        if way not in known and by_score_or_lot and method.cycles > 0 and not method.label_all:
            known.add(way)
            found[name] = RankedStrategy(run, name, method)
    return found


def _shuffled(run: ServedRun, name: str) -> list[str]:
    ids = list(run.train_ids)
    rng: random.Random = python_generator(run.seed, "server", name)
    rng.shuffle(ids)
    return ids


def _in_turn(ids: Iterable[str], class_of: Mapping[str, str], count: Mapping[str, int]) -> list[str]:
    """Return ids so that the class with the fewest masks comes next, those drawn before counted in ``count``."""
    groups: dict[str, list[str]] = defaultdict(list)
    for key in ids:
        groups[class_of[key]].append(key)
    places = [
        (count.get(name, 0) + place, name, key) for name, members in groups.items() for place, key in enumerate(members)
    ]
    return [key for _, _, key in sorted(places, key=lambda entry: entry[:2])]
