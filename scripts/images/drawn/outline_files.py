"""Outlines from a file of a drawing program, whose form its content tells.

A file may hold anything, so what it costs is bounded by what is said here, and every number is looked at before it is
used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from scripts.core.errors import InputError, Problem, listed
from scripts.images.drawn.forms import asap, coco, cvat, foreign, geojson, imagescope, label_studio, labelme
from scripts.images.drawn.outline_drawing import refuse_costly, refuse_outside
from scripts.images.drawn.outlines import Outline, Picture, load_json

SUFFIXES = (".geojson", ".json", ".xml")
FORMS = "GeoJSON, JSON of COCO, LabelMe or Label Studio, XML of CVAT, ASAP or ImageScope"
MOST_BYTES = 32 * 1024**2  # LabelMe puts the picture into the file
_MOST_SHAPES = 20_000
_MOST_POINTS = 500_000
_MOST_VALUES = 5 * _MOST_POINTS  # an x, a y, a height and their brackets, and as much again of other things
_MOST_PROBLEMS, _MOST_KINDS = 1000, 20
_JSON: tuple[Any, ...] = (coco, labelme, label_studio, geojson)
_XML: tuple[Any, ...] = (cvat, imagescope, asap)
_NAMED: tuple[Any, ...] = (coco, label_studio, cvat)  # those that name their images


def read_outlines(path: Path, picture: Picture, content: bytes | None = None) -> list[Outline]:
    """Read the outlines of one picture from a file.

    Args:
        path: the file.
        picture: the image that it is for.
        content: its bytes, where they have been read.

    Raises:
        InputError: the file cannot be read, is of an unknown form, is too large, is about other pictures, or holds
            shapes without an area; lists every bad one.
    """
    text = _text(path, content)
    outlines: list[Outline] = []
    problems: list[Problem] = []
    points = 0
    try:
        for found in _found(text, picture):
            if isinstance(found, Outline):
                outlines += [found] if found.rings else []  # else a mask that was painted and wiped out
                points += sum(map(len, found.rings))
            elif len(problems) < _MOST_PROBLEMS:
                problems.append(found)
            else:
                problems.append(Problem("further shapes were not looked at", ""))
                break
            if len(outlines) > _MOST_SHAPES or points > _MOST_POINTS:
                raise InputError(_too_many("", f"{len(outlines)} shapes with {points} points, or more"))
    except InputError as error:  # readers do not know the file's name
        problems = list(error.problems)
    if problems:
        raise InputError(_told(problems, path.name))
    return outlines


def fitting_outlines(path: Path, picture: Picture, content: bytes | None = None) -> list[Outline]:
    """Read outlines as :func:`read_outlines`, to be drawn: all have something in the picture, at a bounded cost.

    Raises:
        InputError: likewise, or shapes of which nothing is in the picture, or far more than is drawn by hand.
    """
    outlines = read_outlines(path, picture, content)
    refuse_outside(outlines, picture.size, path.name)
    refuse_costly(outlines, picture.size, path.name)
    return outlines


def is_outlines(path: Path | str) -> bool:
    """Tell by its name a file of outlines."""
    return Path(path).suffix.lower() in SUFFIXES


def named_in(path: Path, content: bytes | None = None) -> list[str]:
    """Return the file names of the images that a file has shapes of; none where it does not say, or cannot be read."""
    try:
        text = _text(path, content)
        found, forms = _parsed(text)
    except InputError:
        return []
    names = next((form.names for form in forms if form in _NAMED and form.is_form(found)), None)
    return [] if names is None else names(found)


def _text(path: Path, content: bytes | None) -> str:
    try:
        size = path.stat().st_size if content is None else len(content)
        if size > MOST_BYTES:
            found = f"{size} bytes"
            raise InputError(Problem("file of outlines is too large", path.name, f"at most {MOST_BYTES} bytes", found))
        text = (path.read_bytes() if content is None else content).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem("outlines cannot be read", path.name, "UTF-8 text", str(error))) from error
    values = sum(map(text.count, ",[{<="))
    if values > _MOST_VALUES:  # before it is parsed: a value of two bytes takes a hundred in memory
        raise InputError(_too_many(path.name, f"{values} values"))
    return text


def _found(text: str, picture: Picture) -> Iterator[Outline | Problem]:
    content, forms = _parsed(text)
    form = next((form for form in forms if form.is_form(content)), None)
    if form is None:
        found, cure = foreign.xml_of(content) if forms is _XML else foreign.json_of(content)
        raise InputError(
            Problem("outlines of an unknown form", "", FORMS, found, cure or "Export one of these, or PNG.")
        )
    outlines: Iterator[Outline | Problem] = form.read(content, picture)
    return outlines


def _parsed(text: str) -> tuple[Any, tuple[Any, ...]]:
    """Return what a text holds, and the forms that it may be of."""
    return (_xml(text), _XML) if text.lstrip().startswith("<") else (load_json(text), _JSON)


def _xml(text: str) -> ElementTree.Element:
    if re.search("<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):  # entities can grow without end
        raise InputError(Problem("XML defines entities", "", "plain annotations", "a DOCTYPE or ENTITY"))
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(Problem("not XML", "", found=str(error))) from error


def _told(problems: list[Problem], name: str) -> list[Problem]:
    """Return problems with the name of the file; equal ones of many shapes as one."""
    places: dict[Problem, list[str]] = {}
    for problem in problems:
        places.setdefault(replace(problem, where=""), []).append(problem.where)
    told = [replace(problem, where=f"{name} {listed(where, 3)}".rstrip()) for problem, where in places.items()]
    more = len(told) - _MOST_KINDS
    return told if more <= 0 else [*told[:_MOST_KINDS], Problem(f"has other problems too, {more}", name)]


def _too_many(where: str, found: str) -> Problem:
    expected = f"at most {_MOST_SHAPES} shapes with {_MOST_POINTS} points"
    return Problem("too many outlines", where, expected, found, "Simplify them, or send a PNG.")
