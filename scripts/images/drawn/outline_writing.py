"""Masks to files of drawing programs, by the name of the form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from scripts.core.errors import InputError, Problem
from scripts.images.drawn.drawings import Drawing
from scripts.images.drawn.forms import asap, coco, cvat, geojson, imagescope, label_studio, labelme


@dataclass(frozen=True)
class Form:
    """How masks are written.

    Attributes:
        write: returns the text of a file.
        suffix: of its name.
        holds_all: one file has all pictures; else each has its own.
    """

    write: Callable[[Sequence[Drawing]], str]
    suffix: str
    holds_all: bool = False


FORMS = {
    "geojson": Form(geojson.write, ".geojson"),
    "coco": Form(coco.write, ".json", holds_all=True),
    "labelme": Form(labelme.write, ".json"),
    "cvat": Form(cvat.write, ".xml", holds_all=True),
    "label_studio": Form(label_studio.write, ".json", holds_all=True),
    "imagescope": Form(imagescope.write, ".xml"),
    "asap": Form(asap.write, ".xml"),
}


def form_of(name: str) -> Form:
    """Return the form of a name. Raises ``InputError`` for one that there is not."""
    if name not in FORMS:
        raise InputError(Problem("unknown form of outlines", "form", f"one of {', '.join(FORMS)}", name))
    return FORMS[name]


def files_of(form: str, drawings: Sequence[Drawing]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files of some pictures, one after the other.

    Args:
        form: a key of :data:`FORMS`.
        drawings: each with a file name of its own, after which its file is named; a file of all has the form's name.
    """
    found = form_of(form)
    groups = [(form, drawings)] if found.holds_all else [(each.file.rpartition(".")[0], [each]) for each in drawings]
    for name, group in groups:
        yield f"{name}{found.suffix}", found.write(group).encode()
