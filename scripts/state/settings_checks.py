"""Comparison of what a run was started with and what it is asked to go on with. Pure functions."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from scripts.core.errors import InputError, Problem
from scripts.state.rows import ImageRow

_ABSENT = object()
_MAX_LISTED = 20
OTHER_DATA = "Bring the data back as they were, or choose another output folder for a new run."
"""Cure where the data are not those of the start."""


def flatten_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"active#seed": 0, "losses#0#_target_": "..."}`` for nested mappings and lists; ``#`` as in MONAI.

    Args:
        settings: what JSON can hold: mappings, lists, strings, finite numbers, booleans, ``None``.

    Raises:
        InputError: lists every value that JSON cannot hold, by key.
    """
    flat: dict[str, Any] = {}
    problems: list[Problem] = []

    def visit(key: str, value: Any) -> None:
        children: Iterable[tuple[Any, Any]] = ()
        if isinstance(value, Mapping):
            children = value.items()
        elif isinstance(value, list | tuple):
            children = enumerate(value)
        elif not (value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))):
            expected = "text, a finite number, true, false, null, or lists and mappings of them"
            problems.append(Problem("setting cannot be stored", key, expected, repr(value)))
        empty = True
        for name, child in children:
            visit(f"{key}#{name}" if key else str(name), child)
            empty = False
        if empty and key:
            flat[key] = list(value) if isinstance(value, tuple) else value

    visit("", settings)
    if problems:
        raise InputError(problems)
    return flat


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any], harmless: Collection[str]) -> list[Problem]:
    """Name each setting that differs, with its old and new value.

    Args:
        old: settings the run was started with.
        new: settings asked for now.
        harmless: keys (``"loader"`` also covers ``"loader#num_workers"``) that may change.

    Raises:
        InputError: see :func:`flatten_settings`.
    """
    before, after = flatten_settings(old), flatten_settings(new)
    cure = "Go on with the old value, or choose another output folder for a new run."
    problems = []
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key, _ABSENT), after.get(key, _ABSENT)
        if _is_same(was, now) or any(key == name or key.startswith(f"{name}#") for name in harmless):
            continue
        problems.append(Problem("setting differs from that of the run", key, _text(was), _text(now), cure))
    return problems


def changed_images(
    old: Iterable[ImageRow],
    new: Iterable[ImageRow],
    left_out_before: Collection[str] = (),
    left_out_now: Mapping[str, str] | None = None,
) -> list[Problem]:
    """Name each image that is gone, new, or has another file, class or split than when the run was started.

    Args:
        old: images the run was started with.
        new: images of the data now.
        left_out_before: ids that could not be used when the run was started (``on_bad_image`` skip).
        left_out_now: id -> why it cannot be used now.
    """
    before, after = {row.id: row for row in old}, {row.id: row for row in new}
    spoiled = left_out_now or {}
    problems = []
    for image in sorted(before.keys() | after.keys()):
        was, now = before.get(image), after.get(image)
        if now is None and image in spoiled:
            problems.append(
                Problem("image of the run cannot be used any more", image, found=spoiled[image], cure=OTHER_DATA)
            )
        elif now is None:
            problems.append(Problem("image of the run is missing from the data", image, cure=OTHER_DATA))
        elif was is None and image in left_out_before:
            cure = "Take it out of the table to go on without it, or choose another output folder for a new run."
            problems.append(Problem("image was left out when the run began, and can be used now", image, cure=cure))
        elif was is None:
            problems.append(Problem("image is not one of the run's", image, cure=OTHER_DATA))
        else:
            for field, name in (("sha256", "file (SHA-256)"), ("label", "class"), ("split", "split")):
                expected, found = getattr(was, field), getattr(now, field)
                if expected != found:
                    problems.append(
                        Problem(f"{name} changed since the run began", image, str(expected), str(found), OTHER_DATA)
                    )
    return shortened(problems)


def changed_masks(old: Mapping[str, str], new: Mapping[str, str]) -> list[Problem]:
    """Name each image whose mask file is gone, new or another than when the run was started.

    Args:
        old: id -> SHA-256 of the mask file when the run was started.
        new: the same now.
    """
    problems = []
    for image in sorted(old.keys() | new.keys()):
        was, now = old.get(image, "no mask"), new.get(image, "no mask")
        if was != now:
            problems.append(Problem("mask file (SHA-256) changed since the run began", image, was, now, OTHER_DATA))
    return shortened(problems)


def shortened(problems: list[Problem]) -> list[Problem]:
    """Keep the first 20 problems and count the others, so that a moved data set does not print thousands of lines."""
    if len(problems) <= _MAX_LISTED:
        return problems
    return [*problems[:_MAX_LISTED], Problem(f"{len(problems) - _MAX_LISTED} more of this kind", where="and")]


def _is_same(was: Any, now: Any) -> bool:
    """Compare as JSON does: ``1`` equals ``1.0``, yet not ``true``."""
    return isinstance(was, bool) == isinstance(now, bool) and was == now


def _text(value: Any) -> str:
    return "no such setting" if value is _ABSENT else json.dumps(value, ensure_ascii=False)
