"""Why an image was chosen, as people are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.annotation.person_oracle import reason_of, way_of

CONFIG = json.loads((Path(__file__).parents[2] / "bundle" / "configs" / "train.json").read_text())["active"]


def settings(method: str, start: str = "random") -> dict[str, Any]:
    return {"active": {"start": start, "preset": CONFIG["methods"][method]}}


@pytest.mark.parametrize(
    ("method", "start", "first", "later"),
    [
        ("random", "random", "random_order", "random_order"),
        ("entropy", "random", "random_order", "highest_score"),
        ("random", "kmeans", "kmeans", "random_order"),
        ("kmeans_start", "random", "kmeans_start", "random_order"),
        ("typiclust", "kmeans", "typiclust", "typiclust"),
        ("power_bald", "random", "random_order", "power"),
        ("entropy_region", "random", "random_order", "highest_score"),
    ],
)
def test_the_way_is_that_of_the_settings(method: str, start: str, first: str, later: str) -> None:
    assert (way_of(settings(method, start), 0), way_of(settings(method, start), 1)) == (first, later)


@pytest.mark.parametrize(
    ("score", "index", "way", "told"),
    [
        (None, 0, "random_order", "chosen by lot from class b, for the first round"),
        (None, 2, "random_order", "chosen by lot from class b"),
        (None, 1, "", "chosen by lot from class b"),
        (None, 0, "kmeans", "chosen by kmeans from class b, for the first round"),
        (None, 3, "typiclust", "chosen by typiclust from class b"),
        (0.25, 1, "highest_score", "chosen by its score of 0.2500, the model is among the least sure of it in class b"),
        (0.25, 1, "power", "chosen by power from class b, its score is 0.2500"),
    ],
)
def test_the_reason_in_words(score: float | None, index: int, way: str, told: str) -> None:
    assert reason_of(score, "b", index, way, stands_in=False) == told
    stand_in = reason_of(score, "b", index, way, stands_in=True)
    assert stand_in == f"in place of an image that cannot be drawn; {told}"
