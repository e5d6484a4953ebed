from __future__ import annotations

import math

import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.core.seeds import numpy_generator
from scripts.evaluation.bootstrap import percentile_interval, resample_counts


def draw(n: int, resamples: int, clusters: list[str] | None = None) -> np.ndarray:
    return resample_counts(n, resamples, numpy_generator(0, "test"), clusters)


def test_each_draw_has_as_many_images_as_there_are() -> None:
    counts = draw(7, 500)
    assert counts.shape == (500, 7)
    assert (counts.sum(axis=1) == 7).all() and (counts >= 0).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1.0, atol=0.15)


def test_the_generator_decides() -> None:
    np.testing.assert_array_equal(draw(5, 20), draw(5, 20))


def test_clusters_are_drawn_whole() -> None:
    counts = draw(5, 300, ["p", "q", "p", "r", "q"])
    np.testing.assert_array_equal(counts[:, 0], counts[:, 2])
    np.testing.assert_array_equal(counts[:, 1], counts[:, 4])
    assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_spread_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(1).normal(size=200)
    means = draw(200, 4000) @ values / 200
    assert means.std() == pytest.approx(values.std() / math.sqrt(200), rel=0.05)
    low, high = percentile_interval(means)
    half = 1.96 * values.std() / math.sqrt(200)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_images_of_a_patient_that_are_alike_widen_the_interval() -> None:
    values = np.repeat(np.random.default_rng(1).normal(size=20), 10)
    patients = [str(i // 10) for i in range(200)]
    widths = []
    for clusters in (None, patients):
        counts = draw(200, 2000, clusters)
        low, high = percentile_interval(counts @ values / counts.sum(axis=1))
        widths.append(high - low)
    assert widths[1] > 2.5 * widths[0]  # the square root of 10 is 3.2


class TestInterval:
    def test_percentiles(self) -> None:
        assert percentile_interval(np.arange(1001.0)) == pytest.approx((25.0, 975.0))
        assert percentile_interval(np.arange(101.0), 0.8) == pytest.approx((10.0, 90.0))

    def test_draws_without_the_metric(self) -> None:
        assert percentile_interval(np.array([1.0, 1.0, math.nan])) == (1.0, 1.0)
        assert all(map(math.isnan, percentile_interval(np.array([1.0, math.nan, math.nan]))))
        assert all(map(math.isnan, percentile_interval(np.array([]))))


@pytest.mark.parametrize(("n", "resamples", "clusters"), [(0, 5, None), (3, 0, None), (3, 5, ["a"])])
def test_nothing_to_draw_from(n: int, resamples: int, clusters: list[str] | None) -> None:
    with pytest.raises(InputError):
        draw(n, resamples, clusters)
