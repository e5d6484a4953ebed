"""What the project asks of a network; any that has this can stand in ``network_def``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn


@runtime_checkable
class JointNetwork(Protocol):
    """Interface of :class:`scripts.networks.joint_net.JointNet` and
    :class:`scripts.networks.published_net.PublishedNet`.

    They are ``torch.nn.Module`` besides.

    Attributes:
        stride: pixels of the input per pixel of the class maps.
        frozen: whether encoder and classifier are frozen.
        dropout: the dropout that a stochastic pass turns on, alone.
        pool: makes scores (B, C) of class maps (B, C, h, w).
    """

    stride: int
    frozen: bool
    dropout: nn.Module
    pool: nn.Module

    __call__: Callable[..., torch.Tensor]

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return five features of images (B, 3, H, W)."""

    def class_maps(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Return class maps (B, C, ceil(H / stride), ceil(W / stride)) of the features."""

    def decode(self, features: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """Return mask logits (B, 1, H, W) from the features and the images."""

    def freeze(self, frozen: bool = True) -> None:
        """Stop or resume the training of encoder and classifier."""

    def has_fixed_features(self) -> bool:
        """Tell whether :meth:`encode` gives the same of an image each time: it is frozen and draws no dropout."""


def joint_network(network: nn.Module | JointNetwork) -> JointNetwork:
    """Return ``network``, out of what ``DistributedDataParallel`` wraps around it."""
    inner: Any = getattr(network, "module", network)
    return inner
