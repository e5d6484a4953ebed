"""The published step schedule, on an optimizer."""

from __future__ import annotations

import pytest
import torch

from scripts.training.schedules import StepFactor

PHASES = {  # learning rate, step, gamma, epochs: Belharbi et al. 2021, settings of the published code
    "glas_AL": (0.1, 100, 0.9, 1000),
    "glas_WSL": (1e-4, 100, 0.9, 1000),
    "cub_AL": (0.1, 10, 0.95, 30),
    "cub_WSL": (0.01, 10, 0.9, 90),
}


def driven_rates(lr: float, factor: StepFactor, epochs: int) -> list[float]:
    """Learning rate used in each epoch when ``LambdaLR`` is stepped once after each."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    rates = []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize("phase", PHASES)
def test_rates_equal_golden_in_every_epoch(golden, phase):
    lr, step, gamma, epochs = PHASES[phase]
    steps = golden("lr_schedule")[phase]
    expected = [
        rate
        for (first, rate), (end, _) in zip(steps, [*steps[1:], (epochs, 0)], strict=True)
        for _ in range(end - first)
    ]
    assert driven_rates(lr, StepFactor(step, gamma), epochs) == pytest.approx(expected, abs=1e-9)


def test_on_time_it_is_torch_step_lr():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)
    expected = []
    for _ in range(10):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert driven_rates(0.1, StepFactor(3, 0.5, one_epoch_late=False), 10) == pytest.approx(expected)


def test_late_is_on_time_one_epoch_later():
    late, on_time = StepFactor(4, 0.7), StepFactor(4, 0.7, one_epoch_late=False)
    assert late(0) == 1.0
    assert [late(epoch + 1) for epoch in range(20)] == [on_time(epoch) for epoch in range(20)]


@pytest.mark.parametrize(("step_size", "gamma"), [(0, 0.9), (10, 0.0), (10, -1.0)])
def test_settings_out_of_range_are_refused(step_size, gamma):
    with pytest.raises(ValueError, match="step_size"):
        StepFactor(step_size, gamma)
