"""The command ``run plan``: a plan for a data set with the seconds it will take, printed and written as an overlay."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from scripts.active.planning.by_hand import by_hand
from scripts.active.planning.trial import timed_trial
from scripts.core.config.ids import is_among, is_plain
from scripts.core.config.words import monai_command_line
from scripts.core.errors import InputError, Problem
from scripts.core.files import write_atomic
from scripts.core.run_config import RunConfig
from scripts.data.datalist import DataList, read_datalist
from scripts.data.planning.fingerprint import fingerprint_of
from scripts.data.planning.plan import Choice, plan_of, seconds_of, within
from scripts.images.masks import MaskRule

logger = logging.getLogger(__name__)
FILE = "plan.json"
DATA, ROWS = "_data_", "_rows_"
"""Keys of the overlay: the folder of the images that it was made for, and a hash of ids, classes and splits. What
begins with ``_`` is a note."""
_TIMED = ("num_classes", "image_size", "batch_size")
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


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
        self.config, self.path = config, Path(output_dir) / FILE
        self.device, self.amp, self.rule = torch.device(device), amp, mask_rule
        self.dataset_dir, self.reading = dataset_dir, reading
        self.budget = None if time_budget is None else seconds_in(time_budget)

    def run(self) -> Path:
        """Print the plan, write it, and return the path of the overlay.

        Raises:
            InputError: as :meth:`make`.
        """
        self.make(by_hand(self.config, monai_command_line()))
        told = "written: %s. Train with --config_file \"['bundle/configs/train.json','%s']\""
        logger.info(told, self.path, self.path)
        return self.path

    def make(self, set_ids: Collection[str] = ()) -> dict[str, Any]:
        """Print the plan, write it, and return the overlay.

        Args:
            set_ids: ids of the config that a person has set. The overlay holds what the plan says of them all the same;
                seconds and what fits into the budget are reckoned with the values of the config.

        Raises:
            InputError: what is wrong with the table, or with a file that was looked at.
        """
        datalist = self.listed()
        found = fingerprint_of(datalist, self.rule, skip=self.reading.get("on_bad_image") == "skip")
        planned = plan_of(found)
        own = {choice.key for choice in planned if is_among(choice.key, set_ids)}
        choices = [self._settled(choice) if choice.is_set and choice.key in own else choice for choice in planned]
        timed = {choice.key: choice.value for choice in choices if choice.is_set and choice.key in _TIMED}
        speed = timed_trial(self.config, timed, self.device, self.amp)
        evaluated = len(datalist.items) - sum(found.images.values())
        if self.budget is not None:
            choices = within(choices, found, speed, evaluated, self.budget, own)
        seconds = seconds_of(choices, found, speed, evaluated)
        logger.info("plan for %s\n%s", datalist.root, "\n".join(_lines(choices, seconds, self.budget)))
        pairs = zip(choices, planned, strict=True)
        overlay = overlay_of([before if before.key in own else choice for choice, before in pairs], datalist)
        write_atomic(self.path, (json.dumps(overlay, indent=2) + "\n").encode())
        return overlay

    def listed(self, check: bool = False) -> DataList:
        """Return the images. What is only told of them, and not refused, is left to the run.

        Args:
            check: look into all files.

        Raises:
            InputError: as :func:`scripts.data.datalist.read_datalist`.
        """
        talkative = logging.getLogger("scripts.data")
        before = talkative.level
        talkative.setLevel(logging.ERROR)
        try:
            return read_datalist(self.dataset_dir, mask_rule=self.rule, check=check, **self.reading)
        finally:
            talkative.setLevel(before)

    def _settled(self, choice: Choice) -> Choice:
        """Return a choice as a person made it, where the value can be known before anything is built."""
        value = self.config.get(choice.key)
        said = f"given by hand; the plan would say {json.dumps(choice.value)}"
        return replace(choice, value=value if value is not None and is_plain(value) else choice.value, reason=said)


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
    about = f"Plan for {len(datalist.items)} images in {datalist.root.name}. It comes after train.json."
    settings = {choice.key: choice.value for choice in choices if choice.is_set}
    return {"_desc_": about, DATA: str(datalist.root), ROWS: rows_sha256(datalist), "auto_plan": False, **settings}


def rows_sha256(datalist: DataList) -> str:
    """Return a hash of the ids, classes and splits of all images, and of which have masks; their order is no matter."""
    names = datalist.classes
    rows = sorted((item["id"], names[item["label"]], item["split"], bool(item["mask"])) for item in datalist.items)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


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
