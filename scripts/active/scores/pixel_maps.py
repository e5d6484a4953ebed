"""How much each pixel of an image would tell if the oracle drew it.

A score map is a function of :class:`~scripts.networks.outputs.ImageMaps`; a reduction
(:mod:`scripts.active.scores.reductions`) makes one number of it, highest asked first. The ``*_as_published`` maps
repeat what the published code computes, which is not what its names say; they exist to compare figures. All values are
finite for probabilities of exactly 0 and 1.
"""

from __future__ import annotations

import torch

from scripts.core.errors import InputError, Problem
from scripts.networks.outputs import ImageMaps


def entropy(maps: ImageMaps) -> torch.Tensor:
    """Return ``-p ln p - (1 - p) ln(1 - p)``, (H, W) float in [0, ln 2], nats. Cost: one pass."""
    return binary_entropy(maps.probs)


def entropy_as_published(maps: ImageMaps) -> torch.Tensor:
    """Return ``-2 p ln p``, the published "entropy", (H, W) float in [0, 2/e]: highest at 1/e, not symmetric.

    The published code yields NaN at p = 0 and asks those images first; here such a pixel is 0. Cost: one pass.
    """
    return -2 * torch.xlogy(maps.probs, maps.probs)


def mc_variance(maps: ImageMaps) -> torch.Tensor:
    """Return the unbiased variance over stochastic passes, (H, W) float >= 0, in squared probability.

    Cost: as many passes of the decoder as ``passes`` of the method.

    Raises:
        InputError: fewer than two passes.
    """
    samples = _passes(maps)
    return _squares(samples, samples.mean(dim=0)) / (len(samples) - 1)


def mc_variance_as_published(maps: ImageMaps) -> torch.Tensor:
    """Return the map whose mean is the unbiased variance over all values of an image: mostly its spatial contrast.

    Shape, cost and errors as for :func:`mc_variance`.
    """
    samples = _passes(maps)
    return _squares(samples, samples.mean()) * samples[0].numel() / (samples.numel() - 1)


def binary_entropy(probs: torch.Tensor) -> torch.Tensor:
    """Return the entropy in nats of probabilities of any shape."""
    # xlogy(0, 0) is 0 where 0 * log(0) would be NaN
    return -(torch.xlogy(probs, probs) + torch.xlogy(1 - probs, 1 - probs))


def _squares(samples: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Return the sum over passes of squared differences from ``mean``, (H, W)."""
    squares = torch.zeros_like(samples[0])
    for sample in samples:  # ten times as fast as torch.var over an outer axis
        difference = sample - mean
        squares.addcmul_(difference, difference)
    return squares


def _passes(maps: ImageMaps) -> torch.Tensor:
    if len(maps.samples) < 2:
        cure = "Give the method passes in active#methods."
        raise InputError(Problem("no stochastic passes", "score", "2 or more", f"{len(maps.samples)}", cure))
    return maps.samples
