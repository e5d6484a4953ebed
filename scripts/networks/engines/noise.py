"""Dropout for many stochastic passes: the same as torch's, from noise that costs less."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


class Dropout(nn.Dropout):
    """Dropout in a fraction of the time of torch's on a CPU, for networks that are not trained.

    A value takes as many bits of noise as it has itself; the probability is rounded to a multiple of what they resolve
    (1 / 65536 in bfloat16), and what is kept is scaled by it. The noise is NumPy's SFC64, seeded from torch's global
    generator. Images of a batch that are one image expanded get noise of their own.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x`` (any shape, float) with values set to 0 at random in train mode, the others scaled up."""
        kind = {2: torch.int16, 4: torch.int32}.get(x.element_size())
        if not self.training or self.p == 0 or self.p == 1 or kind is None or x.is_cuda:
            return super().forward(x)
        levels = 2 ** (8 * x.element_size())
        dropped = min(levels - 1, round(self.p * levels))
        scaled = x * (levels / (levels - dropped))
        last_dropped = dropped - levels // 2 - 1
        if dropped == 0:
            return scaled
        noise = _noise(scaled, kind)
        # where the noise is above it, the bits of the value, else those of 0: one step over the memory
        kept = torch.ops.aten.threshold_backward(scaled.view(kind), noise, last_dropped)
        return kept.view(x.dtype)


def _noise(x: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    """Return integers of ``kind``, all equally likely, of the shape of ``x`` and in the order of its memory."""
    seed = int(torch.randint(2**63 - 1, ()))
    words = np.random.SFC64(seed).random_raw(x.numel() * x.element_size() // 8 + 1)
    found = torch.from_numpy(words.view(np.int64)).view(kind)[: x.numel()]
    dense = x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)
    return found.as_strided(x.shape, x.stride()) if dense else found.view(x.shape)
