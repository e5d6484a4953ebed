"""Weights as bytes: they come back equal, and nothing is unpickled."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from scripts.core.errors import StateError
from scripts.networks.weights import Weights, copied_weights, pack_weights, unpack_weights


def same(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


WEIGHTS = {"a": torch.arange(3.0), "b": torch.ones(2, 2), "n": torch.tensor(5)}


def test_packed_weights_come_back():
    assert same(unpack_weights(pack_weights(WEIGHTS)), WEIGHTS)


def test_packed_difference_holds_what_changed_alone():
    changed = {**WEIGHTS, "b": torch.full((2, 2), 3.0)}
    data = pack_weights(changed, WEIGHTS)
    assert set(torch.load(io.BytesIO(data), weights_only=True)) == {"b"}
    assert same(unpack_weights(data, WEIGHTS), changed)
    assert same(unpack_weights(pack_weights(WEIGHTS, WEIGHTS), WEIGHTS), WEIGHTS)


class Malicious:
    """Touches a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_malicious_file_is_refused_and_not_run(tmp_path: Path, how: str):
    canary, buffer = tmp_path / "canary", io.BytesIO()
    if how == "torch":
        torch.save({"a": Malicious(canary)}, buffer)
    else:
        pickle.dump({"a": Malicious(canary)}, buffer, protocol=2)
    with pytest.raises(StateError, match=r"here\.pt.*plain tensors"):
        unpack_weights(buffer.getvalue(), where="here.pt")
    assert not canary.exists()
    if how == "pickle":
        pickle.loads(buffer.getvalue())  # noqa: S301 - the trap does work
        assert canary.exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", pack_weights(WEIGHTS)[:-40]])
def test_a_damaged_file_is_refused(content: bytes):
    with pytest.raises(StateError, match="plain tensors"):
        unpack_weights(content)


@pytest.mark.parametrize("content", [[torch.ones(1)], {"a": "text"}, torch.ones(2)])
def test_other_content_is_refused(content: object):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with pytest.raises(StateError, match="plain tensors"):
        unpack_weights(buffer.getvalue(), WEIGHTS)


class Net(nn.Module):
    """The pooling and the stride of a network, and one weight."""

    stride = 32

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(1))
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_copied_weights_are_copies():
    net = Net()
    copy = copied_weights(net)
    with torch.no_grad():
        net.weight.add_(1)
    assert copy["weight"].tolist() == [0, 0]
    assert not copy["weight"].requires_grad
