"""The plain geometry: one resize back, nothing on the way in."""

from __future__ import annotations

import torch

from scripts.networks.geometry import PLAIN, PlainGeometry


def test_plain_restore_is_one_bilinear_resize():
    logits = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    once = torch.nn.functional.interpolate(logits[None, None], (20, 11), mode="bilinear", align_corners=False)[0, 0]
    torch.testing.assert_close(PlainGeometry().restore(logits, (20, 11)), once)
    assert torch.equal(PlainGeometry().restore(logits, (7, 5)), logits)


def test_plain_changes_nothing_on_the_way_in():
    assert PLAIN.network_size(30, 40) == (30, 40)
    assert PLAIN.training_transforms() == PLAIN.evaluation_transforms() == []
