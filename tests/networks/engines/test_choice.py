"""Engines by name."""

from __future__ import annotations

import sys

import pytest

from scripts.core.errors import InputError
from scripts.networks.engines.choice import engine_of
from scripts.networks.engines.folded import FoldedNetwork
from scripts.networks.joint_net import JointNet


@pytest.fixture(scope="module")
def network() -> JointNet:
    return JointNet(2, "efficientnet_lite0", pretrained=False, decoder_channels=(8,) * 5)


def test_names(network: JointNet) -> None:
    assert isinstance(engine_of("torch", network, False), FoldedNetwork)
    with pytest.raises(InputError, match="torch or openvino"):
        engine_of("tensorrt", network)


def test_a_missing_package_is_told_with_its_cure(network: JointNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match=r"openvino: package is missing.*requirements-openvino\.txt"):
        engine_of("openvino", network)
