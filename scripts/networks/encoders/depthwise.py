"""Depth-wise convolutions that are trained in bfloat16 on a CPU: some of their gradients are faster in float32.

oneDNN, which computes torch's convolutions on a CPU, has a quick kernel in bfloat16 for the forward pass but not for
every gradient: that of the input for a stride, and that of the weights for a kernel of more than 3 x 3, took 3 to 10
times as long as in float32 (torch 2.13) and most of the time of a training of the encoder.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F


def depthwise(x: torch.Tensor, weight: torch.Tensor, stride: list[int], padding: list[int]) -> torch.Tensor:
    """Return ``F.conv2d(x, weight, None, stride, padding, groups=C)``; gradients as well, up to rounding.

    Args:
        x: (B, C, H, W) float.
        weight: (C, 1, k, k) float.
        stride: of rows and columns, in pixels.
        padding: of rows and columns with 0, in pixels.
    """
    found: torch.Tensor = _Depthwise.apply(x, weight, stride, padding)
    return found


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, stride: list[int], padding: list[int]) -> torch.Tensor:
        y = F.conv2d(x, weight, None, stride, padding, groups=len(weight))
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.kind = stride, padding, y.dtype  # autocast's
        return y

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight = ctx.needs_input_grad[:2]
        wide = torch.promote_types(ctx.kind, torch.float32)
        for_x = wide if max(ctx.stride) > 1 else ctx.kind
        for_weight = wide if weight.shape[-1] > 3 else ctx.kind
        found: list[torch.Tensor | None] = [None, None]
        for place, wanted, kind in ((0, of_x, for_x), (1, of_weight, for_weight)):
            if wanted:
                given = (tensor.to(kind) for tensor in (gradient, x, weight))
                mask = [place == 0, place == 1, False]
                found[place] = torch.ops.aten.convolution_backward(
                    *given, None, ctx.stride, ctx.padding, [1, 1], False, [0, 0], len(weight), mask
                )[place].to((x, weight)[place].dtype)
        return *found, None, None
