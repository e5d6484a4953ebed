"""The run that is served: its config, its images and gate, and its state as soon as there is one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from lib.refusals import NotNowError
from lib.settings import Settings
from scripts.active.methods import Method
from scripts.annotation.gate import Gate
from scripts.core.config_checks import check_config
from scripts.core.errors import InputError, Problem, StateError, listed
from scripts.core.run_config import RunConfig
from scripts.core.run_names import Metric, Phase, RunFile, is_run, last_phase, run_folder
from scripts.data.datalist import read_datalist
from scripts.data.run_data import RunData
from scripts.images.store import ImageStore
from scripts.state.desk import Desk
from scripts.state.lock import holder_of
from scripts.state.settings_checks import shortened

_NOT_OF_THE_LIST = ("_target_", "dataset_dir", "demo_dir", "demo", "image_size", "mask_rule", "memory_limit_gb")
TRAIN = "Start the training: POST /train/joint."


@dataclass(frozen=True)
class Situation:
    """Where a run stands.

    Attributes:
        kind: ``"new"``, ``"training"``, ``"draw"`` (images wait), ``"ready"`` (all masks of the round are there),
            ``"stopped"`` (between two phases, nothing works on it), or ``"complete"``.
        round: that images are asked for in; None where none is open.
        waiting: images without a mask, the most wanted first.
        text: for people, what to do now.
    """

    kind: str
    round: int | None
    waiting: tuple[str, ...]
    text: str


class ServedRun:
    """One run. Threads may share it.

    Args:
        settings: of the server.

    Raises:
        InputError: a setting cannot be used.

    Attributes:
        config: of the run.
        folder: of the run.
        methods: presets by name.
        method: the run's.
        rounds: how many the run has.
        device: where models go.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.config = RunConfig(settings.content())
        check_config(self.config)
        parser = self.config.parser()
        self.output_dir = Path(parser.get_parsed_content("output_dir"))
        self.stage0_dir = Path(parser.get_parsed_content("active#stage0#dir"))
        self.methods: Mapping[str, Method] = parser.get_parsed_content("active#methods")
        self.name, self.seed = str(parser.get_parsed_content("active#method")), int(parser["active#seed"])
        if self.name not in self.methods:
            known = ", ".join(sorted(self.methods))
            raise InputError(Problem("unknown method", "--conf method", known, repr(self.name)))
        self.method = self.methods[self.name]
        self.rounds = self.method.rounds or int(parser["active#rounds"])
        self.folder = run_folder(self.output_dir, self.name, self.seed)
        self.device = torch.device(parser.get_parsed_content("device"))
        self._turn = threading.RLock()
        self._desk: Desk | None = None
        self._state_file: tuple[int, int] | None = None

    # ---- images --------------------------------------------------------------------------------------------------

    @cached_property
    def data(self) -> RunData:
        """The images: hashed now, decoded when they are asked for (the run itself checks them all).

        Raises:
            InputError: with everything that is wrong with the table.
        """
        parser = self.config.parser()
        reading = {
            key: parser.get_parsed_content(f"data#{key}") for key in self.config["data"] if key not in _NOT_OF_THE_LIST
        }
        rule = parser.get_parsed_content("mask_rule")
        check = reading.get("on_bad_image") == "skip"  # which images are left out shows only then
        found = read_datalist(
            parser.get_parsed_content("dataset_dir"), mask_rule=rule, check=check, progress=False, **reading
        )
        size = parser.get_parsed_content("image_size")
        limit = parser.get_parsed_content("data#memory_limit_gb")
        return RunData(found, ImageStore(found.items, None if size is None else tuple(size), rule, limit))

    @cached_property
    def items(self) -> dict[str, dict[str, Any]]:
        """Items of the data list by id."""
        return {item["id"]: item for item in self.data.datalist.items}

    @cached_property
    def train_ids(self) -> list[str]:
        """Ids of the training images, in the order of the data list."""
        return [item["id"] for item in self.data.items("train")]

    def class_of(self, key: str) -> str:
        """Return the class name of an image."""
        return self.data.classes[self.items[key]["label"]]

    @cached_property
    def gate(self) -> Gate:
        """The gate of the config, which judges every mask."""
        gate: Gate = self.config.parser(objects={"data": self.data}).get_parsed_content("active#gate")
        return gate

    def refuse_other_data(self) -> None:
        """Refuse to serve a run with other images than it began with.

        Raises:
            StateError: they differ.
        """
        if not is_run(self.folder):
            return
        stored = self.desk().data_sha256()
        if stored is not None and stored != self.data.datalist.sha256:
            cure = "Bring the data back as they were, or name another folder with --conf output_dir."
            found = self.data.datalist.sha256
            raise StateError(Problem("the run began with other data (SHA-256)", str(self.folder), stored, found, cure))

    # ---- state ---------------------------------------------------------------------------------------------------

    def desk(self) -> Desk:
        """Return the desk of the run, which stays open.

        Raises:
            NotNowError: there is no run yet.
            StateError: see :meth:`scripts.state.desk.Desk.open`.
        """
        path = self.folder / RunFile.STATE
        with self._turn:
            try:
                found = os.stat(path)
            except FileNotFoundError:
                raise NotNowError(
                    Problem("the run has not begun", str(self.folder), "a round", "none", TRAIN)
                ) from None
            if self._desk is None or self._state_file != (found.st_dev, found.st_ino):  # another file: a new run
                if self._desk is not None:
                    self._desk.close()
                    self._desk = None
                self._desk, self._state_file = Desk.open(self.folder), (found.st_dev, found.st_ino)
            return self._desk

    def evaluated(self) -> dict[int, dict[str, float]]:
        """Return the metrics of the rounds that are evaluated; empty before the first."""
        try:
            desk = self.desk()
        except NotNowError:
            return {}
        return {
            at: values for at, values in sorted(desk.metrics().items()) if at >= 0 and desk.is_done(at, Phase.EVALUATE)
        }

    def best_round(self) -> int | None:
        """Return the round whose model answers: of highest validation Dice, the later of equals.

        Without validation masks it is the last one; None before the first is evaluated.
        """
        found = self.evaluated()
        if not any(Metric.VAL_DICE in values for values in found.values()):
            return max(found, default=None)
        return max(found, key=lambda at: (found[at].get(Metric.VAL_DICE, -1.0), at))

    def situation(self, starting: bool = False) -> Situation:
        """Return where the run stands.

        Args:
            starting: a training was ordered, and may not have come to the run yet.
        """
        holder = holder_of(self.folder / RunFile.LOCK)
        busy = starting or holder is not None
        try:
            desk = self.desk()
        except NotNowError as error:
            text = "The first training begins: it learns the classes and chooses the first images."
            return Situation("training", None, (), text) if busy else Situation("new", None, (), str(error))
        at = desk.open_round()
        waiting = tuple(desk.waiting(at)) if at is not None else ()
        if at is not None and waiting:
            return Situation("draw", at, waiting, f"round {at}: {len(waiting)} images wait for a mask")
        if busy:
            by = f" ({holder})" if holder else ""
            return Situation("training", at, (), f"a training goes on{by}; ask again when it has ended")
        if at is not None:
            return Situation("ready", at, (), f"round {at} has all its masks. {TRAIN}")
        last = last_phase(self.method.propagation is not None)
        if all(desk.is_done(index, last) for index in range(self.rounds)):
            more = "For more, start the server with a larger --conf rounds."
            return Situation("complete", None, (), f"all {self.rounds} rounds are done. {more}")
        return Situation("stopped", None, (), f"no image is asked for, and no training goes on. {TRAIN}")

    def held_text(self, situation: Situation, now: float | None = None) -> str:
        """Return who has the images that wait, for somebody who got none."""
        held = self.desk().leases(time.time() if now is None else now)
        names = [f"{key} ({held[key].user})" for key in situation.waiting if key in held]
        return f"{situation.text}, all in other hands: {listed(names)}"

    def refuse_changed_files(self) -> None:
        """Refuse to go on with images or masks that are no longer what was read at the start."""
        problems = self.data.datalist.watch.changed()
        if problems:
            raise StateError(shortened(problems))
