"""Whether a device computes in bfloat16 itself."""

from __future__ import annotations

import torch


def has_native_bfloat16(device: torch.device) -> bool:
    """Tell whether ``device`` computes in bfloat16 itself; elsewhere it is many times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
