"""Depth-wise convolutions: values and gradients are torch's, also where a part of them is made in another precision."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from scripts.networks.encoders.depthwise import depthwise
from scripts.networks.encoders.lite0 import SameConv2d


@pytest.mark.parametrize("kernel", [3, 5, 7, 9])
@pytest.mark.parametrize("stride", [1, 2])
def test_values_and_gradients_in_double(kernel: int, stride: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 6, 11, 9, generator=generator).double().requires_grad_()
    weight = torch.rand(6, 1, kernel, kernel, generator=generator).double().requires_grad_()
    sides = [stride, stride], [kernel // 2, kernel // 2]
    found = []
    for y in (F.conv2d(x, weight, None, *sides, groups=6), depthwise(x, weight, *sides)):
        found.append([y.detach(), *torch.autograd.grad((y**2).sum(), [x, weight])])
    for plain, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 1), (3, 2), (5, 2)])
def test_a_training_in_bfloat16_gets_gradients_as_near_as_before(kernel: int, stride: int) -> None:
    torch.manual_seed(1)
    layer = SameConv2d(16, 16, kernel, stride, groups=16)
    x = torch.rand(2, 16, 20, 24).contiguous(memory_format=torch.channels_last).requires_grad_()
    exact = torch.autograd.grad((layer(x) ** 2).sum(), [x, layer.weight])
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16 and "Depthwise" in type(y.grad_fn).__name__
    found = torch.autograd.grad((y.float() ** 2).sum(), [x, layer.weight])
    for ours, reference in zip(found, exact, strict=True):
        assert ours.dtype == torch.float32
        assert float((ours - reference).abs().max() / reference.abs().max()) < 0.02


def test_only_what_is_asked_is_computed() -> None:
    x, weight = torch.rand(1, 4, 8, 8), torch.rand(4, 1, 5, 5, requires_grad=True)
    depthwise(x, weight, [1, 1], [2, 2]).sum().backward()
    assert x.grad is None and weight.grad is not None


def test_without_gradients_or_autocast_it_is_the_plain_layer() -> None:
    layer, x = SameConv2d(4, 4, 5, groups=4), torch.rand(1, 4, 8, 8)
    assert "Depthwise" not in type(layer(x).grad_fn).__name__
    layer.requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).grad_fn is None
