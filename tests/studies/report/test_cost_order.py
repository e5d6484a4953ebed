from __future__ import annotations

from typing import Any

import pytest

from scripts.core.run_names import Metric
from scripts.studies.report.cost_order import swaps
from scripts.studies.report.method_curves import study_curves
from tests.support.study_results import make_result


def straight(method: str, last_dice: float, pixels: int) -> dict[str, Any]:
    """A curve from 0 to ``last_dice`` over 0 to 10 masks and 0 to ``pixels`` pixels."""
    result = make_result(method, 0, masks=[0, 10])
    for at, row in enumerate(result["rounds"]):
        row |= {"dice": at * last_dice, "pixels": at * pixels, "boundary_px": at * 100}
    return result


def test_curves_that_change_places_are_listed_with_their_leads() -> None:
    # By images b leads by half of 0.2. Over the first 1000 pixels a rises to 0.6 and b to a quarter of 0.8.
    study = study_curves([straight("a", 0.6, 1000), straight("b", 0.8, 4000)])
    found, compared = swaps(study.curves, Metric.PIXELS)
    assert compared == 1
    (swap,) = found
    assert (swap.by_images, swap.by_cost) == ("b", "a")
    assert swap.lead_images == pytest.approx(0.1) and swap.lead_cost == pytest.approx(0.3 - 0.1)


def test_curves_that_keep_their_places_are_not() -> None:
    study = study_curves([straight("a", 0.6, 1000), straight("b", 0.8, 1000)])
    assert swaps(study.curves, Metric.PIXELS) == ([], 1)
    assert swaps(study.curves, "boundary_px") == ([], 1)


def test_methods_that_share_no_cost_are_not_compared() -> None:
    study = study_curves([straight("a", 0.6, 1000), straight("b", 0.8, 0)])
    assert swaps(study.curves, Metric.PIXELS) == ([], 0)
    assert swaps(study.curves[:1], Metric.PIXELS) == ([], 0)
