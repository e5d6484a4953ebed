"""Which mask files belong to which image, by their names; several of one image are its mask together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.core.errors import InputError, Problem
from scripts.data.mask_names import MASK_FOLDERS, Owners, Reading, place_of, readings
from scripts.images.files.names import image_stem, image_suffix

_IMAGE = "{image}"


@dataclass
class Pairing:
    """What was found.

    Attributes:
        masks: image -> its files, sorted.
        unpaired: mask files that fit no image.
        problems: masks that fit several images, and images with files that cannot be parts of one mask.
        scheme: how images and masks are named, where that was only inferred; else ``""``.
    """

    masks: dict[Path, tuple[Path, ...]] = field(default_factory=dict)
    unpaired: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    scheme: str = ""


def pair_masks(
    pictures: Sequence[Path], folder: Path, candidates: Sequence[Path], mask_folder: Path, pattern: str | None = None
) -> Pairing:
    """Pair masks with images.

    A mask has the name of its image, alone or marked (:mod:`scripts.data.mask_names`), or lies in a folder of that
    name; files that differ by a number are parts of one mask. Where no name fits, what all images and all masks have
    in common is taken off, if each mask then fits one image.

    Args:
        pictures: the images.
        folder: that holds them.
        candidates: the masks.
        mask_folder: that holds these.
        pattern: how a mask is named, such as ``"{image}_roi*"``: ``*`` for any text; with ``/``, below the mask
            folder. Nothing else is tried then.

    Raises:
        InputError: a pattern without ``{image}``.
    """
    found = Pairing()
    owners = Owners(pictures, folder)
    fit = Pattern(pattern, pictures) if pattern is not None else None
    read: dict[Path, dict[Path, Reading]] = {}
    for mask in candidates:
        reading, images = fit.find(mask, mask_folder) if fit else _find(mask, mask_folder, owners)
        if len(images) > 1:
            listed = " and ".join(str(path) for path in sorted(images))
            cure = "Keep the folders of the images for the masks, or say how masks are named with --mask_pattern."
            found.problems.append(Problem("mask fits several images", str(mask), "one image", listed, cure))
        elif images:
            read.setdefault(next(iter(images)), {})[mask] = reading
        else:
            found.unpaired.append(mask)
    if mask_folder == folder and fit is None:
        _pair_lone_pictures(found, pictures, read)
    if not read and found.unpaired and not found.problems and fit is None and mask_folder != folder:
        _pair_by_common_parts(found, pictures)
    for image, parts in sorted(read.items()):
        words = {reading.word for reading in parts.values()}
        if len(words) > 1 or len(set(parts.values())) < len(parts):
            cure = "Take the others away, or say how masks are named with --mask_pattern."
            names, expected = " and ".join(str(mask) for mask in sorted(parts)), "one mask, or numbered parts"
            found.problems.append(Problem("image has two masks", str(image), expected, names, cure))
        found.masks[image] = tuple(sorted(parts))
    return found


def _find(mask: Path, mask_folder: Path, owners: Owners) -> tuple[Reading, set[Path]]:
    place = place_of(mask, mask_folder)
    for reading in readings(image_stem(mask)):
        images = owners.find(place, reading.base)
        if images:
            return reading, images
    if mask.parent != mask_folder:  # a folder per image, with a file per object
        return Reading(mask.parent.name, "/", image_stem(mask)), owners.find(place[:-1], mask.parent.name)
    return Reading(""), set()


def _pair_lone_pictures(found: Pairing, pictures: Sequence[Path], read: dict[Path, dict[Path, Reading]]) -> None:
    """Pair files of a folder of masks with the only image below the folder that holds it, whatever they are called."""
    for mask in list(found.unpaired):
        if mask.parent.name.lower() in MASK_FOLDERS:
            images = [path for path in pictures if path.is_relative_to(mask.parent.parent)]
            if len(images) == 1:
                read.setdefault(images[0], {})[mask] = Reading("", "/", image_stem(mask))
                found.unpaired.remove(mask)


class Pattern:
    """A name with ``{image}`` in it; see :func:`pair_masks`.

    Args:
        text: of the user.
        pictures: images that masks may belong to.

    Raises:
        InputError: ``{image}`` is not there, or twice.
    """

    def __init__(self, text: str, pictures: Sequence[Path]) -> None:
        if text.count(_IMAGE) != 1:
            cure = f"Write {_IMAGE} where the name of the image stands, such as --mask_pattern '{_IMAGE}_roi*'."
            raise InputError(Problem("no such pattern", "--mask_pattern", f"{_IMAGE} once", repr(text), cure))
        self._with_folder = "/" in text
        self._with_suffix = bool(image_suffix(text)) or text.endswith(".*")
        before, behind = (re.escape(part).replace(r"\*", ".*") for part in text.split(_IMAGE))
        self._before, self._behind = re.compile(before), re.compile(behind)
        self._images: dict[str, set[Path]] = {}
        for path in pictures:
            self._images.setdefault(image_stem(path), set()).add(path)

    def find(self, mask: Path, mask_folder: Path) -> tuple[Reading, set[Path]]:
        """Return the images of the longest name that fits, and the rest as a number."""
        name = mask.relative_to(mask_folder).as_posix() if self._with_folder else mask.name
        name = name if self._with_suffix else name.removesuffix(mask.name) + image_stem(mask)
        spans = [(start, end) for start in range(len(name)) for end in range(start + 1, len(name) + 1)]
        for start, end in sorted(spans, key=lambda span: span[0] - span[1]):
            images = self._images.get(name[start:end])
            if images and self._before.fullmatch(name[:start]) and self._behind.fullmatch(name[end:]):
                return Reading(name[start:end], "", f"{name[:start]}*{name[end:]}"), images
        return Reading(""), set()


def _pair_by_common_parts(found: Pairing, pictures: Sequence[Path]) -> None:
    """Pair ``img-1, img-2`` with ``roi 1, roi 2``, if then every mask fits an image, and no image two masks."""
    images, masks = _cores(pictures), _cores(found.unpaired)
    if images is None or masks is None:
        return
    (image_form, by_image), (mask_form, by_mask) = images, masks
    same_numbers = re.findall(r"\d+", image_form) == re.findall(r"\d+", mask_form)
    if same_numbers and by_mask.keys() <= by_image.keys() and len(by_mask) > 1:
        found.masks = {by_image[core]: (path,) for core, path in by_mask.items()}
        found.scheme = f"images {image_form} and masks {mask_form}"
        found.unpaired = []


def _cores(paths: Sequence[Path]) -> tuple[str, dict[str, Path]] | None:
    """Return how names begin and end, and the files by what lies between; None where that does not tell them apart."""
    stems = [image_stem(path) for path in paths]
    before = _common_start(stems).rstrip("0123456789")
    rest = [stem[len(before) :][::-1] for stem in stems]
    behind = _common_start(rest).rstrip("0123456789")[::-1]
    cores = {stem[len(before) : len(stem) - len(behind)]: path for stem, path in zip(stems, paths, strict=True)}
    return (f"{before}*{behind}", cores) if len(cores) == len(stems) and "" not in cores else None


def _common_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    return first[: next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]
