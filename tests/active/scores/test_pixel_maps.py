from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scripts.active.scores.pixel_maps import (
    bald,
    clasp_maps,
    disagreement,
    entropy,
    entropy_as_published,
    margin,
    mc_variance,
    mc_variance_as_published,
)
from scripts.core.errors import InputError
from scripts.networks.outputs import ImageMaps


def _rank(scores):
    return np.argsort(-np.asarray(scores), kind="stable").tolist()


def means(score, samples):
    """The mean of a score map of each image; ``samples`` (T, N, 1, H, W)."""
    return [float(score(ImageMaps(samples[:, at, 0])).mean()) for at in range(samples.shape[1])]


def one(*values):
    """Maps of one row of pixels in each pass; ``values`` is a list per pass."""
    return ImageMaps(torch.tensor(values).view(len(values), 1, -1))


def test_entropies_equal_golden(golden):
    data = golden("entropy_score")
    probs = torch.sigmoid(torch.tensor(data["logits"]))[None]  # (1, 4, 1, 5, 6)
    true, published = means(entropy, probs), means(entropy_as_published, probs)
    np.testing.assert_allclose(true, data["score_binary_entropy_for_comparison"], atol=1e-6)
    np.testing.assert_allclose(published, data["score_reference"], atol=1e-6)
    assert (_rank(true), _rank(published)) == (data["rank_binary_entropy"], data["rank_reference"])


def test_mc_dropout_scores_equal_golden(golden):
    data = golden("mc_dropout_score")
    samples = torch.sigmoid(torch.tensor(data["stochastic_logits_TxNx1xHxW"]))
    true, published = means(mc_variance, samples), means(mc_variance_as_published, samples)
    np.testing.assert_allclose(true, data["score_mean_of_per_pixel_variance_for_comparison"], atol=1e-6)
    np.testing.assert_allclose(published, data["score_reference"], atol=1e-6)
    assert (_rank(true), _rank(published)) == (data["rank_per_pixel"], data["rank_reference"])


def test_entropy_by_hand():
    maps = one([0.0, 0.5, 1.0, 0.25])
    quarter = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert entropy(maps)[0].tolist() == pytest.approx([0, math.log(2), 0, quarter])
    assert entropy_as_published(maps)[0].tolist() == pytest.approx([0, math.log(2), 0, 0.5 * math.log(4)])
    assert entropy(ImageMaps(1 - maps.samples)).tolist() == entropy(maps).tolist()


def test_variance_is_over_passes_not_over_pixels():
    contrast = one(*[[0.0, 1.0]] * 3)
    assert mc_variance(contrast).tolist() == [[0.0, 0.0]]
    assert mc_variance_as_published(contrast).mean().item() == pytest.approx(0.3)
    assert mc_variance(one([0.1], [0.3], [0.8])).item() == pytest.approx(np.var([0.1, 0.3, 0.8], ddof=1))


def h(p):
    """Binary entropy in nats."""
    return -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)


def test_bald_by_hand():
    passes = [[0.1, 0.0, 0.3, 1.0], [0.9, 1.0, 0.3, 1.0], [0.5, 0.0, 0.3, 1.0]]
    columns = list(zip(*passes, strict=True))
    expected = [h(sum(ps) / 3) - sum(h(p) for p in ps) / 3 for ps in columns]
    assert bald(one(*passes))[0].tolist() == pytest.approx(expected, abs=1e-6)
    assert bald(one([0.0], [1.0])).item() == pytest.approx(math.log(2))


def test_bald_is_never_below_0():
    sure = torch.rand(1, 50, 50, generator=torch.Generator().manual_seed(0)).expand(16, -1, -1)
    assert 0 <= bald(ImageMaps(sure)).min() <= bald(ImageMaps(sure)).max() < 1e-5


def test_margin_by_hand():
    assert margin(one([0.0, 0.5, 1.0, 0.25])).tolist() == [[0.0, 1.0, 0.0, 0.5]]


def test_clasp_maps_by_hand():
    found = clasp_maps(one([0.0, 0.5, 1.0, 0.25]))
    entropies = torch.tensor([0.0, h(0.5), 0.0, h(0.25)])
    expected = torch.stack([entropies, entropies * torch.tensor([0, 0.5, 1, 0.25]),
                            entropies * torch.tensor([1, 0.5, 0, 0.75])])  # fmt: skip
    torch.testing.assert_close(found[:, 0], expected)
    assert found.shape == (3, 1, 4)


def test_disagreement_by_hand():
    maps = ImageMaps(torch.tensor([[[0.0, 0.5, 1.0]]]), torch.tensor([[1.0, 0.5, 0.25]]))
    assert disagreement(maps).tolist() == [[1.0, 0.0, 0.75]]
    with pytest.raises(InputError, match="class-activation map"):
        disagreement(one([0.5], [0.5]))


@pytest.mark.parametrize("shape", [(3,), (2, 2, 4, 4), (1, 0, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(InputError, match="not a probability map"):
        ImageMaps(torch.zeros(shape))


@pytest.mark.parametrize("score", [mc_variance, mc_variance_as_published, bald])
def test_one_pass_has_no_variance(score):
    with pytest.raises(InputError, match="passes"):
        score(ImageMaps(torch.zeros(1, 4, 4)))
