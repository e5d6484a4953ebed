"""The engine ``torch``: batch-norm folded into the convolutions, weights in the precision that is computed in.

Which norm follows which convolution is seen in a pass of a small image: a norm that is given the very tensor that a
convolution returned. So it does not matter how a network is built. Of MONAI's ``Convolution`` it is known, also where
the decoder computes one in another way (:mod:`scripts.networks.decoder`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from monai.networks.blocks import Convolution
from monai.networks.nets.basic_unet import UpCat
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from scripts.networks.engines.inference_network import InferenceNetwork
from scripts.networks.engines.noise import Dropout
from scripts.networks.interface import joint_network

_SIDE = 64


class FoldedNetwork(InferenceNetwork):
    """A copy of a network that stands in its place. In float32 it gives the same, to rounding; in bfloat16 it casts no
    weight.

    Args:
        network: trained; it is not changed.
        amp: bfloat16: true, false, or ``"auto"`` for where the device computes in it natively.
    """

    @torch.inference_mode(False)  # else its weights could not be changed again
    def __init__(self, network: nn.Module, amp: bool | str = "auto") -> None:
        super().__init__(network, amp)
        self._of = _structure(network)
        _quicken(self.network)
        self._norm_of = fold_norms(self.network, torch.zeros(1, 3, _SIDE, _SIDE, device=self.device))
        kept = set(getattr(self.network, "head", nn.Module()).modules())  # class maps are made in float32
        for block in self.network.modules():  # the decoder sums the weights of a block's first convolution first
            if isinstance(block, UpCat):
                kept |= set(block.convs.get_submodule("conv_0").modules())
        for module in self.network.modules():
            if isinstance(module, nn.Conv2d) and module not in kept:
                kind = torch.bfloat16 if self.reduced else module.weight.dtype
                module.weight.data = module.weight.data.to(kind, memory_format=torch.channels_last)
                module.bias = None if module.bias is None else nn.Parameter(module.bias.to(kind), requires_grad=False)

    @torch.no_grad()
    def follow(self, network: nn.Module) -> bool:
        """Take over the weights of the network it was made of, which were trained on: in a tenth of a copy's time.

        Returns:
            False where it has got other layers since, or is on another device.
        """
        if _structure(network) != self._of:
            return False
        given, own = dict(getattr(network, "module", network).named_modules()), dict(self.network.named_modules())
        folded = [given[name] for pair in self._norm_of.items() for name in pair]
        for name, norm_name in self._norm_of.items():
            weight, bias = _fused(given[name], given[norm_name])
            own[name].get_parameter("weight").copy_(weight)
            own[name].get_parameter("bias").copy_(bias)
        for name, module in given.items():
            if module not in folded:
                for part, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                    getattr(own[name], part).copy_(tensor)
        return True

    @torch.no_grad()
    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return five features of images (B, 3, H, W) float32 in [0, 1]; float32, or bfloat16 if it computes so."""
        with self._precision():
            return joint_network(self.network).encode(x.contiguous(memory_format=torch.channels_last))

    @torch.no_grad()
    def decode(self, features: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """Return mask logits (B, 1, H, W) from the features and the images."""
        with self._precision():
            return joint_network(self.network).decode(features, x)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.reduced)


def _structure(network: nn.Module) -> dict[str, tuple[Any, ...]]:
    """Return what a copy has in common with the network it can follow, besides the values of its weights."""
    inner = getattr(network, "module", network)
    found: dict[str, tuple[Any, ...]] = {
        name: (tensor.shape, tensor.dtype, tensor.device) for name, tensor in inner.state_dict(keep_vars=True).items()
    }
    return found | {"": (bool(getattr(inner, "frozen", False)),)}


def _quicken(network: nn.Module) -> None:
    """Put a quicker dropout in the place of each, shared ones included."""
    for module in network.modules():
        if type(module) is nn.Dropout:
            module.__class__ = Dropout


def fold_norms(network: nn.Module, images: torch.Tensor) -> dict[str, str]:
    """Fold each batch-norm into the convolution before it, in place; return name of the convolution -> of its norm.

    Args:
        network: a joint network in eval mode.
        images: (1, 3, H, W) to pass through it.
    """
    if not any(isinstance(module, _BatchNorm) for module in network.modules()):
        return {}
    joint = joint_network(network)
    with _Watch(network) as watch, torch.no_grad():
        joint.decode(joint.encode(images), images)
    names = {module: name for name, module in network.named_modules()}
    pairs = dict([*watch.pairs(), *(pair for module in network.modules() for pair in _of_monai(module))])
    found = {names[convolution]: names[norm] for norm, convolution in pairs.items()}
    for norm, convolution in pairs.items():
        weight, bias = _fused(convolution, norm)
        convolution.weight, convolution.bias = (nn.Parameter(part, requires_grad=False) for part in (weight, bias))
        parent, _, own = names[norm].rpartition(".")
        setattr(network.get_submodule(parent), own, nn.Identity())
    return found


def _fused(convolution: Any, norm: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias of a convolution that does the work of both."""
    running = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    weight, bias = fuse_conv_bn_weights(convolution.weight, convolution.bias, *running)
    return weight.detach(), bias.detach()


def _of_monai(module: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Yield (norm, convolution) of a ``Convolution`` of MONAI whose norm comes first after it."""
    if isinstance(module, Convolution) and isinstance(adn := getattr(module, "adn", None), nn.Module):
        norm = next(adn.children(), None)
        if isinstance(norm, _BatchNorm):
            yield norm, module.get_submodule("conv")


class _Watch:
    """Sees what norms are given while a network runs; for a ``with`` statement."""

    def __init__(self, network: nn.Module) -> None:
        self._made: dict[int, tuple[nn.Conv2d, torch.Tensor]] = {}  # the tensor is kept, so that its id is not reused
        self._sources: dict[nn.Module, set[Any]] = {}  # None: no convolution
        self._calls: dict[nn.Module, int] = {}
        self._hooks = [module.register_forward_hook(self._see) for module in network.modules()
                       if isinstance(module, nn.Conv2d | _BatchNorm)]  # fmt: skip

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _see(self, module: nn.Module, given: tuple[Any, ...], made: torch.Tensor) -> None:
        self._calls[module] = self._calls.get(module, 0) + 1
        if isinstance(module, nn.Conv2d):
            self._made[id(made)] = (module, made)
        else:
            source = self._made.get(id(given[0]))
            self._sources.setdefault(module, set()).add(source[0] if source else None)

    def pairs(self) -> list[tuple[Any, Any]]:
        """Return (norm, convolution) where each runs once and the norm on what the convolution gave."""
        found = ((norm, *sources) for norm, sources in self._sources.items() if len(sources) == 1)
        return [(norm, convolution) for norm, convolution in found
                if convolution is not None and self._calls[norm] == self._calls[convolution] == 1]  # fmt: skip
