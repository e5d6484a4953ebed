"""How a batch passes the joint network: frozen features from memory, flips averaged, reduced precision."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from monai.inferers import Inferer

from scripts.networks.feature_bank import FeatureBank
from scripts.networks.interface import joint_network
from scripts.networks.outputs import pack_outputs


@runtime_checkable
class HasWholePass(Protocol):
    """An engine of :mod:`scripts.networks.engines`: it is quicker where nobody asks for features."""

    def whole(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mask logits (B, 1, H, W) and class maps, float32."""


FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))


class JointInferer(Inferer):
    """Run the joint network on whole images.

    Args:
        bank: memory of features for a network that repeats them (frozen, no dropout in the encoder); None computes
            them each time.
        flips: average logits and class maps over the four flips of the image (test-time augmentation).
        amp: bfloat16 in the decoder: true, false, or ``"auto"`` for where the device computes in it natively.
        decode: false for the classifier alone; the mask logits are then 0 everywhere.
    """

    def __init__(
        self, bank: FeatureBank | None = None, flips: bool = False, amp: bool | str = "auto", decode: bool = True
    ) -> None:
        super().__init__()
        self.bank, self.flips, self.amp, self.decode = bank, flips, amp, decode

    def __call__(self, inputs: torch.Tensor, network: Any, keys: Sequence[str] | None = None) -> torch.Tensor:
        """Return packed outputs (B, 1 + C, H, W) float32, see :func:`scripts.networks.outputs.pack_outputs`.

        Args:
            inputs: (B, 3, H, W) float32 in [0, 1].
            network: see :mod:`scripts.networks.joint_net`.
            keys: B names of the images for the bank, or None.
        """
        logits, maps = self._pass(inputs, network, keys)
        if self.flips:
            for axes in FLIPS[1:]:
                named = None if keys is None else [f"{key}~{axes}" if key else "" for key in keys]
                more_logits, more_maps = self._pass(inputs.flip(axes), network, named)
                logits, maps = logits + more_logits.flip(axes), maps + more_maps.flip(axes)
            logits, maps = logits / len(FLIPS), maps / len(FLIPS)
        return pack_outputs(logits, maps)

    def _pass(
        self, images: torch.Tensor, network: Any, keys: Sequence[str] | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        module = joint_network(network)
        if isinstance(module, HasWholePass) and self.decode and (self.bank is None or keys is None):
            return module.whole(images)
        with autocast(images.device, self.amp):
            if module.has_fixed_features() and self.bank is not None and keys is not None:
                with torch.autocast(images.device.type, enabled=False):
                    features = self.bank.features(module, images, keys)
            else:
                features = module.encode(images.contiguous(memory_format=torch.channels_last))
            logits = module.decode(features, images) if self.decode else torch.zeros_like(images[:, :1])
        return logits.float(), module.class_maps([f.float() for f in features])


def autocast(device: torch.device, amp: bool | str) -> contextlib.AbstractContextManager[Any]:
    """Return a bfloat16 autocast for ``device``, or one that does nothing.

    Args:
        device: where the network is.
        amp: true, false, or ``"auto"``: only where bfloat16 is native, since elsewhere it is slower than float32.
    """
    enabled = has_native_bfloat16(device) if amp == "auto" else bool(amp)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def has_native_bfloat16(device: torch.device) -> bool:
    """Tell whether ``device`` computes in bfloat16 itself."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
