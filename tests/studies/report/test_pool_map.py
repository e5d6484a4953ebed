from __future__ import annotations

import numpy as np
import pytest

from scripts.studies.report.pool import Asked, PoolView
from scripts.studies.report.pool_map import HEIGHT, NOT_ASKED, WIDTH, class_colours, map_points, principal_components


def test_components_are_those_of_the_covariance() -> None:
    features = np.random.default_rng(0).normal(size=(40, 6)) @ np.diag([5, 3, 1, 1, 1, 1])
    found, shares = principal_components(features)
    variances, directions = np.linalg.eigh(np.cov(features.T))
    for at in (0, 1):
        direction = directions[:, -1 - at]
        direction = direction * np.sign(direction[np.abs(direction).argmax()])
        assert found[:, at] == pytest.approx((features - features.mean(axis=0)) @ direction)
        assert shares[at] == pytest.approx(variances[-1 - at] / variances.sum())


def test_the_sign_does_not_depend_on_that_of_the_decomposition() -> None:
    features = np.random.default_rng(1).normal(size=(20, 4))
    found, _ = principal_components(features)
    again, _ = principal_components(features[::-1])
    assert again[::-1] == pytest.approx(found)


@pytest.mark.parametrize("features", [np.ones((1, 4)), np.ones((5, 3)), np.array([[1.0], [2.0]])])
def test_directions_that_do_not_exist_are_zero(features: np.ndarray) -> None:
    found, shares = principal_components(features)
    assert found.shape == (len(features), 2) and np.isfinite(found).all()
    assert (found[:, 1] == 0).all() and shares[1] == 0


def view(scores: list[float | None], images: int = 9) -> PoolView:
    rng = np.random.default_rng(2)
    ids = [f"i{number}" for number in range(images)]
    asked = [Asked(ids[2 * at], at, 0, score, "by lot") for at, score in enumerate(scores)]
    classes = ["ab"[number % 2] for number in range(images)]
    return PoolView("run", ids, classes, rng.normal(size=(images, 5)), dict.fromkeys(ids, b""), asked, [], images)


def test_points_lie_in_the_drawing_with_those_asked_on_top() -> None:
    points, shares = map_points(view([0.1, None, 0.7]))
    assert len(points) == 9 and all(0 <= p.x <= WIDTH and 0 <= p.y <= HEIGHT for p in points)
    assert [p.asked is not None for p in points] == [False] * 6 + [True] * 3
    assert 0 < shares[1] <= shares[0] < 1


def test_colours_tell_class_round_and_score() -> None:
    points = {p.id: p for p in map_points(view([0.1, None, 0.7]))[0]}
    colours = class_colours(["a", "b"])
    assert points["i1"].colours == (colours["b"], NOT_ASKED, NOT_ASKED)
    assert points["i2"].colours[0] == colours["a"] and points["i2"].colours[2] == NOT_ASKED
    assert len({points[key].colours[1] for key in ("i0", "i2", "i4")}) == 3
    assert points["i0"].colours[2] != points["i4"].colours[2]


def test_one_image_is_in_the_middle() -> None:
    ((point,), _) = map_points(view([None], images=1))
    assert (point.x, point.y) == (WIDTH / 2, HEIGHT / 2)
