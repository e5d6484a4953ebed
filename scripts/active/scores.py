"""How much an image would tell if the oracle drew its mask: one score per image from its maps, highest asked first.

The two ``*_as_published`` scores repeat what the published code computes, which is not what its names say; they exist
to compare figures. All scores are finite for probabilities of exactly 0 and 1.
"""

from __future__ import annotations

import torch

from scripts.core.errors import InputError, Problem


def binary_entropy(probs: torch.Tensor) -> torch.Tensor:
    """Mean over pixels of ``-p ln p - (1 - p) ln(1 - p)``.

    Args:
        probs: (H, W) or (B, 1, H, W) float in [0, 1], foreground probability.

    Returns:
        (B,) float in [0, ln 2], nats; B is 1 for one map.

    Raises:
        InputError: another shape, or no pixel.
    """
    probs = _per_image(probs)
    # xlogy(0, 0) is 0 where 0 * log(0) would be NaN
    return -(torch.xlogy(probs, probs) + torch.xlogy(1 - probs, 1 - probs)).mean(dim=1)


def entropy_as_published(probs: torch.Tensor) -> torch.Tensor:
    """Mean over pixels of ``-2 p ln p``: the published "entropy", highest at p = 1/e and not symmetric.

    Arguments and errors as :func:`binary_entropy`; returns (B,) float in [0, 2/e]. The published code yields NaN at
    p = 0 and asks those images first; here such a pixel adds 0.
    """
    probs = _per_image(probs)
    return -2 * torch.xlogy(probs, probs).mean(dim=1)


def mc_variance(samples: torch.Tensor) -> torch.Tensor:
    """Mean over pixels of the unbiased variance over stochastic passes.

    Args:
        samples: (T, B, 1, H, W) float in [0, 1], T >= 2 passes.

    Returns:
        (B,) float >= 0, in squared probability.

    Raises:
        InputError: another shape, or fewer than two passes.
    """
    _check_samples(samples)
    mean, squares = samples.mean(dim=0), torch.zeros_like(samples[0])
    for sample in samples:  # ten times as fast as torch.var over an outer axis
        difference = sample - mean
        squares.addcmul_(difference, difference)
    return squares.flatten(1).mean(dim=1) / (len(samples) - 1)


def mc_variance_as_published(samples: torch.Tensor) -> torch.Tensor:
    """Unbiased variance over all T * H * W values of an image together: mostly its spatial contrast.

    Arguments, result and errors as :func:`mc_variance`.
    """
    _check_samples(samples)
    return samples.transpose(0, 1).flatten(1).var(dim=1, correction=1)


def _per_image(probs: torch.Tensor) -> torch.Tensor:
    """Return (B, H * W)."""
    if probs.ndim == 2:
        probs = probs[None, None]
    if probs.ndim != 4 or probs.shape[1] != 1 or probs[0].numel() == 0:
        raise InputError(
            Problem("not a probability map", "score", "(H, W) or (B, 1, H, W), not empty", str(tuple(probs.shape)))
        )
    return probs.flatten(1)


def _check_samples(samples: torch.Tensor) -> None:
    if samples.ndim != 5 or samples.shape[2] != 1 or samples.shape[0] < 2 or samples.numel() == 0:
        raise InputError(
            Problem("not stochastic maps", "score", "(T, B, 1, H, W), T >= 2, not empty", str(tuple(samples.shape)))
        )
