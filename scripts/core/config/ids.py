"""Which ids of a config are read: by anything at all, and by what is run."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_REFERENCE = re.compile(r"[@%]([A-Za-z_]\w*(?:(?:#|::)\w+)*)")
_WHOLE_REFERENCE = re.compile(r"@\w*(?:(?:#|::)\w*)*")
_READ_BY_CODE = ("active#stage0#overrides", "max_epochs", "epoch_length", "batch_size")
"""Ids without a reference that Python reads, the last three in ``active/run_record.py``."""
_READ_WITH_CONFIG = (
    *_READ_BY_CODE, "active#loop", "train#trainer", "validate#evaluator", "tracking_uri", "experiment_name",
    "planner",
)  # fmt: skip
"""Ids that Python reads where the whole config is handed to it, as to the rounds and to a study."""
_NOT_RUN = ("initialize", "finalize")


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
            elif is_plain(value):
                yield name

    return list(visit("", content))


def entrances(content: Mapping[str, Any]) -> list[str]:
    """Return the top-level ids that can be run: lists of expressions, and calls that nothing reads."""
    lists = {key: value for key, value in content.items() if isinstance(value, list) and not is_plain(value)}
    read = set(_references({key: value for key, value in content.items() if key not in lists}))
    runs = [*lists, *(key for key, value in content.items() if _is_call(value))]
    return [key for key in content if key in runs and key not in (*read, "config", *_NOT_RUN) and key[:1] != "_"]


def _is_call(value: Any) -> bool:
    """Tell whether a value calls a function; a class begins with a capital letter."""
    return isinstance(value, Mapping) and str(value.get("_target_", "None")).rpartition(".")[2][:1].islower()


def ids_read_by(content: Mapping[str, Any], run_id: str) -> set[str]:
    """Return the ids that running an id leads to, with all that stands below them.

    Args:
        content: raw config.
        run_id: an id of it.
    """
    read = _followed(content, [run_id])
    if "config" in read:
        read |= _followed(content, _READ_WITH_CONFIG)
    return read | _followed(content, _NOT_RUN)


def is_among(name: str, read: Iterable[str]) -> bool:
    """Tell whether an id, something below it, or something that it stands below is one of some ids."""
    return any(f"{name}#".startswith(f"{each}#") or each.startswith(f"{name}#") for each in read)


def similar_id(name: str, content: Mapping[str, Any], read: Iterable[str] | None = None) -> str:
    """Return the id that was probably meant, ``""`` where none is near.

    Args:
        name: what stands there.
        content: raw config.
        read: only ids among these; None for all that something reads.
    """
    unread = unread_ids(content)
    within = None if read is None else list(read)
    known = [key for key in _all_ids(content) if key not in unread and (within is None or is_among(key, within))]
    parent, _, last = name.rpartition("#")
    beside = [key for key in known if key.rpartition("#")[0] == parent]
    near = difflib.get_close_matches(name, beside, n=1, cutoff=0.8)
    near = near or sorted(
        (key for key in known if _is_like(key, last)), key=lambda key: (not key.endswith(last), *_first_of(key))
    )
    return near[0] if near else ""


def _is_like(key: str, last: str) -> bool:
    """Tell whether an id ends as another, but for the plural."""
    return key.rpartition("#")[2].rstrip("s") == last.rstrip("s")


def _first_of(key: str) -> tuple[int, bool, str]:
    """Short ids come first, of two as short those of the run itself."""
    return key.count("#"), not key.startswith("active#"), key


def _all_ids(section: Any, prefix: str = "") -> Iterator[str]:
    pairs = section.items() if isinstance(section, Mapping) else enumerate(section) if _is_list(section) else ()
    for key, value in pairs:
        name = f"{prefix}#{key}" if prefix else str(key)
        if not str(key).startswith("_") and name not in ("cycle", "config", *_NOT_RUN):
            yield name
            yield from _all_ids(value, name)


def _followed(content: Mapping[str, Any], roots: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        value = value_at(content, name)
        if name not in found and value is not ABSENT:
            found.add(name)
            waiting += _references(value)
    return found


def _references(value: Any) -> list[str]:
    """Return the ids that a value refers to."""
    if isinstance(value, str):
        return [name.replace("::", "#") for name in _REFERENCE.findall(value)] if is_indirect(value) else []
    if isinstance(value, Mapping):
        return [name for each in value.values() for name in _references(each)]
    return [name for each in value for name in _references(each)] if _is_list(value) else []


def value_at(content: Any, name: str) -> Any:
    """Return the raw value at an id, :data:`ABSENT` where there is none."""
    for key in name.split("#"):
        if isinstance(content, Mapping) and key in content:
            content = content[key]
        elif _is_list(content) and key.isdigit() and int(key) < len(content):
            content = content[int(key)]
        else:
            return ABSENT
    return content


def is_plain(value: Any) -> bool:
    """Tell values from what can be run: expressions, and lists of them or of objects."""
    if _is_list(value):
        return bool(value) and all(is_plain(each) for each in value)
    return not (is_indirect(value) or isinstance(value, Mapping))


def is_indirect(value: Any) -> bool:
    """Tell whether a value is an expression, a reference or a macro."""
    return isinstance(value, str) and (value[:1] in ("$", "%") or bool(_WHOLE_REFERENCE.fullmatch(value)))


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


ABSENT = object()
"""What :func:`value_at` gives for an id that the config does not have; null is a value."""
