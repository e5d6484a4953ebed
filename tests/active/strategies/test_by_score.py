from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest

import scripts.active.strategies.by_score as by_score
from scripts.active.strategies.by_score import clasp, highest_score, power, stochastic_batch
from scripts.active.strategies.pool import Pool
from scripts.core.errors import InputError

DRAWS = 4000
WITH_CHANCE = pytest.mark.parametrize("strategy", [power, stochastic_batch, clasp])


def scored(**scores):
    return {id_: np.array([value]) for id_, value in scores.items()}


def pool_of(scores, order=None, **more):
    """Images ``i00``, ``i01``, ... with rows of ``scores``."""
    rows = {f"i{at:02d}": np.atleast_1d(row).astype(float) for at, row in enumerate(scores)}
    return Pool([], [f"i{at:02d}" for at in order] if order is not None else list(rows), rows, **more)


def shares(draws):
    """How often each answer came."""
    return {key: count / len(draws) for key, count in Counter(draws).items()}


def near(share):
    """Within four standard deviations of a share of DRAWS."""
    return pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / DRAWS) + 1e-9)


def test_highest_score_orders_by_score_then_id():
    scores = scored(d=0.5, b=0.9, a=0.5, c=0.1, other=9.0)
    for ids in (["d", "b", "a", "c"], ["a", "c", "d", "b"]):
        assert highest_score(Pool([], ids, scores), 3, random.Random(0)) == ["b", "a", "d"]


@pytest.mark.parametrize("strategy", [highest_score, power, stochastic_batch, clasp])
@pytest.mark.parametrize("scores", [{}, scored(a=0.5), scored(a=0.5, b=float("nan"))])
def test_missing_scores_are_refused(strategy, scores):
    with pytest.raises(InputError, match="no usable score"):
        strategy(Pool([], ["a", "b"], scores), 1, random.Random(0))


class TestPower:
    @pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
    def test_first_and_second_by_power_of_the_score(self, beta):
        scores = np.array([0.1, 0.2, 0.3, 0.4])
        rng = random.Random(5)
        draws = [tuple(power(pool_of(scores), 2, rng, beta=beta)) for _ in range(DRAWS)]
        weight = scores**beta / (scores**beta).sum()
        first = shares([draw[0] for draw in draws])
        assert first == {f"i{at:02d}": near(weight[at]) for at in range(4)}
        # without replacement: the second by what is left
        assert shares(draws)[("i03", "i02")] == near(weight[3] * weight[2] / (1 - weight[3]))

    def test_large_beta_is_highest_score(self):
        pool = pool_of([0.1, 0.5, 0.3, 0.4])
        assert power(pool, 4, random.Random(0), beta=1e9) == highest_score(pool, 4, random.Random(0))

    def test_scores_of_0_and_less_come_last_by_lot(self):
        rng = random.Random(0)
        draws = [power(pool_of([0.0, 1e-9, -2.0, 0.3, 0.0]), 5, rng) for _ in range(300)]
        assert all(set(draw[:2]) == {"i01", "i03"} for draw in draws)
        assert {draw[2] for draw in draws} == {"i00", "i02", "i04"}

    def test_one_of_several_numbers(self):
        pool = pool_of([[1.0, 0.0], [0.0, 1.0]])
        assert power(pool, 1, random.Random(0), column=1) == ["i01"]

    @pytest.mark.parametrize("beta", [0.0, -1.0, float("nan")])
    def test_other_betas_are_refused(self, beta):
        with pytest.raises(InputError, match="beta"):
            power(pool_of([1.0]), 1, random.Random(0), beta=beta)


class TestStochasticBatch:
    @pytest.mark.parametrize("n", [1, 2, 4, 5, 10])
    @pytest.mark.parametrize("seed", range(4))
    def test_is_the_best_of_the_groups(self, seed, n, monkeypatch):
        scores = np.random.default_rng(seed).random(10)
        order = np.random.default_rng(seed + 7).permutation(10)

        class Known:
            def permutation(self, size):
                return order[:size]

        monkeypatch.setattr(by_score, "fresh_generator", lambda *_: Known())
        groups = [order[start : start + n].tolist() for start in range(0, 10, n)]
        ranked = sorted(groups, key=lambda group: -sum(scores[at] for at in group) / len(group))
        expected = [f"i{at:02d}" for group in ranked for at in group][:n]
        assert stochastic_batch(pool_of(scores), n, random.Random(0)) == expected

    def test_one_image_is_the_highest(self):
        assert stochastic_batch(pool_of([0.1, 0.7, 0.3]), 1, random.Random(0)) == ["i01"]

    def test_a_short_group_that_wins_is_filled_up(self):
        rng = random.Random(0)
        draws = [stochastic_batch(pool_of([9.0, 0.1, 0.1]), 2, rng) for _ in range(50)]
        assert all(len(draw) == 2 and "i00" in draw for draw in draws)
        assert {draw[0] for draw in draws} == {"i00", "i01", "i02"}


class TestClasp:
    SCORES = np.eye(3)[[0, 1, 2]] + 1e-9  # image k is that of map k

    def test_one_image_by_a_map_by_lot(self):
        rng = random.Random(1)
        draws = [clasp(pool_of(self.SCORES, round=4, rounds=5), 1, rng)[0] for _ in range(DRAWS)]
        assert shares(draws) == {"i00": near(0.34), "i01": near(0.33), "i02": near(0.33)}

    @pytest.mark.parametrize(
        ("n", "share", "expected"),
        [(100, 0.66, {(34, 33, 33): 1.0}), (3, 1.0, {(0, 1, 2): 0.5, (0, 2, 1): 0.5}), (4, 0.0, {(4, 0, 0): 1.0}),
         (2, 0.66, {(1, 1, 0): 0.34, (1, 0, 1): 0.34, (0, 1, 1): 0.32})],
    )  # fmt: skip
    def test_parts_hold_on_average(self, n, share, expected):
        generator = np.random.default_rng(0)
        draws = [tuple(by_score._parts(n, share, 3, generator).tolist()) for _ in range(DRAWS)]
        assert all(sum(draw) == n for draw in draws)
        means = np.mean(draws, axis=0)
        np.testing.assert_allclose(means, n * np.array([1 - share, share / 2, share / 2]), atol=0.04)
        assert shares(draws) == {draw: near(part) for draw, part in expected.items()}

    def test_each_map_takes_its_best_of_those_left(self, monkeypatch):
        scores = np.random.default_rng(0).random((40, 3))
        chosen = []
        for column, part in enumerate((4, 3, 3)):
            best = sorted((at for at in range(40) if at not in chosen), key=lambda at: -scores[at, column])
            chosen += best[:part]
        monkeypatch.setattr(by_score, "_parts", lambda *_: np.array([4, 3, 3]))
        found = clasp(pool_of(scores, round=1, rounds=2), 10, random.Random(0), betas=(1.0, 1e12))
        assert found == [f"i{at:02d}" for at in chosen]

    @pytest.mark.parametrize(
        ("round_", "rounds", "beta"),
        [(0, 5, 1.0), (1, 3, 10.0), (2, 3, 100.0), (3, 4, 100.0), (1, 4, 100 ** (1 / 3)), (0, 1, 1.0)],
    )  # fmt: skip
    def test_noise_fades_over_the_rounds(self, round_, rounds, beta, monkeypatch):
        seen = []
        order = by_score._noisy_order
        monkeypatch.setattr(by_score, "_noisy_order", lambda s, b, g: seen.append(b) or order(s, b, g))
        clasp(pool_of(self.SCORES, round=round_, rounds=rounds), 2, random.Random(0))
        assert seen == pytest.approx([beta] * 3)

    def test_what_it_cannot_do_is_refused(self):
        with pytest.raises(InputError, match="maps of classes"):
            clasp(pool_of([1.0, 2.0]), 1, random.Random(0))
        with pytest.raises(InputError, match="share"):
            clasp(pool_of(self.SCORES), 1, random.Random(0), class_share=1.5)
        with pytest.raises(InputError, match="beta"):
            clasp(pool_of(self.SCORES), 1, random.Random(0), betas=(0.0, 1.0))


@WITH_CHANCE
@pytest.mark.parametrize("n", [1, 5, 67, 80])
def test_as_many_as_there_are(strategy, n):
    scores = np.random.default_rng(0).random((67, 3))
    found = strategy(pool_of(scores, round=1, rounds=4), n, random.Random(0))
    assert len(found) == len(set(found)) == min(n, 67)


@WITH_CHANCE
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_equal_scores_are_drawn_by_lot(strategy, value):
    rng = random.Random(3)
    draws = [strategy(pool_of(np.full((4, 3), value)), 1, rng)[0] for _ in range(DRAWS)]
    assert shares(draws) == {f"i{at:02d}": near(0.25) for at in range(4)}


@WITH_CHANCE
def test_nothing_to_choose_from(strategy):
    assert strategy(Pool([], []), 2, random.Random(0)) == []
    assert strategy(pool_of(np.ones((1, 3))), 3, random.Random(0)) == ["i00"]


@WITH_CHANCE
@pytest.mark.parametrize("seed", range(4))
def test_order_on_entry_does_not_matter_but_seed_and_round_do(strategy, seed):
    scores = np.random.default_rng(seed).random((30, 3))
    order = np.random.default_rng(seed + 1).permutation(30).tolist()
    plain = strategy(pool_of(scores, rounds=9), 5, random.Random(seed))
    assert strategy(pool_of(scores, order, rounds=9), 5, random.Random(seed)) == plain
    rounds = [strategy(pool_of(scores, rounds=9, round=r), 5, random.Random(seed)) for r in range(3)]
    assert len({tuple(ids) for ids in rounds}) > 1
