"""A run over whole slides from its pool to the masks of the slides, killed twice on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("openslide")
from tests.support.slide_pool import SMALL, play


@pytest.mark.slow
def test_two_slides_two_rounds_and_the_masks_of_the_whole(tmp_path: Path) -> None:
    found = play(tmp_path, 1600, 128, 12, SMALL, fields=2, after=0.5)
    assert found.kills == 2
    assert set(found.pool) == {".csv", ".region"} and sum(found.pool.values()) < 50_000  # ids and places, no pixels
    assert [len(ids) for ids in found.rounds] == [2, 2] and len({*found.rounds[0], *found.rounds[1]}) == 4
    assert set(found.dice) == {"benign", "malignant", "val_benign", "val_malignant"}
    assert all(0.05 < dice <= 1 for dice in found.dice.values())
