from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from scripts.core.run_names import Metric
from scripts.studies.report.figures import differing_costs, draw_curves, draw_each, draw_pareto, pareto_points
from scripts.studies.report.method_curves import study_curves
from scripts.studies.report.styles import styles_of
from tests.support.study_results import make_result, make_study


@pytest.mark.parametrize("many", [1, 5, 14])
def test_pictures_of_few_and_many_methods(many: int) -> None:
    results = [
        make_result(f"method{i:02d}", seed, 3, pixels_per_mask=1000.0 + i) for i in range(many) for seed in (0, 1)
    ]
    study = study_curves(results)
    costs = list(study.costs())
    for picture in (draw_curves(study, costs), draw_each(study, Metric.PIXELS), draw_pareto(study, costs)):
        assert picture[:8] == b"\x89PNG\r\n\x1a\n"
        pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
        assert pixels.std() > 5 and 300 < pixels.shape[1] < 1600


def test_styles_tell_twenty_methods_apart_without_colour() -> None:
    names = ["label_prop", "label_prop_lambda_0", "random", "random_equal_steps", "entropy", "mc_dropout"]
    styles = styles_of([*names, *(f"other{i}" for i in range(12)), "wsl", "full_sup"])
    looks = {(style.marker, style.dashes, style.is_open) for style in styles.values()}
    assert len(looks) == len(styles) == 20
    assert styles["label_prop"].colour == styles["label_prop_lambda_0"].colour != styles["random"].colour


def test_a_method_looks_the_same_in_every_study() -> None:
    assert styles_of(["random", "new"])["random"] == styles_of(["other", "random"])["random"]


def test_pareto_shows_only_costs_that_differ() -> None:
    study = study_curves([make_result("a", 0), make_result("b", 0, pixels_per_mask=30_000.0)])
    assert differing_costs(study, study.costs()) == [Metric.PIXELS, "boundary_px"]
    assert pareto_points(study, Metric.MASKS)[:, 0].tolist() == [18, 18]
    assert differing_costs(study_curves(make_study(2)), [Metric.PIXELS]) == []
