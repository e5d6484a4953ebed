"""What can be said of a config before anything is built from it: ids that nothing reads, values that cannot work."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from scripts.core.errors import InputError, Problem
from scripts.core.optional import TRACKER, needed, quiet_mlflow
from scripts.core.run_config import RunConfig

_REFERENCE = re.compile(r"[@%]([A-Za-z_]\w*(?:(?:#|::)\w+)*)")
_READ_BY_CODE = ("active#stage0#overrides", "max_epochs", "epoch_length", "batch_size")
"""Ids without a reference that Python reads, the last three in ``active/run_record.py``."""
_CONSTANTS = {"true": "True", "false": "False", "null": "$None", "none": "$None"}
_OVERRIDES = "active#stage0#overrides"


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(_is_whole(side, 1) for side in value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


_Rule = tuple[str, Callable[[Any], bool]]
_POSITIVE: _Rule = ("a whole number from 1", lambda value: _is_whole(value, 1))
_COUNT: _Rule = ("a whole number from 0", lambda value: _is_whole(value, 0))
_TEXT: _Rule = ("a path", lambda value: isinstance(value, str))
_INTEGER: _Rule = ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool))

RULES: dict[str, _Rule] = {
    **dict.fromkeys(("batch_size", "max_epochs", "epoch_length", "val_interval", "num_classes"), _POSITIVE),
    "pass_size": _POSITIVE,
    **dict.fromkeys(("active#rounds", "active#initial_per_class", "active#query_per_class"), _POSITIVE),
    **dict.fromkeys(("num_workers", "active#max_overlays"), _COUNT),
    **dict.fromkeys(("active#seed", "active#stage0#seed", "data#seed"), _INTEGER),
    **dict.fromkeys(("dataset_dir", "output_dir", "ckpt_dir", "bundle_root", "active#stage0#dir"), _TEXT),
    "data#val_masks_per_class": ("null or a whole number from 1", lambda value: value is None or _is_whole(value, 1)),
    "active#budget": ("null or a whole number from 1", lambda value: value is None or _is_whole(value, 1)),
    "variants": ("null or a whole number from 0", lambda value: value is None or _is_whole(value, 0)),
    "image_size": ("null or [height, width]", lambda value: value is None or _is_size(value)),
    "lr": ("a number above 0", lambda value: _is_number(value) and value > 0),
    "scale_seg_u": ("a number from 0", lambda value: _is_number(value) and value >= 0),
    "scale_seg_b": ("a number from 0", lambda value: _is_number(value) and value >= 0),
    "background_share": ("a number between 0 and 1", lambda value: _is_number(value) and 0 < value < 1),
    "background_gate": ("true or false", lambda value: isinstance(value, bool)),
    "data#background_classes": ("a list of class names", _is_names),
    "active#checkpoint_seconds": ("a number from 0", lambda value: _is_number(value) and value >= 0),
    "labelled_share": (
        "null or a number between 0 and 1", lambda value: value is None or (_is_number(value) and 0 < value < 1),
    ),
    "selection": ("dice, accuracy or joint", lambda value: value in ("dice", "accuracy", "joint")),
    "on_bad_image": ("stop or skip", lambda value: value in ("stop", "skip")),
    "threads": ("auto or a whole number from 1", lambda value: value == "auto" or _is_whole(value, 1)),
    "engine": ("torch or openvino", lambda value: value in ("torch", "openvino")),
    "amp": ("true, false or auto", lambda value: isinstance(value, bool) or value == "auto"),
}  # fmt: skip
"""Id -> what its value must be, in words and as a test. Expressions and references are not looked at."""


def check_config(config: RunConfig) -> None:
    """Refuse a config with ids that nothing reads, values out of range, or a device or package that is not there.

    The bundle's ``initialize`` calls it, so that a slip of the keyboard ends a run before its first step.

    Args:
        config: before anything is built from it.

    Raises:
        InputError: with all of them.
    """
    content = config.content
    problems = [
        Problem("nothing in the config reads this id", name, _similar(name, content), cure="Correct or remove it.")
        for name in unread_ids(content)
    ]
    problems += _bad_values(config)
    problems += _misspelt_constants(content)
    device = content.get("device")
    if isinstance(device, str) and not _is_indirect(device):
        problems += _device_problems(device)
    if problems:
        raise InputError(problems)
    if content.get("engine") == "openvino":
        needed("openvino")
    if config.uses_handler(TRACKER):
        quiet_mlflow()


def unread_ids(content: Mapping[str, Any]) -> list[str]:
    """Return the ids of plain values that no reference, object or expression of the config uses: they have no effect.

    Args:
        content: raw config. Ids that begin with ``_`` are notes; arguments of a ``_target_`` are that object's matter.
    """
    text = json.dumps(content, default=str)
    read = {match.replace("::", "#") for match in _REFERENCE.findall(text)}

    def visit(prefix: str, section: Mapping[str, Any]) -> Iterator[str]:
        for key, value in section.items():
            name = f"{prefix}#{key}" if prefix else str(key)
            if str(key).startswith("_") or name in read or name in _READ_BY_CODE:
                continue
            if isinstance(value, Mapping):
                if "_target_" not in value:
                    yield from visit(name, value)
            elif _is_plain(value):
                yield name

    return list(visit("", content))


def _bad_values(config: RunConfig) -> list[Problem]:
    found = []
    for name, (expected, accepts) in RULES.items():
        for key in (name, f"{_OVERRIDES}#{name}"):
            value = config.get(key, _ABSENT)
            if value is not _ABSENT and not _is_indirect(value) and not accepts(value):
                found.append(Problem("value cannot be used", key, expected, repr(value)))
    return found


def _misspelt_constants(content: Mapping[str, Any], prefix: str = "") -> list[Problem]:
    """Name ``true``, ``false``, ``null`` that the command line took for text, which would count as true."""
    found = []
    for key, value in content.items():
        name = f"{prefix}#{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            found += _misspelt_constants(value, name)
        elif isinstance(value, str) and value in _CONSTANTS:
            cure = "On the command line values are written as in Python, but None, which MONAI passes over, as $None."
            found.append(Problem("text where a constant seems to be meant", name, _CONSTANTS[value], repr(value), cure))
    return found


def _device_problems(name: str) -> list[Problem]:
    there = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    try:
        device = torch.device(name)
    except RuntimeError:
        return [Problem("no such device", "device", " or ".join(there), repr(name))]
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        return [Problem("this machine has no such device", "device", " or ".join(there), repr(name))]
    return []


def _similar(name: str, content: Mapping[str, Any]) -> str:
    """Return the id that was probably meant, ``""`` where none is near."""
    parent, _, last = name.rpartition("#")
    siblings: Any = content
    for key in parent.split("#") if parent else ():
        siblings = siblings[key]
    unread = unread_ids(content)
    known = [str(key) for key in siblings if f"{parent}#{key}".strip("#") not in unread]
    near = difflib.get_close_matches(last, known, n=1, cutoff=0.6)
    return f"{parent}#{near[0]}".strip("#") if near else ""


def _is_plain(value: Any) -> bool:
    """Tell values from what can be run: expressions, and lists of them or of objects."""
    if isinstance(value, list | tuple):
        return bool(value) and all(_is_plain(each) for each in value)
    return not (_is_indirect(value) or isinstance(value, Mapping))


def _is_indirect(value: Any) -> bool:
    return isinstance(value, str) and value[:1] in ("$", "@", "%")


_ABSENT = object()
