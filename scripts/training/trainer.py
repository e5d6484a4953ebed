"""MONAI's trainer with two more answers to a bad step: a loss that is no number, and a batch that is too large.

On a GPU it asks nothing of the device in between: the host would wait for it.

Progress is one bar on the terminal that goes away when the training is done.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents, SupervisedTrainer
from monai.utils.enums import CommonKeys as Keys
from torch.utils.data import DataLoader
from tqdm import tqdm

from scripts.core.errors import InputError, Problem
from scripts.core.optional import TRACKER
from scripts.networks.inferer import JointInferer
from scripts.training.criterion import JointCriterion
from scripts.training.device.graphed_step import GraphedStep

logger = logging.getLogger(__name__)


class JointTrainer(SupervisedTrainer):
    """Trainer of one training.

    A loss that is not finite stops it: on the CPU before the weights change, on other devices at the end of the epoch,
    before these weights are validated or stored. A batch that does not fit into memory is done in two
    halves, and so is every later one. The gradient is that of the whole batch, since
    :class:`scripts.training.losses.JointLoss` is a sum over images divided by their number, but batch norms that train
    see the statistics of a half. With MONAI's own ``amp`` and ``compile`` there are no halves.

    Args:
        name: of the training, for errors and logs, e.g. ``label_prop_seed0/round_03_cycle1``.
        cuda_graph: record the step, see :mod:`scripts.training.device.graphed_step`: false, ``"auto"`` for where the
            device is a CUDA one, or true to try it anyway; where it fails, steps are done one by one.
        check_each_step: read every loss at once; None for on the CPU alone, where it costs nothing.
        arguments: as ``monai.engines.SupervisedTrainer``.

    Raises:
        InputError: there is no image to validate on. From ``run``: the loss is not finite, or half a batch does not fit
            into memory.
    """

    def __init__(
        self,
        *,
        name: str = "run",
        cuda_graph: bool | Literal["auto"] = "auto",
        check_each_step: bool | None = None,
        **arguments: Any,
    ) -> None:
        _refuse_empty_validation(arguments.get("train_handlers") or ())
        _let_tracker_read_loss(arguments.get("train_handlers") or ())
        super().__init__(**arguments)
        self.name, self.halved = name, False
        kind = torch.device(self.state.device).type
        self.check_each_step = kind == "cpu" if check_each_step is None else check_each_step
        self._losses: list[tuple[int, list[str], torch.Tensor]] = []  # of this epoch, not looked at yet
        self.graphed: GraphedStep | None = None
        other = self.amp or self.compile or self.accumulation_steps > 1
        wanted = kind == "cuda" if cuda_graph == "auto" else cuda_graph
        if wanted and not other and isinstance(self.inferer, JointInferer):
            self.graphed = GraphedStep(self.inferer, self.network, self.loss_function, self.optimizer)
        self.add_event_handler(IterationEvents.LOSS_COMPLETED, self._note_loss)
        self.add_event_handler(Events.ITERATION_COMPLETED, self._end_step)

    def _iteration(self, engine: Any, batchdata: Any) -> dict[str, Any]:
        """Do one optimisation step; see ``SupervisedTrainer``."""
        if not self.halved:
            try:
                if self.graphed is None or self.graphed.failed:
                    return super()._iteration(engine, batchdata)
                return self._replayed(engine, batchdata)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if not self._can_halve(batchdata):
                    raise self._too_large(batchdata, len(batchdata["id"])) from error
            # outside of the handler: the error holds the frames, and they hold the tensors
            self.halved = True
            self._free()
            logger.warning(
                "%s: a batch of %d images does not fit into memory; batches are done in two halves from step %d on",
                self.name, len(batchdata["id"]), self.state.iteration,
            )  # fmt: skip
        try:
            return self._in_halves(batchdata)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise self._too_large(batchdata, (len(batchdata["id"]) + 1) // 2) from error

    def _replayed(self, engine: Any, batchdata: Any) -> dict[str, Any]:
        """Do a step with the recorded one where that is possible."""
        inputs, targets, _, kwargs = self.prepare_batch(
            batchdata, self.state.device, self.non_blocking, **self.to_kwargs
        )
        self.network.train()
        loss = None if self.graphed is None else self.graphed(inputs, targets, kwargs.get("keys"))
        if loss is None:  # no recording, or a batch of another size: drawn anew, it is the same
            return super()._iteration(engine, batchdata)
        self.state.output = {Keys.IMAGE: inputs, Keys.LABEL: targets, Keys.LOSS: loss}
        self.fire_event(IterationEvents.LOSS_COMPLETED)
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        self.optimizer.step()
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _in_halves(self, batchdata: Mapping[str, Any]) -> dict[str, Any]:
        size = len(batchdata["id"])
        middle = (size + 1) // 2
        self.network.train()
        self.optimizer.zero_grad(set_to_none=self.optim_set_to_none)
        total = torch.zeros((), device=self.state.device)
        for part in (slice(0, middle), slice(middle, size)):
            half = {name: value[part] for name, value in batchdata.items()}
            inputs, targets, args, kwargs = self.prepare_batch(
                half, self.state.device, self.non_blocking, **self.to_kwargs
            )
            output = self.state.output = {Keys.IMAGE: inputs, Keys.LABEL: targets}
            output[Keys.PRED] = self.inferer(inputs, self.network, *args, **kwargs)
            output[Keys.LOSS] = self.loss_function(output[Keys.PRED], targets).mean()
            self.fire_event(IterationEvents.LOSS_COMPLETED)
            loss = output[Keys.LOSS] * (len(half["id"]) / size)
            loss.backward()
            total += loss.detach()
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        self.optimizer.step()
        self.state.output = {Keys.LOSS: total}
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _can_halve(self, batchdata: Mapping[str, Any]) -> bool:
        # after the backward pass some weights may have been changed: the step cannot be done again
        stepping = self.last_event_name == IterationEvents.BACKWARD_COMPLETED
        return len(batchdata["id"]) > 1 and not (self.amp or self.compile or stepping)

    def _free(self) -> None:
        self.state.output = None
        self.optimizer.zero_grad(set_to_none=True)
        if torch.device(self.state.device).type == "cuda":
            torch.cuda.empty_cache()

    def _note_loss(self) -> None:
        output = self.state.output
        self._losses.append((self.state.iteration, output[Keys.LABEL]["id"], output[Keys.LOSS].detach()))
        if self.check_each_step:
            self._require_finite()

    def _end_step(self) -> None:
        # a fused optimizer's step leaves them, and by them an engine's copy sees that the weights have changed
        torch.autograd.graph.increment_version(self.network.parameters())
        if self.state.iteration % (self.state.epoch_length or 1) == 0:
            self._require_finite()  # before the handlers of the epoch's end: they validate and store

    def _require_finite(self) -> None:
        """Look at all losses since the last look; this waits for the device, once."""
        losses, self._losses = self._losses, []
        values = torch.stack([loss for _, _, loss in losses]).tolist() if losses else []
        for (step, ids, _), value in zip(losses, values, strict=True):
            if not math.isfinite(value):
                raise InputError(
                    Problem(
                        "the loss is not finite",
                        self._step(step),
                        "a number",
                        f"{value} for the batch of {', '.join(ids)}",
                        "Nothing of this training was stored. Look at these images and their masks, or start a new run "
                        "with a lower lr.",
                    )
                )

    def _too_large(self, batchdata: Mapping[str, Any], images: int) -> InputError:
        return InputError(
            Problem(
                "out of memory",
                self._step(),
                f"memory for {images} {'image' if images == 1 else 'images'} at once",
                f"not enough on {self.state.device}, batch of {', '.join(batchdata['id'])}",
                "Start a new run with a smaller batch_size or image_size, or free memory and run the same command "
                "again.",
            )
        )

    def _step(self, step: int | None = None) -> str:
        return f"{self.name}, epoch {self.state.epoch}, step {self.state.iteration if step is None else step}"


def _refuse_empty_validation(handlers: Iterable[Any]) -> None:
    """Raise InputError where a validation has no image: MONAI would skip it, and the best weights with it."""
    for handler in handlers:
        loader = getattr(getattr(handler, "validator", None), "data_loader", None)
        if isinstance(loader, DataLoader) and len(loader) == 0:
            cure = "Name some in the table; they choose the weights."
            raise InputError(Problem("no validation image", "validate#dataset#data", "one or more", "none", cure))


def _let_tracker_read_loss(handlers: Iterable[Any]) -> None:
    """Tell the handler of MONAI's ``--tracking`` where the loss is: it expects an output that is decollated."""
    for handler in handlers:
        if type(handler).__name__ == TRACKER:
            handler.output_transform = lambda output: output[Keys.LOSS]


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory could not be had, on the CPU or on a GPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


class StepBar:
    """A bar over all optimisation steps of a training, with the loss terms of the last batch.

    Args:
        name: what is trained.
        criterion: gives the loss terms.
    """

    def __init__(self, name: str, criterion: JointCriterion) -> None:
        self.name, self.criterion = name, criterion
        self._bar: tqdm | None = None

    def attach(self, trainer: Engine) -> None:
        """Show the bar while ``trainer`` runs."""
        trainer.add_event_handler(Events.STARTED, self._open)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        trainer.add_event_handler(Events.COMPLETED | Events.TERMINATE | Events.EXCEPTION_RAISED, self._close)

    def _open(self, trainer: Engine) -> None:
        steps = (trainer.state.max_epochs or 0) * (trainer.state.epoch_length or 0)
        name, done = self.name.replace("_", " "), trainer.state.iteration
        self._bar = tqdm(total=steps, initial=done, desc=name, unit="step", leave=False, dynamic_ncols=True)

    def _step(self, _: Engine) -> None:
        if self._bar is not None and self._bar.update():  # true when the bar was drawn: terms are read only then
            terms = {name: f"{value:.3f}" for name, value in self.criterion.terms.items() if value != 0.0}
            self._bar.set_postfix(terms, refresh=False)

    def _close(self, _: Engine, error: BaseException | None = None) -> None:
        if self._bar is not None:
            self._bar.close()
        if error is not None:
            raise error
