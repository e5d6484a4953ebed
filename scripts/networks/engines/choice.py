"""Which engine runs a network that is not trained, by its name in the config."""

from __future__ import annotations

from torch import nn

from scripts.core.errors import InputError, Problem
from scripts.networks.engines.folded import FoldedNetwork
from scripts.networks.engines.inference_network import InferenceNetwork
from scripts.networks.engines.openvino_engine import OpenvinoNetwork

ENGINES: dict[str, type[InferenceNetwork]] = {"torch": FoldedNetwork, "openvino": OpenvinoNetwork}


def engine_of(name: str, network: nn.Module, amp: bool | str = "auto") -> InferenceNetwork:
    """Return a copy of ``network`` that an engine runs; it stands in for the network in an inferer.

    Args:
        name: ``"torch"`` or ``"openvino"``.
        network: trained; it is not changed.
        amp: bfloat16: true, false, or ``"auto"`` for where the device computes in it natively.

    Raises:
        InputError: another name; or the engine's package is missing, or it does not run on the network's device.
    """
    if name not in ENGINES:
        cure = "Take --engine torch, which needs no further package."
        raise InputError(Problem("unknown engine", "engine", " or ".join(ENGINES), repr(name), cure))
    return ENGINES[name](network, amp)
