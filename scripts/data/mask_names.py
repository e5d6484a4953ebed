"""What file names say: which files are masks, of which image, and which are in no form that can be read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import listed
from scripts.images.files.names import image_stem, is_image_file

MASK_ENDINGS = ("_anno", "_mask", "_seg", "_segmentation", "_gt", "_label")
"""Endings of files that are masks even where no image of that name is found."""
MASK_FOLDERS = (
    "masks", "mask", "annotations", "segmentations", "labels", "ground_truth", "groundtruth", "labelstr", "labelsts",
)  # fmt: skip
IMAGE_FOLDERS = ("images", "image", "imgs", "img", "imagestr", "imagests")
_MASK = r"masks?|seg|segmentations?|segmented|gt|ground[_ -]?truth|labels?|labelmap|anno|annotations?|manual\d*"
_IMAGE = r"img|image|im|photo|orig|original|raw|training|test"
_GAP = r"[\s_.\-]+"
_NUMBER = r"\(?(?P<number>\d+)\)?"
_MASK_BEHIND = re.compile(rf"(?P<base>.+?){_GAP}(?P<word>{_MASK})(?:[\s_.\-]*{_NUMBER})?", re.IGNORECASE)
_MASK_BEFORE = re.compile(rf"(?P<word>{_MASK}){_GAP}(?P<base>.+)", re.IGNORECASE)
_NUMBERED = re.compile(rf"(?P<base>.+?){_GAP}{_NUMBER}")
_OF_IMAGE = [
    re.compile(form, re.IGNORECASE)
    for form in (rf"(.+?){_GAP}(?:{_IMAGE})", rf"(?:{_IMAGE}){_GAP}(.+)", r"(.+)_\d{4}")  # nnU-Net: a_0000, its mask a
]
_TEXTS = (
    "", ".csv", ".tsv", ".txt", ".json", ".xml", ".geojson", ".md", ".html", ".log", ".yaml", ".yml", ".xlsx", ".xls",
    ".ini", ".db", ".py", ".roi",
)  # fmt: skip
SLIDE_SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif")


@dataclass(frozen=True)
class Reading:
    """One way to read the name of a mask.

    Attributes:
        base: name of the image.
        word: what marks the mask, ``"mask"`` of ``a_mask_2``; ``""`` where nothing does.
        number: which of several masks it is, ``"2"``; ``""`` where it has none.
    """

    base: str
    word: str = ""
    number: str = ""


def marked_readings(stem: str) -> Iterator[Reading]:
    """Yield the ways to read a name that says to be of a mask: ``a_mask``, ``mask_a``, ``a-Mask 2``, ``a_2_mask``."""
    found = [
        Reading(match["base"], match["word"].lower(), match.groupdict().get("number") or "")
        for match in (_MASK_BEHIND.fullmatch(stem), _MASK_BEFORE.fullmatch(stem))
        if match
    ]
    yield from found
    for reading in found:
        if not reading.number and (match := _NUMBERED.fullmatch(reading.base)):
            yield Reading(match["base"], reading.word, match["number"])


def readings(stem: str) -> Iterator[Reading]:
    """Yield all ways to read the name of a file that is known to be a mask, the plainest first."""
    yield Reading(stem)
    yield from marked_readings(stem)
    if match := _NUMBERED.fullmatch(stem):
        yield Reading(match["base"], "", match["number"])


def bare_names(stem: str) -> list[str]:
    """Return the name of an image without what may mark it as one: of ``a_img``, ``image-a`` and ``a_0000``, ``a``."""
    return [match[1] for form in _OF_IMAGE if (match := form.fullmatch(stem))]


class Owners:
    """Finds images by the names that their masks may give them.

    Args:
        pictures: the images.
        folder: that holds all of them.
    """

    def __init__(self, pictures: Sequence[Path], folder: Path) -> None:
        self._levels: list[dict[tuple[tuple[str, ...] | None, str], set[Path]]] = [{}, {}, {}]
        for path in pictures:
            stem = image_stem(path)
            bare = [name.casefold() for name in bare_names(stem)]
            for level, names in zip(self._levels, ([stem], [stem.casefold()], bare), strict=True):
                for key in ((place, name) for place in (place_of(path, folder), None) for name in names):
                    level.setdefault(key, set()).add(path)

    def find(self, place: tuple[str, ...] | None, name: str) -> set[Path]:
        """Return the images of a name: of that place where there are some, else of any; by letters, then cases aside.

        Args:
            place: of the mask, see :func:`place_of`; None for any.
            name: without suffix.
        """
        for level, text in zip(self._levels, (name, name.casefold(), name.casefold()), strict=True):
            found = level.get((place, text)) or level.get((None, text))
            if found:
                return found
        return set()


def place_of(path: Path, folder: Path) -> tuple[str, ...]:
    """Return the folders between ``folder`` and a file, without those that only say images or masks."""
    parts = (part.casefold() for part in path.relative_to(folder).parts[:-1])
    return tuple(part for part in parts if part not in (*MASK_FOLDERS, *IMAGE_FOLDERS))


def masks_among(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Return the files that are masks of others: in a folder of masks, or marked and named as another file beside it.

    Args:
        paths: images and masks.
        folder: that holds all of them.
    """
    in_folders = [
        path for path in paths if any(part.lower() in MASK_FOLDERS for part in path.relative_to(folder).parts[:-1])
    ]
    rest = [path for path in paths if path not in set(in_folders)]
    beside: dict[Path, list[Path]] = {}
    for path in rest:
        beside.setdefault(path.parent, []).append(path)
    marked = []
    for parent, files in beside.items():
        owners = Owners(files, parent)
        marked += [
            path
            for path in files
            if any(owners.find(None, reading.base) - {path} for reading in marked_readings(image_stem(path)))
        ]
    return sorted([*in_folders, *marked])


def other_forms(paths: Iterable[Path]) -> str:
    """Return what is said of files that are no images, by suffix: ``"3 *.webp (a.webp, ...), 1 *.mha (b.mha)"``.

    Texts, tables and dot-files are not spoken of; ``""`` where there is nothing else.
    """
    by_suffix: dict[str, list[str]] = {}
    for path in paths:
        suffix = path.suffix.lower()
        if not is_image_file(path) and not path.name.startswith(".") and suffix not in _TEXTS:
            by_suffix.setdefault(suffix, []).append(path.name)
    told = ", ".join(f"{len(names)} *{suffix} ({listed(names, 3)})" for suffix, names in sorted(by_suffix.items()))
    return told + ("; whole slides have a command of their own" if by_suffix.keys() & set(SLIDE_SUFFIXES) else "")
