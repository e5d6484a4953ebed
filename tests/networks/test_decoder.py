"""The decoder block with fewer products: MONAI's own block is the reference, for values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from scripts.networks.decoder import doubled_kernel, enlarge, to_one_channel, up_and_convolve
from scripts.networks.joint_net import JointNet
from tests.support.tiny import tiny_net


def test_the_doubled_kernel_convolves_repeated_pixels():
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.rand(2, 3, 5, 4, generator=generator), torch.rand(6, 3, 3, 3, generator=generator)
    repeated = F.conv2d(x.repeat_interleave(2, 2).repeat_interleave(2, 3), weight, padding=1)
    torch.testing.assert_close(F.conv_transpose2d(x, doubled_kernel(weight), stride=2, padding=1), repeated)


@pytest.mark.parametrize("block", range(5))
@pytest.mark.parametrize("train", [False, True])
def test_values_and_gradients_are_those_of_monais_block(block: int, train: bool):
    net = tiny_net(out_stride=1).double().train(train)
    features = net.encode(torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1)).double())
    module = net.decoder.blocks[block]
    below = features[-1].detach() if block == 0 else net.decoder.blocks[block - 1].convs.conv_1.conv.weight
    channels = below.shape[1 if block == 0 else 0]
    side = 2 ** (5 - block)
    x = torch.rand(2, channels, 64 // side, 96 // side, generator=torch.Generator().manual_seed(2)).double()
    x.requires_grad_()
    skip = features[-2 - block].detach() if block < 4 else None
    found = []
    for compute in (module, lambda x, skip: up_and_convolve(module, x, skip)):
        x.grad = None
        net.zero_grad()
        y = compute(x, skip)
        (y**2).sum().backward()
        assert x.grad is not None
        found.append([y.detach(), x.grad.clone(), *[p.grad.clone() for p in module.parameters() if p.grad is not None]])
    assert len(found[0]) == len(found[1]) > 6
    for of_monai, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, of_monai)


@pytest.mark.parametrize("bias", [False, True])
def test_one_channel_is_that_of_the_convolution(bias: bool):
    torch.manual_seed(4)
    convolution = torch.nn.Conv2d(5, 1, 3, padding=1, bias=bias).double()
    x = torch.rand(2, 5, 6, 7).double().requires_grad_()
    found = []
    for y in (convolution(x), to_one_channel(convolution, x)):
        found.append([y.detach(), *torch.autograd.grad((y**2).sum(), [x, *convolution.parameters()])])
    for plain, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("size", [(5, 7), (1, 1), (2, 3)])
def test_enlarged_as_by_torch_with_its_gradients(factor: int, size: tuple[int, int]):
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(5)).double().requires_grad_()
    reference = F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)
    found = enlarge(x, factor)
    torch.testing.assert_close(found, reference)
    weights = torch.rand(reference.shape, generator=torch.Generator().manual_seed(6)).double()
    ours, torchs = (torch.autograd.grad(y, x, weights)[0] for y in (found, reference))
    torch.testing.assert_close(ours, torchs)


def test_the_network_computes_the_same_as_its_script():
    net = JointNet(pretrained=False, out_stride=2).eval()
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(net(x), torch.jit.script(net)(x), rtol=1e-4, atol=1e-4)
