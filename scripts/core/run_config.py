"""The config of the running bundle, so that every training of a run is built afresh from it.

MONAI gives the objects of a config no way to read the config they stand in. A cycle of active learning needs just that:
the sections ``train`` and ``validate`` as they were written (overlays and command line included), parsed again with the
images, weights and seeds of the cycle. So the config hands itself in, under its id ``config`` (:func:`running_config`).
"""

from __future__ import annotations

import copy
import inspect
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from monai.bundle import ConfigParser

from scripts.core.errors import InputError, Problem

APART = (
    "bundle_root", "output_dir", "dataset_dir", "ckpt_dir", "log_dir", "device", "num_workers", "amp", "features",
    "data", "demo", "network", "cycle", "active",
)  # fmt: skip
"""Ids that sections refer to and that are no settings: places, the machine, and what is recorded by itself."""

LATER: dict[str, Any] = {
    "scale_seg_b": 0.0,
    "background_share": 0.125,
    "loss#scale_seg_b": "@scale_seg_b",
    "train#batches#background_share": {
        "_target_": "scripts.training.batches.background_share", "share": "@background_share", "scale": "@scale_seg_b",
    },
    "validate#key_metric#val_metric#background": "$@data.background",
}  # fmt: skip
"""Settings that came after runs of this format, with the value that leaves everything as it was.

At this value they are not recorded: a run made without them is the same run, and so is its theta0."""

_HANDLERS = ("train#handlers", "validate#handlers")


class RunConfig:
    """The raw content of a bundle config, from which parsers are made.

    Args:
        content: the config as read from its files, with overlays and overrides, before anything is built. In that of
            :func:`running_config` macros (``%``) have been replaced already.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = copy.deepcopy(dict(content))

    @property
    def content(self) -> dict[str, Any]:
        """A copy of the whole raw content."""
        return copy.deepcopy(self._content)

    def __getitem__(self, key: str) -> Any:
        """Return a copy of the raw value at a nested id such as ``"train#trainer#max_epochs"``."""
        return copy.deepcopy(ConfigParser(self._content)[key])

    def get(self, key: str, default: Any = None) -> Any:
        """Return :meth:`__getitem__`, or ``default`` where the config has no such id."""
        try:
            return self[key]
        except (KeyError, IndexError, TypeError, ValueError):
            return default

    def with_references(self, names: Iterable[str], apart: Collection[str] = ()) -> dict[str, Any]:
        """Return the raw values at some top-level ids, and at all that they refer to with ``@``, directly or not.

        Args:
            names: top-level ids; those the config does not have are left out.
            apart: ids that are not followed to.

        Those of :data:`LATER` are left out where they have the value that stands there.
        """
        found: dict[str, Any] = {}
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in found or name not in self._content:
                continue
            found[name] = self[name]
            waiting += set(re.findall(r"@([A-Za-z_]\w*)", json.dumps(found[name], default=str))).difference(apart)
        for key, value in LATER.items():
            *parents, last = key.split("#")
            owner: Any = found
            for parent in parents:
                owner = owner.get(parent) if isinstance(owner, Mapping) else None
            if isinstance(owner, dict) and last in owner and owner[last] == value:
                del owner[last]
        return dict(sorted(found.items()))

    def uses_handler(self, name: str) -> bool:
        """Tell whether the training, or its validation, has a handler whose ``_target_`` is ``name``."""
        return any(_target(each) == name for key in _HANDLERS for each in self.get(key) or ())

    def without_handler(self, name: str) -> RunConfig:
        """Return the config without the handlers whose ``_target_`` is ``name``."""
        content = ConfigParser(self.content)
        for key in _HANDLERS:
            if kept := self.get(key):
                content[key] = [each for each in kept if _target(each) != name]
        return RunConfig(content.get())

    def parser(
        self, overrides: Mapping[str, Any] | None = None, objects: Mapping[str, Any] | None = None
    ) -> ConfigParser:
        """Return a fresh parser whose objects nobody else holds.

        Args:
            overrides: config values by nested id, set in this order.
            objects: ready objects by nested id (images, feature bank) that are shared instead of built again. A list
                arrives as a tuple, which MONAI does not look into: text from data that begins with ``$``, ``@`` or
                ``%`` would be evaluated.

        Raises:
            InputError: an override changes an id that the config does not have. Arguments of a ``_target_`` may be new:
                the config leaves out what keeps its default.
        """
        parser = ConfigParser(copy.deepcopy(self._content))
        unknown = [key for key in overrides or {} if not _has(parser, key)]
        if unknown:
            raise InputError(
                [Problem("no such id in the config", key, cure="Correct the override.") for key in unknown]
            )
        for key, value in (overrides or {}).items():
            parser[key] = value
        for key, value in (objects or {}).items():
            parser[key] = tuple(value) if isinstance(value, list) else value
        return parser


def _target(value: Any) -> str | None:
    return value.get("_target_") if isinstance(value, Mapping) else None


def _has(parser: ConfigParser, key: str) -> bool:
    if key in parser:
        return True
    parent = key.replace("#", "::").rpartition("::")[0]
    if parent not in parser:
        return False
    owner = parser[parent]
    return isinstance(owner, Mapping) and "_target_" in owner


def running_config() -> RunConfig:
    """Return the config that is being resolved: its own id ``config`` calls it, and others get it as ``"@config"``.

    Raises:
        InputError: the caller was not built by a config.
    """
    return RunConfig(running_parser().get())


def running_parser() -> ConfigParser:
    """Return the ``ConfigParser`` further up the call stack that builds the caller.

    Overlays and the command line exist only in it, and MONAI passes it to no object.

    Raises:
        InputError: the caller was not built by a config.
    """
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, ConfigParser):
            return owner
        frame = frame.f_back
    raise InputError(
        Problem("no bundle config is running", "running_config", cure="Pass a RunConfig(...) when calling from Python.")
    )
