"""Networks with their norms folded, against the networks they were made of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from scripts.networks.engines.folded import FoldedNetwork, fold_norms
from scripts.networks.inferer import JointInferer
from scripts.networks.interface import JointNetwork
from scripts.networks.joint_net import JointNet
from scripts.networks.published_net import PublishedNet
from tests.support.networks import with_statistics

NETWORKS: dict[str, Any] = {
    "lite0": lambda: JointNet(2, "efficientnet_lite0", pretrained=False, decoder_channels=(8,) * 5),
    "resnet18": lambda: JointNet(3, "resnet18", pretrained=False, decoder_channels=(8,) * 5, out_stride=1),
    "monai": lambda: JointNet(2, "efficientnet-b0", pretrained=False, decoder_channels=(8,) * 5),
    "published": lambda: PublishedNet(2, base_width=4, leak=8),
}
LEFT = {"lite0": 0, "resnet18": 0, "monai": 1, "published": 0}  # MONAI's EfficientNet has a norm that nothing uses


def image(batch: int = 2, height: int = 70, width: int = 101) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_float32_is_the_same(name: str) -> None:
    network = with_statistics(NETWORKS[name]())
    engine = FoldedNetwork(network, amp=False)
    with torch.no_grad():
        features = network.encode(image())
        expected, maps = network.decode(features, image()), network.class_maps(features)
    logits, found_maps = engine.whole(image())
    assert norms(network) > 10 and norms(engine) == LEFT[name]
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4 * float(expected.std()) + 1e-5)
    torch.testing.assert_close(found_maps, maps, rtol=1e-3, atol=1e-4)


def test_bfloat16_has_its_weights_and_float32_class_maps() -> None:
    network = with_statistics(NETWORKS["lite0"]())
    engine = FoldedNetwork(network, amp=True)
    features = engine.encode(image())
    assert all(feature.dtype == torch.bfloat16 for feature in features)
    assert engine.class_maps(features).dtype == torch.float32
    convolutions = {module.weight.dtype for name, module in engine.named_modules()
                    if isinstance(module, nn.Conv2d) and ".head." not in name and "conv_0" not in name}  # fmt: skip
    assert convolutions == {torch.bfloat16}
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    exact = FoldedNetwork(network, amp=False)
    logits, expected = engine.whole(image())[0], exact.whole(image())[0]
    assert logits.dtype == torch.float32
    assert float((logits - expected).abs().mean()) < 0.1 * float(expected.std())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("amp", [False, True])
def test_it_follows_a_training(name: str, amp: bool) -> None:
    network = with_statistics(NETWORKS[name]())
    engine = FoldedNetwork(network, amp=amp)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.2 * torch.rand(tensor.shape, generator=generator))
    before = engine.whole(image())[0]
    assert engine.follow(network)
    anew = FoldedNetwork(network, amp=amp)
    assert not torch.equal(engine.whole(image())[0], before)
    for found, expected in zip(engine.whole(image()), anew.whole(image()), strict=True):
        assert torch.equal(found, expected)
    assert {k: v.dtype for k, v in engine.state_dict().items()} == {k: v.dtype for k, v in anew.state_dict().items()}


def test_it_does_not_follow_where_more_than_weights_has_changed() -> None:
    network = with_statistics(NETWORKS["lite0"]())
    engine = FoldedNetwork(network)
    network.freeze(True)
    assert not engine.follow(network)  # its features are fixed now
    network.freeze(False)
    assert engine.follow(network)
    network.add_module("more", nn.Linear(2, 2))
    assert not engine.follow(network)


def test_a_copy_made_in_inference_mode_follows() -> None:
    network = with_statistics(NETWORKS["lite0"]())
    with torch.inference_mode():
        engine = FoldedNetwork(network)
    assert engine.follow(network)


def test_an_inferer_takes_it_in_place_of_the_network() -> None:
    network = with_statistics(NETWORKS["lite0"]())
    engine = FoldedNetwork(network, amp=False)
    assert isinstance(engine, JointNetwork)
    for inferer in (JointInferer(amp=False, flips=True), JointInferer(amp=False, decode=False)):
        with torch.no_grad():
            expected = inferer(image(), network)
        torch.testing.assert_close(inferer(image(), engine), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["lite0", "published"])
def test_dropout_is_that_of_the_copy(name: str) -> None:
    network = with_statistics(NETWORKS[name]())
    network.dropout.p = 0.5
    engine = FoldedNetwork(network, amp=False)
    assert torch.equal(engine.whole(image())[0], engine.whole(image())[0])
    engine.dropout.train()
    assert not torch.equal(engine.whole(image())[0], engine.whole(image())[0])
    assert not network.dropout.training and engine.is_stochastic()


def test_a_norm_that_does_not_follow_a_convolution_stays() -> None:
    class Shared(nn.Module):
        """A convolution that runs twice, a norm after an activation, and one pair."""

        def __init__(self) -> None:
            super().__init__()
            self.twice, self.pair = nn.Conv2d(3, 3, 1), nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3))
            self.after_twice, self.after_relu = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

        def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [self.after_relu(torch.relu(self.pair(self.after_twice(self.twice(self.twice(x))))))]

        def decode(self, features: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
            return features[0].mean(1, keepdim=True)

    network = with_statistics(Shared())
    with torch.no_grad():
        expected = network.decode(network.encode(image()), image())
        assert len(fold_norms(network, image(1))) == 1
        assert norms(network) == 2 and isinstance(network.pair[1], nn.Identity)
        torch.testing.assert_close(network.decode(network.encode(image()), image()), expected)
