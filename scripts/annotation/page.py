"""A web page to draw the masks of a round on: one file that needs no server, no network and no installation.

The page is put together from ``page.html``, ``page.css`` and the scripts :data:`SCRIPTS`, which lie in the folder
``web`` beside this module. Its content security policy lets it run these and nothing else, and load nothing.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from scripts.core.errors import InputError, Problem

SCRIPTS = (
    "mask.js",  # pixels of a mask, and what can be drawn
    "history.js",  # undo, redo
    "files.js",  # PNG, zip
    "store.js",  # what the browser keeps
    "view.js",  # zoom, pan, overlay
    "tools.js",  # brush, outline, fill
    "pointer.js",  # mouse, pen, fingers
    "work.js",  # an image, its state and its seconds
    "keeper.js",  # when it is kept
    "list.js",  # thumbnails
    "saving.js",  # what the zip holds
    "dialogs.js",  # questions
    "frame.js",  # what is said around the picture
    "actions.js",  # buttons and keys
    "app.js",  # all of it together
)
_FOLDER = Path(__file__).parent / "web"


@dataclass(frozen=True)
class PageImage:
    """One image to draw.

    Attributes:
        id: of the image, shown.
        name: file stem of its mask: it is exported as ``<name>.png``.
        label: class of the image, shown.
        picture: PNG, RGB, original size.
        start: PNG, 8-bit grey, same size: the proposed mask, 0 background, 255 foreground.
        rank: place in the order of asking, from 0.
        score: what the strategy gave it, ``None`` where it has none.
        why: one sentence: why it was chosen.
        cam: PNG, RGB, same size: the picture under its class-activation map; ``None`` where there is none.
    """

    id: str
    name: str
    label: str
    picture: bytes
    start: bytes
    rank: int
    score: float | None
    why: str
    cam: bytes | None = None


def annotation_page(title: str, images: Sequence[PageImage], archive: str) -> bytes:
    """Return the whole page, HTML in UTF-8.

    A browser keeps what is drawn under a key of title, image and proposed mask; so a page that is made anew for the
    same round shows the work that was begun, and another round does not.

    Args:
        title: name of run and round, e.g. ``"label_prop_seed0, round 3"``.
        images: what to draw, in the order of the list.
        archive: name of the zip file with all masks, e.g. ``"round_03_masks.zip"``.

    Raises:
        InputError: a picture or mask is no PNG or has another size, a name occurs twice, or there is no image; lists
            all of them.
    """
    problems = _name_problems(images)
    entries = [entry for image in images if (entry := _entry(title, image, problems))]
    if problems:
        raise InputError(problems)
    script = f'"use strict";\n(() => {{\n{"".join(map(_source, SCRIPTS))}}})();\n'
    style = _source("page.css")
    page = Template(_source("page.html")).substitute(
        title=html.escape(title),
        policy=_policy(script, style),
        style=style,
        script=script,
        data=_json_in_html({"title": title, "archive": archive, "images": entries}),
    )
    return page.encode("utf-8")


def _source(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _policy(script: str, style: str) -> str:
    """Only this script and this style; pictures from the page itself; no connection, form, frame or base address."""

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    rules = {
        "default-src": "'none'",
        "script-src": digest(script),
        "style-src": digest(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _json_in_html(values: Any) -> str:
    """JSON that may stand in a ``script`` element: ASCII, and without a letter that could end or open anything."""
    text = json.dumps(values, allow_nan=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _name_problems(images: Sequence[PageImage]) -> list[Problem]:
    if not images:
        return [Problem("no image to draw", "annotation page", "one or more")]
    twice = [name for name, count in Counter(image.name for image in images).items() if count > 1]
    return [Problem("two images have the same name of mask", name) for name in twice]


def _entry(title: str, image: PageImage, problems: list[Problem]) -> dict[str, Any] | None:
    """Return what the page's scripts are told of one image, or add to ``problems`` why not."""
    picture = _opened(image.picture, f"picture of {image.id}", problems)
    start = _opened(image.start, f"proposed mask of {image.id}", problems)
    cam = _opened(image.cam, f"map of {image.id}", problems) if image.cam is not None else picture
    if picture is None or start is None or cam is None:
        return None
    for name, other in (("proposed mask", start), ("map", cam)):
        if other.size != picture.size:
            where = f"{name} of {image.id}"
            problems.append(Problem("another size than the picture", where, str(picture.size), str(other.size)))
            return None
    kept_as = "\0".join((title, image.id, hashlib.sha256(image.picture + image.start).hexdigest()))
    # The mask goes as bits, for scripts to read without a canvas: against fingerprinting, some browsers blur those.
    bits = np.packbits(np.asarray(start.convert("L")) >= 128)
    return {
        "key": hashlib.sha256(kept_as.encode("utf-8", "surrogatepass")).hexdigest()[:32],
        "id": image.id,
        "name": image.name,
        "label": image.label,
        "width": picture.width,
        "height": picture.height,
        "picture": _base64(image.picture),
        "start": _base64(bits.tobytes()),
        "cam": None if image.cam is None else _base64(image.cam),
        "rank": image.rank,
        "score": image.score,
        "why": image.why,
    }


def _opened(data: bytes, where: str, problems: list[Problem]) -> Image.Image | None:
    try:
        picture = Image.open(io.BytesIO(data), formats=["PNG"])
        picture.load()
        return picture
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        problems.append(Problem("cannot be read", where, "a PNG file", str(error)))
        return None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
