"""The page to draw on, without a browser: complete in itself, escaped, and refused where images do not fit."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts.annotation import page as page_module
from scripts.annotation.page import SCRIPTS, PageImage, annotation_page
from scripts.core.errors import InputError

WEB = Path(page_module.__file__).parent / "web"
NASTY = "a\"b'c</script><!--<script>&amp;${x}$title\\"
VOID = {"meta", "input", "br", "path", "use", "link"}


def png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def page_image(name: str = "a", size: tuple[int, int] = (6, 9), **changes: Any) -> PageImage:
    """An image of ``size``, height and width, whose proposed mask is its left half."""
    rng = np.random.default_rng(len(name))
    start = np.zeros(size, np.uint8)
    start[:, : size[1] // 2] = 255
    picture = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
    image = PageImage(name, name, "benign", png(picture), png(start), 0, 0.5, "chosen by lot")
    return dataclasses.replace(image, **changes)


class _Reader(HTMLParser):
    """Collects elements, their attributes and texts, and checks that all are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


def parsed(page: bytes) -> _Reader:
    reader = _Reader()
    reader.feed(page.decode("utf-8"))
    reader.close()
    assert reader.open == []
    return reader


def data_of(page: bytes) -> dict[str, Any]:
    return json.loads(parsed(page).texts["script"][0])


def test_page_needs_nothing_but_itself() -> None:
    page = annotation_page("run, round 3", [page_image("a"), page_image("b", cam=page_image("c").picture)], "masks.zip")
    assert not re.search(rb"https?:|//[a-z0-9]+\.|@import|url\(|<link|<iframe|<base", page)
    loads = [value for _, name, value in parsed(page).attributes if name in ("src", "href", "action", "srcset")]
    assert all(value.startswith("#") for value in loads)


def test_policy_allows_these_scripts_and_no_others() -> None:
    reader = parsed(annotation_page("t", [page_image()], "masks.zip"))
    policy = next(value for tag, name, value in reader.attributes if tag == "meta" and "default-src" in value)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    assert "unsafe" not in policy
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        digest = base64.b64encode(hashlib.sha256(reader.texts[tag][-1].encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    handlers = [name for _, name, _ in reader.attributes if name.startswith("on") or name == "style"]
    assert not handlers  # the policy would silently switch them off


def test_texts_from_outside_stay_texts() -> None:
    image = page_image(id=NASTY, name=NASTY, label=NASTY, why=NASTY)
    page = annotation_page(NASTY, [image], NASTY)
    reader = parsed(page)
    assert page.count(b"</script>") == 2
    assert reader.texts["title"] == [NASTY] and reader.texts["h1"] == [NASTY]
    data = data_of(page)
    assert data["title"] == data["archive"] == NASTY
    assert all(data["images"][0][name] == NASTY for name in ("id", "name", "label", "why"))


def test_images_are_told_as_they_are() -> None:
    first, second = page_image("a"), page_image("b", rank=4, score=None, cam=page_image("c").picture)
    told = data_of(annotation_page("t", [first, second], "round_03_masks.zip"))["images"]
    assert [each["id"] for each in told] == ["a", "b"]
    assert (told[0]["width"], told[0]["height"], told[0]["score"], told[0]["cam"]) == (9, 6, 0.5, None)
    assert (told[1]["rank"], told[1]["score"]) == (4, None)
    assert base64.b64decode(told[0]["picture"]) == first.picture
    assert base64.b64decode(told[1]["cam"]) == second.cam
    bits = np.unpackbits(np.frombuffer(base64.b64decode(told[0]["start"]), np.uint8), count=54).reshape(6, 9)
    assert np.array_equal(bits * 255, np.asarray(Image.open(io.BytesIO(first.start))))


def test_work_is_kept_for_the_same_round_image_and_proposal_only() -> None:
    def key(title: str, image: PageImage) -> str:
        return data_of(annotation_page(title, [image], "masks.zip"))["images"][0]["key"]

    image = page_image()
    others = [
        key("round 4", image),
        key("round 3", dataclasses.replace(image, id="b")),
        key("round 3", dataclasses.replace(image, start=png(np.zeros((6, 9), np.uint8)))),
    ]
    same = key("round 3", image)
    assert key("round 3", dataclasses.replace(image, why="another reason", rank=7, score=None)) == same
    assert len({same, *others}) == 4


def test_same_images_same_bytes() -> None:
    assert annotation_page("t", [page_image()], "m.zip") == annotation_page("t", [page_image()], "m.zip")


def test_all_that_does_not_fit_is_refused_at_once() -> None:
    broken = page_image("broken", picture=b"GIF89a")
    cut = page_image("cut")
    images = [
        broken,
        dataclasses.replace(cut, start=cut.start[:-20]),
        page_image("small", start=png(np.zeros((5, 9), np.uint8))),
        page_image("map", cam=png(np.zeros((6, 8, 3), np.uint8))),
        page_image("twin"),
        page_image("twin"),
    ]
    with pytest.raises(InputError) as caught:
        annotation_page("t", images, "m.zip")
    text = str(caught.value)
    for part in ("picture of broken", "proposed mask of cut", "proposed mask of small", "map of map", "twin"):
        assert part in text
    assert "(9, 6)" in text and "(9, 5)" in text


def test_a_page_without_images_is_refused() -> None:
    with pytest.raises(InputError, match="no image"):
        annotation_page("t", [], "m.zip")


def test_every_file_of_the_page_is_part_of_it_and_small() -> None:
    assert {path.name for path in WEB.glob("*.js")} == set(SCRIPTS)
    for name in (*SCRIPTS, "page.html", "page.css"):
        lines = (WEB / name).read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 300, name


def test_scripts_and_page_name_the_same_elements() -> None:
    html = (WEB / "page.html").read_text()
    script = "".join((WEB / name).read_text() for name in SCRIPTS)
    ids = set(re.findall(r'\bid="([\w-]+)"', html))
    used = set(re.findall(r'(?<![\w.])(?:element|document\.getElementById)\("([\w-]+)"\)', script))
    assert len(used) > 20 and used <= ids
    table = (WEB / "actions.js").read_text()
    actions = set(re.findall(r"^  (\w+): \{(?: keys| run|$)", table, re.MULTILINE))
    buttons = set(re.findall(r'data-action="(\w+)"', html))
    assert len(buttons) > 20 and buttons <= actions
