"""What all engines have in common."""

from __future__ import annotations

import torch

from scripts.networks.engines.inference_network import InferenceNetwork
from scripts.networks.joint_net import JointNet


def test_it_is_a_copy_that_is_not_trained() -> None:
    network = JointNet(2, "efficientnet_lite0", pretrained=False, decoder_channels=(8,) * 5, freeze_classifier=True)
    network.train()
    engine = InferenceNetwork(nn_parallel(network), amp=False)
    assert not any(parameter.requires_grad for parameter in engine.parameters())
    assert not engine.dropout.training and network.dropout.training
    engine.freeze(False)
    assert (engine.stride, engine.frozen, engine.has_fixed_features(), engine.reduced) == (32, True, True, False)
    assert not any(parameter.requires_grad for parameter in engine.parameters())
    assert engine.pool(torch.rand(1, 2, 3, 3)).shape == (1, 2)


def nn_parallel(network: torch.nn.Module) -> torch.nn.Module:
    """What wraps a network in a training by several processes."""
    wrapped = torch.nn.Module()
    wrapped.module = network
    return wrapped
