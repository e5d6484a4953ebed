"""What can be said of a config before anything is built from it: ids without effect, values that cannot work or arrive.

Every config of the bundle calls :func:`check_config` in its ``initialize``, before anything is read or written. MONAI's
exports run no ``initialize``: what they build requires :func:`check_export`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from scripts.core.config.ids import (
    ABSENT,
    entrances,
    ids_read_by,
    is_among,
    is_indirect,
    similar_id,
    unread_ids,
    value_at,
)
from scripts.core.config.paths import path_problems, text_problems
from scripts.core.config.rules import NAMES, OBJECTS, PATHS, RULES
from scripts.core.config.words import CommandLine, is_read_otherwise, monai_command_line, read_value, spelling
from scripts.core.errors import InputError, Problem
from scripts.core.optional import TRACKER, needed, quiet_mlflow
from scripts.core.plain_errors import show_user_errors_plainly
from scripts.core.run_config import RunConfig

_CONSTANTS = {"true": "True", "false": "False", "null": "$None", "none": "$None"}
_OVERRIDES = "active#stage0#overrides"
_SET_BY_STUDY = {"active#method": "studies#methods", "active#seed": "studies#seeds"}
_OF_CONFIGS = {
    "evaluate": "train.json, then evaluate.json",
    "study": "train.json, then study.json",
    "training": "train.json",
    "predict": "inference.json",
    "explain": "inference.json",
    "slide": "slide.json",
}


def check_config(config: RunConfig, typed: CommandLine | None = None) -> None:
    """Refuse a config with ids that nothing reads, values out of range, or a device or package that is not there.

    So a slip of the keyboard ends a command before its first step, and so does a value that would not arrive as it was
    typed. Each id is told once.

    Args:
        config: before anything is built from it.
        typed: what a user asked for; None for the command line of the process.

    Raises:
        InputError: with all of them.
    """
    typed = monai_command_line() if typed is None else typed
    content = config.content
    told: dict[str, Problem] = {}
    for found in (
        _typed_problems(typed, content), _bad_values(content, typed), _misspelt_constants(content, typed),
        text_problems(content, typed), _device_problems(content.get("device")),
    ):  # fmt: skip
        for problem in found:
            told.setdefault(problem.where, problem)
    for problem in path_problems(config, told):
        told.setdefault(problem.where, problem)
    if not told.keys() & OBJECTS.keys():  # else all ids below would be told
        for problem in _ids_without_effect(content, typed):
            told.setdefault(problem.where, problem)
    if told:
        raise InputError(list(told.values()))
    if content.get("engine") == "openvino":
        needed("openvino")
    if config.uses_handler(TRACKER):
        quiet_mlflow()


def check_export(config: RunConfig) -> None:
    """Check a config as :func:`check_config` where one of MONAI's exports builds its network; else do nothing.

    Raises:
        InputError: with all that is wrong.
    """
    typed = monai_command_line()
    if typed.is_export:
        show_user_errors_plainly()
        check_config(config, typed)


def _typed_problems(typed: CommandLine, content: Mapping[str, Any]) -> Iterator[Problem]:
    """What of the command line did not arrive as it was typed."""
    for key, text in typed.texts.items():
        is_text = key in PATHS or key in NAMES
        value = read_value(text)
        if text is None and is_text:
            yield Problem("no value follows", key, RULES[key][0], cure=f"Give one, or leave out --{key}.")
        elif text is not None and value is None:
            cure = f"Leave out --{key} for the value of the config."
            if key not in RULES or RULES[key][1](None):
                cure += f" A None of your own is written --{key} '$None'."
            yield Problem("MONAI passes over a plain None, so this would have no effect", key, found=text, cure=cure)
        elif text is not None and (is_read_otherwise(text) or (is_text and not isinstance(value, str))):
            cure = f"Write {spelling(key, text, path=key in PATHS)}."
            found = repr(value) if isinstance(value, str) else f"{value!r} ({type(value).__name__})"
            yield Problem("the command line reads this otherwise", key, text, found, cure)
        elif key in PATHS and is_indirect(text) and os.path.lexists(str(text)):
            cure = f"Write {spelling(key, str(text), path=True)} for the file or folder, or rename it."
            yield Problem("both a path that is there and an expression or reference", key, found=text or "", cure=cure)


def _bad_values(content: Mapping[str, Any], typed: CommandLine) -> Iterator[Problem]:
    for name, (expected, accepts) in RULES.items():
        for key in (name, f"{_OVERRIDES}#{name}"):
            value = value_at(content, key)
            if value is not ABSENT and not is_indirect(value) and not accepts(value):
                yield _refused(key, expected, value, typed)


def _refused(key: str, expected: str, value: Any, typed: CommandLine) -> Problem:
    """Say what a value must be, in the words of the place it comes from."""
    text = typed.texts.get(key)
    if text is None:
        return Problem("value cannot be used", key, expected, repr(value))
    for of_json, of_python in (("null", "'$None'"), ("true", "True"), ("false", "False")):
        expected = expected.replace(f"{of_json} or", f"{of_python} or").replace(f"or {of_json}", f"or {of_python}")
        expected = expected.replace(f"{of_json},", f"{of_python},")
    meant = {"true": "True", "false": "False", "null": "None", "none": "None"}.get(text.lower())
    cure = ""
    if meant and RULES[key][1](read_value(meant)):
        cure = f"Write --{key} '$None'." if meant == "None" else f"Write --{key} {meant}."
    if key == "mask_rule#foreground" and isinstance(value, int | float):
        cure = f'Write --{key} "[{text}]".'
    return Problem("value cannot be used", key, expected, text, cure)


def _misspelt_constants(content: Mapping[str, Any], typed: CommandLine, prefix: str = "") -> Iterator[Problem]:
    """Name ``true``, ``false``, ``null`` that the command line took for text, which would count as true."""
    for key, value in content.items():
        name = f"{prefix}#{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            yield from _misspelt_constants(value, typed, name)
        elif isinstance(value, str) and value in _CONSTANTS:
            right = _CONSTANTS[value]
            told = f"--{name} {right}" if not right.startswith("$") else f"--{name} '{right}'"
            cure = f"Write {told}." if name in typed.texts else "Write it without quotation marks."
            yield Problem("text where a constant seems to be meant", name, right, repr(value), cure)


def _device_problems(device: Any) -> Sequence[Problem]:
    if not isinstance(device, str) or is_indirect(device):
        return []
    there = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    expected, cure = " or ".join(there), "Write --device cpu, or leave it out."
    try:
        found = torch.device(device)
    except RuntimeError:
        return [Problem("no such device", "device", expected, device, cure)]
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        return [Problem("this machine has no such device", "device", expected, device, cure)]
    return []


def _ids_without_effect(content: Mapping[str, Any], typed: CommandLine) -> Iterator[Problem]:
    """Ids that nothing reads; of those that a user set also what another entrance reads; an entrance that is none."""
    for name in unread_ids(content):
        yield _without_effect("nothing in the config reads this id", name, similar_id(name, content), typed)
    run_id = typed.run_id
    if not run_id:
        return
    known = entrances(content)
    if run_id.partition("#")[0].partition("::")[0] not in content:
        files = _OF_CONFIGS.get(run_id)
        cure = f"Name in --config_file: {files}." if files else "Write one of these behind run."
        yield Problem("config has nothing of this name to run", run_id, " or ".join(known), cure=cure)
        return
    read = ids_read_by(content, run_id.replace("::", "#"))
    for name in typed.ids:
        if run_id == "study" and name in _SET_BY_STUDY:
            yield _set_by_study(name, typed.texts.get(name))
        elif not is_among(name, read):
            meant = similar_id(name, content, read)
            others = [other for other in known if is_among(name, ids_read_by(content, other))]
            what = f"{run_id} does not read this id" + (f", but {' and '.join(others)}" if others else "")
            yield _without_effect(what, name, meant, typed)


def _set_by_study(name: str, text: str | None) -> Problem:
    meant = _SET_BY_STUDY[name]
    listed = [text] if name == "active#method" else f"[{text}]"
    cure = f'Write --{meant} "{listed}", or leave it out.'
    return Problem("a study sets this for each of its runs", name, meant, cure=cure)


def _without_effect(what: str, name: str, meant: str, typed: CommandLine) -> Problem:
    text = typed.texts.get(name)
    if meant and text is not None:
        return Problem(what, name, meant, cure=f"Write --{meant} {text}, or leave it out.")
    return Problem(what, name, meant, cure="Correct or remove it.")
