"""Weights of a network as a dictionary, and as bytes."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping

import torch
from torch import nn

from scripts.core.errors import Problem, StateError

Weights = dict[str, torch.Tensor]


def pack_weights(weights: Mapping[str, torch.Tensor], base: Mapping[str, torch.Tensor] | None = None) -> bytes:
    """Return a checkpoint file with the tensors that differ from ``base`` (all of them without a base)."""
    changed = {name: value for name, value in weights.items() if base is None or not torch.equal(value, base[name])}
    buffer = io.BytesIO()
    torch.save(changed, buffer)
    return buffer.getvalue()


def unpack_weights(data: bytes, base: Mapping[str, torch.Tensor] | None = None, where: str = "checkpoint") -> Weights:
    """Return the state dict of :func:`pack_weights`, completed from ``base``; nothing is unpickled.

    Raises:
        StateError: ``data`` is no checkpoint of plain tensors.
    """
    try:
        changed = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise StateError(
            Problem(
                "not a checkpoint of plain tensors",
                where,
                found=f"{type(error).__name__}",
                cure="Bring the file back from a backup.",
            )
        ) from error
    if not isinstance(changed, dict) or not all(isinstance(value, torch.Tensor) for value in changed.values()):
        raise StateError(
            Problem("not a checkpoint of plain tensors", where, "tensors by name", f"{type(changed).__name__}")
        )
    return {**(base or {}), **changed}


def copied_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of the network's state dict on the CPU."""
    return {name: copy.deepcopy(value.detach().cpu()) for name, value in network.state_dict().items()}
