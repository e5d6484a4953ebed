from __future__ import annotations

import itertools
import math
import tracemalloc
import warnings
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, ttest_rel

import scripts.studies.comparisons as comparisons
from scripts.core.errors import InputError
from scripts.core.seeds import numpy_generator
from scripts.studies.comparisons import Difference, holm, paired_difference, penalty_matrix, rank_intervals


def generator() -> np.random.Generator:
    return numpy_generator(0, "test")


def runs(seeds: int, images: int, gain: float = 0.02, at: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two methods, (S, I) each: images and seeds differ, and the first method is better by ``gain``."""
    rng = np.random.default_rng(at)
    shared = 0.7 + rng.normal(0, 0.1, (1, images)) + rng.normal(0, 0.02, (seeds, 1))
    return tuple(shared + mean + rng.normal(0, 0.03, (seeds, images)) for mean in (gain, 0.0))  # type: ignore


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


class TestPairedDifference:
    def test_equals_a_loop_over_drawn_seeds_and_images(self) -> None:
        a, b = runs(5, 30)
        rng, means, of_seeds = np.random.default_rng(7), [], []
        for _ in range(6000):
            seeds, images = rng.integers(0, 5, 5), rng.integers(0, 30, 30)
            means.append(a[np.ix_(seeds, images)].mean() - b[np.ix_(seeds, images)].mean())
            of_seeds.append(a[seeds].mean() - b[seeds].mean())
        found = paired_difference(a, b, generator())
        assert found.mean == pytest.approx((a - b).mean())
        width = np.std(means)
        assert (found.low, found.high) == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.1 * width)
        assert (found.seeds_low, found.seeds_high) == pytest.approx(np.percentile(of_seeds, [2.5, 97.5]), abs=0.002)
        assert (found.seeds, found.images, found.level) == (5, 30, 0.95)

    def test_p_is_that_of_the_paired_t_test_over_seeds(self) -> None:
        a, b = runs(5, 30, 0.005)
        found = paired_difference(a, b, generator(), 100)
        assert found.p == pytest.approx(ttest_rel(a.mean(axis=1), b.mean(axis=1)).pvalue)
        assert 0 < found.p < 1

    def test_the_generator_decides(self) -> None:
        a, b = runs(3, 10)
        assert paired_difference(a, b, generator(), 50) == paired_difference(a, b, generator(), 50)

    @pytest.mark.parametrize("counts", [1, 200, 630])  # of 20 images: 1, 10 and 31 resamples in a block
    def test_blocks_change_nothing(self, counts: int, monkeypatch: pytest.MonkeyPatch) -> None:
        a, b = runs(4, 20)
        at_once, rng = generator(), generator()
        expected = paired_difference(a, b, at_once, 100)
        monkeypatch.setattr(comparisons, "_COUNTS", counts)
        assert astuple(paired_difference(a, b, rng, 100)) == pytest.approx(astuple(expected), rel=1e-12)
        assert rng.random() == at_once.random()

    def test_memory_is_bounded(self) -> None:
        a, b = runs(3, 5000)
        tracemalloc.start()
        paired_difference(a, b, generator(), 2000)  # 160 MB were all counts held at once
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 60e6

    def test_the_other_way_round(self) -> None:
        a, b = runs(4, 20)
        one, other = paired_difference(a, b, generator(), 500), paired_difference(b, a, generator(), 500)
        assert (other.mean, other.low, other.high) == pytest.approx((-one.mean, -one.high, -one.low))
        assert other.p == pytest.approx(one.p)

    def test_what_all_images_share_cancels(self) -> None:
        a, b = runs(4, 20)
        shift = np.random.default_rng(3).normal(0, 0.3, (1, 20))
        one, other = (paired_difference(x, y, generator(), 500) for x, y in ((a, b), (a + shift, b + shift)))
        assert (other.low, other.high) == pytest.approx((one.low, one.high))

    def test_a_lower_level_is_narrower(self) -> None:
        wide, narrow = (paired_difference(*runs(4, 20), generator(), 2000, level) for level in (0.95, 0.5))
        assert wide.low < narrow.low < narrow.high < wide.high

    def test_another_set_of_images_is_covered(self) -> None:
        rng, covered, of_seeds = np.random.default_rng(0), 0, 0
        for _ in range(200):
            images, seeds = rng.normal(0, 0.05, (1, 40)), rng.normal(0, 0.01, (5, 1))
            d = images + seeds + rng.normal(0, 0.08, (5, 40))
            found = paired_difference(d, np.zeros_like(d), rng, 400)
            covered += found.low <= 0 <= found.high
            of_seeds += found.seeds_low <= 0 <= found.seeds_high
        assert covered >= 0.93 * 200
        assert of_seeds < 0.85 * 200  # why the interval over seeds alone does not decide

    def test_one_seed_leaves_the_images(self) -> None:
        a, b = runs(1, 30)
        found = paired_difference(a, b, generator())
        spread = 1.96 * (a - b).std() / math.sqrt(30)
        assert (found.low, found.high) == pytest.approx((found.mean - spread, found.mean + spread), abs=0.003)
        assert all(map(math.isnan, (found.seeds_low, found.seeds_high, found.p)))

    def test_one_image_leaves_the_seeds(self) -> None:
        found = paired_difference(*runs(6, 1), generator(), 4000)
        assert (found.low, found.high) == pytest.approx((found.seeds_low, found.seeds_high))
        assert found.p > 0

    def test_one_seed_and_image(self) -> None:
        found = paired_difference(np.array([[0.8]]), np.array([[0.7]]), generator(), 10)
        assert found.mean == pytest.approx(0.1)
        assert all(map(math.isnan, (found.low, found.high, found.seeds_low, found.seeds_high, found.p)))

    def test_equal_methods(self) -> None:
        a, _ = runs(4, 20)
        found = paired_difference(a, a, generator(), 100)
        assert found == Difference(0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.95, 4, 20)

    @pytest.mark.parametrize("gain", [0.1, -0.1, 0.3])
    def test_the_same_difference_everywhere(self, gain: float) -> None:
        a, _ = runs(4, 20)
        found = paired_difference(a + gain, a, generator(), 100)
        assert (found.low, found.high, found.p) == pytest.approx((gain, gain, 0.0))

    def test_unlike_shapes(self) -> None:
        with pytest.raises(InputError, match=r"differ in seeds or images; expected \(3, 10\); found \(3, 9\)"):
            paired_difference(np.zeros((3, 10)), np.zeros((3, 9)), generator())

    def test_not_finite(self) -> None:
        a = np.zeros((2, 3))
        a[1, 2] = math.nan
        with pytest.raises(InputError, match=r"paired_difference: .*finite values; found 1 of 6, .*\(1, 2\)\."):
            paired_difference(np.zeros((2, 3)), a, generator())

    def test_nothing_to_compare(self) -> None:
        for empty in (np.zeros((0, 3)), np.zeros((3, 0)), np.zeros(3)):
            with pytest.raises(InputError, match="no values to compare; expected an array of 2 dimensions, none empty"):
                paired_difference(empty, empty, generator())
        with pytest.raises(InputError, match="nothing to draw from"):
            paired_difference(np.zeros((2, 2)), np.zeros((2, 2)), generator(), 0)


class TestHolm:
    # statsmodels 0.15.0: multipletests(p, method="holm")[1]
    @pytest.mark.parametrize(
        ("p", "expected"),
        [
            ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
            ([0.2, 0.001, 0.02, 0.02, 0.9, 0.6, 0.0], [0.6, 0.006, 0.1, 0.1, 1.0, 1.0, 0.0]),
        ],
    )
    def test_equals_statsmodels(self, p: list[float], expected: list[float]) -> None:
        np.testing.assert_allclose(holm(np.array(p)), expected)

    @settings(deadline=None)
    @given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.001, 0.999))
    def test_rejects_what_stepping_down_rejects(self, p: list[float], alpha: float) -> None:
        rejected: set[int] = set()
        for step, at in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
            if p[at] * (len(p) - step) >= alpha:
                break
            rejected.add(at)
        adjusted = holm(np.array(p))
        assert set(np.flatnonzero(adjusted < alpha)) == rejected
        assert (adjusted >= p).all() and (adjusted <= 1).all()

    def test_nan_is_kept_and_not_counted(self) -> None:
        np.testing.assert_allclose(holm(np.array([0.02, math.nan, 0.01])), [0.02, math.nan, 0.02])
        assert np.isnan(holm(np.array([math.nan, math.nan]))).all()

    def test_one_test_is_not_changed(self) -> None:
        assert holm(np.array([0.03])) == [0.03]

    def test_no_p_values(self) -> None:
        with pytest.raises(InputError, match=r"holm: no p-values to adjust; .*found shape \(0,\)"):
            holm(np.array([]))
        with pytest.raises(InputError, match=r"holm: not a p-value; expected numbers in \[0, 1\] or NaN; found 1\.5"):
            holm(np.array([0.1, 1.5]))


def penalties_by_loop(values: np.ndarray, level: float) -> np.ndarray:
    methods, _, rounds = values.shape
    matrix = np.zeros((methods, methods))
    pairs = list(itertools.permutations(range(methods), 2))
    for at in range(rounds):
        p = [ttest_rel(values[i, :, at], values[j, :, at], alternative="greater").pvalue for i, j in pairs]
        for rank, k in enumerate(np.argsort(p)):
            if p[k] * (len(p) - rank) >= level:
                break
            matrix[pairs[k]] += 1 / rounds
    return matrix


class TestPenaltyMatrix:
    @settings(max_examples=25, deadline=None)
    @given(st.integers(2, 5), st.integers(2, 6), st.integers(1, 4), st.integers(0, 1000))
    def test_equals_a_loop(self, methods: int, seeds: int, rounds: int, at: int) -> None:
        rng = np.random.default_rng(at)
        values = rng.normal(0, 0.02, (methods, seeds, rounds)) + rng.normal(0, 0.04, (methods, 1, rounds))
        np.testing.assert_allclose(penalty_matrix(values), penalties_by_loop(values, 0.05), atol=1e-12)

    def test_a_round_won_and_a_round_open(self) -> None:
        noise = np.random.default_rng(0).normal(0, 0.001, (2, 5, 2))
        noise[1, :, 1] = noise[0, ::-1, 1]
        noise[0, :, 0] += 0.1
        np.testing.assert_array_equal(penalty_matrix(noise), [[0, 0.5], [0, 0]])

    def test_two_methods_of_which_one_is_tested_twice_is_the_two_sided_test(self) -> None:
        rng = np.random.default_rng(5)
        a, b = rng.normal(0, 1, (2, 4, 60))
        a += 0.8
        two_sided = (ttest_rel(a, b, axis=0).pvalue < 0.05) & (a.mean(axis=0) > b.mean(axis=0))
        assert penalty_matrix(np.stack([a, b]))[0, 1] == pytest.approx(two_sided.mean())

    def test_constant_differences(self) -> None:
        base = np.random.default_rng(0).uniform(0.5, 0.9, (4, 3))
        np.testing.assert_array_equal(penalty_matrix(np.stack([base + 0.1, base, base])), [[0, 1, 1], [0] * 3, [0] * 3])
        np.testing.assert_array_equal(penalty_matrix(np.full((2, 3, 4), 0.7)), np.zeros((2, 2)))

    def test_what_was_not_measured_is_left_out_of_its_round(self) -> None:
        values = np.random.default_rng(0).normal(0, 0.001, (3, 5, 2))
        values[0] += 0.1
        values[1, 2, 1] = math.nan
        values[2, :, :] = math.nan
        expected = np.zeros((3, 3))
        expected[0, 1] = 1.0
        expected[2, :2] = expected[:2, 2] = math.nan
        np.testing.assert_array_equal(penalty_matrix(values), expected)

    def test_one_seed_cannot_be_tested(self) -> None:
        found = penalty_matrix(np.zeros((2, 1, 3)))
        np.testing.assert_array_equal(found, [[0, math.nan], [math.nan, 0]])

    def test_one_method_or_one_round(self) -> None:
        np.testing.assert_array_equal(penalty_matrix(np.zeros((1, 3, 2))), [[0]])
        a, b = runs(5, 1, 1.0)
        np.testing.assert_array_equal(penalty_matrix(np.stack([a, b])), [[0, 1], [0, 0]])

    def test_not_values(self) -> None:
        for empty in (np.zeros((0, 3, 2)), np.zeros((2, 0, 2)), np.zeros((2, 3, 0)), np.zeros((2, 3))):
            with pytest.raises(InputError, match=r"penalty_matrix: no values to compare; .*3 dimensions"):
                penalty_matrix(empty)
        with pytest.raises(InputError, match="expected finite values or NaN; found 1 of 1"):
            penalty_matrix(np.full((1, 1, 1), math.inf))
        with pytest.raises(InputError, match="no such level; expected a number between 0 and 1; found 5"):
            penalty_matrix(np.zeros((2, 3, 2)), 5)


class TestRanks:
    def test_by_hand(self) -> None:
        values = np.array([[0.9, 0.8], [0.7, 0.8], [0.1, 0.9]])
        mean, low, high = rank_intervals(values, generator())
        np.testing.assert_allclose(mean, [(1 + 2.5) / 2, (2 + 2.5) / 2, (3 + 1) / 2])
        np.testing.assert_allclose(low, [1, 2, 1])
        np.testing.assert_allclose(high, [2.5, 2.5, 3])

    def test_equals_a_loop(self) -> None:
        values = np.random.default_rng(2).normal(size=(4, 9)) + np.arange(4)[:, None]
        ranks = np.array([rankdata(-column) for column in values.T]).T
        drawn = np.random.default_rng(3).integers(0, 9, (5000, 9))
        means = ranks[:, drawn].mean(axis=-1)
        mean, low, high = rank_intervals(values, generator())
        np.testing.assert_allclose(mean, ranks.mean(axis=1))
        np.testing.assert_allclose([low, high], np.percentile(means, [2.5, 97.5], axis=1), atol=0.12)

    @settings(max_examples=30, deadline=None)
    @given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 1000))
    def test_ranks_share_their_sum(self, methods: int, seeds: int, at: int) -> None:
        values = np.random.default_rng(at).integers(0, 3, (methods, seeds)).astype(float)
        mean, low, high = rank_intervals(values, generator(), 200, 0.9)
        assert mean.sum() == pytest.approx(methods * (methods + 1) / 2)
        if seeds > 1:
            assert (
                (low <= mean + 1e-9).all() and (mean <= high + 1e-9).all() and low.min() >= 1 and high.max() <= methods
            )

    def test_one_seed_or_one_method(self) -> None:
        mean, low, high = rank_intervals(np.array([[0.7], [0.8]]), generator(), 10)
        np.testing.assert_array_equal(mean, [2, 1])
        assert np.isnan([low, high]).all()
        np.testing.assert_array_equal(rank_intervals(np.array([[0.7, 0.8]]), generator(), 10), [[1], [1], [1]])

    def test_not_values(self) -> None:
        with pytest.raises(InputError, match="rank_intervals: no values to compare"):
            rank_intervals(np.zeros((0, 2)), generator())
        with pytest.raises(InputError, match="rank_intervals: values are not finite"):
            rank_intervals(np.array([[0.7, math.nan]]), generator())
        with pytest.raises(InputError, match="rank_intervals: no such level"):
            rank_intervals(np.zeros((2, 2)), generator(), level=1.0)
