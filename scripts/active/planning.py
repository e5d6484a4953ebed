"""The command ``run plan``: a plan for a data set with the seconds it will take, printed and written as an overlay."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from scripts.core.errors import InputError, Problem
from scripts.core.files import write_atomic
from scripts.core.run_config import RunConfig
from scripts.data.datalist import DataList, read_datalist
from scripts.data.planning.fingerprint import fingerprint_of
from scripts.data.planning.plan import Choice, Fingerprint, Speed, plan_of, seconds_of, within
from scripts.images.masks import MaskRule
from scripts.networks.precision import autocast

logger = logging.getLogger(__name__)
FILE = "plan.json"
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_CALLS = 3


class Planner:
    """Makes the plan of a data set.

    Args:
        config: ``train.json`` with what was set by hand, which stays.
        dataset_dir: see :func:`scripts.data.datalist.read_datalist`.
        output_dir: folder that ``plan.json`` is written to.
        device: on which a trial step is timed.
        amp: see :func:`scripts.networks.precision.autocast`.
        mask_rule: which mask values are foreground.
        time_budget: seconds for the whole run, or text as ``"2 h"`` or ``"45 min"``; None for no limit.
        reading: ``table``, ``split_column`` and other arguments of :func:`scripts.data.datalist.read_datalist`.

    Raises:
        InputError: a time that is none.
    """

    def __init__(
        self,
        config: RunConfig,
        dataset_dir: str,
        output_dir: str,
        device: torch.device,
        amp: bool | str,
        mask_rule: MaskRule,
        time_budget: float | str | None = None,
        **reading: Any,
    ) -> None:
        self.config, self.output_dir = config, Path(output_dir)
        self.device, self.amp, self.rule = torch.device(device), amp, mask_rule
        self.dataset_dir, self.reading = dataset_dir, reading
        self.budget = None if time_budget is None else seconds_in(time_budget)

    def run(self) -> Path:
        """Print the plan, write it, and return the path of the overlay.

        Raises:
            InputError: what is wrong with the table, or with a file that was looked at.
        """
        datalist = read_datalist(self.dataset_dir, check=False, **self.reading)
        found = fingerprint_of(datalist, self.rule)
        choices = plan_of(found)
        speed = self._trial(choices, found)
        evaluated = len(datalist.items) - sum(found.images.values())
        if self.budget is not None:
            choices = within(choices, found, speed, evaluated, self.budget)
        path = self.output_dir / FILE
        write_atomic(path, (json.dumps(overlay_of(choices, datalist), indent=2) + "\n").encode())
        seconds = seconds_of(choices, found, speed, evaluated)
        logger.info("plan for %s\n%s", datalist.root, "\n".join(_lines(choices, seconds, self.budget)))
        logger.info("written: %s. Train with --config_file \"['bundle/configs/train.json','%s']\"", path, path)
        return path

    def _trial(self, choices: Sequence[Choice], found: Fingerprint) -> Speed:
        """Time the parts of a training with the network of the plan, on noise."""
        value = {choice.key: choice.value for choice in choices if choice.is_set}
        keys = ("num_classes", "image_size", "batch_size")
        network = self.config.parser({key: value[key] for key in keys}).get_parsed_content("network")
        network.to(memory_format=torch.channels_last).train()
        size, batch = value["image_size"], value["batch_size"]
        x = torch.rand(batch, 3, *size, device=self.device).to(memory_format=torch.channels_last)
        labels = torch.zeros(batch, dtype=torch.long, device=self.device)
        target = torch.zeros(batch, 1, *size, device=self.device)

        def stage0() -> None:
            network.freeze(False)
            with autocast(self.device, self.amp):
                scores = network.pool(network.class_maps(network.encode(x)))
            F.cross_entropy(scores.float(), labels).backward()

        def image() -> None:
            with torch.no_grad(), autocast(self.device, self.amp):
                for _ in range(4):
                    network(x[:1])

        stage0_step, predicted = self._seconds(stage0), self._seconds(image)
        network.freeze(True)
        with torch.no_grad(), autocast(self.device, self.amp):
            features = network.encode(x)

        def step() -> None:
            with autocast(self.device, self.amp):
                logits = network.decode(features, x)
            F.binary_cross_entropy_with_logits(logits.float(), target).backward()

        return Speed(stage0_step, self._seconds(step), predicted)

    def _seconds(self, call: Callable[[], None]) -> float:
        call()
        taken = []
        for _ in range(_CALLS):
            started = time.perf_counter()
            call()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            taken.append(time.perf_counter() - started)
        return sorted(taken)[_CALLS // 2]


def seconds_in(time_budget: float | str) -> float:
    """Return the seconds of ``"2 h"``, ``"45 min"``, ``"1.5 d"``, ``"90 s"``, or of a number of seconds.

    Raises:
        InputError: no time above 0.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(time_budget).lower())
    unit = None if found is None else _UNITS.get(found[2] or "s")
    if found is None or unit is None or float(found[1]) <= 0:
        expected = 'seconds, or a time as "90 s", "45 min", "2 h", "1 d"'
        raise InputError(Problem("not a time", "time_budget", expected, repr(time_budget)))
    return float(found[1]) * unit


def overlay_of(choices: Sequence[Choice], datalist: DataList) -> dict[str, Any]:
    """Return the plan as an overlay of ``train.json``: what a person has to say is not in it."""
    about = (
        f"Plan for {len(datalist.items)} images in {datalist.root.name}, made by 'run plan'. It comes after train.json."
    )
    return {"_desc_": about, **{choice.key: choice.value for choice in choices if choice.is_set}}


def _lines(choices: Sequence[Choice], seconds: Mapping[str, float], budget: float | None) -> list[str]:
    width = max(len(choice.key) for choice in choices)
    lines = [f"  {choice.key:{width}s} {_text(choice)}  {choice.reason}" for choice in choices]
    took = f"about {_spoken(seconds['stage0'])} for stage 0, {_spoken(seconds['round'])} a round, "
    took += f"{_spoken(seconds['all'])} in all with label_prop on this machine"
    lines.append(f"  {'time':{width}s} {took}")
    if budget is not None and seconds["all"] > budget:
        lines.append(f"  {'':{width}s} more than the budget of {_spoken(budget)}, with the least that says something")
    return lines


def _text(choice: Choice) -> str:
    value = choice.value if isinstance(choice.value, str) else "" if choice.value is None else json.dumps(choice.value)
    return value if choice.is_set else f"{value} (proposed, not set)".strip()


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
