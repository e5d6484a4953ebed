"""The map of the pool in a browser: what the pointer is over is shown, and the page's policy is kept."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.studies.report.page import write_study_report
from scripts.studies.report.pool import Asked, PoolView
from tests.support.browser import browser, find_chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium or Chrome on the path"),
]


def jpeg() -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (64, 48), (180, 90, 150)).save(target, "JPEG")
    return target.getvalue()


def test_the_image_under_the_pointer_is_shown(tmp_path: Path) -> None:
    ids = ["i0", "i1", "i2", "<b>'i3\""]
    asked = [Asked(ids[3], 1, 0, 0.5, "highest score 0.5")]
    features = np.random.default_rng(0).normal(size=(4, 3))
    pool = PoolView("entropy, seed 0", ids, list("abab"), features, dict.fromkeys(ids, jpeg()), asked, [], 4)
    path = write_study_report(tmp_path, [], pool)
    with browser(tmp_path / "profile") as page:
        page.open(path)
        page.evaluate("document.getElementById('map').scrollIntoView()")
        colour = "getComputedStyle(document.querySelector('.asked circle')).fill"
        by_class = page.evaluate(colour)
        x, y = page.evaluate(
            "(() => { const b = document.querySelector('.asked circle').getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        page.mouse("mouseMoved", x, y)
        page.wait("document.getElementById('map-picture').naturalWidth == 64")
        assert page.evaluate("document.getElementById('map-text').textContent") == (
            "<b>'i3\", b, round 1, highest score 0.5"
        )
        page.click("label[for=by-round]")
        assert page.evaluate(colour) != by_class
        assert page.evaluate("document.querySelectorAll('.here').length") == 1
        assert page.faults == []
