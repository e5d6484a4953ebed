"""Depth-wise convolutions that are trained in bfloat16 on a CPU, with gradients that are quick there.

oneDNN, which computes torch's convolutions on a CPU, has a quick kernel in bfloat16 for the forward pass but not for
every gradient (torch 2.13). That of the input for a stride takes ten times as long as in float32, so it is made in
that; that of the weights for a kernel of more than 3 x 3 takes ten times as long as the 3 x 3 pieces it consists of.
Together they took most of the time of a training of the encoder.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

_PIECE = 3  # largest kernel whose weights have a quick gradient


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
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            kind = torch.promote_types(ctx.kind, torch.float32) if max(ctx.stride) > 1 else ctx.kind
            alike = torch.empty_like(x, dtype=kind)  # of the input only size and layout are looked at
            of_x = _gradients(gradient.to(kind), alike, weight.to(kind), ctx.stride, ctx.padding, True).to(x.dtype)
        if ctx.needs_input_grad[1]:
            of_weight = _of_weight(gradient.to(ctx.kind), x.to(ctx.kind), weight, ctx.stride, ctx.padding)
        return of_x, of_weight, None, None


def _of_weight(
    gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, stride: list[int], padding: list[int]
) -> torch.Tensor:
    """Return the gradient (C, 1, k, k) of the weights: that of a piece sees the input moved by the piece's place."""
    side = weight.shape[-1]
    if side <= _PIECE:
        return _gradients(gradient, x, weight.to(x.dtype), stride, padding, False).to(weight.dtype)
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    height, width = (step * (count - 1) + _PIECE for step, count in zip(stride, gradient.shape[2:], strict=True))
    piece = weight[:, :, :_PIECE, :_PIECE].to(x.dtype)
    found = torch.empty_like(weight)
    places = sorted({*range(0, side - _PIECE, _PIECE), side - _PIECE})
    for top in places:
        for left in places:
            seen = padded[:, :, top : top + height, left : left + width]
            found[:, :, top : top + _PIECE, left : left + _PIECE] = _gradients(
                gradient, seen, piece, stride, [0, 0], False
            )
    return found


def _gradients(
    gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, stride: list[int], padding: list[int], of_x: bool
) -> torch.Tensor:
    """Return torch's gradient of the input, or else of the weights."""
    mask = [of_x, not of_x, False]
    found: list[torch.Tensor] = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, [1, 1], False, [0, 0], len(weight), mask
    )
    return found[0] if of_x else found[1]
