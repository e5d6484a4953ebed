"""Paths and other texts of a config that MONAI would change, or that cannot be what was meant."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from scripts.core.config.ids import ABSENT, is_indirect, value_at
from scripts.core.config.rules import PATHS
from scripts.core.config.words import CommandLine, as_kept, spelling
from scripts.core.errors import Problem
from scripts.core.run_config import RunConfig


def text_problems(content: Any, typed: CommandLine, prefix: str = "") -> Iterator[Problem]:
    """Name texts with ``::``, which MONAI writes for every ``#``: they may not be what was typed.

    Args:
        content: raw config, whose ids that begin with ``_`` are not looked at.
        typed: tells what stood on the command line.
        prefix: id of the content.
    """
    if isinstance(content, str):
        if "::" in content and not is_indirect(content):
            meant = typed.texts.get(prefix) or content.replace("::", "#")
            cure = f"Write {spelling(prefix, meant, prefix in PATHS)}; in a file {json.dumps(as_kept(meant))}."
            yield Problem("MONAI writes :: for #, so this is not what was meant", prefix, meant, content, cure)
        return
    pairs = content.items() if isinstance(content, Mapping) else enumerate(content) if _is_list(content) else ()
    for key, value in pairs:
        if not str(key).startswith("_"):
            yield from text_problems(value, typed, f"{prefix}#{key}" if prefix else str(key))


def path_problems(config: RunConfig, told: Collection[str]) -> Iterator[Problem]:
    """Name paths that are empty, begin with ``~``, or come of an expression or reference that gives none.

    Args:
        config: before anything is built from it.
        told: ids of which enough is said; paths that are made of them are passed over.
    """
    parser, content = config.parser(), config.content
    passed = set(told)
    for key, (expected, accepts) in PATHS.items():
        raw = value_at(content, key)
        if raw is None or raw is ABSENT or key in passed:
            continue
        if any(f"@{each}" in str(raw) for each in passed):
            passed.add(key)
            continue
        problem, value = None, raw
        if is_indirect(raw):
            try:
                value = parser.get_parsed_content(key)
            except (RuntimeError, ValueError, KeyError) as error:  # MONAI wraps what an expression raises
                problem = _misread(key, raw, expected, _said(error))
            else:
                problem = None if accepts(value) else _misread(key, raw, expected, repr(value))
        if problem is None and value is not None:
            problem = _not_meant(key, os.fspath(value))
        if problem is not None:
            passed.add(key)
            yield problem


def _misread(key: str, text: str, expected: str, found: str) -> Problem:
    """Say that a path was taken for an expression or a reference."""
    cure = f"If {text} is the path itself, write {spelling(key, text, path=True)}."
    what = "MONAI takes this for an expression" if text[0] == "$" else "MONAI takes this for a reference"
    return Problem(what, key, expected, f"{text}, which gives {found}", cure)


def _said(error: Exception) -> str:
    cause = error.__cause__ or error
    return "no id of the config" if isinstance(error, ValueError) else f"{type(cause).__name__}: {cause}"


def _not_meant(key: str, path: str) -> Problem | None:
    if not path.strip():
        return Problem("path is empty", key, "a path", repr(path), f"Give one, or leave out --{key}.")
    if "\0" in path:
        return Problem("path cannot be used", key, "one without the character NUL", repr(path))
    if not path.startswith("~"):
        return None
    whole = os.path.expanduser(path)
    there = f"{spelling(key, whole, path=True)}; " if whole != path else ""
    cure = f"Write {there}{spelling(key, path, path=True)} for a folder of this name here."
    return Problem("the shell did not replace ~ by a home folder", key, "the whole path", path, cure)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
