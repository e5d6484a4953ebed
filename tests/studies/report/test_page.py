from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.studies.report import page as page_module
from scripts.studies.report.page import study_page, write_study_report
from scripts.studies.report.pool import Asked, Contradiction, PoolView
from tests.support.study_results import make_result, make_study


def tiny_pool(ids: tuple[str, ...] = ("i0", "i1", "i2", "i3"), score: float | None = 0.31) -> PoolView:
    features = np.random.default_rng(0).normal(size=(len(ids), 3))
    asked = [Asked(ids[0], 0, 0, None, "by lot"), Asked(ids[1], 1, 0, score, "highest score 0.31")]
    contradictions = [Contradiction(ids[1], 1, 0.75, b"picture")]
    thumbnails = {key: key.encode() for key in ids}
    return PoolView(
        "entropy, seed 0", ids, ["a", "b"] * (len(ids) // 2), features, thumbnails, asked, contradictions, 4
    )


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes seconds, and what stands around the pictures does not depend on them."""
    for name in ("draw_curves", "draw_each", "draw_pareto"):
        monkeypatch.setattr(page_module, name, lambda *_: b"png")


quick = pytest.mark.usefixtures("no_drawing")


class Reader(HTMLParser):
    """Tags that are never closed or never opened, and all attributes."""

    VOID = ("meta", "img", "br", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert not reader.wrong and not reader.open
    return reader


@quick
def test_the_page_holds_the_numbers_of_the_results() -> None:
    results = make_study(seeds=5)
    page = study_page(results)
    read(page)
    for method in {result["method"] for result in results}:
        last = [r["rounds"][-1]["dice"] for r in results if r["method"] == method]
        assert f"{np.mean(last):.4f} ± {np.std(last):.4f}" in page, method
    assert "35 runs of 7\nmethods on glands, split published" in page
    assert "label_prop over random:" in page and "annotator seconds" in page and "Map of the pool" not in page


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    results = [make_result(name, seed, 3) for name in ("random", "entropy") for seed in (0, 1)]
    first = write_study_report(tmp_path / "a", results, tiny_pool()).read_bytes()
    assert first == write_study_report(tmp_path / "b", results, tiny_pool()).read_bytes()
    assert not list((tmp_path / "a").glob("*.tmp"))


def one(**changes: Any) -> list[dict[str, Any]]:
    return [{**make_result("random", 0, 3), **changes}]


@pytest.mark.parametrize(
    "results",
    [
        [],
        one(),
        [make_result("random", 0, 1)],
        [make_result("random", 0, 1), make_result("entropy", 0, 1)],
        [make_result("full_sup", 0, 1, masks=[60])],
        [make_result("wsl", 0, 1, masks=[0]), make_result("random", 0, 3)],
        [make_result("random", 0, 5), make_result("entropy", 0, 2), make_result("entropy", 3, 4)],
        [make_result("random", 0, masks=[4, 6]), make_result("entropy", 0, masks=[8, 10])],
        one(rounds=[], test_dice=[]),
        [make_result("random", 0, 2), make_result("label_prop", 0, 2, pseudo=True)],
    ],
    ids=[
        "none",
        "one",
        "one round",
        "two of one round",
        "flat alone",
        "wsl",
        "uneven",
        "apart",
        "empty",
        "no full_sup",
    ],
)
def test_studies_that_lack_something_have_a_page(results: list[dict[str, Any]]) -> None:
    page = study_page(results, failed=[("entropy, seed 4", "error: no space left")])
    read(page)
    assert (
        "entropy, seed 4 has no result: error: no space left" in page
        and "nan" not in re.sub(r"base64,[^']*", "", page).lower()
    )


@quick
def test_names_are_escaped() -> None:
    nasty = "<script>alert(1)</script>'\""
    results = [{**make_result("random", 0, 2), "method": nasty, "study": nasty, "data": nasty}]
    pool = tiny_pool(ids=(nasty, "b", "c", "d"))
    page = study_page(results, pool, failed=[(nasty, nasty)])
    read(page)
    assert "<script>alert" not in page and page.count("&lt;script&gt;alert(1)") >= 5


@quick
def test_nothing_is_loaded_from_elsewhere() -> None:
    page = study_page(make_study(seeds=2, rounds=2), tiny_pool())
    reader = read(page)
    assert "http://" not in page and "https://" not in page and "@import" not in page and "url(" not in page
    sources = [value for _, name, value in reader.attributes if name in ("src", "href", "xlink:href", "action", "data")]
    assert all(value.startswith(("data:image/", "#")) for value in sources) and len(sources) > 5
    assert not [name for _, name, _ in reader.attributes if name.startswith("on")]


@quick
def test_the_policy_lets_only_the_script_of_the_page_run() -> None:
    page = study_page(make_study(seeds=1, rounds=2), tiny_pool())
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy\' content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'") and f"script-src 'sha256-{digest}'" in policy
    assert "fetch" not in script and "XMLHttpRequest" not in script and "innerHTML" not in script
    without = study_page(make_study(seeds=1, rounds=2))
    assert "<script" not in without and "script-src" not in without


@quick
def test_the_pool_is_drawn_with_what_was_asked_and_why() -> None:
    page = study_page(make_study(seeds=1, rounds=2), tiny_pool())
    assert page.count("<circle") == 4 and page.count("class='asked'") == 2 and page.count("class='free'") == 2
    assert "i1, b, round 1, highest score 0.31" in page and "i3, b, not asked" in page
    assert "soft IoU 0.750" in page and base64.b64encode(b"picture").decode() in page
    assert "id='by-score'" in page and "id='by-round'" in page and "are drawn" not in page
    assert "id='by-score'" not in study_page([], tiny_pool(score=None))


def test_a_pool_that_is_not_drawn_whole_says_so() -> None:
    pool = tiny_pool()
    more = PoolView(pool.run, pool.ids, pool.classes, pool.features, pool.thumbnails, pool.asked, [], 9000)
    page = study_page([], more)
    assert "4 of 9000 are drawn" in page and "No mask was asked for after a model had been trained" in page


@quick
def test_mixed_results_are_told() -> None:
    results = [make_result("random", 0, 2), {**make_result("random", 1, 2), "data_sha256": "b" * 64}]
    assert "made on different data" in study_page(results)
    assert "made on different data" not in study_page(results[:1])
    assert "not computed alike" not in study_page(results)
    ways = [
        {**make_result(method, 0, 2), "machine": {"precision": precision, "threads": 1}}
        for method, precision in (("random", "float32"), ("entropy", "bfloat16"))
    ]
    assert "bfloat16, threads 1: entropy; float32, threads 1: random" in study_page(ways)
    uneven = [make_result("random", 0, 5), make_result("entropy", 0, 2)]
    assert "up to round 1" in study_page(uneven)
