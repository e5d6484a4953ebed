"""The pages to draw on, without a browser: complete in themselves, escaped, and refused where images do not fit."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import re
import tempfile
import tracemalloc
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts.annotation import page as page_module
from scripts.annotation.page import SCRIPTS, PageImage, page_files, write_pages
from scripts.core.errors import InputError

WEB = Path(page_module.__file__).parent / "web"
NASTY = "a\"b'c</script><!--<script>&amp;${x}$title\\"
VOID = {"meta", "input", "br", "path", "use", "link"}


def png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def held(data: bytes) -> Callable[[], bytes]:
    return lambda: data


def page_image(name: str = "a", size: tuple[int, int] = (6, 9), **changes: Any) -> PageImage:
    """An image of ``size``, height and width, whose proposed mask is its left half."""
    rng = np.random.default_rng(len(name))
    start = np.zeros(size, np.uint8)
    start[:, : size[1] // 2] = 255
    picture = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
    image = PageImage(name, name, "benign", held(png(picture)), held(png(start)), 0, 0.5, "chosen by lot")
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


def annotation_page(title: str, images: Sequence[PageImage], archive: str) -> bytes:
    """The only page of some images."""
    with tempfile.TemporaryDirectory() as folder:
        (page,) = write_pages(Path(folder), title, images, archive)
        return page.read_bytes()


def data_of(page: bytes) -> dict[str, Any]:
    return json.loads(parsed(page).texts["script"][0])


def parts_of(page: bytes) -> dict[str, bytes]:
    """What the page holds of pictures: id of the element -> bytes."""
    found = re.findall(rb'<script type="text/plain" id="([a-z]+-\d+)">([^<]*)</script>', page)
    return {name.decode(): base64.b64decode(text, validate=True) for name, text in found}


def test_page_needs_nothing_but_itself() -> None:
    page = annotation_page("run, round 3", [page_image("a"), page_image("b", cam=page_image("c").picture)], "masks.zip")
    assert not re.search(rb"https?:|//[a-z0-9]+\.|@import|url\(|<link|<iframe|<base", page)
    loads = [value for _, name, value in parsed(page).attributes if name in ("src", "href", "action", "srcset")]
    assert all(value.startswith("#") for value in loads)


def test_policy_allows_these_scripts_and_no_others() -> None:
    reader = parsed(annotation_page("t", [page_image()], "masks.zip"))
    policy = next(value for tag, name, value in reader.attributes if tag == "meta" and "default-src" in value)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and "img-src" not in rules
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
    assert page.count(b"</script>") == 2 + 2  # data, picture, start, and the only one that runs
    assert reader.texts["title"] == [NASTY] and reader.texts["h1"] == [NASTY]
    data = data_of(page)
    assert data["title"] == data["archive"] == NASTY
    assert all(data["images"][0][name] == NASTY for name in ("id", "name", "label", "why"))


def test_images_are_told_as_they_are() -> None:
    first, second = page_image("a"), page_image("b", rank=4, score=None, cam=page_image("c").picture)
    page = annotation_page("t", [first, second], "round_03_masks.zip")
    data = data_of(page)
    assert (data["page"], data["pages"], data["archive"]) == (1, ["annotate.html"], "round_03_masks.zip")
    assert data["count"] == 2
    told = data["images"]
    assert [(each["id"], each["place"]) for each in told] == [("a", 0), ("b", 1)]
    assert (told[0]["width"], told[0]["height"], told[0]["score"], told[0]["cam"]) == (9, 6, 0.5, False)
    assert (told[1]["rank"], told[1]["score"], told[1]["cam"]) == (4, None, True)


def test_each_picture_mask_and_map_is_in_an_element_of_its_own() -> None:
    first, second = page_image("a"), page_image("b", cam=page_image("c").picture)
    parts = parts_of(annotation_page("t", [first, second], "m.zip"))
    assert list(parts) == ["picture-0", "start-0", "picture-1", "start-1", "cam-1"]
    assert parts["picture-0"] == first.picture() and parts["picture-1"] == second.picture()
    assert second.cam is not None and parts["cam-1"] == second.cam()
    bits = np.unpackbits(np.frombuffer(parts["start-0"], np.uint8), count=54).reshape(6, 9)
    assert np.array_equal(bits * 255, np.asarray(Image.open(io.BytesIO(first.start()))))


@pytest.mark.parametrize("letters", [0, 1, 2, 3, 4, 5, 6, 7])
def test_base64_in_pieces_is_base64(monkeypatch: pytest.MonkeyPatch, letters: int) -> None:
    monkeypatch.setattr(page_module, "_CHUNK", 3)
    image = page_image("a")
    content = image.picture() + b"x" * letters  # Pillow passes over what follows the last chunk of a PNG
    page = annotation_page("t", [dataclasses.replace(image, picture=held(content))], "m.zip")
    assert parts_of(page)["picture-0"] == content


def test_thumbnails_are_small_and_look_alike() -> None:
    picture = np.zeros((600, 900, 3), np.uint8)
    picture[:, 450:] = (200, 30, 90)
    image = page_image("a", picture=held(png(picture)), start=held(png(np.zeros((600, 900), np.uint8))))
    (told,) = data_of(annotation_page("t", [image], "m.zip"))["images"]
    data = base64.b64decode(told["thumb"])
    thumb = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert thumb.shape == (96, 144, 3) and len(data) < 5000
    assert np.abs(thumb[48, 20]).max() < 8 and np.abs(thumb[48, 120] - (200, 30, 90)).max() < 8


def test_work_is_kept_for_the_same_round_image_and_proposal_only() -> None:
    def key(title: str, image: PageImage) -> str:
        return data_of(annotation_page(title, [image], "masks.zip"))["images"][0]["key"]

    image = page_image()
    others = [
        key("round 4", image),
        key("round 3", dataclasses.replace(image, id="b")),
        key("round 3", dataclasses.replace(image, start=held(png(np.zeros((6, 9), np.uint8))))),
    ]
    same = key("round 3", image)
    assert key("round 3", dataclasses.replace(image, why="another reason", rank=7, score=None)) == same
    assert len({same, *others}) == 4


def test_same_images_same_bytes() -> None:
    assert annotation_page("t", [page_image()], "m.zip") == annotation_page("t", [page_image()], "m.zip")


def test_all_that_does_not_fit_is_refused_at_once() -> None:
    broken = page_image("broken", picture=held(b"GIF89a"))
    cut = page_image("cut")
    images = [
        broken,
        dataclasses.replace(cut, start=held(cut.start()[:-20])),
        page_image("small", start=held(png(np.zeros((5, 9), np.uint8)))),
        page_image("map", cam=held(png(np.zeros((6, 8, 3), np.uint8)))),
        page_image("gone", picture=Path("/nowhere/gone.png").read_bytes),
        page_image("twin"),
        page_image("twin"),
    ]
    with pytest.raises(InputError) as caught:
        annotation_page("t", images, "m.zip")
    text = str(caught.value)
    for part in (
        "picture of broken",
        "proposed mask of cut",
        "proposed mask of small",
        "map of map",
        "picture of gone",
        "twin",
    ):
        assert part in text
    assert "(9, 6)" in text and "(9, 5)" in text and "run the same command again" in text


def test_a_fault_leaves_the_pages_that_are_there(tmp_path: Path) -> None:
    (page,) = write_pages(tmp_path, "t", [page_image("a")], "m.zip")
    before = page.read_bytes()
    with pytest.raises(InputError):
        write_pages(tmp_path, "t", [page_image("a"), page_image("b", picture=held(b"no"))], "m.zip")
    reads = iter([page_image("c").picture()])

    def gone() -> bytes:
        for data in reads:
            return data
        raise FileNotFoundError("vanished")

    with pytest.raises(InputError, match="picture of c"):
        write_pages(tmp_path, "t", [page_image("c", picture=gone)], "m.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["annotate.html"] and page.read_bytes() == before


def three(size: tuple[int, int] = (200, 300)) -> list[PageImage]:
    return [page_image(name, size) for name in ("a", "bb", "ccc")]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestSeveralPages:
    def test_images_that_are_too_large_for_one_page_get_several(self, tmp_path: Path) -> None:
        images = three()
        one = write_pages(tmp_path, "t", images, "round_03_masks.zip")
        whole = one[0].stat().st_size
        assert names_in(tmp_path) == ["annotate.html"]
        pages = write_pages(tmp_path, "t", images, "round_03_masks.zip", most_bytes=whole - 200_000)
        assert names_in(tmp_path) == ["annotate_1.html", "annotate_2.html"]
        assert [page.name for page in pages] == names_in(tmp_path)
        assert all(page.stat().st_size <= whole - 200_000 for page in pages)
        told = [data_of(page.read_bytes()) for page in pages]
        assert [[each["id"] for each in data["images"]] for data in told] == [["a", "bb"], ["ccc"]]
        assert [data["archive"] for data in told] == ["round_03_masks_1.zip", "round_03_masks_2.zip"]
        assert [(data["page"], data["pages"]) for data in told] == [(1, names_in(tmp_path)), (2, names_in(tmp_path))]
        assert parts_of(pages[1].read_bytes())["picture-0"] == images[2].picture()

    def test_no_page_exceeds_the_bound_and_none_is_wasted(self, tmp_path: Path) -> None:
        images = [page_image(f"{i:02}", (100 + i, 150)) for i in range(12)]
        whole = write_pages(tmp_path, "t", images, "m.zip")[0].stat().st_size
        for bound in (whole, whole * 3 // 4, whole // 2, whole // 3):
            pages = write_pages(tmp_path, "t", images, "m.zip", most_bytes=bound)
            sizes = [page.stat().st_size for page in pages]
            told = [each["id"] for page in pages for each in data_of(page.read_bytes())["images"]]
            assert max(sizes) <= bound, bound
            assert min(sizes[:-1], default=bound) > bound - 100_000
            assert told == [image.id for image in images]

    def test_an_image_beyond_the_bound_has_a_page_of_its_own(self, tmp_path: Path) -> None:
        images = [page_image("a"), page_image("bb", (400, 400)), page_image("ccc")]
        pages = write_pages(tmp_path, "t", images, "m.zip", most_bytes=200_000)
        assert [[each["id"] for each in data_of(page.read_bytes())["images"]] for page in pages] == [
            ["a"], ["bb"], ["ccc"],
        ]  # fmt: skip

    def test_pages_of_an_earlier_division_go_and_nothing_else_does(self, tmp_path: Path) -> None:
        others = ["annotate_1.html.bak", "annotate_01.html", "annotate_me.html", "annotated.html"]
        for name in others:
            (tmp_path / name).write_text("mine")
        write_pages(tmp_path, "t", three(), "m.zip", most_bytes=1)
        assert [path.name for path in page_files(tmp_path)] == ["annotate_1.html", "annotate_2.html", "annotate_3.html"]
        write_pages(tmp_path, "t", three()[:2], "m.zip", most_bytes=1)
        assert [path.name for path in page_files(tmp_path)] == ["annotate_1.html", "annotate_2.html"]
        write_pages(tmp_path, "t", three(), "m.zip")
        assert names_in(tmp_path) == sorted([*others, "annotate.html"])

    def test_pages_are_in_the_order_of_their_numbers(self, tmp_path: Path) -> None:
        images = [page_image(f"{i:02}") for i in range(11)]
        written = write_pages(tmp_path, "t", images, "m.zip", most_bytes=1)
        assert page_files(tmp_path) == written and written[9].name == "annotate_10.html"

    def test_work_is_kept_whichever_page_an_image_is_on(self, tmp_path: Path) -> None:
        images = three()
        (one,) = write_pages(tmp_path, "t", images, "m.zip")
        keys = [each["key"] for each in data_of(one.read_bytes())["images"]]
        pages = write_pages(tmp_path, "t", images, "m.zip", most_bytes=1)
        assert [data_of(page.read_bytes())["images"][0]["key"] for page in pages] == keys

    def test_a_page_that_says_the_same_is_left_alone(self, tmp_path: Path) -> None:
        pages = write_pages(tmp_path, "t", three(), "m.zip", most_bytes=1)
        before = [page.stat().st_ino for page in pages]
        write_pages(tmp_path, "t", three(), "m.zip", most_bytes=1)
        assert [page.stat().st_ino for page in pages] == before
        pages[1].write_bytes(pages[1].read_bytes() + b" ")  # longer, and else the same
        pages[2].write_bytes(pages[2].read_bytes()[:-1])
        write_pages(tmp_path, "t", three(), "m.zip", most_bytes=1)
        assert [page.stat().st_ino == inode for page, inode in zip(pages, before, strict=True)] == [True, False, False]

    @pytest.mark.parametrize(("archive", "second"), [("a.b.zip", "a.b_2.zip"), ("masks", "masks_2"), ("", "_2")])
    def test_each_page_has_an_archive_of_its_own(self, tmp_path: Path, archive: str, second: str) -> None:
        pages = write_pages(tmp_path, "t", three(), archive, most_bytes=1)
        assert data_of(pages[1].read_bytes())["archive"] == second

    def test_python_holds_one_image_at_a_time(self, tmp_path: Path) -> None:
        page_image("warm", (900, 900)).picture()
        data = page_image("a", (900, 900))
        images = [dataclasses.replace(data, id=str(i), name=str(i), picture=copied(data.picture())) for i in range(12)]
        tracemalloc.start()
        write_pages(tmp_path, "t", images, "m.zip")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (tmp_path / "annotate.html").stat().st_size > 35e6 > 20e6 > peak


def copied(data: bytes) -> Callable[[], bytes]:
    """Reads into memory of its own, as a file does."""
    return lambda: bytes(bytearray(data))


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
