"""Decoder blocks and head of MONAI's U-Net, computed with fewer products.

A block doubles its input by repeating pixels, puts the encoder's features beside it and convolves both by 3 x 3. Of
the repeated pixels a 3 x 3 window sees at most 2 x 2 different ones, so that the same sum is a transposed convolution
of the input before the doubling, with a 4 x 4 kernel whose entries are sums of the block's: 4 products per output
pixel and channel instead of 9 (Shi et al. 2016 show the same for sub-pixel convolutions). The encoder's features get a
convolution of their own, so that a frozen encoder costs no gradient either. Weights and names stay the block's.
"""

from typing import Any

import torch
from torch.nn import functional as F


def up_and_convolve(block: Any, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
    """Return what ``block(x, skip)`` returns, up to rounding.

    Args:
        block: MONAI's ``UpCat``; it repeats pixels, after a 1 x 1 convolution or at once, and convolves by 3 x 3.
        x: (B, c, h, w) float.
        skip: (B, s, 2 h, 2 w) float, features of the encoder; None where the block takes none.

    Returns:
        (B, o, 2 h, 2 w) float.
    """
    first = block.convs.conv_0
    weight, channels = first.conv.weight, 0 if skip is None else skip.shape[1]
    narrowed = block.upsample.preconv(x) if "preconv" in block.upsample._modules else x
    y = F.conv_transpose2d(narrowed, doubled_kernel(weight[:, channels:]), first.conv.bias, stride=2, padding=1)
    if skip is not None:
        y = y + F.conv2d(skip, weight[:, :channels], padding=1)
    return block.convs.conv_1(first.adn(y))


def doubled_kernel(weight: torch.Tensor) -> torch.Tensor:
    """Return the kernel (c, o, 4, 4) of the transposed convolution, stride 2 and padding 1, that gives the same as a
    convolution by ``weight`` (o, c, 3, 3), padding 1, of an input whose pixels were repeated 2 x 2.
    """
    for axis in (2, 3):
        first, second, third = weight.unbind(axis)
        weight = torch.stack([third, second + third, first + second, first], axis)
    return weight.transpose(0, 1)


def to_one_channel(convolution: Any, x: torch.Tensor) -> torch.Tensor:
    """Return what ``convolution`` returns, up to rounding: nine products with each pixel, moved to their places.

    A kernel of one output channel fills no vector of the processor; as a 1 x 1 convolution to nine channels it does.
    With gradients the nine moves back cost what is won.

    Args:
        convolution: 3 x 3, padding 1, one output channel.
        x: (B, c, h, w) float.

    Returns:
        (B, 1, h, w) float; float32 from reduced precision.
    """
    weight, (height, width) = convolution.weight, x.shape[2:]
    products = F.conv2d(x, weight.permute(2, 3, 0, 1).flatten(0, 2)[:, :, None, None])
    padded = F.pad(products.contiguous(), (1, 1, 1, 1))
    y = padded.new_zeros(()) if convolution.bias is None else convolution.bias.float()[:, None, None]
    for number in range(9):
        row, column = divmod(number, 3)
        y = y + padded[:, number, row : row + height, column : column + width]
    return y[:, None]


def enlarge(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Return (B, C, factor h, factor w) of (B, C, h, w): bilinear, corners not aligned."""
    if factor == 2 and torch.is_grad_enabled() and not x.is_cuda:
        doubled: torch.Tensor = _Doubled.apply(x)
        return doubled
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


class _Doubled(torch.autograd.Function):
    """Bilinear doubling whose gradient is one convolution, a fifth of the time of torch's loop on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = gradient.shape
        taps = gradient.new_tensor([0.25, 0.75, 0.75, 0.25])
        # what would come from beyond an edge comes from the edge itself, as the way forward repeats it
        padded = F.pad(gradient, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]
        with torch.autocast(gradient.device.type, enabled=False):
            found = F.conv2d(padded, torch.outer(taps, taps)[None, None], stride=2)
        return found.view(batch, channels, height // 2, width // 2)
