"""From class maps to class scores (WILDCAT pooling), to the mask of a class (CAM), and to the packed output.

A *class map* is one channel per class, at the resolution of the encoder's last features. WILDCAT (Durand et al., CVPR
2017) averages its highest values and, weighted by ``alpha``, its lowest ones; Belharbi et al. 2021 classify with it.
Everything here can be part of a network compiled by ``torch.jit.script``, hence no postponed annotations.
"""

import torch
from torch import nn


def _as_fraction_and_count(k: int | float) -> tuple[float, int]:
    """Split ``k`` into a fraction of all values or a number of values; the one not meant is 0."""
    if k <= 0:
        return 0.0, 0
    if k < 1 or (k == 1 and isinstance(k, float)):
        return float(k), 0
    return 0.0, int(k)


def pooled_values(fraction: float, count: int, n: int) -> int:
    """Return how many of ``n`` values are pooled: ``count`` (at most ``n``), or ``fraction`` of them if ``count`` is 0.

    Halves go to the even neighbour, as Python rounds (0.1 of 25 values is 2, of 255 is 26).
    """
    if count > 0:
        return min(count, n)
    return int(round(fraction * n))  # noqa: RUF046 - in TorchScript round() of a float is a float


class WildcatPool(nn.Module):
    """Class scores from class maps: the mean of the highest values, and ``alpha`` times that of the lowest.

    Score = (mean of the highest ``kmax`` + ``alpha`` * mean of the lowest ``kmin``) / 2. Without the second part
    (``use_bottom`` false, ``alpha`` 0 or ``kmin`` <= 0) the score is the first mean, not halved. In train mode
    ``dropout`` acts on the sorted values before they are averaged.

    At least one value is averaged on each side, so that maps of a few pixels have a score too (10 % of 4 pixels rounds
    to none, which would be a division by zero).

    Args:
        kmax: the highest values: a float in (0, 1] is a fraction of the map, an int a number of pixels.
        kmin: the lowest values, likewise; 0 for none.
        alpha: weight of the lowest values.
        use_bottom: false reproduces the published code, which computes the second part and drops it.
        dropout: probability of dropping a sorted value in train mode; the published networks use 0.1.

    Raises:
        ValueError: ``kmax`` is not above 0.
    """

    def __init__(
        self,
        kmax: int | float = 0.1,
        kmin: int | float = 0.1,
        alpha: float = 0.6,
        use_bottom: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if kmax <= 0:
            raise ValueError(f"kmax: expected a fraction in (0, 1] or a number of pixels from 1, found {kmax}")
        self.top_fraction, self.top_count = _as_fraction_and_count(kmax)
        self.bottom_fraction, self.bottom_count = _as_fraction_and_count(kmin)
        self.alpha = float(alpha)
        self.use_bottom = bool(use_bottom) and self.alpha != 0.0 and kmin > 0
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return scores (B, C), same dtype, from class maps (B, C, h, w)."""
        values = torch.sort(maps.flatten(2), dim=2, descending=True)[0]  # (B, C, h * w)
        values = self.dropout(values)
        n = values.shape[2]
        top = values[:, :, : max(1, pooled_values(self.top_fraction, self.top_count, n))].mean(2)
        if not self.use_bottom:
            return top
        bottom = values[:, :, n - max(1, pooled_values(self.bottom_fraction, self.bottom_count, n)) :].mean(2)
        return (top + self.alpha * bottom) / 2


class ClassMapHead(nn.Module):
    """Class maps from features: a 1x1 convolution to ``modalities`` maps per class, then their mean.

    Args:
        in_channels: channels of the features.
        num_classes: C.
        modalities: maps averaged per class (5 in the published networks).
    """

    def __init__(self, in_channels: int, num_classes: int, modalities: int = 5) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.modalities = modalities
        self.conv = nn.Conv2d(in_channels, num_classes * modalities, kernel_size=1)

    def average(self, responses: torch.Tensor) -> torch.Tensor:
        """Return the mean over the modalities, (B, C, h, w), of responses (B, C * modalities, h, w), class first."""
        batch, _, height, width = responses.shape
        return responses.reshape(batch, self.num_classes, self.modalities, height, width).mean(2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return class maps (B, C, h, w), unbounded, from features (B, in_channels, h, w)."""
        return self.average(self.conv(features))
