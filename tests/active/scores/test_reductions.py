from __future__ import annotations

import numpy as np
import torch

from scripts.active.scores.reductions import image_score
from scripts.networks.outputs import ImageMaps

MAPS = ImageMaps(torch.rand(1, 4, 5, generator=torch.Generator().manual_seed(0)))


def test_a_score_of_one_map_is_one_number():
    found = image_score(MAPS, lambda maps: maps.probs)
    np.testing.assert_allclose(found, [MAPS.samples.mean()], rtol=1e-6)
    assert found.dtype == np.float64


def test_a_score_of_several_maps_has_a_number_of_each():
    found = image_score(MAPS, lambda maps: torch.stack([maps.probs, 1 - maps.probs]))
    np.testing.assert_allclose(found, [MAPS.samples.mean(), 1 - MAPS.samples.mean()], rtol=1e-6)
