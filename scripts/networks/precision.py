"""In which precision a device computes: bfloat16 where it does so natively."""

from __future__ import annotations

import contextlib
from typing import Any

import torch


def autocast(device: torch.device, amp: bool | str) -> contextlib.AbstractContextManager[Any]:
    """Return a bfloat16 autocast for ``device``, or one that does nothing.

    Args:
        device: where the network is.
        amp: true, false, or ``"auto"``, see :func:`computes_in_bfloat16`.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=computes_in_bfloat16(device, amp))


def computes_in_bfloat16(device: torch.device, amp: bool | str) -> bool:
    """Tell whether ``amp`` means bfloat16: ``"auto"`` does only where it is native, since elsewhere it is slower."""
    return has_native_bfloat16(device) if amp == "auto" else bool(amp)


def has_native_bfloat16(device: torch.device) -> bool:
    """Tell whether ``device`` computes in bfloat16 itself."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
