"""The trial step of a plan: how fast this machine is with the network and the working size that a plan asks for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional as F

from scripts.core.run_config import RunConfig
from scripts.data.planning.plan import Speed
from scripts.networks.precision import autocast

_CALLS = 3


def timed_trial(config: RunConfig, settings: Mapping[str, Any], device: torch.device, amp: bool | str) -> Speed:
    """Time the parts of a training on noise: a step of stage 0, a step with kept features, a prediction with flips.

    Args:
        config: whose network is taken.
        settings: ``num_classes``, ``image_size`` and ``batch_size``.
        device: to compute on.
        amp: see :func:`scripts.networks.precision.autocast`.
    """
    network = config.parser(settings).get_parsed_content("network")
    network.to(memory_format=torch.channels_last).train()
    size, batch = settings["image_size"], settings["batch_size"]
    x = torch.rand(batch, 3, *size, device=device).to(memory_format=torch.channels_last)
    labels = torch.zeros(batch, dtype=torch.long, device=device)
    target = torch.zeros(batch, 1, *size, device=device)

    def stage0() -> None:
        network.freeze(False)
        with autocast(device, amp):
            scores = network.pool(network.class_maps(network.encode(x)))
        F.cross_entropy(scores.float(), labels).backward()

    def image() -> None:
        with torch.no_grad(), autocast(device, amp):
            for _ in range(4):
                network(x[:1])

    stage0_step, predicted = _seconds(stage0, device), _seconds(image, device)
    network.freeze(True)
    with torch.no_grad(), autocast(device, amp):
        features = network.encode(x)

    def step() -> None:
        with autocast(device, amp):
            logits = network.decode(features, x)
        F.binary_cross_entropy_with_logits(logits.float(), target).backward()

    return Speed(stage0_step, _seconds(step, device), predicted)


def _seconds(call: Callable[[], None], device: torch.device) -> float:
    """Return the median of some calls, after one that is not timed."""
    call()
    taken = []
    for _ in range(_CALLS):
        started = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - started)
    return sorted(taken)[_CALLS // 2]
