"""Progress of a training on the terminal: one bar that goes away when it is done."""

from __future__ import annotations

from ignite.engine import Engine, Events
from tqdm import tqdm

from scripts.batches import JointCriterion


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
