"""What the values of a config must be, by id: numbers, paths, names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(_is_whole(side, 1) for side in value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_mask_rule(value: Any) -> bool:
    """Tell what a rule can be by its kind; the rule itself looks closer."""
    return isinstance(value, str) or (
        isinstance(value, list | tuple) and bool(value) and all(_is_number(each) for each in value)
    )


Rule = tuple[str, Callable[[Any], bool]]


def _or_null(rule: Rule) -> Rule:
    text, accepts = rule
    return f"null or {text}", lambda value: value is None or accepts(value)


_POSITIVE: Rule = ("a whole number from 1", lambda value: _is_whole(value, 1))
_COUNT: Rule = ("a whole number from 0", lambda value: _is_whole(value, 0))
_INTEGER: Rule = ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool))
_SIZE: Rule = ("[height, width]", _is_size)
_SWITCH: Rule = ("true or false", lambda value: isinstance(value, bool))
_PATH: Rule = ("a path", lambda value: isinstance(value, str | PathLike))
_NAME: Rule = ("a text", lambda value: isinstance(value, str))
_FROM_ZERO: Rule = ("a number from 0", lambda value: _is_number(value) and value >= 0)
_SHARE: Rule = ("a number from 0 to 1", _is_share)
_FRACTION: Rule = ("a number from 0, below 1", lambda value: _is_share(value) and value < 1)

PATHS: dict[str, Rule] = {
    **dict.fromkeys(("bundle_root", "output_dir", "dataset_dir", "ckpt_dir", "log_dir", "active#stage0#dir"), _PATH),
    **dict.fromkeys(("evaluate#folder", "model#released", "trt", "studies#runners#slurm#folder"), _PATH),
    **dict.fromkeys(("data#dataset_dir", "data#demo_dir"), _PATH),
    **dict.fromkeys(("data#table", "ckpt", "image", "slides", "scratch_dir", "explain#dataset_dir"), _or_null(_PATH)),
    **dict.fromkeys(("model#output_dir", "model#ckpt", "model#stage0_dir", "studies#results_dir"), _or_null(_PATH)),
}
"""Ids of files and folders. What their expressions and references give is looked at as well."""

NAMES: dict[str, Rule] = {
    **dict.fromkeys(("active#method", "active#start", "oracle", "runner", "data#split_column", "backend"), _NAME),
    **dict.fromkeys(("evaluate#split", "evaluate#unit", "evaluate#instances", "polygons#name"), _NAME),
    **dict.fromkeys(("active#oracles#folder#user", "studies#split_name"), _NAME),
    **dict.fromkeys(("data#id_column", "model#run", "explain#label", "studies#data_name", "run_name"), _or_null(_NAME)),
    **dict.fromkeys(("experiment_name", "tracking_uri"), _NAME),
}
"""Ids of plain texts, which the command line may take for numbers."""

OBJECTS: dict[str, Rule] = dict.fromkeys(
    ("model", "data", "mask_rule", "active", "network_def", "save", "cleaning", "evaluate", "explain", "slide",
     "predict", "outputs", "polygons", "background", "scale", "studies", "train", "validate", "loss", "cycle"),
    ("an object; its settings are the ids below it", lambda value: isinstance(value, Mapping)),
)  # fmt: skip
"""Ids of sections, in whose place no plain value can stand."""

RULES: dict[str, Rule] = {
    **OBJECTS,
    **PATHS,
    **NAMES,
    **dict.fromkeys(("batch_size", "max_epochs", "epoch_length", "val_interval", "num_classes"), _POSITIVE),
    **dict.fromkeys(("pass_size", "tile", "inferer#tiles", "evaluate#resamples"), _POSITIVE),
    **dict.fromkeys(("active#rounds", "active#initial_per_class", "active#query_per_class"), _POSITIVE),
    **dict.fromkeys(("num_workers", "active#max_overlays", "margin"), _COUNT),
    **dict.fromkeys(("cleaning#objects", "cleaning#holes"), _COUNT),
    **dict.fromkeys(("active#seed", "active#stage0#seed", "data#seed", "evaluate#seed", "explain#seed"), _INTEGER),
    **dict.fromkeys(("data#val_masks_per_class", "active#budget"), _or_null(_POSITIVE)),
    **dict.fromkeys(("variants", "model#round"), _or_null(_COUNT)),
    **dict.fromkeys(("image_size", "native_size", "model#native_size"), _or_null(_SIZE)),
    **dict.fromkeys(("wait", "auto_plan", "background_gate", "freeze_classifier"), _SWITCH),
    **dict.fromkeys(("active#protect_pseudo", "active#count_validation", "data#group_by_patient"), _SWITCH),
    **dict.fromkeys(("inferer#flips", "save#overlays", "outputs#probability", "outputs#tile_table"), _SWITCH),
    **dict.fromkeys(("scale_seg_u", "scale_seg_b", "active#checkpoint_seconds"), _FROM_ZERO),
    **dict.fromkeys(("data#val_fraction", "data#test_fraction"), _FRACTION),
    "model#threshold": _or_null(_SHARE),
    "lr": ("a number above 0", lambda value: _is_number(value) and value > 0),
    "background_share": ("a number between 0 and 1", lambda value: _is_number(value) and 0 < value < 1),
    "data#background_classes": ("a list of class names", _is_names),
    "mask_rule#foreground": ("nonzero, over:NUMBER or a list of values such as [255]", _is_mask_rule),
    "mask_rule#ignore": _or_null(("a number", _is_number)),
    "labelled_share": (
        "null or a number between 0 and 1", lambda value: value is None or (_is_number(value) and 0 < value < 1),
    ),
    "save#bits": ("8 or 16", lambda value: value in (8, 16) and not isinstance(value, bool)),
    "selection": ("dice, accuracy or joint", lambda value: value in ("dice", "accuracy", "joint")),
    "on_bad_image": ("stop or skip", lambda value: value in ("stop", "skip")),
    "threads": ("auto or a whole number from 1", lambda value: value == "auto" or _is_whole(value, 1)),
    "engine": ("torch or openvino", lambda value: value in ("torch", "openvino")),
    "amp": ("true, false or auto", lambda value: isinstance(value, bool) or value == "auto"),
    "device": ("cpu or cuda:0", lambda value: not isinstance(value, int | float | list | tuple | dict | type(None))),
}  # fmt: skip
"""Id -> what its value must be, in words and as a test. Expressions and references of others than paths are not looked
at."""
