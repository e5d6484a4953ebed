"""How a batch passes the joint network: frozen features from memory, flips averaged, reduced precision."""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from monai.inferers import Inferer
from torch import nn

from scripts.networks.engines.choice import engine_of
from scripts.networks.engines.inference_network import InferenceNetwork
from scripts.networks.feature_bank import FeatureBank
from scripts.networks.interface import JointNetwork, joint_network
from scripts.networks.outputs import pack_outputs
from scripts.networks.precision import autocast

FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
_MOST_PIXELS = 2**20
"""Flips pass together while they are no more pixels than this: memory does not grow with large images."""


class JointInferer(Inferer):
    """Run the joint network on whole images.

    What is not trained runs as an engine's copy of the network (:mod:`scripts.networks.engines`), which follows when
    the weights have changed.

    Args:
        bank: memory of features for a network that repeats them (frozen, no dropout in the encoder); None computes
            them each time.
        flips: average logits and class maps over the four flips of the image (test-time augmentation).
        amp: bfloat16 in the decoder: true, false, or ``"auto"`` for where the device computes in it natively.
        decode: false for the classifier alone; the mask logits are then 0 everywhere.
        engine: ``"torch"`` or ``"openvino"``, for networks that are not trained; dropout that is on goes through torch.
        packed: return one tensor, as all of MONAI takes; false for a training's own loss, which then needs no copies.
    """

    def __init__(
        self,
        bank: FeatureBank | None = None,
        flips: bool = False,
        amp: bool | str = "auto",
        decode: bool = True,
        engine: str = "torch",
        packed: bool = True,
    ) -> None:
        super().__init__()
        self.bank, self.flips, self.amp, self.decode, self.engine = bank, flips, amp, decode, engine
        self.packed = packed
        self._made: dict[str, _Copy] = {}

    def __call__(self, inputs: torch.Tensor, network: Any, keys: Sequence[str] | None = None) -> Any:
        """Return packed outputs (B, 1 + C, H, W) float32, see :func:`scripts.networks.outputs.pack_outputs`.

        Where they are not to be packed, return logits (B, 1, H, W) and class maps (B, C, h, w), float32.

        Args:
            inputs: (B, 3, H, W) float32 in [0, 1].
            network: see :mod:`scripts.networks.joint_net`.
            keys: B names of the images for the bank, or None.
        """
        module = joint_network(network)
        views = FLIPS if self.flips else FLIPS[:1]
        at_once = max(1, _MOST_PIXELS // max(1, inputs[:, 0].numel()))
        logits: list[torch.Tensor] = []
        maps: list[torch.Tensor] = []
        for some in (views[first : first + at_once] for first in range(0, len(views), at_once)):
            names = None if keys is None else [_name(key, axes) for axes in some for key in keys]
            found = self._pass(torch.cat([inputs.flip(axes) for axes in some]), module, names)
            for seen, tensor in zip((logits, maps), found, strict=True):
                seen += [part.flip(axes) for axes, part in zip(some, tensor.chunk(len(some)), strict=True)]
        parts = _mean(logits), _mean(maps)
        return pack_outputs(*parts) if self.packed else parts

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the copies, which are made again where they are needed."""
        return self.__dict__ | {"_made": {}}

    @torch.no_grad()
    def stochastic(self, image: torch.Tensor, network: Any, key: str, passes: int) -> torch.Tensor:
        """Return mask logits (passes, 1, H, W) float32 of passes with dropout on, without flips.

        The encoder runs once where it draws no dropout.

        Args:
            image: (1, 3, H, W) float32 in [0, 1].
            network: in eval mode; its dropout is left as it is.
            key: name of the image for the bank.
            passes: 1 or more. The noise is torch's global generator's.
        """
        module = joint_network(network)
        engine = self._copy("torch", module)
        engine.dropout.train()
        try:
            once = self._kept(engine, module, image, key)
            most = max(1, _MOST_PIXELS // image[:, 0].numel())
            found = []
            for first in range(0, passes, most):
                images = image.expand(min(most, passes - first), -1, -1, -1)
                features = engine.encode(images) if once is None else [f.expand(len(images), -1, -1, -1) for f in once]
                found.append(engine.decode(features, images).float())
            return torch.cat(found)
        finally:
            engine.dropout.eval()

    def _kept(
        self, engine: InferenceNetwork, module: JointNetwork, image: torch.Tensor, key: str
    ) -> list[torch.Tensor] | None:
        """Return the features of an image, in the precision of the decoder; None if they differ from pass to pass."""
        if not engine.has_fixed_features():
            return None
        if self.bank is not None:
            features = self.bank.features(module, image, [key])
        else:
            features = [feature.half().float() for feature in module.encode(image)]
        return [feature.bfloat16() for feature in features] if engine.reduced else features

    def _pass(
        self, images: torch.Tensor, module: JointNetwork, keys: Sequence[str] | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (B, 1, H, W) and class maps, float32."""
        engine = self._engine(module)
        if module.has_fixed_features() and self.bank is not None and keys is not None:
            features = self.bank.features(module, images, keys)
        elif engine is not None and self.decode:
            return engine.whole(images)
        else:
            with autocast(images.device, self.amp):
                features = (engine or module).encode(images.contiguous(memory_format=torch.channels_last))
        logits = torch.zeros_like(images[:, :1])
        if self.decode:
            with autocast(images.device, self.amp):
                logits = (engine or module).decode(features, images)
        return logits.float(), module.class_maps([f.float() for f in features])

    def _engine(self, module: JointNetwork) -> InferenceNetwork | None:
        """Return the engine's copy of a network that is only used; None while it is trained or draws dropout."""
        if isinstance(module, InferenceNetwork):
            return module
        if not isinstance(module, nn.Module) or getattr(module, "is_compiled", False):
            return None
        if torch.is_grad_enabled() or module.training or module.get_submodule("dropout").training:
            return None
        return self._copy(self.engine, module)

    def _copy(self, name: str, module: Any) -> InferenceNetwork:
        """Return an engine's copy of a network, made when there is none or when a weight has changed since."""
        tensors = itertools.chain(module.parameters(), module.buffers())
        probability = getattr(module.dropout, "p", 0.0)
        stamp = (probability, *((tensor.data_ptr(), tensor._version) for tensor in tensors))
        made = self._made.get(name)
        if made is None or not made.is_of(module, probability):
            made = self._made[name] = _Copy(weakref.ref(module), stamp, engine_of(name, module, self.amp))
        elif made.stamp != stamp:
            engine = made.engine if made.engine.follow(module) else engine_of(name, module, self.amp)
            made = self._made[name] = made._replace(stamp=stamp, engine=engine)
        return made.engine


class _Copy(NamedTuple):
    """An engine's copy of a network, and the state of the network when it was made."""

    of: weakref.ref[Any]
    stamp: tuple[Any, ...]
    engine: InferenceNetwork

    def is_of(self, module: Any, probability: float) -> bool:
        """Tell whether the engine can follow this network, with this probability of dropout."""
        return self.of() is module and bool(self.stamp[0] == probability)


def _name(key: str, axes: tuple[int, ...]) -> str:
    return f"{key}~{axes}" if key and axes else key


def _mean(parts: list[torch.Tensor]) -> torch.Tensor:
    return functools.reduce(torch.add, parts) / len(parts)
