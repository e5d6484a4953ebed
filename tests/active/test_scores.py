from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scripts.active.scores import binary_entropy, entropy_as_published, mc_variance, mc_variance_as_published
from scripts.core.errors import InputError


def _rank(scores):
    return np.argsort(-np.asarray(scores), kind="stable").tolist()


def test_entropies_equal_golden(golden):
    data = golden("entropy_score")
    probs = torch.sigmoid(torch.tensor(data["logits"]))  # (4, 1, 5, 6)
    true, published = binary_entropy(probs), entropy_as_published(probs)
    np.testing.assert_allclose(true, data["score_binary_entropy_for_comparison"], atol=1e-6)
    np.testing.assert_allclose(published, data["score_reference"], atol=1e-6)
    assert (_rank(true), _rank(published)) == (data["rank_binary_entropy"], data["rank_reference"])


def test_mc_dropout_scores_equal_golden(golden):
    data = golden("mc_dropout_score")
    samples = torch.sigmoid(torch.tensor(data["stochastic_logits_TxNx1xHxW"]))
    true, published = mc_variance(samples), mc_variance_as_published(samples)
    np.testing.assert_allclose(true, data["score_mean_of_per_pixel_variance_for_comparison"], atol=1e-6)
    np.testing.assert_allclose(published, data["score_reference"], atol=1e-6)
    assert (_rank(true), _rank(published)) == (data["rank_per_pixel"], data["rank_reference"])


def test_entropy_by_hand():
    probs = torch.tensor([[0.0, 0.5], [1.0, 0.25]])
    quarter = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert binary_entropy(probs).tolist() == pytest.approx([(math.log(2) + quarter) / 4])
    assert entropy_as_published(probs).tolist() == pytest.approx([(math.log(2) + 0.5 * math.log(4)) / 4])
    assert binary_entropy(1 - probs).tolist() == pytest.approx(binary_entropy(probs).tolist())


def test_certain_pixels_add_nothing_and_no_nan():
    probs = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    assert binary_entropy(probs).tolist() == [0.0, 0.0]
    assert entropy_as_published(probs).tolist() == [0.0, 0.0]


def test_variance_is_over_passes_not_over_pixels():
    contrast = torch.tensor([0.0, 1.0]).repeat(3, 1, 1, 1, 1)  # three equal passes, (3, 1, 1, 1, 2)
    assert mc_variance(contrast).tolist() == [0.0]
    assert mc_variance_as_published(contrast).item() == pytest.approx(0.3)
    passes = torch.tensor([0.1, 0.3, 0.8]).view(3, 1, 1, 1, 1)
    assert mc_variance(passes).item() == pytest.approx(np.var([0.1, 0.3, 0.8], ddof=1))


def test_images_of_a_batch_are_scored_alone():
    generator = torch.Generator().manual_seed(0)
    samples = torch.rand(4, 3, 1, 5, 6, generator=generator)
    for index in range(3):
        assert binary_entropy(samples[0])[index] == pytest.approx(binary_entropy(samples[0, index, 0]).item())
        for score in (mc_variance, mc_variance_as_published):
            assert score(samples)[index].item() == pytest.approx(score(samples[:, index : index + 1]).item())


@pytest.mark.parametrize("shape", [(3,), (2, 2, 4, 4), (1, 1, 0, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(InputError):
        binary_entropy(torch.zeros(shape))
    with pytest.raises(InputError):
        mc_variance(torch.zeros((1, 1, 1, 4, 4)))
