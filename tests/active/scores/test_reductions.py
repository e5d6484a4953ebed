from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scripts.active.scores.pixel_maps import disagreement
from scripts.active.scores.reductions import image_score, over_union, predicted_foreground, top_share
from scripts.core.errors import InputError
from scripts.networks.outputs import ImageMaps

MAPS = ImageMaps(
    torch.rand(1, 4, 5, generator=torch.Generator().manual_seed(0)),
    torch.rand(4, 5, generator=torch.Generator().manual_seed(1)),
)
SCORE = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(2))


def test_a_score_of_one_map_is_one_number():
    found = image_score(MAPS, lambda maps: maps.probs)
    np.testing.assert_allclose(found, [MAPS.samples.mean()], rtol=1e-6)
    assert found.dtype == np.float64


def test_a_score_of_several_maps_has_a_number_of_each():
    found = image_score(MAPS, lambda maps: torch.stack([maps.probs, 1 - maps.probs]))
    np.testing.assert_allclose(found, [MAPS.samples.mean(), 1 - MAPS.samples.mean()], rtol=1e-6)


@pytest.mark.parametrize(("share", "pixels"), [(0.1, 2), (0.25, 5), (1.0, 20), (0.001, 1)])
def test_top_share_is_the_mean_of_the_highest(share, pixels):
    expected = [sum(sorted(one.flatten().tolist())[-pixels:]) / pixels for one in SCORE]
    np.testing.assert_allclose(top_share(SCORE, MAPS, share=share), expected, rtol=1e-6)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, math.nan])
def test_no_share(share):
    with pytest.raises(InputError, match="share"):
        top_share(SCORE, MAPS, share=share)


def test_predicted_foreground_counts_no_background():
    expected = []
    for one in SCORE:
        inside = [one[y, x].item() for y in range(4) for x in range(5) if MAPS.probs[y, x] > 0.5]
        expected.append(sum(inside) / len(inside))
    np.testing.assert_allclose(predicted_foreground(SCORE, MAPS), expected, rtol=1e-6)


def test_nothing_predicted_is_0():
    assert predicted_foreground(SCORE, ImageMaps(torch.full((1, 4, 5), 0.5))).tolist() == [0.0, 0.0]


def test_over_union_of_the_disagreement_is_one_minus_soft_iou():
    p, c = MAPS.probs.flatten().tolist(), MAPS.cam.flatten().tolist()
    iou = sum(map(min, p, c)) / sum(map(max, p, c))
    found = image_score(MAPS, disagreement, over_union)
    np.testing.assert_allclose(found, [1 - iou], rtol=1e-6)
    np.testing.assert_allclose(over_union(SCORE, MAPS), SCORE.sum((1, 2)) / sum(map(max, p, c)), rtol=1e-6)


@pytest.mark.parametrize(("p", "c", "expected"), [(0.0, 0.0, 0.0), (1.0, 1.0, 0.0), (1.0, 0.0, 1.0), (0.0, 0.5, 1.0)])
def test_disagreement_at_its_ends(p, c, expected):
    maps = ImageMaps(torch.full((1, 2, 3), p), torch.full((2, 3), c))
    assert image_score(maps, disagreement, over_union).tolist() == [expected]


def test_over_union_needs_a_map():
    with pytest.raises(InputError, match="class-activation map"):
        over_union(SCORE, ImageMaps(MAPS.samples))
