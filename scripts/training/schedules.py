"""Learning-rate schedules as factors, for ``torch.optim.lr_scheduler.LambdaLR``."""

from __future__ import annotations


class StepFactor:
    """The factor of a step schedule: ``gamma`` to the number of steps done.

    The published training loop hands its scheduler the number of the epoch just finished, so each of its drops comes
    one epoch later than ``step_size`` says: at epochs 101, 201, … of a step of 100 (counted from 0).

    In a configuration: ``{"_target_": "LambdaLR", "optimizer": "@optimizer", "lr_lambda": {"_target_":
    "scripts.training.schedules.StepFactor", "step_size": 100, "gamma": 0.9}}``, stepped once at the end of each epoch.

    Args:
        step_size: epochs between two drops, from 1.
        gamma: what each drop multiplies the learning rate by, above 0.
        one_epoch_late: true as published, false for drops at ``step_size``, ``2 * step_size``, …

    Raises:
        ValueError: ``step_size`` or ``gamma`` out of range.
    """

    def __init__(self, step_size: int, gamma: float, one_epoch_late: bool = True) -> None:
        if step_size < 1 or gamma <= 0:
            raise ValueError(f"expected step_size >= 1 and gamma > 0, found step_size={step_size} and gamma={gamma}")
        self.step_size = step_size
        self.gamma = gamma
        self.one_epoch_late = one_epoch_late

    def __call__(self, epoch: int) -> float:
        """Return the factor of the initial learning rate in epoch ``epoch``, counted from 0."""
        finished = max(epoch - 1, 0) if self.one_epoch_late else epoch
        return float(self.gamma ** (finished // self.step_size))
