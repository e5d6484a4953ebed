"""Networks as if they were trained, without a training."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def with_statistics(network: Any, seed: int = 0) -> Any:
    """Return ``network`` in eval mode, its batch-norms with statistics and weights that differ from the start's."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor, low, high in ((module.running_mean, -0.2, 0.2), (module.running_var, 0.5, 2.0),
                                          (module.weight, 0.5, 1.5), (module.bias, -0.2, 0.2)):  # fmt: skip
                    tensor.copy_(torch.rand(tensor.shape, generator=rng) * (high - low) + low)
    return network.eval()
