"""The report: complete, self-contained, the same bytes twice, and honest about what it could not read."""

from __future__ import annotations

import io
import re
import shutil
import sqlite3
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from scripts.core.errors import StateError
from scripts.images.png import mask_to_png
from scripts.images.targets import PixelTarget
from scripts.report.page import NONE, TEMPLATE, write_report
from scripts.state.desk import Desk
from scripts.state.rows import LabelRow, RefusalRow
from scripts.state.run_state import RunState
from tests.support.small_runs import make_run

VOID = {"meta", "img"}


class _Checker(HTMLParser):
    """Collects links and text, and fails on a tag that is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def _parsed(page: Path) -> tuple[list[str], str]:
    checker = _Checker()
    checker.feed(page.read_text())
    assert checker.open == []
    return checker.sources, " ".join(" ".join(checker.words).split())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        make_run(folder / f"label_prop_seed{seed}", "label_prop", seed, [0.6 + seed / 10, 0.7, 0.8])
        make_run(folder / "more" / f"random_seed{seed}", "random", seed, [0.5, 0.6, 0.65 + seed / 10])
    make_run(folder / "full_sup", "full_sup", 0, [0.9], per_round=10)
    return folder


@pytest.fixture
def output(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "runs")


def test_page_needs_nothing_but_itself(output: Path) -> None:
    page = write_report(output)
    assert page == output / "report.html"
    sources, _ = _parsed(page)
    assert sources
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    assert not re.search(r"<script|<link|@import|url\(|https?://", page.read_text())
    assert Image.open(output / "learning_curve.png").size[0] > 600


def test_result_has_means_over_seeds(output: Path) -> None:
    _, words = _parsed(write_report(output))
    assert "Label propagation 2 3 2 to 6 0.6500 ± 0.0500 0.8000 ± 0.0000" in words
    assert "Random 2 3 2 to 6 0.5000 ± 0.0000 0.7000 ± 0.0500" in words
    assert f"Full supervision 1 {NONE} 10 {NONE} 0.9000" in words


def test_details_of_a_run_are_there(output: Path) -> None:
    _, words = _parsed(write_report(output))
    assert "training 5 5 10 validation 2 2 4 test 3 3 6" in words
    assert "d" * 64 in words
    assert "benign malignant all" in words
    assert "0 after it 8 1 0.0000 0.0700 0.1400 0.41 0.5500" in words
    assert "Provenance of the 4 pseudo-masks of round 2" in words
    assert "train_7 train_0 0.0200 0.41" in words
    assert "active#seed" in words


def test_same_runs_same_bytes_and_no_lock_needed(output: Path) -> None:
    first = write_report(output).read_bytes()
    with RunState.open(output / "full_sup"):
        assert write_report(output).read_bytes() == first


def test_overlays_are_embedded_sparingly_and_a_broken_one_is_named(output: Path) -> None:
    picture = io.BytesIO()
    Image.fromarray(np.full((40, 200, 3), 90, np.uint8)).save(picture, "PNG")
    for seed in (0, 1):
        for at in range(20):
            folder = output / f"label_prop_seed{seed}" / "overlays" / f"round_{at:02d}"
            folder.mkdir(parents=True)
            for name in "abc":
                (folder / f"{name}.png").write_bytes(picture.getvalue())
    (output / "label_prop_seed0" / "overlays" / "round_00" / "a.png").write_bytes(b"no png")
    page = write_report(output)
    sources, words = _parsed(page)
    assert sum(source.startswith("data:image/jpeg") for source in sources) == 15
    assert "a.png cannot be read" in words
    assert "16 of 60 pictures" in words
    assert "alt='round 19: b'" in page.read_text()


def test_names_from_outside_are_escaped(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "<script>alert(1)</script>", 0, [0.5], note="<b>&</b>")
    content = write_report(tmp_path).read_text()
    assert "<script" not in content
    assert "&lt;b&gt;&amp;&lt;/b&gt;" in content


def test_one_run_in_the_folder_itself_and_unfinished_ones(tmp_path: Path) -> None:
    make_run(tmp_path, "random", 0, [], patients_in_several_splits=7)
    _, words = _parsed(write_report(tmp_path))
    assert "not evaluated yet" in words
    assert "7 patients have images in several splits" in words


def test_images_that_were_left_out_are_listed_with_the_reason(tmp_path: Path) -> None:
    with RunState.open(tmp_path / "run") as state:
        settings = {"method": "random", "seed": 5}
        state.register_run(settings, (), [], "e" * 64, {"b_2": "b_2.png: file is <empty>", "a_1": "mask: soft edges"})
    page = write_report(tmp_path)
    _, words = _parsed(page)
    assert "2 images were left out, because their files cannot be used" in words
    assert "image reason a_1 mask: soft edges b_2 b_2.png: file is <empty>" in words
    assert "&lt;empty&gt;" in page.read_text()


def test_a_damaged_run_is_named_and_the_others_reported(output: Path) -> None:
    (output / "full_sup" / "state.sqlite").write_bytes(b"not a database")
    _, words = _parsed(write_report(output))
    assert "full_sup could not be read" in words
    assert "Label propagation 2 3" in words


def test_annotators_and_what_they_did(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "random", 0, [0.5])
    with Desk.open(run) as desk:
        for user, left, seconds, kind in (("anna", 0, 20.0, "box"), ("ben", 10, 0.0, "outline")):
            mask = np.zeros((40, 40), np.uint8)
            mask[:20, left : left + 20] = 1
            desk.submit(LabelRow("train_8", None, "", 400, 76, seconds, user=user, kind=kind), mask_to_png(mask))
        desk.skip("train_9", "anna", "torn slide")
        desk.refuse(RefusalRow("train_7", "carl", "2026-01-02T03:04:05Z", "x.png", "0" * 64, "soft edges"))
    page = write_report(tmp_path)
    _, words = _parsed(page)
    assert f"anna 1 1 1 0 20 20 400 76 ben 1 0 1 0 {NONE} {NONE} 400 76 carl 0 0 0 1 {NONE} {NONE} 0 0" in words
    # Halves overlap: Dice 1/2; no majority in the other halves.
    assert "Images with several annotators: 1 image annotators agreement" in words
    assert "train_8 anna, ben 0.5000 200 400 The run learns the majority of the annotators' latest masks" in words
    assert "Images that cannot be drawn: 1" in words
    assert "torn slide" in words
    assert "Masks that were not taken: 1" in words
    assert "train_7 carl 2026-01-02T03:04:05Z x.png soft edges" in words
    assert page.read_text().count("<h3>Annotators</h3>") == 1


def test_a_run_without_annotators_has_no_part_about_them(output: Path) -> None:
    assert "Annotators" not in write_report(output).read_text()


def test_numbers_are_set_right_and_hashes_may_wrap(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "random", 0, [0.5], digest="a" * 64, number=-1.5, text="1 to 2")
    page = write_report(tmp_path).read_text()
    assert "<td>number</td><td class='n'>-1.5</td>" in page
    assert f"<td>digest</td><td class='hash'>{'a' * 64}</td>" in page
    assert "<td>text</td><td>1 to 2</td>" in page


def test_settings_that_differ_are_told_apart_from_those_that_do_not(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "random", 0, [0.5], width=8, only_here=None)
    make_run(tmp_path / "b", "random", 0, [0.5], width=16)
    _, words = _parsed(write_report(tmp_path))
    assert f"What tells the runs apart setting a b only_here {NONE} {NONE} width 8 16 Settings of every run" in words


def test_a_value_that_the_page_lacks_is_an_error_and_no_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path, "random", 0, [])
    monkeypatch.setattr("scripts.report.page.run_section", lambda *_, **__: {"people": {}})
    with pytest.raises(UndefinedError, match="annotators"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_the_template_is_part_of_the_package() -> None:
    root = Path(__file__).resolve().parents[2]
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    found = {
        path.name
        for folder, those in patterns.items()
        for glob in those
        for path in root.glob(f"{folder.replace('.', '/')}/{glob}")
    }
    assert TEMPLATE in found


def test_data_lists_are_shown_once_with_the_runs_that_use_them(output: Path) -> None:
    assert write_report(output).read_text().count("Images per split and class") == 1
    with RunState.open(output / "other") as state:
        state.register_run({"method": "random", "seed": 5}, (), [], "e" * 64)
    _, words = _parsed(write_report(output))
    assert words.count("Images per split and class") == 2
    assert "Data more/random_seed0, more/random_seed1, label_prop_seed0, label_prop_seed1, full_sup Images" in words


def test_runs_on_other_data_are_warned_of(output: Path) -> None:
    with RunState.open(output / "other") as state:
        state.register_run({"method": "random", "seed": 5}, (), [], "e" * 64)
    _, words = _parsed(write_report(output))
    assert "made on different data" in words


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="holds no run"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_chain_is_told_by_its_steps_and_weights(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "label_prop", 0, [0.5], active={"preset": {"chain": [{"_target_": "a.step"}]}})
    target = np.zeros((10, 10), np.uint8)
    weight, origin = np.full_like(target, 255), np.zeros_like(target)
    weight[:5], origin[:2] = 0, 1
    made = PixelTarget(target, weight, origin).to_png()
    with sqlite3.connect(run / "state.sqlite") as db:
        (name,) = db.execute("SELECT blob FROM pseudo WHERE round = 0 AND stage = 'final' LIMIT 1").fetchone()
    db.close()
    with RunState.open(run) as state:
        new = state.put_blob(made, ".png")
    with sqlite3.connect(run / "state.sqlite") as db:
        db.execute("UPDATE pseudo SET blob = ?", (new,))
    db.close()
    assert new != name
    _, words = _parsed(write_report(tmp_path))
    assert "threshold pixels changed by mean weight" in words
    assert "step 1: 20% 0.50" in words
