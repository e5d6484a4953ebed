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


def bald(maps: ImageMaps) -> torch.Tensor:
    """Return ``H(mean of p_t) - mean of H(p_t)`` over stochastic passes t, (H, W) float in [0, ln 2], nats.

    BALD, the mutual information of label and weights (Houlsby, Huszar, Ghahramani, Lengyel 2011, arXiv:1112.5745; with
    dropout: Gal, Islam, Ghahramani: Deep Bayesian Active Learning with Image Data. ICML 2017, arXiv:1703.02910): high
    where passes are sure and differ. H is :func:`binary_entropy`.

    Cost: as many passes of the decoder as ``passes`` of the method.

    Raises:
        InputError: fewer than two passes.
    """
    samples = _passes(maps)
    within = torch.zeros_like(samples[0])
    for sample in samples:  # one pass at a time: each entropy is as large as the pass
        within += binary_entropy(sample)
    return (binary_entropy(maps.probs) - within / len(samples)).clamp_min(0)  # below 0 by rounding alone


def margin(maps: ImageMaps) -> torch.Tensor:
    """Return ``1 - |2 p - 1|``, (H, W) float in [0, 1]: how near both classes of pixels are. Cost: one pass."""
    return 1 - (2 * maps.probs - 1).abs()


def clasp_maps(maps: ImageMaps) -> torch.Tensor:
    """Return ``H``, ``H p`` and ``H (1 - p)``, (3, H, W) float in [0, ln 2], of the entropy H of p.

    What :func:`scripts.active.strategies.by_score.clasp` chooses by: entropy, and how much of it is where foreground
    and background are predicted. Cost: one pass.
    """
    plain = entropy(maps)
    return torch.stack([plain, plain * maps.probs, plain * (1 - maps.probs)])


def disagreement(maps: ImageMaps) -> torch.Tensor:
    """Return ``|c - p|``, (H, W) float in [0, 1]: c is the class-activation map of the image's class in [0, 1].

    High where decoder and classifier see different regions; see :func:`~scripts.active.scores.reductions.over_union`.
    Cost: one pass.

    Raises:
        InputError: no class-activation map, as in stochastic passes.
    """
    return (cam_of(maps) - maps.probs).abs()


def cam_of(maps: ImageMaps) -> torch.Tensor:
    """Return the class-activation map (H, W) of an image.

    Raises:
        InputError: there is none, as in stochastic passes.
    """
    if maps.cam is None:
        cure = "Give the method passes 0 in active#methods."
        raise InputError(Problem("no class-activation map", "score", "that of a plain pass", "stochastic passes", cure))
    return maps.cam


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
