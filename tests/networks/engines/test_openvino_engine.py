"""Networks that OpenVINO runs, against torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scripts.core.errors import InputError
from scripts.networks.engines.openvino_engine import OpenvinoNetwork
from scripts.networks.inferer import JointInferer
from scripts.networks.joint_net import JointNet
from scripts.networks.published_net import PublishedNet
from tests.support.networks import with_statistics

pytest.importorskip("openvino")


def image(batch: int = 2, height: int = 70, width: int = 101) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network() -> JointNet:
    torch.manual_seed(0)
    return with_statistics(JointNet(2, "efficientnet_lite0", pretrained=False, decoder_channels=(8,) * 5))


@pytest.fixture(scope="module")
def engine(network: JointNet) -> OpenvinoNetwork:
    return OpenvinoNetwork(network, amp=False)


@pytest.mark.parametrize("size", [(1, 64, 96), (2, 70, 101), (3, 33, 160)])
def test_one_compilation_holds_for_all_sizes(
    size: tuple[int, int, int], network: JointNet, engine: OpenvinoNetwork
) -> None:
    with torch.no_grad():
        features = network.encode(image(*size))
        expected, maps = network.decode(features, image(*size)), network.class_maps(features)
    logits, found_maps = engine.whole(image(*size))
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found_maps, maps, rtol=1e-3, atol=1e-3)
    found = engine.encode(image(*size))
    assert len(found) == len(features) and all(a.shape == b.shape for a, b in zip(found, features, strict=True))
    torch.testing.assert_close(engine.decode(found, image(*size)), expected, rtol=1e-3, atol=1e-3)
    assert {at for _, at in engine._compiled} == {None}


def test_a_network_that_decides_by_the_size_is_compiled_for_each() -> None:
    network = with_statistics(PublishedNet(2, base_width=2, leak=4))
    engine = OpenvinoNetwork(network, amp=False)
    for size in ((1, 70, 101), (2, 64, 64)):
        with torch.no_grad():
            features = network.encode(image(*size))
            expected = network.decode(features, image(*size))
        torch.testing.assert_close(engine.whole(image(*size))[0], expected, rtol=1e-3, atol=1e-3)
    assert {at for _, at in engine._compiled} == {(1, 3, 70, 101), (2, 3, 64, 64)}


def test_masks_in_bfloat16_are_those_of_torch_but_for_few_pixels(network: JointNet) -> None:
    """The tolerance that docs/slides.md states, on shapes rather than noise."""
    ys, xs = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    inside = ((xs - 90) ** 2 + (ys - 120) ** 2 < 60**2) | ((xs - 200).abs() + (ys - 190).abs() < 45)
    images = torch.where(inside, torch.tensor([0.35, 0.15, 0.45])[:, None, None], torch.tensor(0.85))[None]
    with torch.no_grad():
        exact = JointInferer(amp=False)(images, network)[:, :1]
    reduced = OpenvinoNetwork(network, amp=True).whole(images)[0]
    cut = (exact.min() + exact.max()) / 2
    share = float((exact > cut).float().mean())
    assert 0.005 < share < 0.995 and not torch.equal(reduced, exact)  # there is a mask, and it does compute in bfloat16
    assert float(((reduced > cut) != (exact > cut)).float().mean()) < 0.01


def test_dropout_goes_through_torch(engine: OpenvinoNetwork) -> None:
    engine.dropout.p = 0.5
    engine.dropout.train()
    try:
        compiled = len(engine._compiled)
        assert not torch.equal(engine.whole(image())[0], engine.whole(image())[0])
        features = engine.encode(image())
        assert not torch.equal(engine.decode(features, image()), engine.decode(features, image()))
        assert len(engine._compiled) == compiled
    finally:
        engine.dropout.eval()


def test_other_devices_are_refused() -> None:
    with pytest.raises(InputError, match="--engine torch"):
        OpenvinoNetwork(nn.Linear(1, 1, device="meta"), amp=False)
