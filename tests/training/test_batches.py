"""Batches: how often an image comes, and with which others."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch

from scripts.core.errors import InputError
from scripts.training.batches import BatchPlan, background_share, kinds_of, plan_batches, stratified_scale

L, U, P, B = 0, 1, 2, 3


class TestBatchPlan:
    def test_each_image_once_per_epoch_in_equal_batches(self):
        plan = BatchPlan([L] * 5, batch_size=4, batches=10, seed=1)
        batches = list(plan)
        assert len(plan) == len(batches) == 10
        assert {len(batch) for batch in batches} == {4}
        draws = [draw for batch in batches for draw in batch]
        assert sorted(draws) == [(epoch, index) for epoch in range(8) for index in range(5)]
        orders = {tuple(index for _, index in draws[i : i + 5]) for i in range(0, 40, 5)}
        assert len(orders) > 1

    def test_seed_decides_and_nothing_else(self):
        def plan(seed: int) -> list:
            return list(BatchPlan([L] * 30, 5, 6, seed=seed))

        first = plan(1)
        torch.manual_seed(123)
        assert plan(1) == first
        assert plan(2) != first

    def test_fewer_images_than_a_batch(self):
        assert [len(batch) for batch in BatchPlan([L, L], batch_size=8, batches=3)] == [8, 8, 8]

    @pytest.mark.parametrize(("share", "labelled"), [(0.5, 4), (0.25, 2), (0.01, 1), (0.99, 7)])
    def test_labelled_share(self, share: float, labelled: int):
        kinds = [L, L, P, P, P, P, P, P, P, P, P]
        for batch in BatchPlan(kinds, batch_size=8, batches=20, labelled_share=share):
            assert Counter(kinds[index] for _, index in batch) == {L: labelled, P: 8 - labelled}

    def test_labelled_share_visits_every_image_equally_within_its_kind(self):
        kinds = [L, P, L, P, P, P]
        draws = [draw for batch in BatchPlan(kinds, 4, 12, labelled_share=0.5) for draw in batch]
        counts = Counter(index for _, index in draws)
        assert {index: counts[index] for index in range(6)} == {0: 12, 2: 12, 1: 6, 3: 6, 4: 6, 5: 6}
        assert len(set(draws)) == len(draws)

    @pytest.mark.parametrize("kinds", [[L] * 6, [P] * 6])
    def test_labelled_share_of_one_kind_mixes_all(self, kinds: list[int]):
        assert list(BatchPlan(kinds, 4, 9, labelled_share=0.5)) == list(BatchPlan(kinds, 4, 9))

    def test_batches_of_one_image_see_both_kinds(self):
        kinds = [L, L, P, P]
        draws = [batch[0][1] for batch in BatchPlan(kinds, 1, 8, labelled_share=0.5)]
        assert Counter(draws) == dict.fromkeys(range(4), 2)

    def test_published_mix_by_default(self):
        kinds = [L] * 2 + [P] * 18
        sizes = {sum(kinds[i] == L for _, i in batch) for batch in BatchPlan(kinds, 5, 40)}
        assert len(sizes) > 1

    def test_no_image_is_refused(self):
        with pytest.raises(InputError, match="no image"):
            BatchPlan([], 4, 1)

    def test_plan_of_items(self):
        items = [{"mask": np.zeros((2, 2))}, {"mask": None}, {"mask": "m.png", "kind": P}, {"label": 1}]
        assert kinds_of(items) == [L, U, P, U]
        plan = plan_batches(items, batch_size=2, batches=3, seed=5)
        assert list(plan) == list(BatchPlan([L, U, P, U], 2, 3, 5))
        assert len(list(islice(plan, 2))) == 2


@pytest.mark.parametrize("share", [None, 0.25, 0.375, 0.5])
def test_the_weight_of_pseudo_masks_does_not_depend_on_the_share(share: float | None):
    """Over many batches, every image weighs what Equation 1 gives it, up to one factor."""
    kinds = [L] * 5 + [P] * 40
    plan = BatchPlan(kinds, batch_size=8, batches=900, seed=1, labelled_share=share)
    weight = {L: 1.0, P: stratified_scale(0.2, plan)}
    totals = Counter()
    for batch in plan:
        for _, index in batch:
            totals[kinds[index]] += weight[kinds[index]]
    assert (totals[P] / 40) / (totals[L] / 5) == pytest.approx(0.2, rel=0.02)


class TestBackground:
    @pytest.mark.parametrize(("share", "size", "expected"), [(0.125, 8, 1), (0.125, 2, 1), (0.3, 8, 2), (0.99, 4, 3)])
    def test_each_batch_has_their_share_and_one_at_least(self, share: float, size: int, expected: int):
        kinds = [B, L, L, B, B]
        plan = BatchPlan(kinds, size, 20, background_share=share)
        assert [sum(kinds[i] == B for _, i in batch) for batch in plan] == [expected] * 20
        assert {i for batch in plan for _, i in batch} == set(range(5))

    def test_the_rest_of_a_batch_is_composed_as_without_them(self):
        kinds = [L, L, *[P] * 9, B, B]
        for batch in BatchPlan(kinds, 9, 20, labelled_share=0.375, background_share=0.125):
            assert Counter(kinds[i] for _, i in batch) == {L: 3, P: 5, B: 1}
        with_them = BatchPlan(kinds, 9, 20, seed=4, labelled_share=0.375)
        without = BatchPlan(kinds[:11], 8, 20, seed=4, labelled_share=0.375)
        assert [batch[:8] for batch in with_them] == list(without)
        assert stratified_scale(0.2, with_them) == stratified_scale(0.2, without)

    def test_mixed_images_keep_their_order_beside_them(self):
        plan = BatchPlan([L] * 5 + [B], 5, 10, seed=2)
        assert [batch[:4] for batch in plan] == list(BatchPlan([L] * 5, 4, 10, seed=2))
        assert stratified_scale(0.2, plan) == 0.2

    def test_without_a_share_they_are_left_out(self):
        kinds = [B, L, P, P, B]
        plan = BatchPlan(kinds, 4, 20, labelled_share=0.5, background_share=0.0)
        assert {i for batch in plan for _, i in batch} == {1, 2, 3}
        with pytest.raises(InputError, match="no image"):
            BatchPlan([B, B], 4, 1, background_share=0.0)

    def test_batches_of_one_image_and_of_one_kind_mix_all(self):
        assert Counter(batch[0][1] for batch in BatchPlan([L, B, B], 1, 6)) == dict.fromkeys(range(3), 2)
        assert list(BatchPlan([B] * 3, 4, 5)) == list(BatchPlan([L] * 3, 4, 5))

    def test_the_share_follows_the_weight(self):
        assert (background_share(0.25, 0.1), background_share(0.25, 0.0)) == (0.25, 0.0)

    def test_kinds_of_items(self):
        items = [
            {"mask": "m.png", "empty": True},
            {"mask": None, "empty": True},
            {"mask": None, "empty": True, "kind": U},
        ]
        assert kinds_of(items) == [B, B, U]
