"""Splits by image id: drawn once, the same for any order of the rows, stratified by class, by patient on request."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from scripts.core.errors import InputError, Problem, listed
from scripts.core.seeds import derive_seed

SPLITS = ("train", "val", "test")
_SPELLINGS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_Group = tuple[str, str]  # ("patient", its id), or ("id", an image's id) for an image that stands alone


def split_name(text: str) -> str | None:
    """Return ``"train"``, ``"val"`` or ``"test"`` for any accepted spelling (``"Validation"``), None for others."""
    return _SPELLINGS.get(text.strip().lower())


def make_split(
    class_of: Mapping[str, str],
    seed: int = 0,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
    patient_of: Mapping[str, str | None] | None = None,
) -> dict[str, str]:
    """Draw train, validation and test.

    Of each class ceil(``test_fraction``) become test, then ceil(``val_fraction``) of the rest validation: the
    fraction is rounded up per class as for GlaS and CUB in Belharbi et al. 2021. One training image per class is
    always left. With patients the counts are approached as nearly as whole patients allow.

    Args:
        class_of: id -> class of every image.
        seed: another seed draws another split.
        val_fraction: in [0, 1).
        test_fraction: in [0, 1).
        patient_of: id -> patient: all images of a patient get the same split; None (the patient) stands alone.

    Returns:
        id -> ``"train"``, ``"val"`` or ``"test"``, in the order of ``class_of``.

    Raises:
        InputError: a fraction is outside [0, 1).
    """
    for name, fraction in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 <= fraction < 1:
            raise InputError(Problem("fraction out of range", name, "0 <= fraction < 1", str(fraction)))
    test = hold_out(class_of, fraction_per_class(class_of, test_fraction), seed, "test", patient_of)
    rest = {key: name for key, name in class_of.items() if key not in test}
    val = hold_out(rest, fraction_per_class(rest, val_fraction), seed, "val", patient_of)
    return {key: "test" if key in test else "val" if key in val else "train" for key in class_of}


def make_split_of_patients(
    class_of: Mapping[str, str],
    patient_of: Mapping[str, str | None],
    seed: int = 0,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
) -> dict[str, str]:
    """Draw a split as :func:`make_split` that keeps patients whole, and refuse one that this leaves without a part.

    Raises:
        InputError: no image names a patient, the patients are too few for validation and test images that fractions
            above 0 ask for, or a fraction is outside [0, 1).
    """
    patients = sorted({patient for patient in patient_of.values() if patient is not None})
    otherwise = "or leave group_by_patient out (false)"
    if not patients:
        cure = f"Name the patient of each image in column patient_id, {otherwise}."
        raise InputError(
            Problem("no patient to group by", "group_by_patient", "column patient_id", f"none in {len(class_of)}", cure)
        )
    drawn = make_split(class_of, seed, val_fraction, test_fraction, patient_of)
    alone = make_split(class_of, seed, val_fraction, test_fraction)
    missing = [name for name in SPLITS if name in alone.values() and name not in drawn.values()]
    if missing:
        found = f"{len(patients)} patients with {len(class_of)} images: {listed(patients)}"
        cure = f"Name splits in column split, or ask for fewer parts (test_fraction 0), {otherwise}."
        what = f"grouping by patient leaves no image for {' and '.join(missing)}"
        raise InputError(Problem(what, "group_by_patient", "patients for each part and class", found, cure))
    return drawn


def fraction_per_class(class_of: Mapping[str, str], fraction: float) -> dict[str, int]:
    """Return class -> ceil(fraction * size); 0.2 of 15 is 3, whatever binary floats make of it."""
    exact = Fraction(str(fraction))
    return {name: math.ceil(exact * size) for name, size in Counter(class_of.values()).items()}


def hold_out(
    class_of: Mapping[str, str],
    wanted: Mapping[str, int],
    seed: int,
    purpose: str,
    patient_of: Mapping[str, str | None] | None = None,
) -> set[str]:
    """Choose ids to set aside, ``wanted[class]`` of each class, and always leave one of each class behind.

    Images are taken in the order of a hash of (seed, purpose, id), so that neither the order of rows nor an added
    image changes the rank of the others. Patients are taken whole, where that brings the counts nearer to ``wanted``;
    a class that would stay empty gets the patient that overshoots least.

    Args:
        class_of: id -> class of the images to choose from.
        wanted: class -> number of images; 0 for the classes it does not name.
        seed: seed of the split.
        purpose: what is set aside; draws of different purpose are independent.
        patient_of: see :func:`make_split`.
    """
    groups: dict[_Group, list[str]] = {}
    for key in class_of:
        patient = None if patient_of is None else patient_of.get(key)
        groups.setdefault(("id", key) if patient is None else ("patient", patient), []).append(key)
    ranked = sorted(groups, key=lambda group: (derive_seed(seed, purpose, *group), group))
    sizes = {group: Counter(class_of[key] for key in keys) for group, keys in groups.items()}
    left = Counter(class_of.values())
    missing = Counter({name: wanted.get(name, 0) for name in left})
    taken: set[_Group] = set()

    def growth(group: _Group) -> int:
        """How much further from ``wanted`` the counts would be with this group."""
        return sum(abs(missing[name] - n) - abs(missing[name]) for name, n in sizes[group].items())

    def fits(group: _Group) -> bool:
        return group not in taken and all(left[name] > n for name, n in sizes[group].items())

    def take(group: _Group) -> None:
        taken.add(group)
        left.subtract(sizes[group])
        missing.subtract(sizes[group])

    for group in ranked:
        if fits(group) and growth(group) < 0:
            take(group)
    for name in sorted(left):
        if wanted.get(name, 0) > 0 and missing[name] == wanted[name]:  # whole patients only, and none was small enough
            candidates = [group for group in ranked if sizes[group][name] and fits(group)]
            if candidates:
                take(min(candidates, key=growth))
    return {key for group in taken for key in groups[group]}


def few_validation_masks(items: Sequence[Mapping[str, Any]], per_class: int | None, seed: int) -> list[dict[str, Any]]:
    """Return the items with the masks of so many validation images of each class; the images themselves stay.

    Args:
        items: with ``id``, ``label``, ``split``, ``mask``.
        per_class: masks that are left, drawn by a hash of (seed, id); None leaves all.
        seed: of the draw.

    Raises:
        InputError: less than 1.
    """
    if per_class is None:
        return [dict(item) for item in items]
    if per_class < 1:
        raise InputError(Problem("too small", "data#val_masks_per_class", "null or 1 or more", str(per_class)))
    drawn = [item for item in items if item["split"] == "val" and item["mask"]]
    drawn.sort(key=lambda item: (derive_seed(seed, "val masks", item["id"]), item["id"]))
    left: Counter[Any] = Counter()
    kept = set()
    for item in drawn:
        left[item["label"]] += 1
        if left[item["label"]] <= per_class:
            kept.add(item["id"])
    without = {item["id"] for item in drawn} - kept
    return [{**item, "mask": None if item["id"] in without else item["mask"]} for item in items]


def patients_in_several_splits(items: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Return patient -> its splits, for the patients found in more than one; items without a patient are left out."""
    found: dict[str, set[str]] = {}
    for item in items:
        if item.get("patient_id") is not None:
            found.setdefault(item["patient_id"], set()).add(item["split"])
    several = {patient: splits for patient, splits in sorted(found.items()) if len(splits) > 1}
    return {patient: tuple(name for name in SPLITS if name in splits) for patient, splits in several.items()}
