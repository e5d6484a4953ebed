"""Work that takes long: a training, scores, predictions of many images. It goes on when the answer is sent."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException

from lib.access.login import LEAD, May, User
from lib.bodies import Chosen, ManyImages
from lib.refusals import MalformedError, NotNowError, missing
from lib.routes.about import AsReader
from lib.routes.drawing import AsAnnotator
from lib.service import MODEL, Served, Service
from lib.work.jobs import Job, Jobs
from scripts.core.errors import Problem

router = APIRouter(tags=["Work"], strict_content_type=False)
ToTrain = Annotated[User, Depends(May(LEAD))]


# ---- training ------------------------------------------------------------------------------------------------------


@router.post("/train/")
@router.post("/train/{model}")
def train(
    served: Served, user: ToTrain, model: str = MODEL, run_sync: bool = False, without_masks: bool = False
) -> dict[str, Any]:
    """Do the next round of the run; its settings are those of the run, whatever a client sends."""
    _refuse_waiting(run_sync)
    served.require_model(model)
    return _told(served, served.trainings.order(model, without_masks), user)


@router.get("/train/")
def training(served: Served, user: AsReader, all: bool = False, check_if_running: bool = False) -> Any:
    """Tell how the last training stands."""
    return _state(served, served.trainings.jobs, user, all, check_if_running)


@router.delete("/train/")
def stop_training(served: Served, user: ToTrain) -> Any:
    """Stop the training; the next one goes on where it was."""
    return _stopped(served, served.trainings.jobs, user)


# ---- scores --------------------------------------------------------------------------------------------------------


@router.post("/scoring/{method}")
def score(served: Served, user: AsAnnotator, method: str, run_sync: bool = False) -> dict[str, Any]:
    """Score all images without a mask in one pass."""
    _refuse_waiting(run_sync)
    if method not in served.scored:
        raise missing("no scores of this name", method, ", ".join(served.scored))

    def allowed() -> None:
        if not served.run.evaluated():
            cure = "Draw the first round, which is chosen by lot, and train."
            expected, folder = "a round that is done", str(served.run.folder)
            raise NotNowError(Problem("no trained model to score with", folder, expected, "none", cure))

    return _told(served, served.scorings.start(method, served.order("score", name=method), allowed), user)


@router.get("/scoring/")
def scoring(served: Served, user: AsReader, all: bool = False, check_if_running: bool = False) -> Any:
    """Tell how the last scoring stands."""
    return _state(served, served.scorings, user, all, check_if_running)


@router.delete("/scoring/")
def stop_scoring(served: Served, user: AsAnnotator) -> Any:
    """Stop the scoring."""
    return _stopped(served, served.scorings, user)


# ---- predictions of many images ------------------------------------------------------------------------------------


@router.post("/batch/infer/{model}")
def predict(
    served: Served, user: AsAnnotator, model: str, wanted: ManyImages | None = None, images: Chosen = "all",
    run_sync: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Predict many images; class and polygons are the job's ``result``, and no mask is kept."""
    _refuse_waiting(run_sync)
    served.require_model(model)
    wanted = wanted or ManyImages()
    keys = _keys(served, images if wanted.images is None else wanted.images)
    order = served.order("predict", images=keys[: wanted.max_batch_size or None])
    return _told(served, served.predictions.start(model, order, lambda: None), user)


@router.get("/batch/infer")
def predicting(served: Served, user: AsReader, all: bool = False, check_if_running: bool = False) -> Any:
    """Tell how the last predictions of many images stand."""
    return _state(served, served.predictions, user, all, check_if_running)


@router.delete("/batch/infer")
def stop_predicting(served: Served, user: AsAnnotator) -> Any:
    """Stop the predictions of many images."""
    return _stopped(served, served.predictions, user)


# ---- inside --------------------------------------------------------------------------------------------------------


def _keys(served: Service, images: str | list[str]) -> list[str]:
    if not isinstance(images, str):
        found = [served.images.key_of(name) for name in images]
        twice = [key for key, count in Counter(found).items() if count > 1]
        if twice:
            raise MalformedError(Problem("an image is named twice", "images", "each once", twice[0]))
        return found
    drawn = served.images.drawn()
    return [key for key in served.run.train_ids if images == "all" or (key in drawn) == (images == "labeled")]


def _refuse_waiting(run_sync: bool) -> None:
    if run_sync:
        cure = "Ask for its state: GET the same address without a name."
        raise MalformedError(Problem("the server does not wait for work", "run_sync", "false", "true", cure))


def _told(served: Service, job: Job, user: User) -> dict[str, Any]:
    found = job.told(user.is_lead)
    return found if user.is_lead else {**found, "error": found["error"] and served.plain(found["error"])}


def _state(served: Service, jobs: Jobs, user: User, all: bool, running: bool) -> Any:
    last = jobs.last()
    if last is None or (running and not last.is_running):
        raise HTTPException(404, f"{jobs.noun} was not begun" if last is None else f"no such work goes on: {jobs.noun}")
    return [_told(served, job, user) for job in jobs.all()] if all else _told(served, last, user)


def _stopped(served: Service, jobs: Jobs, user: User) -> Any:
    job = jobs.stop()
    return None if job is None else _told(served, job, user)
