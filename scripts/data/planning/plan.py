"""A plan for a data set: the settings to begin with, each with its reason, from a look at the data and nothing else.

The rules give ``glas.json`` for GlaS and the settings of ``train.json`` for the embedded demo, on which they were
tried; other data are between and beyond these, so a plan is a beginning, and every value given by hand wins.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

STRIDE = 32
"""Sides of a working size are multiples of it: the encoder halves its input five times."""
WORKING_AREA = 256 * 384
"""Pixels of the working size of ``glas.json``, at which the rules were tried."""
_MOST_AREA = 4 * WORKING_AREA
_SMALLEST_OBJECT = 12  # pixels across at working size, of all but a tenth of the foreground
_STEPS_PER_IMAGE, _LEAST_STEPS, _MOST_STEPS = 3, 80, 400
_LEAST_STAGE0, _MOST_STAGE0 = 6, 100  # steps of an epoch of stage 0, which has ten
_EPOCH = 20  # steps; epochs are even in number, since every second is validated, and the last should be
_DRAWN_FIRST, _DRAWN_AT_LAST = 0.12, 0.42  # shares of the training images
_MOST_FIRST, _MOST_ROUNDS, _LEAST_ROUNDS = 24, 11, 3


@dataclass(frozen=True)
class Fingerprint:
    """What a plan depends on.

    Attributes:
        images: class -> number of training images, in the order of the labels.
        size: median (height, width) in pixels of the training images in their files.
        smallest: least (height, width) of them.
        largest: greatest (height, width).
        object_px: pixels across, in the files, that the objects of nine tenths of the foreground reach; None without
            masks.
        empty_classes: classes of which masks are known, all without foreground.
        rule: spelling of the mask rule that fits, where the one given makes all masks empty or full; else None.
        has_patients: whether patients are known, and some have several images.
        has_split: whether the table names train, val and test.
        headers: training images whose size was looked at, where it was not that of all.
        masks: masks of training images that were looked at, where it were not all.
    """

    images: Mapping[str, int]
    size: tuple[int, int]
    smallest: tuple[int, int]
    largest: tuple[int, int]
    object_px: float | None = None
    empty_classes: tuple[str, ...] = ()
    rule: str | None = None
    has_patients: bool = False
    has_split: bool = True
    headers: int | None = None
    masks: int | None = None


@dataclass(frozen=True)
class Speed:
    """Seconds of one trial each, at the working size of a plan.

    Attributes:
        stage0_step: a step of a batch of stage 0.
        step: a step of a batch of a training with kept features.
        image: the prediction of an image with its four flips.
    """

    stage0_step: float
    step: float
    image: float


@dataclass(frozen=True)
class Choice:
    """One setting.

    Attributes:
        key: id in the config.
        value: JSON value.
        reason: why, in words.
        is_set: False for what is only proposed: a person has to say it.
    """

    key: str
    value: Any
    reason: str
    is_set: bool = True


def plan_of(found: Fingerprint) -> list[Choice]:
    """Return the settings for a data set, in the order in which they are decided."""
    count = sum(found.images.values())
    drawn = {name: n for name, n in found.images.items() if name not in found.empty_classes} or dict(found.images)
    size, why = working_size(found.size, found.object_px)
    batch = min(8, count) if size[0] * size[1] <= 2 * WORKING_AREA else min(4, count)
    wanted = _STEPS_PER_IMAGE * count
    epochs = 2 * math.floor(min(max(wanted, _LEAST_STEPS), _MOST_STEPS) / (2 * _EPOCH) + 0.5)
    steps = epochs * _EPOCH
    seen = min(max(math.ceil(count / batch), _LEAST_STAGE0), _MOST_STAGE0)
    first, rounds = _masks(drawn)
    choices = [
        Choice("num_classes", len(found.images), f"the table names {_listed(found.images)}"),
        Choice("image_size", list(size), why + _of_sample(found)),
        Choice("batch_size", batch, _of_batch(batch, count)),
        Choice("epoch_length", _EPOCH, "every second epoch is validated, and may be kept"),
        Choice("max_epochs", epochs, f"{steps} steps: {_STEPS_PER_IMAGE} for each of {count} training "
               f"images, {_bounded(wanted, _LEAST_STEPS, _MOST_STEPS)}"),
        Choice("active#stage0#overrides#epoch_length", seen, f"{10 * seen * batch / count:.2g} looks at each of "
               f"{count} images in stage 0, {_bounded(math.ceil(count / batch), _LEAST_STAGE0, _MOST_STAGE0)}"),
        Choice("active#initial_per_class", first, f"about {_DRAWN_FIRST:.0%} of the images of a class, 1 to 4, and at "
               f"most {_MOST_FIRST} of all"),
        Choice("active#query_per_class", 1, "a mask of each class a round: the model is asked as often as it learns"),
        Choice("active#rounds", rounds, f"until {_share(drawn, first, rounds)} of the images are drawn"),
    ]  # fmt: skip
    return choices + _of_data(found)


def _of_sample(found: Fingerprint) -> str:
    """Say how much was looked at, where that is not all."""
    headers = f"{found.headers} of {sum(found.images.values())} images"
    masks = f"{found.masks} of their masks"
    parts = [text for text, number in ((headers, found.headers), (masks, found.masks)) if number is not None]
    return f"; seen in a sample of {' and '.join(parts)}" if parts else ""


def _of_batch(batch: int, count: int) -> str:
    if batch == 8:
        return "as for GlaS and the demo"
    return "all images" if batch == count else "half of 8, since the working size is large"


def _bounded(wanted: int, least: int, most: int) -> str:
    """Say which bound a number of steps meets."""
    if wanted < least:
        return f"but not fewer than {least} steps"
    return f"but not more than {most} steps" if wanted > most else f"between {least} and {most} steps"


def working_size(native: tuple[int, int], object_px: float | None) -> tuple[tuple[int, int], str]:
    """Return the (height, width) that images are resized to, and why.

    Images keep their shape and are never enlarged. Small objects keep a size that a decoder of stride 2 can draw.

    Args:
        native: (height, width) of the files.
        object_px: see :class:`Fingerprint`.
    """
    area = native[0] * native[1]
    scale = min(1.0, math.sqrt(WORKING_AREA / area))
    why = f"files have {native[0]} x {native[1]} pixels; near {WORKING_AREA} pixels, in their shape"
    if scale == 1.0:
        why = f"that of the files, {native[0]} x {native[1]}"
    if object_px is not None and object_px * scale < _SMALLEST_OBJECT:
        most = min(1.0, math.sqrt(_MOST_AREA / area))
        scale = max(scale, min(_SMALLEST_OBJECT / object_px, most))
        kept = object_px * scale
        why += f"; larger for objects of {object_px:.0f} pixels in the files, which keep {kept:.0f}"
        if kept < 0.75 * _SMALLEST_OBJECT:
            why += ": too few to be drawn well, cut the images into tiles"
    height, width = (max(2 * STRIDE, _whole(side * scale, STRIDE)) for side in native)
    return (height, width), f"{why}; sides are multiples of {STRIDE}"


def seconds_of(choices: list[Choice], found: Fingerprint, speed: Speed, evaluated: int) -> dict[str, float]:
    """Return the seconds that a run of ``label_prop`` takes: ``stage0``, ``round`` and ``all``.

    Args:
        choices: of the plan.
        found: of the data.
        speed: of the trial.
        evaluated: images of validation and test.
    """
    value = {choice.key: choice.value for choice in choices}
    count = sum(found.images.values())
    stage0 = 10 * value["active#stage0#overrides#epoch_length"] * speed.stage0_step
    looks = value["max_epochs"] // 2 * 2  # validations of two trainings
    images = count + evaluated + looks * evaluated / 2
    a_round = 2 * value["max_epochs"] * value["epoch_length"] * speed.step + images * speed.image
    return {"stage0": stage0, "round": a_round, "all": stage0 + value["active#rounds"] * a_round}


def within(
    choices: list[Choice], found: Fingerprint, speed: Speed, evaluated: int, budget: float, fixed: Collection[str] = ()
) -> list[Choice]:
    """Return the plan with fewer rounds, then fewer steps, until it takes at most ``budget`` seconds.

    At least three rounds of 80 steps are left: what is faster says little of the method. Those of ``fixed`` stay.
    """
    limits = {"active#rounds": (_LEAST_ROUNDS, 1), "max_epochs": (_LEAST_STEPS // _EPOCH, 2)}
    for key, (least, step) in limits.items():
        if key in fixed:
            continue
        while seconds_of(choices, found, speed, evaluated)["all"] > budget and _value(choices, key) > least:
            value = _value(choices, key) - step
            reason = f"what fits into {budget / 60:.0f} minutes"
            choices = [Choice(key, value, reason) if choice.key == key else choice for choice in choices]
    return choices


def _of_data(found: Fingerprint) -> list[Choice]:
    choices = []
    looked = "known masks" if found.masks is None else "sampled masks"
    if found.rule is not None:
        choices.append(
            Choice("mask_rule", found.rule, f"with the rule given all {looked} are empty, or all full", False)
        )
    if found.empty_classes:
        reason = f"all {looked} of {', '.join(found.empty_classes)} are empty; if it has nothing to draw, say so"
        choices.append(Choice("data#background_classes", list(found.empty_classes), reason, False))
    if found.has_patients and not found.has_split:
        reason = "patients have several images: each stays within one split"
        choices.append(Choice("data#group_by_patient", True, reason))
    if _aspect(found.largest) / _aspect(found.smallest) > 1.5 or _aspect(found.smallest) / _aspect(found.largest) > 1.5:
        reason = f"from {_sized(found.smallest)} to {_sized(found.largest)}: images of other shapes are stretched"
        choices.append(Choice("image_size", None, reason + "; crop them where that matters", False))
    return choices


def _masks(images: Mapping[str, int]) -> tuple[int, int]:
    """Return masks per class at first, and rounds."""
    typical = sorted(images.values())[len(images) // 2]
    first = min(max(round(_DRAWN_FIRST * typical), 2), 4, max(1, _MOST_FIRST // len(images)))
    first = max(1, min(first, min(images.values())))
    wanted = _DRAWN_AT_LAST * sum(images.values()) - first * len(images)
    return first, 1 + min(max(round(wanted / len(images)), _LEAST_ROUNDS - 1), _MOST_ROUNDS - 1)


def _share(images: Mapping[str, int], first: int, rounds: int) -> str:
    count = sum(images.values())
    masks = min(len(images) * (first + rounds - 1), count)
    return f"{masks} of {count}" if masks < count else "all"


def _value(choices: list[Choice], key: str) -> Any:
    return next(choice.value for choice in choices if choice.key == key)


def _whole(number: float, of: int) -> int:
    """Return the multiple of ``of`` that is nearest, at least one of it."""
    return max(1, round(number / of)) * of


def _aspect(size: tuple[int, int]) -> float:
    return size[1] / size[0]


def _sized(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _listed(images: Mapping[str, int]) -> str:
    shown = ", ".join(f"{name} ({count})" for name, count in list(images.items())[:6])
    return shown + (f" and {len(images) - 6} more" if len(images) > 6 else "")
