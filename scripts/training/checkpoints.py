"""The training that is going on, kept on the disk so that a kill costs at most some seconds of it.

A checkpoint is written at the end of an epoch, after its validation. With it, everything that decides the rest of the
training comes back: weights, optimizer, schedule, noise of dropout, best validation and its weights, and the place in
the plan of batches. Augmentation needs nothing: what a draw looks like depends on its epoch and image alone
(:mod:`scripts.training.dataset`). The file belongs to one training, by a tag; what another one finds there it removes.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator, SupervisedTrainer

from scripts.core.errors import Problem, StateError
from scripts.core.files import write_atomic
from scripts.networks.weights import Weights
from scripts.training.batches import BatchPlan
from scripts.training.validation import BestWeights

logger = logging.getLogger(__name__)

_MOST_OF_THE_TIME = 0.02  # share of a training that its checkpoints may take: a slow disk gets fewer of them


@dataclass(frozen=True)
class CheckpointFile:
    """Where the trainings of a run keep their checkpoints, one after another.

    Attributes:
        path: the file; its folder is made when missing.
        seconds: least time between two checkpoints; 0 writes one at the end of every epoch.
    """

    path: Path
    seconds: float = 30.0

    def of(self, *tag: object) -> TrainingCheckpoint:
        """Return the checkpoint of one training, told from others by ``tag`` (JSON values)."""
        digest = hashlib.sha256(json.dumps(tag, sort_keys=True).encode()).hexdigest()
        return TrainingCheckpoint(self.path, digest, self.seconds)

    def remove(self) -> None:
        """Remove the file, once no training needs it."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise StateError(Problem(f"cannot be removed ({error.strerror})", str(self.path))) from error


class TrainingCheckpoint:
    """Checkpoint of one training: takes it up where there is one, and writes it as the training goes on.

    Args:
        path: the file.
        tag: hash of all that makes the training what it is.
        seconds: least time between two checkpoints.
    """

    def __init__(self, path: Path, tag: str, seconds: float) -> None:
        self.path, self.tag, self.seconds = path, tag, seconds
        self._base: Mapping[str, torch.Tensor] = {}
        self._written = 0.0
        self._count, self._spent, self._pause = 0, 0.0, seconds

    def attach(
        self,
        trainer: SupervisedTrainer,
        evaluator: Evaluator,
        best: BestWeights,
        lr_scheduler: Any = None,
        base: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Follow a training that has not begun, from where the file says it was.

        Args:
            trainer: its validation handler is attached already, so that checkpoints hold the epoch's validation.
            evaluator: of that validation.
            best: keeps its best weights.
            lr_scheduler: the schedule, with ``state_dict``.
            base: weights that the training starts from; what equals them is not written.

        Raises:
            StateError: the file is damaged.
        """
        plan = getattr(getattr(trainer, "data_loader", None), "batch_sampler", None)
        if not isinstance(plan, BatchPlan):
            logger.warning("no checkpoints of this training: it draws its batches by %s", type(plan).__name__)
            return
        self._parts = trainer, evaluator, best, lr_scheduler, plan
        self._base = base or {}
        self._written = self._began = time.monotonic()
        content = self._read()
        if content is not None:
            self._take_up(content)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_ended)
        trainer.add_event_handler(Events.COMPLETED, self._tell_cost)

    def _epoch_ended(self, trainer: Engine) -> None:
        now = time.monotonic()
        if now - self._written >= self._pause and trainer.state.epoch < (trainer.state.max_epochs or 0):
            self._write()
            self._written = time.monotonic()
            self._count, self._spent = self._count + 1, self._spent + self._written - now
            if self.seconds > 0:  # else one is wanted at every end, whatever it costs
                self._pause = max(self.seconds, (self._written - now) / _MOST_OF_THE_TIME)

    def _tell_cost(self, _: Engine) -> None:
        if self._count:
            share = 100 * self._spent / (time.monotonic() - self._began)
            text = "%d checkpoints of this training took %.2f s, %.2f %% of its time"
            logger.info(text, self._count, self._spent, share)

    def _write(self) -> None:
        trainer, evaluator, best, lr_scheduler, _ = self._parts
        state = {
            "iteration": trainer.state.iteration,
            "network": self._changed(trainer.network.state_dict()),
            "optimizer": trainer.optimizer.state_dict(),
            "lr_scheduler": None if lr_scheduler is None else lr_scheduler.state_dict(),
            "best_metric": None if best.weights is None else best.metric,
            "best_epoch": best.epoch,
            "best_weights": None if best.weights is None else self._changed(best.weights),
            "validated": evaluator.state.epoch,
            "rng": _rng_state(trainer.state.device),
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        payload = buffer.getvalue()
        head = {"training": self.tag, "sha256": hashlib.sha256(payload).hexdigest()}
        write_atomic(self.path, json.dumps(head).encode() + b"\n" + payload)

    def _changed(self, weights: Weights) -> dict[str, torch.Tensor]:
        return {
            name: value.cpu()
            for name, value in weights.items()
            if name not in self._base or not torch.equal(value.cpu(), self._base[name].cpu())
        }

    def _read(self) -> dict[str, Any] | None:
        """Return what was stored of this training; None where there is nothing, or another training's."""
        try:
            head, _, payload = self.path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._damaged(f"it cannot be read ({error.strerror})") from error
        try:
            found = json.loads(head)
            tag, sha256 = found["training"], found["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged("no header") from error
        if hashlib.sha256(payload).hexdigest() != sha256:
            raise self._damaged("other bytes than were written")
        if tag != self.tag:
            logger.debug("%s is of another training", self.path)
            self.path.unlink(missing_ok=True)
            return None
        try:
            content = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        except Exception as error:  # torch has no common base of its reading errors
            raise self._damaged(f"no checkpoint of plain values ({type(error).__name__})") from error
        if not isinstance(content, dict):
            raise self._damaged(f"{type(content).__name__}")
        return content

    def _take_up(self, content: dict[str, Any]) -> None:
        trainer, evaluator, best, lr_scheduler, plan = self._parts
        try:
            trainer.network.load_state_dict({**self._base, **content["network"]})
            trainer.optimizer.load_state_dict(content["optimizer"])
            if lr_scheduler is not None:
                lr_scheduler.load_state_dict(content["lr_scheduler"])
            if content["best_weights"] is not None:
                best.weights = {**self._base, **content["best_weights"]}
                best.metric, best.epoch = content["best_metric"], content["best_epoch"]
                evaluator.state.best_metric, evaluator.state.best_metric_epoch = best.metric, best.epoch
            iteration, rng = content["iteration"], content["rng"]
            evaluator.state.epoch = content["validated"]
            lengths = {"epoch_length": trainer.state.epoch_length, "max_epochs": trainer.state.max_epochs}
            trainer.load_state_dict({"iteration": iteration, **lengths})
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise self._damaged(f"not what this training writes ({error})") from error
        plan.start = iteration
        _restore_before_first_batch(trainer, rng)
        logger.info("training taken up after epoch %d of %s", trainer.state.epoch, trainer.state.max_epochs)

    def _damaged(self, found: str) -> StateError:
        cure = "Remove the file: this training begins anew then, and nothing else is lost."
        return StateError(Problem("checkpoint of a training cannot be used", str(self.path), "as written", found, cure))


def _rng_state(device: torch.device | str) -> dict[str, torch.Tensor]:
    found = {"cpu": torch.get_rng_state()}
    if torch.device(device).type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    return found


def _restore_before_first_batch(trainer: SupervisedTrainer, rng: Mapping[str, torch.Tensor]) -> None:
    """Set torch's global generators when the loader has been started, which draws a number from them."""
    device = torch.device(trainer.state.device)

    def restore(engine: Engine) -> None:
        torch.set_rng_state(rng["cpu"])
        if device.type == "cuda" and "cuda" in rng:
            torch.cuda.set_rng_state(rng["cuda"], device)
        engine.remove_event_handler(restore, Events.GET_BATCH_STARTED)

    trainer.add_event_handler(Events.GET_BATCH_STARTED, restore)
