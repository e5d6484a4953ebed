"""Web pages to draw the masks of a round on: files that need no server, no network and no installation.

A page is put together from ``page.html``, ``page.css`` and the scripts :data:`SCRIPTS`, which lie in the folder
``web`` beside this module. Its content security policy lets it run these and nothing else, and load nothing.

Each picture, proposed mask and map stands in an element of its own, as base64: a text in a browser holds at most 2^29
letters, and so nothing is decoded before it is shown. A round that is too large for one page gets several.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from scripts.core.errors import InputError, Problem
from scripts.core.files import atomic_file, writing
from scripts.images.windows import Window

SCRIPTS = (
    "mask.js",  # pixels of a mask, and what can be drawn
    "history.js",  # undo, redo
    "files.js",  # PNG, zip
    "store.js",  # what the browser keeps
    "pictures.js",  # what the page holds, decoded when it is shown
    "view.js",  # zoom, pan, overlay
    "tools.js",  # brush, outline, fill
    "boxes.js",  # boxes around objects
    "pointer.js",  # mouse, pen, fingers
    "clock.js",  # seconds of work
    "work.js",  # an image, its state and its seconds
    "keeper.js",  # when it is kept
    "windows.js",  # other windows with the same images
    "list.js",  # thumbnails
    "saving.js",  # what the zip holds
    "dialogs.js",  # questions
    "frame.js",  # what is said around the picture
    "sharing.js",  # masks that are drawn in several windows
    "look.js",  # colour and tint of the mask
    "actions.js",  # buttons and keys
    "app.js",  # all of it together
    "start.js",  # opening it
)
_FOLDER = Path(__file__).parent / "web"

MOST_PAGE_BYTES = 256 * 2**20
"""No page grows larger, unless by a single image. A page of this size with pictures of 3000 x 2000 pixels opens within
three seconds in 750 MiB of memory on a slow computer (docs/annotate.md); twice the size takes twice of both."""

_THUMB = (144, 108)  # as THUMB x THUMB_DENSITY of list.js
_NAME = re.compile(r"annotate(?:_([1-9]\d*))?\.html")
_SPARE, _SPARE_MARKS = 8192, 80  # bytes for title, policy and names of pages; for the marks around a picture
_CHUNK = 3 * 2**20  # of bytes for base64; divisible by 3, so the pieces join without padding


@dataclass(frozen=True)
class PageImage:
    """One image to draw. Its files are given as functions that read them, for a round may not fit into memory.

    Attributes:
        id: of the image, shown.
        name: file stem of its mask: it is exported as ``<name>.png``.
        label: class of the image, shown.
        picture: reads a PNG, RGB, original size.
        start: reads a PNG, 8-bit grey, same size: the proposed mask, 0 background, 255 foreground.
        rank: place in the order of asking, from 0.
        score: what the strategy gave it, ``None`` where it has none.
        why: one sentence: why it was chosen.
        cam: reads a PNG, RGB, same size: the picture under its class-activation map; ``None`` where there is none.
        window: the part that can be drawn in; ``None`` for all of it. Outside of it ``start`` is 0.
        earlier: read the masks that were proposed before; what was drawn upon one of them is shown.
    """

    id: str
    name: str
    label: str
    picture: Callable[[], bytes]
    start: Callable[[], bytes]
    rank: int
    score: float | None
    why: str
    cam: Callable[[], bytes] | None = None
    window: Window | None = None
    earlier: tuple[Callable[[], bytes], ...] = ()


@dataclass(frozen=True)
class _Entry:
    """An image that fits, what the page's scripts are told of it, and the bytes that it takes of a page."""

    image: PageImage
    told: dict[str, Any]
    size: int


def write_pages(
    folder: Path,
    title: str,
    images: Sequence[PageImage],
    archive: str,
    most_bytes: int = MOST_PAGE_BYTES,
    boxes: str = "",
) -> list[Path]:
    """Write ``annotate.html``, or ``annotate_1.html`` and so on where one page would grow too large; return them.

    Pages are written picture by picture, so memory holds one of them at a time. A page that says the same already is
    left alone, for somebody may have it open; pages of an earlier division are removed.

    A browser keeps what is drawn under a key of title, image and proposed mask; so a page that is made anew for the
    same round shows the work that was begun, on whichever page an image is now, and another round does not.

    Args:
        folder: where to write.
        title: name of run and round, e.g. ``"label_prop_seed0, round 3"``.
        images: what to draw, in the order of the list.
        archive: name of the zip file with all masks, e.g. ``"round_03_masks.zip"``; with several pages the number of
            the page is put before its ending.
        most_bytes: size that no page exceeds, unless by a single image.
        boxes: what becomes of boxes in place of masks, see :attr:`scripts.annotation.gate.Gate.boxes`; "" offers none.

    Raises:
        InputError: a picture or mask is no PNG or has another size, a name occurs twice, or there is no image; lists
            all of them.
        StateError: a page cannot be written.
    """
    problems = _name_problems(images)
    entries = [entry for image in images if (entry := _entry(title, image, problems))]
    if problems:
        raise InputError(problems)
    groups = _groups(entries, most_bytes)
    names = ["annotate.html"] if len(groups) == 1 else [f"annotate_{i + 1}.html" for i in range(len(groups))]
    stem, ending = re.fullmatch(r"(.*?)(\.[^.]*)?", archive, re.DOTALL).groups("")  # type: ignore[union-attr]
    for number, (name, group) in enumerate(zip(names, groups, strict=True), start=1):
        own_archive = archive if len(groups) == 1 else f"{stem}_{number}{ending}"
        told = {"title": title, "archive": own_archive, "page": number, "pages": names, "count": len(entries)}
        told["boxes"] = boxes
        write_changed(folder / name, partial(_parts, told, group))
    for old in page_files(folder):
        if old.name not in names:
            with writing(old):
                old.unlink()
    return [folder / name for name in names]


def page_files(folder: Path) -> list[Path]:
    """Return the pages that lie in ``folder``, in the order of their numbers."""
    found = [(match, path) for path in folder.glob("annotate*.html") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, key=lambda pair: int(pair[0][1] or 0))]


def write_changed(path: Path, parts: Callable[[], Iterator[bytes]]) -> None:
    """Write a file from its parts, all or nothing; one that says the same is left alone, for it may be open.

    Args:
        path: the file.
        parts: gives its content, piece by piece; called twice.

    Raises:
        StateError: it cannot be written.
    """
    if path.is_file() and _says(path, parts()):
        return
    with atomic_file(path) as file:
        for part in parts():
            with writing(path):
                file.write(part)


def _says(path: Path, parts: Iterator[bytes]) -> bool:
    with path.open("rb") as file:
        return all(file.read(len(part)) == part for part in parts) and not file.read(1)


def _groups(entries: Sequence[_Entry], most_bytes: int) -> list[list[_Entry]]:
    """Divide images among pages in their order; each page takes as many as fit, at least one."""
    shell = sum(len(_source(name).encode()) for name in (*SCRIPTS, "page.html", "page.css")) + _SPARE
    groups: list[list[_Entry]] = []
    room = 0
    for entry in entries:
        if not groups or entry.size > room:
            groups.append([])
            room = most_bytes - shell
        groups[-1].append(entry)
        room -= entry.size
    return groups


def _parts(told: dict[str, Any], group: Sequence[_Entry]) -> Iterator[bytes]:
    """Yield one page, HTML in UTF-8, piece by piece."""
    script = f'"use strict";\n(() => {{\n{"".join(map(_source, SCRIPTS))}}})();\n'
    style = _source("page.css")
    before, after = map(Template, _source("page.html").split("$pictures\n"))
    data = told | {"images": [entry.told | {"place": place} for place, entry in enumerate(group)]}
    title = html.escape(told["title"])
    policy = _policy(script, style)
    yield before.substitute(title=title, policy=policy, style=style, data=_json_in_html(data)).encode()
    for place, entry in enumerate(group):
        for kind, content in _contents(entry.image):
            yield f'<script type="text/plain" id="{kind}-{place}">'.encode()  # inert, and no markup is looked for in it
            yield from (base64.b64encode(content[at : at + _CHUNK]) for at in range(0, len(content), _CHUNK))
            yield b"</script>\n"
    yield after.substitute(script=script).encode()


def _contents(image: PageImage) -> Iterator[tuple[str, bytes]]:
    """Yield what a page holds of an image, one after the other."""
    problems: list[Problem] = []
    for kind, read in (("picture", image.picture), ("start", image.start), ("cam", image.cam)):
        if read is not None:
            content = _content(read, f"{kind} of {image.id}", problems)
            if problems:
                raise InputError(problems)
            yield kind, _bits(Image.open(io.BytesIO(content), formats=["PNG"])) if kind == "start" else content


def _bits(mask: Image.Image) -> bytes:
    """Pack a mask eight pixels to a byte. Scripts read it without a canvas: some browsers blur those, against
    fingerprinting."""
    return np.packbits(np.asarray(mask.convert("L")) >= 128).tobytes()


def _source(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _policy(script: str, style: str) -> str:
    """Only this script and this style; no picture from elsewhere, no connection, form, frame or base address."""

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    rules = {
        "default-src": "'none'",  # pictures are decoded from what the page holds: they need no address
        "script-src": digest(script),
        "style-src": digest(style),
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


def _entry(title: str, image: PageImage, problems: list[Problem]) -> _Entry | None:
    """Return what a page says of one image, or add to ``problems`` why not."""
    before = len(problems)
    content = _content(image.picture, f"picture of {image.id}", problems)
    picture = _opened(content, f"picture of {image.id}", problems)
    drawn = _content(image.start, f"proposed mask of {image.id}", problems)
    start = _opened(drawn, f"proposed mask of {image.id}", problems)
    mapped = _content(image.cam, f"map of {image.id}", problems) if image.cam else b""
    cam = _opened(mapped, f"map of {image.id}", problems) if image.cam else picture
    if len(problems) > before or picture is None or start is None or cam is None:
        return None
    for name, other in (("proposed mask", start), ("map", cam)):
        if other.size != picture.size:
            where = f"{name} of {image.id}"
            problems.append(Problem("another size than the picture", where, str(picture.size), str(other.size), _CURE))
            return None
    earlier = [_content(read, f"earlier mask of {image.id}", problems) for read in image.earlier]
    told = {
        "key": _key(title, image.id, content + drawn),
        "earlier": [_key(title, image.id, content + mask) for mask in earlier],
        "id": image.id,
        "name": image.name,
        "label": image.label,
        "width": picture.width,
        "height": picture.height,
        "cam": image.cam is not None,
        "part": None if image.window is None else _box(image.window),
        "thumb": base64.b64encode(_thumb(picture)).decode("ascii"),
        "rank": image.rank,
        "score": image.score,
        "why": image.why,
    }
    held = (len(content), -(-picture.width * picture.height // 8), len(mapped))
    size = sum(-(-part // 3) * 4 + _SPARE_MARKS for part in held) + len(_json_in_html(told))
    return _Entry(image, told, size)


def _key(title: str, key: str, content: bytes) -> str:
    """Return under what a browser keeps the work upon a picture and a proposed mask."""
    kept_as = "\0".join((title, key, hashlib.sha256(content).hexdigest()))
    return hashlib.sha256(kept_as.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _box(window: Window) -> dict[str, int]:
    rows, columns = window.at
    return {"x0": columns.start, "y0": rows.start, "x1": columns.stop, "y1": rows.stop}


_CURE = "Remove this file from the folder of the round and run the same command again: it is made anew."


def _content(read: Callable[[], bytes], where: str, problems: list[Problem]) -> bytes:
    try:
        return read()
    except OSError as error:
        problems.append(Problem("cannot be read", where, "a PNG file", error.strerror or str(error), _CURE))
        return b""


def _opened(data: bytes, where: str, problems: list[Problem]) -> Image.Image | None:
    if any(problem.where == where for problem in problems):
        return None
    try:
        picture = Image.open(io.BytesIO(data), formats=["PNG"])
        picture.load()
        return picture
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        problems.append(Problem("cannot be read", where, "a PNG file", str(error), _CURE))
        return None


def _thumb(picture: Image.Image) -> bytes:
    """Return a small JPEG for the list of images; nobody draws on it."""
    small = picture.convert("RGB")
    small.thumbnail(_THUMB, reducing_gap=2.0)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
