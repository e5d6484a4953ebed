"""Scores of an acquisition function for every image without a mask, in one pass, kept for the strategies."""

from __future__ import annotations

import logging
from typing import Any

from tqdm import tqdm

from lib.refusals import NotNowError
from lib.run import ServedRun
from scripts.active.methods import Method
from scripts.core.errors import Problem
from scripts.networks.theta0 import Theta0
from scripts.trained.run_models import read_run
from scripts.training.learner import Learner

logger = logging.getLogger(__name__)


def score(run: ServedRun, name: str, method: Method) -> dict[str, Any]:
    """Score by the model of the last round: the numbers that the run's own next query would be made of.

    The scores take the place of the earlier ones; nothing is done where the model is the same.

    Args:
        run: the run.
        name: of the scores.
        method: the preset whose score it is.

    Raises:
        NotNowError: no round is evaluated yet.
    """
    desk = run.desk()
    last = max(run.evaluated(), default=None)
    if last is None:
        cure = "Draw the first round, which is chosen by lot, and train."
        raise NotNowError(
            Problem("no trained model to score with", str(run.folder), "a round that is done", "none", cure)
        )
    weights, info, _ = read_run(run.folder, last, run.stage0_dir)
    model = f"round {last}, {str(info.provenance['weights'])[:16]}"
    drawn, skipped = desk.labelled(), desk.skipped()
    pool = [key for key in run.train_ids if key not in drawn and key not in skipped]
    known = desk.scores(name) if desk.scored_model(name) == model else {}
    todo = [key for key in pool if key not in known]
    if todo:
        run.refuse_changed_files()
        start = Theta0(weights, str(info.provenance["theta0_sha256"]), 0.0, 0.0)
        changes = {**run.method.overrides, **method.overrides}
        bank = run.config.parser().get_parsed_content("features")  # as the run: its encoder computes in float32
        learner = Learner(run.config, run.data, bank, start, changes, run.seed, run.folder.name)
        shown = tqdm(todo, desc=f"scoring {name}", unit="image", mininterval=2.0)
        score = method.image_score()
        assert score is not None
        found = learner.score(shown, weights, score, method.passes, last + 1)
        desk.put_scores(name, model, {**known, **{key: float(values[0]) for key, values in found.items()}})
    logger.info("%s: %d images scored by %s, %d had scores", name, len(todo), model, len(known))
    return {"method": name, "model": model, "scored": len(todo), "kept": len(known)}
