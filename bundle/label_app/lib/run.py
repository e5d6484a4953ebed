"""The run that is served: its config, its images and gate, and its state as soon as there is one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from lib.refusals import MissingError, NotNowError
from lib.settings import Settings
from scripts.active.methods import Method
from scripts.active.planning.own_data import settings_of_plan
from scripts.active.run_record import HARMLESS, stored_settings
from scripts.annotation.gate import Gate
from scripts.core.config.words import CommandLine
from scripts.core.config_checks import check_config
from scripts.core.errors import InputError, Problem, StateError, listed
from scripts.core.lock import holder_of
from scripts.core.machine.threads import use_threads
from scripts.core.run_config import RunConfig
from scripts.core.run_names import Metric, Phase, RunFile, is_run, last_phase, run_folder
from scripts.data.checks import background_labels
from scripts.data.datalist import read_datalist
from scripts.data.run_data import RunData
from scripts.images.store import ImageStore
from scripts.images.values import BackgroundClasses
from scripts.state.desk import Desk
from scripts.state.settings_checks import changed_settings, shortened

_NOT_OF_THE_LIST = (
    "_target_", "dataset_dir", "demo_dir", "demo", "image_size", "mask_rule", "memory_limit_gb", "background_classes",
    "background_gate",
)  # fmt: skip
_BACK = "Bring it back as it was; until then others are handed out."
_TIMES = 4
_FEW_PIXELS = 10**6
_LOOKED_AT = 1000  # images whose size is read for this
TRAIN = "Start the training: POST /train/joint."


@dataclass(frozen=True)
class Situation:
    """Where a run stands.

    Attributes:
        kind: ``"new"``, ``"training"``, ``"draw"`` (images wait), ``"ready"`` (all masks of the round are there),
            ``"undrawn"`` (all its images were skipped), ``"stopped"`` (between two phases, nothing works on it), or
            ``"complete"``.
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
        typed = CommandLine(texts=settings.overrides, files=tuple(map(str, settings.config_files)))
        check_config(self.config, typed)
        parser = self.config.parser()
        self.output_dir = Path(parser.get_parsed_content("output_dir"))
        self.stage0_dir = Path(parser.get_parsed_content("active#stage0#dir"))
        self.methods: Mapping[str, Method] = parser.get_parsed_content("active#methods")
        self.name, self.seed = str(parser.get_parsed_content("active#method")), int(parser["active#seed"])
        if self.name not in self.methods:
            known = ", ".join(sorted(self.methods))
            raise InputError(Problem("unknown method", "--conf method", known, repr(self.name)))
        self.method = self.methods[self.name]
        self.config = RunConfig(self.config.parser(settings_of_plan(self.config, typed)).get())
        parser = self.config.parser()
        use_threads(parser.get_parsed_content("threads"), self.config.get("image_size"))  # those of requests as well
        self.rounds = self.method.rounds or int(parser["active#rounds"])
        self.folder = run_folder(self.output_dir, self.name, self.seed)
        self.device = torch.device(parser.get_parsed_content("device"))
        self._turn = threading.RLock()
        self._desks: dict[str, Desk] = {}
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
        # Which images are left out shows only where all are decoded.
        check: bool | Literal["hashes"] = True if reading.get("on_bad_image") == "skip" else "hashes"
        found = read_datalist(
            parser.get_parsed_content("dataset_dir"), mask_rule=rule, check=check, progress=False, **reading
        )
        size = parser.get_parsed_content("image_size")
        limit = parser.get_parsed_content("data#memory_limit_gb")
        store = ImageStore(found.items, None if size is None else tuple(size), rule, limit)
        declared = self.config.get("data#background_classes") or ()
        labels = background_labels(declared, found.classes, found.items, {})  # masks are looked at by the run
        gate = "data#background_gate" not in parser or parser.get_parsed_content("data#background_gate")
        return RunData(found, store, background=BackgroundClasses(labels, bool(gate)))

    @cached_property
    def items(self) -> dict[str, dict[str, Any]]:
        """Items of the data list by id."""
        return {item["id"]: item for item in self.data.datalist.items}

    @cached_property
    def train_ids(self) -> list[str]:
        """Ids of the training images that can have foreground, in the order of the data list."""
        return [item["id"] for item in self.data.drawable("train")]

    @cached_property
    def most_pixels(self) -> int:
        """Pixels that an image may have which is sent for prediction: some times those of the run's largest."""
        sizes = [self.data.store.original_size(key) for key in self.train_ids[:_LOOKED_AT]]
        return max(_TIMES * max(height * width for height, width in sizes), _FEW_PIXELS)

    def image_path(self, key: str) -> Path:
        """Return the file of an image, which is still the one that the run was begun with.

        Raises:
            MissingError: it is gone, or has become a link out of the data folder.
            ChangedFileError: another picture lies there; with both hashes.
        """
        path = Path(self.items[key]["image"])
        if not path.is_file() or not path.resolve().is_relative_to(self.data.datalist.root.resolve()):
            raise MissingError(
                Problem("file of the image is gone", key, "the file that the run read", "none, or a link", _BACK)
            )
        self.data.datalist.watch.require_same(str(path))
        return path

    def unusable(self, key: str) -> str | None:
        """Return why an image cannot be handed out, None where it can."""
        try:
            self.image_path(key)
        except InputError as error:
            return str(error)
        return None

    def class_of(self, key: str) -> str:
        """Return the class name of an image."""
        return self.data.classes[self.items[key]["label"]]

    @cached_property
    def gate(self) -> Gate:
        """The gate of the config, which judges every mask."""
        gate: Gate = self.config.parser(objects={"data": self.data}).get_parsed_content("active#gate")
        return gate

    def refuse_another(self) -> None:
        """Refuse to serve a run with other images or settings than it began with.

        Raises:
            StateError: lists what differs.
        """
        if not is_run(self.folder):
            return
        before = self.looking().settings()
        if before:
            settings = self.config.parser().get_parsed_content("active#loop#settings")
            problems = changed_settings(before, stored_settings(self.config, self.data, settings), HARMLESS)
            if problems:
                raise StateError(shortened(problems))

    def _refuse_other_data(self, desk: Desk) -> None:
        stored = desk.data_sha256()
        if stored is not None and stored != self.data.datalist.sha256:
            cure = "Bring the data back as they were, or name another folder with --conf output_dir."
            found = self.data.datalist.sha256
            raise StateError(Problem("the run began with other data (SHA-256)", str(self.folder), stored, found, cure))

    # ---- state ---------------------------------------------------------------------------------------------------

    def desk(self) -> Desk:
        """Return the desk of the run, which stays open: for what changes something.

        Raises:
            NotNowError: there is no run yet.
            StateError: it was here and is gone; see :meth:`scripts.state.desk.Desk.open`.
        """
        return self._opened("writes")

    def looking(self) -> Desk:
        """Return a desk for questions alone; they go on while :meth:`desk` waits for another program's write."""
        return self._opened("reads")

    def _opened(self, use: str) -> Desk:
        path = self.folder / RunFile.STATE
        with self._turn:
            try:
                found = os.stat(path)
            except OSError as error:
                raise self._absent(error) from None
            if self._state_file != (found.st_dev, found.st_ino):  # the first, or one brought back from a copy
                while self._desks:
                    self._desks.popitem()[1].close()
            if use not in self._desks:
                desk = Desk.open(self.folder)
                try:
                    self._refuse_other_data(desk)
                except StateError:
                    desk.close()
                    raise
                self._desks[use], self._state_file = desk, (found.st_dev, found.st_ino)
            return self._desks[use]

    def _absent(self, error: OSError) -> StateError:
        """Return what it means that there is no state: a run that was served does not begin anew."""
        if self._state_file is None and isinstance(error, FileNotFoundError):
            return NotNowError(Problem("the run has not begun", str(self.folder), "a round", "none", TRAIN))
        cure = "Bring it back, or mount its disk again. For a new run start the server on another output_dir."
        found = error.strerror or str(error)
        return StateError(Problem("the folder of the run is gone", str(self.folder), "as it was served", found, cure))

    def evaluated(self) -> dict[int, dict[str, float]]:
        """Return the metrics of the rounds that are evaluated; empty before the first."""
        try:
            desk = self.looking()
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
        busy = starting or holder_of(self.folder / RunFile.LOCK) is not None
        try:
            desk = self.looking()
        except NotNowError as error:
            text = "The first training begins: it learns the classes and chooses the first images."
            return Situation("training", None, (), text) if busy else Situation("new", None, (), str(error))
        at = desk.open_round()
        waiting = tuple(desk.waiting(at)) if at is not None else ()
        if at is not None and waiting:
            return Situation("draw", at, waiting, f"round {at}: {len(waiting)} images wait for a mask")
        if busy:
            return Situation("training", at, (), "a training goes on; ask again when it has ended")
        if at is not None and not desk.pending():
            return Situation("undrawn", at, (), f"round {at} has no mask: nobody drew one, all its images are skipped")
        if at is not None:
            return Situation("ready", at, (), f"round {at} has all its masks. {TRAIN}")
        last = last_phase(self.method.propagation is not None)
        if all(desk.is_done(index, last) for index in range(self.rounds)):
            more = "For more, start the server with a larger --conf rounds."
            return Situation("complete", None, (), f"all {self.rounds} rounds are done. {more}")
        text = f"a round was interrupted while it trained; its masks are kept. To go on: {TRAIN}"
        return Situation("stopped", None, (), text)

    def held_text(self, situation: Situation, now: float | None = None) -> str:
        """Return who has the images that wait, for somebody who got none."""
        held = self.looking().leases(time.time() if now is None else now, self.settings.lease_seconds)
        names = [f"{key} ({held[key].user})" for key in situation.waiting if key in held]
        return f"{situation.text}, all in other hands: {listed(names)}"

    def refuse_changed_files(self) -> None:
        """Refuse to go on with images or masks that are no longer what was read at the start."""
        problems = self.data.datalist.watch.changed()
        if problems:
            raise StateError(shortened(problems))
