"""What all engines have in common: they answer like the joint network they were made of, and are never trained."""

from __future__ import annotations

import copy

import torch
from torch import nn

from scripts.networks.interface import joint_network
from scripts.networks.outputs import pack_outputs
from scripts.networks.precision import computes_in_bfloat16


class InferenceNetwork(nn.Module):
    """A copy of a joint network for inference, with the methods of :mod:`scripts.networks.interface`.

    Dropout is that of the copy: whoever turns ``dropout`` on gets stochastic passes, and the network it was made of
    stays as it is.

    Args:
        network: trained.
        amp: bfloat16: true, false, or ``"auto"`` for where the device computes in it natively.

    Attributes:
        network: the copy, without gradients, in eval mode.
        device: where it computes.
        reduced: whether it computes in bfloat16; class maps are made in float32 from its features.
    """

    network: nn.Module

    def __init__(self, network: nn.Module, amp: bool | str = "auto") -> None:
        super().__init__()
        inner = copy.deepcopy(getattr(network, "module", network))
        self.network = inner.eval().requires_grad_(False)
        tensors = [*inner.parameters(), *inner.buffers()]
        self.device = tensors[0].device if tensors else torch.device("cpu")
        self.reduced = computes_in_bfloat16(self.device, amp)

    def follow(self, network: nn.Module) -> bool:
        """Take over the weights of the network it was made of, where an engine can; return whether it did."""
        return False

    @property
    def stride(self) -> int:
        """Pixels of the input per pixel of the class maps."""
        return joint_network(self.network).stride

    @property
    def frozen(self) -> bool:
        """Whether encoder and classifier of the network were frozen."""
        return joint_network(self.network).frozen

    @property
    def dropout(self) -> nn.Module:
        """The dropout that a stochastic pass turns on, alone."""
        return joint_network(self.network).dropout

    @property
    def pool(self) -> nn.Module:
        """Makes scores (B, C) of class maps (B, C, h, w)."""
        return joint_network(self.network).pool

    def has_fixed_features(self) -> bool:
        """Tell whether :meth:`encode` gives the same of an image each time."""
        return joint_network(self.network).has_fixed_features()

    def freeze(self, frozen: bool = True) -> None:
        """Do nothing: no part of it is trained."""

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return five features of images (B, 3, H, W) float32 in [0, 1]; float32, or bfloat16 if it computes so."""
        raise NotImplementedError

    def decode(self, features: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """Return mask logits (B, 1, H, W) from the features and the images."""
        raise NotImplementedError

    @torch.no_grad()
    def class_maps(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Return class maps (B, C, ceil(H / stride), ceil(W / stride)) float32 of the features."""
        with torch.autocast(self.device.type, enabled=False):
            return joint_network(self.network).class_maps([feature.float() for feature in features])

    def whole(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mask logits (B, 1, H, W) and class maps, float32: the shortest way where nobody keeps features."""
        features = self.encode(x)
        return self.decode(features, x).float(), self.class_maps(features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, 1 + C, H, W): mask logits, then class maps, as ``outputs.unpack_outputs`` parts them."""
        return pack_outputs(*self.whole(x))

    def is_stochastic(self) -> bool:
        """Tell whether dropout is on: the answer then differs from pass to pass."""
        return self.dropout.training and float(getattr(self.dropout, "p", 0.0)) > 0
