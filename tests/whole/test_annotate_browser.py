"""The page to draw on in a real headless Chromium, opened from a file: what is drawn is what is exported.

Needs Chromium or Chrome on the path (Debian: ``apt-get install chromium``) and no Python package. The references are
independent: distances by numpy, polygons by matplotlib, floods by Pillow.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from PIL import Image, ImageDraw

from scripts.annotation import page as page_module
from scripts.annotation.page import PageImage, write_pages
from scripts.images.drawn.boxes import read_boxes
from scripts.images.drawn.outlines import Picture
from scripts.images.windows import Window, covered
from tests.annotation.test_page import NASTY, held, png
from tests.support.browser import Page, browser, find_chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium or Chrome on the path"),
]
HEIGHT, WIDTH = 90, 130
KEPT_S = 2.0  # a stroke is written within half a second; a busy computer takes longer
START = np.zeros((HEIGHT, WIDTH), bool)
START[10:40, 70:110] = True
NAME = "A. Kovács"
Point = tuple[float, float]


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@dataclass
class Desk:
    """The opened page, and what a person at it does."""

    page: Page
    file: Path
    saved: Path

    def open(self) -> None:
        self.page.open(self.file)
        self.ready()

    def ready(self) -> None:
        self.page.wait("!!document.querySelector('#stage')?.dataset.zoom && document.readyState === 'complete'")

    def screen(self, point: Point) -> Point:
        """Where a point of the picture is on the screen."""
        zoom, left, top = self._view()
        return point[0] * zoom + left, point[1] * zoom + top

    def on_pixels(self, points: list[Point]) -> tuple[list[Point], list[Point]]:
        """Whole pixels of the screen near points of the picture, and the points of the picture that these show."""
        zoom, left, top = self._view()
        screen = [(round(x * zoom + left), round(y * zoom + top)) for x, y in points]
        return [(float(x), float(y)) for x, y in screen], [((x - left) / zoom, (y - top) / zoom) for x, y in screen]

    def _view(self) -> list[float]:
        return self.page.evaluate(
            "(() => { const s = document.querySelector('#stage'), b = s.getBoundingClientRect(), d = s.dataset;"
            " return [+d.zoom, b.left + +d.left, b.top + +d.top]; })()"
        )

    def drag(self, points: list[Point], button: str = "left") -> list[Point]:
        screen, exact = self.on_pixels(points)
        self.page.drag(screen, button)
        return exact

    def name(self, name: str = NAME) -> None:
        self.page.evaluate("(() => { const f = document.querySelector('#annotator'); f.value = ''; f.focus(); })()")
        self.page.type(name)
        self.page.evaluate("document.querySelector('#stage').focus()")

    def brush(self, pixels: int) -> None:
        value = 100 * math.log(pixels) / math.log(300)
        slider = f"Object.assign(document.querySelector('#size'), {{step: 'any', value: {value}}})"
        self.page.evaluate(f"{slider}.dispatchEvent(new Event('input'))")
        assert self.text("#size-text") == f"{pixels} px"

    def text(self, selector: str) -> str:
        return self.page.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")

    def file_from(self, selector: str) -> Path:
        """Click a button and return the file that it saves."""
        for path in self.saved.iterdir():
            path.unlink()
        self.page.click(selector)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            new = [path for path in self.saved.iterdir() if path.suffix != ".crdownload"]
            if new and new[0].stat().st_size:
                return new[0]
            time.sleep(0.02)
        raise TimeoutError("nothing was saved")

    def mask(self) -> np.ndarray:
        """The mask of the image that is shown, exported."""
        return self.checked(self.file_from("[data-action=one]").read_bytes())

    def checked(self, data: bytes) -> np.ndarray:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (WIDTH, HEIGHT))
            assert picture.text["annotator"] == NAME
            assert 0 <= float(picture.text["seconds"]) < 60
            values = np.asarray(picture)
        assert set(np.unique(values)) <= {0, 255}
        return values == 255

    def zip(self) -> dict[str, bytes]:
        """Save all masks; the content of the zip by name."""
        path = self.file_from("#save")
        assert path.name == self.saved.name + ".zip"
        self.page.click("#ask-yes")
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
            return {name: archive.read(name) for name in archive.namelist()}

    def has_states(self, *states: str) -> bool:
        """Whether the images get these states; a dialog takes a moment to answer."""
        shown = "[...document.querySelectorAll('.image')].map((each) => each.dataset.state).join()"
        return self.page.wait(f"{shown} === {json.dumps(','.join(states))}", 5)


def images(ids: tuple[str, ...] = ("a", "b", "c")) -> list[PageImage]:
    rng = np.random.default_rng(0)
    picture = held(png(rng.integers(150, 250, (HEIGHT, WIDTH, 3), dtype=np.uint8)))
    start = held(png(np.uint8(255) * START))
    return [PageImage(id_, id_, "benign", picture, start, i, 0.5, "chosen by lot") for i, id_ in enumerate(ids)]


@contextlib.contextmanager
def opened(tab: Page, folder: Path, title: str, boxes: str = "") -> Iterator[Desk]:
    """A page of three images that no other test has drawn on, opened."""
    saved = folder / "out"
    saved.mkdir()
    tab.downloads_to(saved)
    (file,) = write_pages(folder, title, images(), saved.name + ".zip", boxes=boxes)
    desk = Desk(tab, file, saved)
    tab.events.clear()
    desk.open()
    desk.name()
    yield desk
    tab.shut_all()
    assert tab.faults == []


@pytest.fixture
def desk(tab: Page, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """A page, opened."""
    with opened(tab, tmp_path, request.node.name) as desk:
        yield desk


@contextlib.contextmanager
def before_load(page: Page, script: str) -> Iterator[None]:
    identifier = page.before_load(script)
    yield
    page.forget(identifier)


def stroke_reference(points: list[Point], diameter: float) -> np.ndarray:
    """Pixels whose centre lies within half a diameter of a line through the points."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    covered = np.zeros((HEIGHT, WIDTH), bool)
    for (ax, ay), (bx, by) in zip(points, points[1:] or points, strict=False):
        length = math.hypot(bx - ax, by - ay) or 1.0
        along = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length**2, 0, 1)
        covered |= np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)) <= diameter / 2
    return covered


def outline_reference(points: list[Point]) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    return Outline(points).contains_points(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(HEIGHT, WIDTH)


def flooded(mask: np.ndarray, at: tuple[int, int], value: bool) -> np.ndarray:
    picture = Image.fromarray(np.uint8(255) * mask).copy()  # which can be drawn on
    ImageDraw.floodfill(picture, at, 255 * value)
    return np.asarray(picture) == 255


def ring(centre: Point, radius: float, count: int = 24) -> list[Point]:
    turns = [2 * math.pi * i / count for i in range(count + 1)]
    return [(centre[0] + radius * math.cos(turn), centre[1] + radius * math.sin(turn)) for turn in turns]


def test_a_stroke_is_exact_and_can_be_undone(desk: Desk) -> None:
    assert np.array_equal(desk.mask(), START)
    desk.page.press("b")
    desk.brush(9)
    drawn = desk.drag([(12, 50), (60, 71), (61, 20)])
    expected = START | stroke_reference(drawn, 9)
    assert np.array_equal(desk.mask(), expected)
    desk.page.press("z", "ctrl")
    assert np.array_equal(desk.mask(), START)
    desk.page.press("Z", "ctrl", "shift")
    assert np.array_equal(desk.mask(), expected)


def test_a_brush_of_one_pixel_sets_the_pixels_it_passes(desk: Desk) -> None:
    desk.page.press("b")
    desk.brush(1)
    desk.drag([(20.5, 60.5), (50.5, 60.5)])
    expected = START.copy()
    expected[60, 20:51] = True
    assert np.array_equal(desk.mask(), expected)


def test_eraser_and_right_button_take_away(desk: Desk) -> None:
    desk.page.press("e")
    desk.brush(12)
    first = desk.drag([(65, 20), (90, 25)])
    desk.page.press("b")
    second = desk.drag([(100, 45), (100, 30)], "right")
    assert np.array_equal(desk.mask(), START & ~stroke_reference(first, 12) & ~stroke_reference(second, 12))


def test_outline_in_one_go_and_by_corners(desk: Desk) -> None:
    desk.page.press("o")
    first = desk.drag(ring((35, 35), 22)[:-2])
    corners = [(20.0, 65.0), (60.0, 62.0), (75.0, 80.0), (30.0, 85.0)]
    second = [desk.drag([corner])[0] for corner in corners]
    assert desk.page.evaluate("document.querySelector('#open-outline').hidden") is False
    desk.page.press("Enter")
    expected = START | outline_reference(first) | outline_reference(second)
    assert np.array_equal(desk.mask(), expected)
    desk.page.press("c")
    third = [desk.drag([corner])[0] for corner in [(80, 15), (100, 15), (90, 30), (85, 60)]]
    desk.page.press("Backspace")
    desk.drag([third[0]])  # at the first corner: closed
    expected &= ~outline_reference(third[:3])
    assert np.array_equal(desk.mask(), expected)


def test_a_hand_that_goes_around_twice_leaves_no_hole(desk: Desk) -> None:
    desk.page.press("o")
    outer, inner = ring((35, 45), 25), ring((35, 45), 12)
    drawn = desk.drag([*outer, *inner])
    assert np.array_equal(desk.mask(), START | outline_reference(drawn[: len(outer)]))


def test_pieces_connect_over_corners_and_empty_areas_do_not(desk: Desk) -> None:
    desk.page.press("b")
    desk.brush(1)
    for corner in [(20.5, 60.5), (21.5, 61.5), (20.5, 62.5), (19.5, 61.5)]:
        desk.drag([corner])
    desk.page.press("f")
    desk.drag([(20.5, 61.5)])
    expected = START.copy()
    expected[[60, 61, 61, 61, 62], [20, 19, 20, 21, 20]] = True
    assert np.array_equal(desk.mask(), expected)
    desk.page.press("z", "ctrl")
    desk.page.press("r")
    desk.drag([(20.5, 60.5)])
    assert np.array_equal(desk.mask(), START)


def test_fill_needs_a_closed_outline_and_remove_takes_a_piece(desk: Desk) -> None:
    desk.page.press("b")
    desk.brush(5)
    drawn = desk.drag(ring((35, 45), 25))
    closed = START | stroke_reference(drawn, 5)
    desk.page.press("f")
    desk.drag([(35.5, 45.5)])
    filled = flooded(closed, (35, 45), True)
    assert filled[45, 35] and not filled[0, 0]
    assert np.array_equal(desk.mask(), filled)
    desk.page.press("r")
    desk.drag([(80.5, 20.5)])
    removed = flooded(filled, (80, 20), False)
    assert not removed[10:40, 70:110].any() and removed[45, 35]
    assert np.array_equal(desk.mask(), removed)
    desk.page.press("f")
    desk.drag([(2.5, 2.5)])
    assert "Undo" in desk.text("#say")  # nearly all of the picture


def test_whole_mask_holes_specks_clear_and_proposal(desk: Desk) -> None:
    desk.page.press("b")
    desk.brush(6)
    drawn = desk.drag(ring((35, 45), 25))
    desk.brush(3)
    speck = desk.drag([(100, 70)])
    closed = START | stroke_reference(drawn, 6)
    assert stroke_reference(speck, 3).sum() > 3
    desk.brush(8)
    desk.page.click("[data-action=specks]")
    assert np.array_equal(desk.mask(), closed)
    desk.page.click("[data-action=holes]")
    assert np.array_equal(desk.mask(), flooded(closed, (35, 45), True))
    desk.page.click("[data-action=clear]")
    assert not desk.mask().any()
    desk.page.click("[data-action=reset]")
    assert np.array_equal(desk.mask(), START)
    for _ in range(3):
        desk.page.press("z", "ctrl")
    assert np.array_equal(desk.mask(), closed)


PART = Window(20, 30, 45, 65)  # y 20 to 64, x 30 to 94


@pytest.fixture
def framed_desk(desk: Desk) -> Desk:
    """The page of one image of which a window is asked for."""
    start = held(png(np.uint8(255) * (START & covered((HEIGHT, WIDTH), [PART]))))
    told = [PageImage("a", "a", "benign", images()[0].picture, start, 0, 0.5, "by its score", window=PART)]
    write_pages(desk.file.parent, "framed", told, desk.saved.name + ".zip")
    desk.open()
    desk.page.click("[data-action=reset]")  # work of an earlier test is kept under the same name
    return desk


class TestWindow:
    def test_nothing_can_be_drawn_outside(self, framed_desk: Desk) -> None:
        desk, inside = framed_desk, covered((HEIGHT, WIDTH), [PART])
        begin = START & inside
        desk.page.press("b")
        desk.brush(9)
        stroke = stroke_reference(desk.drag([(5, 30), (60, 80)]), 9)
        assert (stroke & ~inside).sum() > 50 < (stroke & inside).sum()
        assert np.array_equal(desk.mask(), begin | (stroke & inside))
        desk.page.press("o")
        outline = outline_reference(desk.drag(ring((92, 62), 20)))
        expected = begin | ((stroke | outline) & inside)
        assert np.array_equal(desk.mask(), expected)
        desk.page.click("[data-action=clear]")
        assert not desk.mask().any()
        for _ in range(3):
            desk.page.press("z", "ctrl")
        assert np.array_equal(desk.mask(), begin)

    def test_fill_and_holes_end_at_the_frame(self, framed_desk: Desk) -> None:
        desk, inside = framed_desk, covered((HEIGHT, WIDTH), [PART])
        desk.page.click("[data-action=clear]")
        desk.page.press("b")
        desk.brush(5)
        drawn = stroke_reference(desk.drag(ring((30, 45), 14)), 5) & inside
        desk.page.click("[data-action=holes]")
        assert np.array_equal(desk.mask(), drawn), "the frame cuts the object: nothing is enclosed"
        desk.page.press("f")
        desk.drag([(33.5, 45.5)])
        area = np.zeros_like(inside)
        part = drawn[PART.at]
        area[PART.at] = flooded(part, (3, 25), True)
        assert np.array_equal(desk.mask(), area) and area[45, 31] and not area[45, 60]
        desk.drag([(5.5, 5.5)])
        assert np.array_equal(desk.mask(), area), "outside of the frame there is nothing to fill"


def test_zoomed_and_moved_a_stroke_lands_under_the_pointer(desk: Desk) -> None:
    [(x, y)], [under] = desk.on_pixels([(30, 60)])
    desk.page.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-600)
    desk.page.wait("+document.querySelector('#stage').dataset.zoom > 9")
    assert np.allclose(desk.screen(under), (x, y), atol=0.01)  # what is under the pointer stays there
    desk.page.call("Input.dispatchKeyEvent", type="keyDown", key=" ")
    desk.page.drag([(x, y), (x + 50, y - 30)])
    desk.page.call("Input.dispatchKeyEvent", type="keyUp", key=" ")
    assert np.allclose(desk.screen(under), (x + 50, y - 30), atol=0.01)
    desk.page.press("b")
    desk.brush(4)
    drawn = desk.drag([(28.2, 55.1), (36.7, 61.3)])
    assert np.array_equal(desk.mask(), START | stroke_reference(drawn, 4))


def test_two_fingers_zoom_and_draw_nothing(desk: Desk) -> None:
    (ax, ay), (bx, by) = desk.screen((40, 45)), desk.screen((80, 45))
    before = float(desk.page.evaluate("document.querySelector('#stage').dataset.zoom"))
    desk.page.touch([(ax - step, ay) for step in (0, 20, 40, 60)], [(bx + step, by) for step in (0, 20, 40, 60)])
    desk.page.wait(f"+document.querySelector('#stage').dataset.zoom > {before * 1.2}")
    assert np.array_equal(desk.mask(), START)
    assert desk.has_states("todo", "todo", "todo")


def test_a_finger_draws_until_a_pen_is_seen(desk: Desk) -> None:
    desk.page.press("b")
    screen, first = desk.on_pixels([(20, 20), (50, 30)])
    desk.page.touch(screen)
    expected = START | stroke_reference(first, 20)
    assert np.array_equal(desk.mask(), expected)
    screen, second = desk.on_pixels([(20, 60), (60, 70)])
    desk.page.drag(screen, pointer="pen")
    expected |= stroke_reference(second, 20)
    before = desk.screen((0, 0))
    desk.page.touch([(600, 300), (620, 340)])
    assert np.allclose(desk.screen((0, 0)), np.add(before, (20, 40)), atol=1)
    assert np.array_equal(desk.mask(), expected)


def test_zip_holds_what_is_finished_and_nothing_else(desk: Desk) -> None:
    desk.page.press("b")
    desk.brush(9)
    drawn = desk.drag([(12, 50), (60, 71)])
    desk.page.press("d")
    desk.page.click("#skip")
    desk.page.evaluate("document.querySelector('#reason-text').focus()")
    desk.page.type("folded, twice")
    desk.page.click("#skip-dialog button.primary")
    assert desk.has_states("done", "skip", "todo")
    content = desk.zip()
    assert list(content) == ["a.png", "b.skip"]
    assert np.array_equal(desk.checked(content["a.png"]), START | stroke_reference(drawn, 9))
    assert content["b.skip"].decode() == "out of focus or damaged: folded, twice\n"


def test_work_and_marks_survive_a_reload(desk: Desk) -> None:
    desk.page.press("b")
    desk.brush(9)
    drawn = desk.drag([(12, 50), (60, 71)])
    desk.page.press("d")
    desk.page.click("#skip")
    desk.page.click("#skip-dialog button.primary")
    last = desk.drag([(20, 20), (30, 30)])
    time.sleep(KEPT_S)  # kept half a second after a stroke
    desk.page.events.clear()
    desk.open()
    assert [each["type"] for each in desk.page.named("Page.javascriptDialogOpening")] == ["beforeunload"]
    assert desk.has_states("done", "skip", "begun")
    assert desk.text("#image-name") == "c"  # the first that is not finished
    assert desk.page.evaluate("document.querySelector('#annotator').value") == NAME
    assert desk.page.evaluate("document.querySelector('#note').hidden")
    assert np.array_equal(desk.mask(), START | stroke_reference(last, 9))
    content = desk.zip()
    assert np.array_equal(desk.checked(content["a.png"]), START | stroke_reference(drawn, 9))
    time.sleep(KEPT_S)
    desk.page.events.clear()
    desk.open()
    assert not desk.page.named("Page.javascriptDialogOpening")  # all is kept and saved


def test_an_empty_mask_is_asked_about(desk: Desk) -> None:
    desk.page.click("[data-action=clear]")
    desk.page.press("d")
    desk.page.click("#ask-no")
    time.sleep(0.1)
    assert desk.has_states("begun", "todo", "todo")
    desk.page.press("d")
    desk.page.click("#ask-yes")
    assert desk.has_states("done", "todo", "todo")
    assert not desk.checked(desk.zip()["a.png"]).any()


DENIED = "Object.defineProperty(window, '{}', {{ get() {{ throw new DOMException('denied', 'SecurityError'); }} }});"


def test_without_a_database_the_work_is_kept_as_text(desk: Desk) -> None:
    with before_load(desk.page, DENIED.format("indexedDB")):
        desk.open()
        desk.page.press("b")
        drawn = desk.drag([(12, 50), (60, 71)])
        desk.name()
        time.sleep(KEPT_S)
        desk.open()
        assert desk.page.evaluate("document.querySelector('#note').hidden")
        assert np.array_equal(desk.mask(), START | stroke_reference(drawn, 20))


def test_without_any_storage_the_page_says_so_and_warns_at_the_end(desk: Desk) -> None:
    with before_load(desk.page, DENIED.format("indexedDB") + DENIED.format("localStorage")):
        desk.open()
        assert "does not keep your work" in desk.text("#note")
        desk.page.press("b")
        desk.drag([(12, 50), (60, 71)])
        desk.page.events.clear()
        desk.open()
        assert [each["type"] for each in desk.page.named("Page.javascriptDialogOpening")] == ["beforeunload"]
        assert desk.has_states("todo", "todo", "todo")


def test_without_compression_the_png_is_as_good(desk: Desk) -> None:
    with before_load(desk.page, "delete window.CompressionStream;"):
        desk.open()
        desk.name()
        assert np.array_equal(desk.mask(), START)


def test_names_with_quotes_and_markup_stay_names(desk: Desk) -> None:
    names = ("p1%2Fa", "ナディア", NASTY)
    told = [
        PageImage(NASTY, name, NASTY, image.picture, image.start, 0, None, NASTY)
        for name, image in zip(names, images(), strict=True)
    ]
    write_pages(desk.file.parent, NASTY, told, desk.saved.name + ".zip")
    desk.open()
    assert desk.text("h1") == NASTY and desk.text("#image-name") == NASTY and desk.text("#image-class") == NASTY
    for _ in names:
        desk.page.press("d")
    assert list(desk.zip()) == [f"{name}.png" for name in names]
    desk.page.evaluate("document.querySelectorAll('.image')[0].click()")
    assert desk.file_from("[data-action=one]").name == "p1%2Fa.png"


def test_a_name_beyond_latin_1_is_kept_in_the_png(desk: Desk) -> None:
    desk.name("Łucja Ōé")
    with Image.open(desk.file_from("[data-action=one]")) as picture:
        assert picture.text["annotator"] == "Łucja Ōé"


def test_the_name_is_asked_for_when_it_is_missing(desk: Desk) -> None:
    desk.name("")
    desk.page.evaluate("document.querySelector('#annotator').value = ''")
    desk.page.click("[data-action=one]")
    desk.page.type(NAME)
    assert np.array_equal(desk.checked(desk.file_from("#name-dialog button.primary").read_bytes()), START)


class TestSeconds:
    """What is counted as work; the clock of the browser is set by hand."""

    SKEWED = (
        "const real = performance.now.bind(performance); var skew = 0, away = %s;"
        "performance.now = () => real() + skew;"
        "Object.defineProperty(Document.prototype, 'hidden', {get: () => away});"
    )

    def open(self, desk: Desk, away: bool = False) -> None:
        with before_load(desk.page, self.SKEWED % json.dumps(away)):
            desk.open()

    def see(self, desk: Desk, away: bool) -> None:
        desk.page.evaluate(f"away = {json.dumps(away)}; document.dispatchEvent(new Event('visibilitychange'))")

    def counted(self, desk: Desk, *expected: int) -> bool:
        """Whether so many seconds are told after an input; a slow computer may add one or two."""
        desk.drag([(20, 20), (21, 20)])
        time.sleep(1.1)  # told each second
        minutes, seconds = desk.text("#image-time").split(" ")[0].split(":")
        return 60 * int(minutes) + int(seconds) in range(expected[0], expected[-1] + 3)

    def test_work_is_counted(self, desk: Desk) -> None:
        self.open(desk)
        desk.page.evaluate("skew += 10000")
        assert self.counted(desk, 10)

    def test_a_page_that_was_opened_in_the_background_begins_when_it_is_seen(self, desk: Desk) -> None:
        self.open(desk, away=True)
        desk.page.evaluate("skew += 8000")
        self.see(desk, away=False)
        assert self.counted(desk, 0)
        desk.page.evaluate("skew += 5000")
        assert self.counted(desk, 5)

    def test_a_page_that_is_never_seen_counts_nothing(self, desk: Desk) -> None:
        self.open(desk, away=True)
        desk.page.evaluate("skew += 8000")
        assert self.counted(desk, 0)

    def test_a_hidden_page_counts_nothing(self, desk: Desk) -> None:
        self.open(desk)
        self.see(desk, away=True)
        desk.page.evaluate("skew += 15000")
        self.see(desk, away=False)
        assert self.counted(desk, 0)

    def test_a_page_that_comes_back_from_the_cache_has_not_counted(self, desk: Desk) -> None:
        self.open(desk)
        turn = "dispatchEvent(new PageTransitionEvent('{}', {{persisted: true}}))"
        desk.page.evaluate(turn.format("pagehide"))
        desk.page.evaluate("skew += 15000")
        desk.page.evaluate(turn.format("pageshow"))
        assert self.counted(desk, 0)
        desk.page.evaluate("skew += 7000")
        assert self.counted(desk, 7)

    def test_a_computer_that_sleeps_does_not_work(self, desk: Desk) -> None:
        self.open(desk)
        desk.page.evaluate("skew += 4000")
        assert self.counted(desk, 4)
        desk.page.evaluate("skew += 7200000")
        assert self.counted(desk, 4)

    def clock(self, page: Page, script: str) -> list[float]:
        """What a clock tells under a time that is set: ``at(t)`` sets it, ``told`` collects."""
        source = (Path(page_module.__file__).parent / "web" / "clock.js").read_text()
        setting = "let time = 0; const told = [], clock = new Clock(true, () => time), at = (t) => { time = t; };"
        return page.evaluate(f"(() => {{ {source} {setting} {script} return told; }})()")

    def test_a_pause_counts_a_minute(self, tab: Page) -> None:
        pause = "for (let t = 1; t <= 7200; t++) { at(t); clock.beat(); } told.push(clock.tick()); at(7203);"
        assert self.clock(tab, f"{pause} told.push(clock.tick());") == [60, 3]

    def test_work_before_a_sleep_counts(self, tab: Page) -> None:
        slept = "for (let t = 1; t <= 30; t++) { at(t); clock.beat(); } at(9000); clock.beat(); at(9002);"
        assert self.clock(tab, f"{slept} told.push(clock.tick(), clock.tick());") == [32, 0]

    def test_a_clock_that_goes_back_takes_nothing_away(self, tab: Page) -> None:
        back = "at(10); told.push(clock.tick()); at(-500); told.push(clock.tick()); at(-497);"
        assert self.clock(tab, f"{back} told.push(clock.tick());") == [10, 0, 3]


QUIET = "delete window.BroadcastChannel; addEventListener('storage', (e) => e.stopImmediatePropagation(), true);"
"""A browser whose windows cannot tell each other anything."""
NO_CHANNEL = "delete window.BroadcastChannel;"
NO_DATABASE = DENIED.format("indexedDB")


class TestSeveralWindows:
    """A mask that was drawn is never overwritten by another window."""

    def elsewhere(self, desk: Desk, script: str = "") -> list[Point]:
        """Finish the first image in a second window, which then is closed."""
        session = desk.page.window(desk.file, script)
        with desk.page.at(session):
            desk.ready()
            if QUIET not in script:
                self.wait_for_note(desk, "another window")
            desk.page.press("b")
            desk.brush(9)
            drawn = desk.drag([(12, 50), (60, 71)])
            desk.page.press("d")
            time.sleep(KEPT_S)
            assert desk.has_states("done", "todo", "todo")
        desk.page.shut(session)
        self.wait_for_note(desk, "")
        return drawn

    def wait_for_note(self, desk: Desk, part: str) -> None:
        """Wait for a warning; the picture moves to make room for it."""
        note = "document.querySelector('#note')"
        desk.page.wait(f"{note}.textContent.includes({json.dumps(part)})" if part else f"{note}.hidden")
        time.sleep(0.2)

    def reopened(self, desk: Desk, script: str = "") -> np.ndarray:
        """The mask of the first image after everything was closed and opened again."""
        time.sleep(KEPT_S)
        with before_load(desk.page, script):
            desk.open()
            desk.page.evaluate("document.querySelectorAll('.image')[0].click()")
            desk.name()
            return desk.mask()

    @pytest.mark.parametrize("script", ["", NO_CHANNEL, QUIET, QUIET + NO_DATABASE, NO_DATABASE])
    def test_a_finished_mask_stays(self, desk: Desk, script: str) -> None:
        with before_load(desk.page, script):
            desk.open()
        desk.name()
        drawn = self.elsewhere(desk, script)
        desk.drag([(20, 20), (30, 30)])
        if QUIET in script:
            desk.page.wait("document.querySelector('#say').textContent.includes('another window')")
            assert "not in it" in desk.text("#say")
            assert desk.has_states("done", "todo", "todo")
            assert np.array_equal(desk.mask(), START | stroke_reference(drawn, 9))
            assert np.array_equal(self.reopened(desk, script), START | stroke_reference(drawn, 9))
        else:  # it was told before the stroke, which so is drawn upon the finished mask
            time.sleep(0.1)
            assert (START | stroke_reference(drawn, 9))[~desk.mask()].sum() == 0
            assert desk.has_states("done", "todo", "todo")

    @pytest.mark.parametrize("action", ["reset", "clear", "undo", "skip", "done"])
    def test_no_button_overwrites_it(self, desk: Desk, action: str) -> None:
        with before_load(desk.page, QUIET):
            desk.open()
        desk.name()
        desk.page.press("b")
        desk.brush(9)
        ours = desk.drag([(20, 20), (30, 30)])
        time.sleep(KEPT_S)  # kept; there is a step to undo, and a proposal to go back to
        theirs = self.elsewhere(desk, QUIET)
        if action == "done":
            desk.page.press("d")
        else:
            desk.page.click(f"[data-action={action}]")
        if action == "skip":
            desk.page.click("#skip-dialog button.primary")
        assert desk.has_states("done", "todo", "todo")
        expected = START | stroke_reference(ours, 9) | stroke_reference(theirs, 9)
        assert np.array_equal(self.reopened(desk, QUIET), expected)

    def test_windows_are_told_of_each_other_and_of_the_end(self, desk: Desk) -> None:
        sessions = [desk.page.window(desk.file) for _ in range(2)]
        for session in sessions:
            with desk.page.at(session):
                self.wait_for_note(desk, "2 other windows")
        self.wait_for_note(desk, "2 other windows")
        with desk.page.at(sessions[1]):
            desk.page.call("Page.navigate", url="about:blank")
        self.wait_for_note(desk, "another window")
        with desk.page.at(sessions[0]):
            self.wait_for_note(desk, "another window")
            desk.page.call("Page.navigate", url="about:blank")
        self.wait_for_note(desk, "")

    def test_a_window_that_crashed_is_forgotten(self, desk: Desk) -> None:
        quietly = "addEventListener('pagehide', (event) => event.stopImmediatePropagation(), true);"
        session = desk.page.window(desk.file, quietly)
        self.wait_for_note(desk, "another window")
        desk.page.shut(session)
        time.sleep(0.5)
        desk.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # looked at again
        self.wait_for_note(desk, "")

    @pytest.mark.parametrize("script", [NO_CHANNEL, DENIED.format("localStorage")])
    def test_one_way_of_telling_is_enough(self, desk: Desk, script: str) -> None:
        with before_load(desk.page, script):
            desk.open()
        session = desk.page.window(desk.file, script)
        self.wait_for_note(desk, "another window")
        with desk.page.at(session):
            self.wait_for_note(desk, "another window")

    def test_a_window_without_any_way_of_telling_works(self, desk: Desk) -> None:
        with before_load(desk.page, NO_CHANNEL + DENIED.format("localStorage")):
            desk.open()
        assert desk.page.evaluate("document.querySelector('#note').hidden")

    def test_who_only_looks_does_not_disturb_who_draws(self, desk: Desk) -> None:
        with before_load(desk.page, QUIET):
            desk.open()
        desk.name()
        desk.page.press("b")
        desk.brush(9)
        first = desk.drag([(12, 50), (60, 71)])
        time.sleep(KEPT_S)
        session = desk.page.window(desk.file, QUIET)
        with desk.page.at(session):
            desk.ready()
            for key in "npnp":
                desk.page.press(key)
            time.sleep(0.5)
        second = desk.drag([(20, 20), (40, 20)])
        with desk.page.at(session):
            desk.page.press("n")  # leaves the image, of which it has an old version
            time.sleep(0.5)
        time.sleep(KEPT_S)
        expected = START | stroke_reference(first, 9) | stroke_reference(second, 9)
        assert np.array_equal(desk.mask(), expected)
        desk.page.press("z", "ctrl")
        assert np.array_equal(desk.mask(), START | stroke_reference(first, 9))
        assert np.array_equal(self.reopened(desk), START | stroke_reference(first, 9))

    def test_three_windows_show_what_was_drawn_last(self, desk: Desk) -> None:
        sessions = [desk.page.window(desk.file) for _ in range(2)]
        expected = START.copy()
        for step, session in enumerate([*sessions, *sessions]):
            with desk.page.at(session):
                self.wait_for_note(desk, "2 other windows")
                desk.page.press("b")
                desk.brush(9)
                drawn = desk.drag([(12 + 9 * step, 50), (20 + 9 * step, 71)])
                expected |= stroke_reference(drawn, 9)
                time.sleep(KEPT_S)
        assert desk.has_states("begun", "todo", "todo")
        assert np.array_equal(desk.mask(), expected)
        assert np.array_equal(self.reopened(desk), expected)

    def test_a_window_that_ends_before_its_write_does_no_harm(self, desk: Desk) -> None:
        with before_load(desk.page, QUIET):
            desk.open()
        desk.name()
        session = desk.page.window(desk.file, QUIET)
        with desk.page.at(session):
            desk.ready()
            desk.page.press("b")
            desk.brush(9)
            theirs = START | stroke_reference(desk.drag([(12, 50), (60, 71)]), 9)
        desk.page.shut(session)
        time.sleep(0.3)
        desk.page.press("b")
        desk.brush(9)
        ours = START | stroke_reference(desk.drag([(20, 20), (40, 20)]), 9)
        time.sleep(KEPT_S)
        told = desk.text("#say")  # before the mask is read, which says that it was saved
        shown = desk.mask()
        assert np.array_equal(shown, theirs if "another window" in told else ours)
        assert np.array_equal(self.reopened(desk), shown)

    def test_after_the_browser_was_cleared_work_is_kept_anew(self, desk: Desk) -> None:
        desk.page.press("b")
        desk.brush(9)
        first = desk.drag([(12, 50), (60, 71)])
        time.sleep(KEPT_S)
        desk.page.evaluate(
            "new Promise((done) => { const r = indexedDB.open('annotate'); r.onsuccess = () => {"
            " const t = r.result.transaction('records', 'readwrite'); t.objectStore('records').clear();"
            " t.oncomplete = () => { r.result.close(); done(); }; }; })"
        )
        second = desk.drag([(20, 20), (40, 20)])
        expected = START | stroke_reference(first, 9) | stroke_reference(second, 9)
        assert np.array_equal(self.reopened(desk), expected)

    def test_work_of_the_page_before_versions_is_taken_over(self, desk: Desk) -> None:
        desk.page.press("b")
        desk.brush(9)
        first = desk.drag([(12, 50), (60, 71)])
        time.sleep(KEPT_S)
        desk.page.evaluate(
            "new Promise((done) => { const r = indexedDB.open('annotate'); r.onsuccess = () => {"
            " const s = r.result.transaction('records', 'readwrite').objectStore('records');"
            " s.openCursor().onsuccess = ({target: {result: c}}) => { if (!c) { r.result.close(); done(); return; }"
            " const {version, ...old} = c.value ?? {}; if (old.state) c.update(old); c.continue(); }; }; })"
        )
        desk.open()
        desk.name()
        assert np.array_equal(desk.mask(), START | stroke_reference(first, 9))
        desk.page.press("b")
        desk.brush(9)
        second = desk.drag([(20, 20), (40, 20)])
        assert np.array_equal(self.reopened(desk), START | stroke_reference(first, 9) | stroke_reference(second, 9))


class TestSeveralPages:
    """A round that is too large for one page, in small."""

    @pytest.fixture
    def pages(self, desk: Desk, request: pytest.FixtureRequest) -> list[Path]:
        told = [
            PageImage(each.id, each.name, each.label, each.picture, each.start, each.rank, 0.5, "by lot", each.picture)
            for each in images()
        ]
        folder = desk.file.parent
        return write_pages(folder, f"several {request.node.name}", told, desk.saved.name + ".zip", most_bytes=1)

    def open(self, desk: Desk, page: Path) -> None:
        desk.file = page
        desk.open()
        desk.page.wait("document.querySelector('#opening').hidden")
        desk.name()

    def test_each_page_has_its_images_links_and_zip(self, desk: Desk, pages: list[Path]) -> None:
        assert [page.name for page in pages] == [f"annotate_{i}.html" for i in (1, 2, 3)]
        self.open(desk, pages[0])
        assert (desk.text("#image-name"), desk.text("#pages")) == ("a", "Page 1 2 3")
        desk.page.press("d")
        desk.page.wait("document.querySelector('#say').textContent.includes('annotate_2.html')")
        path = desk.file_from("#save")
        assert path.name == desk.saved.name + "_1.zip"
        assert "annotate_2.html" in desk.text("#ask-text")
        desk.page.click("#ask-yes")
        desk.page.click("#page-links a")  # the second page
        desk.page.wait("location.href.endsWith('annotate_2.html') && !!document.querySelector('#stage')?.dataset.zoom")
        assert (
            desk.text("#image-name") == "b" and desk.page.evaluate("document.querySelector('#annotator').value") == NAME
        )

    def test_places_are_those_in_the_round(self, desk: Desk, pages: list[Path]) -> None:
        self.open(desk, pages[1])
        assert desk.text("#image-place").startswith("2 of 3")
        assert desk.text("#progress-text") == "0 of 1 finished on this page"

    def test_the_last_page_names_no_other(self, desk: Desk, pages: list[Path]) -> None:
        self.open(desk, pages[2])
        desk.page.press("d")
        desk.page.wait("document.querySelector('#say').textContent.includes('Press Save masks.')")
        assert "annotate" not in desk.text("#say")

    def test_pages_are_no_windows_of_each_other(self, desk: Desk, pages: list[Path]) -> None:
        self.open(desk, pages[0])
        session = desk.page.window(pages[1])
        with desk.page.at(session):
            desk.ready()
            time.sleep(0.6)
            assert desk.page.evaluate("document.querySelector('#note').hidden")
        assert desk.page.evaluate("document.querySelector('#note').hidden")

    def test_work_follows_an_image_to_another_page(self, desk: Desk) -> None:
        desk.page.press("b")
        desk.brush(9)
        drawn = desk.drag([(12, 50), (60, 71)])
        desk.page.press("d")
        time.sleep(KEPT_S)
        title = desk.text("h1")
        desk.page.open(Path("/dev/null"))
        first, *_ = write_pages(desk.file.parent, title, images(), desk.saved.name + ".zip", most_bytes=1)
        self.open(desk, first)
        assert desk.has_states("done")
        assert np.array_equal(desk.mask(), START | stroke_reference(drawn, 9))


def coloured(count: int = 6) -> list[PageImage]:
    """Images of 300 x 200 pixels in one colour each, with a map of another colour."""
    told = []
    for i in range(count):
        colour = np.array([40 * i, 255 - 40 * i, 90], np.uint8)
        picture = held(png(np.ones((200, 300, 1), np.uint8) * colour))
        start = held(png(np.zeros((200, 300), np.uint8)))
        cam = held(png(np.ones((200, 300, 1), np.uint8) * colour[::-1]))
        told.append(PageImage(str(i), str(i), "benign", picture, start, i, None, "by lot", cam))
    return told


MIDDLE = (
    "(() => { const c = document.querySelector('#picture'), x = c.getContext('2d');"
    " return [...x.getImageData(c.width >> 1, c.height >> 1, 1, 1).data]; })()"
)


def shows(desk: Desk, colour: list[int]) -> bool:
    return desk.page.wait(f"{MIDDLE}.join() === {json.dumps(','.join(map(str, [*colour, 255])))}", 5)


class TestPictures:
    def test_pictures_are_shown_losslessly_in_any_order(self, desk: Desk) -> None:
        write_pages(desk.file.parent, "colours", coloured(), "m.zip")
        desk.open()
        for i in (0, 1, 2, 3, 4, 5, 0, 5, 3, 1):
            desk.page.evaluate(f"document.querySelectorAll('.image')[{i}].click()")
            assert shows(desk, [40 * i, 255 - 40 * i, 90])
        desk.page.press("h")
        assert shows(desk, [90, 215, 40])

    def test_hurrying_through_the_list_ends_at_the_last(self, desk: Desk) -> None:
        write_pages(desk.file.parent, "colours", coloured(), "m.zip")
        desk.open()
        late = (  # what is asked for first comes last
            "(() => { const make = createImageBitmap; let count = 0; window.createImageBitmap = async (...given) => {"
            " await new Promise((done) => setTimeout(done, Math.max(0, 150 - 15 * count++))); return make(...given); };"
            "})();"
        )
        hurry = "const all = document.querySelectorAll('.image'); for (const i of {}) all[i].click();"
        for way in ([1, 2, 3, 4, 5], [4, 3, 2, 1, 0, 5, 4, 3, 2], [0, 1, 0, 1, 2, 3, 4, 5, 0]):
            desk.page.evaluate(f"(() => {{ {late} {hurry.format(way)} }})()")
            assert shows(desk, [40 * way[-1], 255 - 40 * way[-1], 90])
            time.sleep(0.6)
            assert shows(desk, [40 * way[-1], 255 - 40 * way[-1], 90])

    def test_few_pictures_are_held_decoded(self, desk: Desk) -> None:
        count = (
            "var open = 0, most = 0; const make = createImageBitmap, close = ImageBitmap.prototype.close;"
            "window.createImageBitmap = async (...a) => { const b = await make(...a);"
            " if (b.width === 300) most = Math.max(most, ++open); return b; };"
            "ImageBitmap.prototype.close = function () { if (this.width === 300) open--; close.call(this); };"
        )
        write_pages(desk.file.parent, "colours", coloured(), "m.zip")
        with before_load(desk.page, count):
            desk.open()
        assert shows(desk, [0, 255, 90])
        for i in (1, 2, 3, 4, 5, 0):
            desk.page.press("n") if i else desk.page.evaluate("document.querySelectorAll('.image')[0].click()")
            assert shows(desk, [40 * i, 255 - 40 * i, 90])
        time.sleep(0.1)
        assert desk.page.evaluate("open") == 6  # pictures and maps of three
        assert desk.page.evaluate("most") <= 8

    def test_a_picture_that_cannot_be_decoded_is_told_and_the_others_work(self, desk: Desk) -> None:
        (page,) = write_pages(desk.file.parent, "colours", coloured(3), "m.zip")
        text = page.read_text()
        at = text.index('id="picture-1">')
        page.write_text(text[: at + 15] + "AAAA" + text[at + 19 :])
        desk.open()
        desk.page.press("n")
        desk.page.wait("document.querySelector('#say').textContent.includes('cannot be shown')")
        desk.page.press("n")
        assert shows(desk, [80, 175, 90])


def test_a_page_larger_than_any_text_shows_its_pictures(desk: Desk) -> None:
    """Beyond 2^29 letters, where a text is empty; by the bound on pages none grows so large."""
    noise = png(np.random.default_rng(0).integers(0, 255, (2000, 3000, 3), dtype=np.uint8))
    start = png(np.zeros((2000, 3000), np.uint8))
    told = [
        PageImage(str(i), str(i), "benign", held(noise), held(start), i, None, "by lot", held(noise)) for i in range(12)
    ]
    (page,) = write_pages(desk.file.parent, "large", told, "m.zip", most_bytes=2**40)
    assert page.stat().st_size > 2**29
    desk.page.open(page, 90)
    desk.page.wait("document.querySelector('#opening')?.hidden", 90)
    for _ in range(2):
        desk.page.wait(f"{MIDDLE}[3] === 255", 10)
        desk.page.press("n")
    page.unlink()


class TestFaultsAtTheStart:
    @pytest.mark.parametrize(
        ("old", "new"),
        [('id="data">{', 'id="data">'), ('id="data"', 'id="gone"'), ('id="start-0"', 'id="gone"')],
    )
    def test_nobody_is_asked_to_save_what_is_not_there(self, desk: Desk, old: str, new: str) -> None:
        desk.file.write_text(desk.file.read_text().replace(old, new, 1))
        desk.page.open(desk.file)
        desk.page.wait("document.querySelector('#note')?.textContent")
        assert "cannot be opened" in desk.text("#note") and "Save" not in desk.text("#note")
        assert desk.page.evaluate("document.querySelector('#opening').hidden")
        desk.page.events.clear()

    def test_a_file_that_was_cut_says_so(self, desk: Desk) -> None:
        content = desk.file.read_bytes()
        desk.file.write_bytes(content[: content.rindex(b"<script>") + 100])
        desk.page.open(desk.file)
        desk.page.wait("document.readyState === 'complete'")
        assert "not complete" in desk.text("#opening")
        assert not desk.page.evaluate("document.querySelector('#opening').hidden")
        desk.page.events.clear()

    def test_a_later_fault_asks_to_save(self, desk: Desk) -> None:
        desk.page.wait("document.querySelector('#opening').hidden")
        desk.page.evaluate("setTimeout(() => { throw new Error('made for the test'); })")
        desk.page.wait("!document.querySelector('#note').hidden")
        assert "Save the masks" in desk.text("#note")
        desk.page.events.clear()


class TestColour:
    THUMB = (
        "(() => { const c = document.querySelector('.image canvas'), x = c.getContext('2d');"
        " return [...x.getImageData(98, 30, 1, 1).data]; })()"
    )

    def choose(self, desk: Desk, colour: str) -> None:
        desk.page.evaluate(
            f"(() => {{ const c = document.querySelector('#colour'); c.value = {json.dumps(colour)};"
            " for (const kind of ['input', 'change']) c.dispatchEvent(new Event(kind)); })()"
        )

    def test_a_chosen_colour_is_that_of_thumbnails_and_stays(self, desk: Desk) -> None:
        desk.page.wait(f"{self.THUMB}[3] === 255")
        before = desk.page.evaluate(self.THUMB)
        self.choose(desk, "#ff0000")
        red = desk.page.evaluate(self.THUMB)
        assert red[0] > before[0] + 30 and red[1] < before[1] - 30
        desk.open()
        desk.page.wait(f"{self.THUMB}[3] === 255 && document.querySelector('#opening').hidden")
        assert desk.page.evaluate("document.querySelector('#colour').value") == "#ff0000"
        assert np.abs(np.subtract(desk.page.evaluate(self.THUMB), red)).max() <= 2
        self.choose(desk, "#56dcff")

    def test_without_storage_it_lasts_as_long_as_the_page(self, desk: Desk) -> None:
        with before_load(desk.page, DENIED.format("localStorage")):
            desk.open()
            self.choose(desk, "#00ff00")
            assert desk.page.evaluate("document.querySelector('#note').hidden")
            desk.open()
            assert desk.page.evaluate("document.querySelector('#colour').value") == "#56dcff"

    @pytest.mark.parametrize("kept", ["red", "#12345", "", "#1234567", "url(x)"])
    def test_what_is_no_colour_is_passed_over(self, desk: Desk, kept: str) -> None:
        desk.page.evaluate(f"localStorage.setItem('annotate/colour', {json.dumps(kept)})")
        desk.open()
        assert desk.page.evaluate("document.querySelector('#colour').value") == "#56dcff"
        desk.page.evaluate("localStorage.removeItem('annotate/colour')")


@pytest.mark.parametrize(("width", "height"), [(360, 640), (320, 480), (800, 500), (640, 360)])
def test_there_is_room_to_draw_on_a_small_window(desk: Desk, width: int, height: int) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    desk.page.call("Emulation.setDeviceMetricsOverride", **size)
    desk.open()
    box = desk.page.evaluate("document.querySelector('#stage').getBoundingClientRect().toJSON()")
    name = desk.page.evaluate("document.querySelector('.about h2').getBoundingClientRect().toJSON()")
    decide = desk.page.evaluate("document.querySelector('.decide').getBoundingClientRect().toJSON()")
    aside = desk.page.evaluate("document.querySelector('aside').getBoundingClientRect().toJSON()")
    desk.page.call("Emulation.setDeviceMetricsOverride", **(size | {"width": 1280, "height": 800}))
    assert box["height"] >= 240 and box["width"] >= 300
    assert name["width"] > 100
    assert box["bottom"] <= decide["top"] and decide["bottom"] <= aside["top"]


@pytest.fixture
def box_desk(tab: Page, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """A page that takes boxes, opened."""
    with opened(tab, tmp_path, request.node.name, "shown") as desk:
        yield desk


class TestBoxes:
    def boxes(self, desk: Desk) -> list[list[int]]:
        path = desk.file_from("[data-action=one]")
        told = json.loads(path.read_bytes())
        assert (path.name, told["annotator"]) == ("a.json", NAME)
        assert 0 <= float(told["seconds"]) < 60
        return told["boxes"]

    def drag(self, desk: Desk, first: Point, last: Point, button: str = "left") -> list[int]:
        (x0, y0), (x1, y1) = desk.drag([first, last], button)
        return [round(each) for each in (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))]

    def test_boxes_are_handed_in_in_place_of_the_mask(self, box_desk: Desk) -> None:
        box_desk.page.press("x")
        first = self.drag(box_desk, (20, 10), (60, 50))
        second = self.drag(box_desk, (100, 80), (70, 30))  # from the lower right corner
        for found, expected in zip(self.boxes(box_desk), (first, second), strict=True):
            assert np.abs(np.subtract(found, expected)).max() <= 1  # the screen has pixels of its own
        box_desk.page.press("d")
        assert box_desk.has_states("done", "todo", "todo")
        content = box_desk.zip()
        assert list(content) == ["a.json"]
        found = read_boxes(Path("a.json"), Picture((HEIGHT, WIDTH)), content["a.json"])
        assert found is not None and len(found) == 2

    def test_they_go_by_a_click_by_undo_and_by_clear_and_the_mask_is_as_before(self, box_desk: Desk) -> None:
        box_desk.page.press("x")
        drawn = [self.drag(box_desk, (5, 5), (80, 80)), self.drag(box_desk, (20, 20), (40, 40))]
        self.drag(box_desk, (90, 60), (120, 85))
        box_desk.page.press("z", "ctrl")
        assert len(self.boxes(box_desk)) == 2
        box_desk.drag([(30.0, 30.0)], "right")  # the smaller one of both
        (left,) = self.boxes(box_desk)
        assert np.abs(np.subtract(left, drawn[0])).max() <= 1
        box_desk.page.click("[data-action=clear]")
        assert np.array_equal(box_desk.mask(), START)

    def test_steps_of_boxes_and_of_the_mask_are_undone_in_their_order(self, box_desk: Desk) -> None:
        box_desk.page.press("b")
        box_desk.brush(9)
        stroke = stroke_reference(box_desk.drag([(12, 50), (60, 71)]), 9)
        box_desk.page.press("x")
        self.drag(box_desk, (90, 60), (120, 85))
        box_desk.page.click("[data-action=clear]")
        box_desk.page.press("z", "ctrl")  # the box is there again
        assert len(self.boxes(box_desk)) == 1
        box_desk.page.press("z", "ctrl")
        assert np.array_equal(box_desk.mask(), START | stroke)
        box_desk.page.press("z", "ctrl")
        assert np.array_equal(box_desk.mask(), START)
        box_desk.page.press("Z", "ctrl", "shift")
        assert np.array_equal(box_desk.mask(), START | stroke)
        box_desk.page.press("Z", "ctrl", "shift")
        assert len(self.boxes(box_desk)) == 1

    def test_what_was_drawn_upon_an_earlier_proposal_is_shown(self, box_desk: Desk, tmp_path: Path) -> None:
        """Somebody's boxes have put another proposal in its place meanwhile."""
        box_desk.page.press("b")
        box_desk.brush(9)
        stroke = stroke_reference(box_desk.drag([(12, 50), (60, 71)]), 9)
        time.sleep(KEPT_S)
        other = held(png(np.uint8(255) * np.roll(START, 30, axis=0)))
        title = box_desk.page.evaluate("document.title")
        changed = [replace(image, start=other, earlier=(image.start,)) for image in images()]
        write_pages(tmp_path, title, changed, box_desk.saved.name + ".zip", boxes="shown")
        box_desk.open()
        assert np.array_equal(box_desk.mask(), START | stroke)
        box_desk.page.press("n")
        path = box_desk.file_from("[data-action=one]")
        assert np.array_equal(box_desk.checked(path.read_bytes()), np.roll(START, 30, axis=0))

    def test_a_slip_of_the_hand_is_no_box_and_the_picture_is_the_limit(self, box_desk: Desk) -> None:
        box_desk.page.press("x")
        box_desk.drag([(30.0, 30.0)])
        assert "Drag from one corner" in box_desk.text("#say")
        self.drag(box_desk, (100, 70), (WIDTH + 20, HEIGHT + 10))
        (found,) = self.boxes(box_desk)
        assert found[2:] == [WIDTH, HEIGHT]

    def test_they_are_there_when_the_page_is_opened_again(self, box_desk: Desk) -> None:
        box_desk.page.press("x")
        self.drag(box_desk, (20, 10), (60, 50))
        before = self.boxes(box_desk)
        time.sleep(KEPT_S)
        box_desk.open()
        assert self.boxes(box_desk) == before

    def test_a_page_of_a_run_without_a_model_offers_none(self, desk: Desk) -> None:
        assert desk.page.evaluate("document.querySelector('#boxes').hidden") is True
        desk.page.press("x")
        assert desk.page.evaluate("document.querySelector('[data-action=brush]').ariaPressed") == "true"
