"""Which image is handed out next: the one that the run asks for, or any without a mask, by lot or by scores.

A strategy only reads what is stored, so an answer takes milliseconds. Each answer leases its image, whose file has been
looked at: a picture that is gone or was exchanged is passed over.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from lib.refusals import NotNowError
from lib.run import ServedRun
from scripts.active.methods import Method
from scripts.active.strategies.at_random import random_order
from scripts.active.strategies.by_score import highest_score
from scripts.annotation.person_oracle import asked_images
from scripts.core.errors import listed
from scripts.core.seeds import python_generator
from scripts.state.desk import Desk
from scripts.state.rows import LeaseRow

_SHOWN = 100  # images that are passed over


class Strategy(Protocol):
    """What the routes need of a strategy.

    Attributes:
        description: for people.
    """

    description: str

    def __call__(self, user: str, preferred: str, starting: bool) -> dict[str, Any]:
        """Return an image with why it is asked for, or a ``message`` where there is nothing to do.

        Args:
            user: who asks.
            preferred: an image that a viewer has open, taken where it waits too.
            starting: a training was ordered.
        """


class QueueStrategy:
    """Images of the open round, in the order in which the run asks for them.

    Args:
        run: the run.
    """

    def __init__(self, run: ServedRun) -> None:
        self.description = "The images that the run asks for, in their order; with them it is the run of a simulation"
        self.run = run

    def __call__(self, user: str, preferred: str, starting: bool) -> dict[str, Any]:
        """Return an image; see :class:`Strategy`."""
        situation = self.run.situation(starting)
        if situation.kind != "draw":
            return {"message": situation.text, "state": situation.kind, "round": situation.round}
        desk, passed_over = self.run.desk(), {}
        lease = None
        if preferred in situation.waiting:
            lease, passed_over = hand_out(self.run, desk, user, [preferred])
        if lease is None:
            lease, passed_over = hand_out(self.run, desk, user, situation.waiting)
        told = {"round": situation.round, "waiting": len(situation.waiting), "passed_over": _some(passed_over)}
        if lease is None:
            gone = f". {len(passed_over)} cannot be handed out: {listed(list(passed_over.values()))}"
            held = len(situation.waiting) > len(passed_over)
            text = self.run.held_text(situation) if held else situation.text
            return {"message": f"{text}{gone if passed_over else ''}", "state": "draw", **told}
        return {**handed_out(self.run, lease), **self._reason(desk, lease.id, situation.round or 0), **told}

    def _reason(self, desk: Desk, key: str, index: int) -> dict[str, Any]:
        class_of = {id_: self.run.class_of(id_) for id_ in desk.asked(index)}
        asked = {image.id: image for image in asked_images(desk, index, class_of)}[key]
        return {"rank": asked.rank, "score": asked.score, "why": asked.reason}


class RankedStrategy:
    """Any image without a mask, by the scores that were made last, the class with the fewest masks first.

    What is drawn by it is learned from in the next round, besides what the run asks for.

    Args:
        run: the run.
        name: of the strategy, and of its scores.
        method: the preset whose score it is.
    """

    def __init__(self, run: ServedRun, name: str, method: Method) -> None:
        how = f"highest score first; POST /scoring/{name} makes the scores" if method.score else "by lot"
        self.description = f"Any image without a mask, {how}"
        self.run, self.name, self.scored = run, name, method.score is not None
        self._by_lot = _shuffled(run, name)

    def __call__(self, user: str, preferred: str, starting: bool) -> dict[str, Any]:
        """Return an image with its score; see :class:`Strategy`."""
        situation = self.run.situation(starting)
        try:
            desk = self.run.desk()
        except NotNowError:
            return {"message": situation.text, "state": situation.kind, "round": None}
        scores = desk.scores(self.name) if self.scored else {}
        if self.scored and not scores:
            cure = f"Make them when a round is done: POST /scoring/{self.name}. Until then take strategy queue."
            return {"message": f"there are no scores of {self.name}. {cure}", "state": situation.kind, "round": None}
        order = self.order(desk, scores)
        lease, passed_over = hand_out(self.run, desk, user, order)
        told = {"round": situation.round, "passed_over": _some(passed_over)}
        if lease is None:
            return {"message": "every image is drawn, skipped or in other hands", "state": situation.kind, **told}
        score, rank = scores.get(lease.id), order.index(lease.id)
        found = {**handed_out(self.run, lease), **told, "rank": rank, "score": score}
        if not self.scored:
            return {**found, "why": f"chosen by lot from class {self.run.class_of(lease.id)}"}
        why = f"{self.name}, {'no score' if score is None else f'score {score:.4f}'}"
        return {**found, "scored_model": desk.scored_model(self.name), "why": why}

    def order(self, desk: Desk, scores: Mapping[str, float]) -> list[str]:
        """Return the ids without a mask, the most wanted first: in turn one of each class, by score or by lot."""
        drawn = desk.labelled()
        count = Counter(self.run.class_of(key) for key in drawn)
        rest = [key for key in self._by_lot if key not in drawn]
        if self.scored:  # ties by id, as in highest_score of a run; what has no score comes last
            rest.sort(key=lambda key: (-scores[key], key) if key in scores else (float("inf"), key))
        return _in_turn(rest, {key: self.run.class_of(key) for key in rest}, count)


def hand_out(run: ServedRun, desk: Desk, user: str, order: Sequence[str]) -> tuple[LeaseRow | None, dict[str, str]]:
    """Lease the first image whose picture is the one that the run began with.

    Args:
        run: the run.
        desk: of the run.
        user: who asks.
        order: ids, the most wanted first.

    Returns:
        the lease, None where every image is drawn, skipped, unusable or in other hands; and why others were passed
        over, by id.
    """
    passed_over: dict[str, str] = {}
    while True:
        wanted = [key for key in order if key not in passed_over]
        lease = desk.hand_out(user, wanted, run.settings.lease_seconds)
        problem = None if lease is None else run.unusable(lease.id)
        if lease is None or problem is None:
            return lease, passed_over
        desk.give_back(lease.id, user)
        # Of the others too, before the next is leased: where a disk is gone, each would cost two writes.
        found = {key: run.unusable(key) for key in wanted}
        passed_over |= {key: text for key, text in found.items() if text is not None} | {lease.id: problem}


def handed_out(run: ServedRun, lease: LeaseRow) -> dict[str, Any]:
    """Return what every answer with an image tells; ``bbox`` is the whole image, for viewers of slides."""
    height, width = run.data.store.original_size(lease.id)
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(lease.until))
    left = min(max(0.0, lease.until - time.time()), run.settings.lease_seconds)
    return {"id": lease.id, "class": run.class_of(lease.id), "user": lease.user, "until": until,
            "lease_seconds": round(left, 1), "bbox": [0, 0, width, height]}  # fmt: skip


def strategies_of(run: ServedRun) -> dict[str, Strategy]:
    """Return the queue, and a strategy for each score of the presets of the config, and for choosing by lot.

    A preset with a strategy of another kind chooses for the queue alone: it would need the images' features here.
    """
    found: dict[str, Strategy] = {"queue": QueueStrategy(run)}
    known = set()
    for name, method in sorted(run.methods.items(), key=lambda entry: (entry[0] != "random", entry[0])):
        way = (method.score, method.reduction, method.passes)
        by_score_or_lot = method.strategy is (random_order if method.score is None else highest_score)
        if way not in known and by_score_or_lot and method.cycles > 0 and not method.label_all:
            known.add(way)
            found[name] = RankedStrategy(run, name, method)
    return found


def _some(passed_over: Mapping[str, str]) -> dict[str, str]:
    return dict(itertools.islice(passed_over.items(), _SHOWN))


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
