"""docs/troubleshooting.md against the code: every text in it is one that somebody can see."""

from __future__ import annotations

from pathlib import Path

import monai
import pytest

from tests.support.problem_texts import ROOT, VALUE, listed_texts, problem_texts, texts_of

LISTED = listed_texts()
FOREIGN = "From MONAI"
OURS = [text for heading, texts in LISTED.items() if heading != FOREIGN for text in texts]


@pytest.fixture(scope="module")
def texts() -> set[str]:
    return texts_of(ROOT / "scripts")


def test_page_was_understood() -> None:
    assert len(OURS) > 80 and len(LISTED[FOREIGN]) >= 5
    assert len(set(OURS)) >= len(OURS) - 2  # a text may concern two subjects


def test_every_text_is_one_of_the_programs(texts: set[str]) -> None:
    assert not [text for text in OURS if text not in texts]


def test_texts_of_monai_are_its_own() -> None:
    folders = [Path(monai.__path__[0]) / name for name in ("bundle", "networks", "utils")]
    known = "\n".join(text for folder in folders for text in texts_of(folder))
    assert not [text for text in LISTED[FOREIGN] if text.replace(VALUE, "") not in known.replace(VALUE, "")]


def test_problems_are_found_in_the_code() -> None:
    found = problem_texts()
    assert len(found) > 100 and f"{VALUE} changed since the run began" in found
