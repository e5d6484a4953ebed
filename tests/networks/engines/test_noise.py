"""The quick dropout against what dropout is: which share is dropped, by what the rest is scaled, without a pattern."""

from __future__ import annotations

import pytest
import torch

from scripts.networks.engines.noise import Dropout


@pytest.mark.parametrize("p", [0.05, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_share_and_the_scale(p: float, layout: torch.memory_format) -> None:
    x = torch.ones(8, 16, 50, 61).contiguous(memory_format=layout)
    torch.manual_seed(0)
    found = Dropout(p)(x)
    dropped = found == 0
    assert abs(float(dropped.float().mean()) - p) < 4 * (p * (1 - p) / x.numel()) ** 0.5 + 2**-16
    torch.testing.assert_close(found[~dropped], torch.full_like(found[~dropped], 1 / (1 - p)), rtol=1e-4, atol=0)
    assert found.stride() == x.stride()
    for axis in range(4):  # neighbours along any axis are independent
        pairs = dropped.narrow(axis, 1, x.shape[axis] - 1) & dropped.narrow(axis, 0, x.shape[axis] - 1)
        assert abs(float(pairs.float().mean()) - p * p) < 0.01
    quarters = dropped.flatten()[: 4 * (x.numel() // 4)].view(-1, 4).float().mean(0)
    assert (quarters - p).abs().max() < 0.01  # all 16 bit parts of a word alike


def test_it_is_seeded_by_torch_and_off_in_eval_mode() -> None:
    x, layer = torch.rand(3, 5, 7), Dropout(0.3)
    torch.manual_seed(1)
    first = layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    assert not torch.equal(layer(x), first)
    assert layer.eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert Dropout(1.0)(x).abs().sum() == 0


def test_any_layout_and_precision() -> None:
    x = torch.rand(4, 6, 10).transpose(0, 2)
    assert Dropout(0.5)(x).shape == x.shape
    assert Dropout(0.5)(x.bfloat16()).dtype == torch.bfloat16


def test_images_that_are_one_expanded_get_noise_of_their_own() -> None:
    x = torch.ones(1, 4, 30, 30).contiguous(memory_format=torch.channels_last).bfloat16().expand(3, -1, -1, -1)
    found = Dropout(0.5)(x)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(found[0], found[1])
    assert set(found.unique().tolist()) == {0.0, 2.0}
