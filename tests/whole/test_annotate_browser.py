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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from PIL import Image, ImageDraw

from scripts.annotation.page import PageImage, write_pages
from tests.annotation.test_page import NASTY, held, png
from tests.support.browser import Page, browser, find_chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium or Chrome on the path"),
]
HEIGHT, WIDTH = 90, 130
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


@pytest.fixture
def desk(tab: Page, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """A page of three images that no other test has drawn on, opened."""
    saved = tmp_path / "out"
    saved.mkdir()
    tab.downloads_to(saved)
    (file,) = write_pages(tmp_path, request.node.name, images(), saved.name + ".zip")
    desk = Desk(tab, file, saved)
    tab.events.clear()
    desk.open()
    desk.name()
    yield desk
    assert tab.faults == []


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
    time.sleep(0.8)  # kept half a second after a stroke
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
    time.sleep(0.8)
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


def test_pauses_are_not_counted(desk: Desk) -> None:
    script = "const real = performance.now.bind(performance); var skew = 0; performance.now = () => real() + skew;"
    with before_load(desk.page, script):
        desk.open()
    desk.page.evaluate("skew += 10000")
    desk.drag([(20, 20), (21, 20)])
    desk.page.evaluate("skew += 7200000")
    desk.drag([(20, 20), (21, 20)])
    desk.page.wait("document.querySelector('#image-time').textContent.startsWith('1:1')")  # 10 s, and 60 s of the pause


DENIED = "Object.defineProperty(window, '{}', {{ get() {{ throw new DOMException('denied', 'SecurityError'); }} }});"


def test_without_a_database_the_work_is_kept_as_text(desk: Desk) -> None:
    with before_load(desk.page, DENIED.format("indexedDB")):
        desk.open()
        desk.page.press("b")
        drawn = desk.drag([(12, 50), (60, 71)])
        desk.name()
        time.sleep(0.8)
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


def test_a_second_window_is_warned(desk: Desk) -> None:
    with desk.page.tab(desk.file):
        desk.page.wait("document.querySelector('#note')?.textContent.includes('another window')")


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
