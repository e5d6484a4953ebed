"""How images pass the network: flips, features from memory, class maps alone, reduced precision."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

import scripts.networks.inferer
from scripts.networks.feature_bank import FeatureBank
from scripts.networks.inferer import JointInferer
from scripts.networks.joint_net import JointNet
from scripts.networks.outputs import unpack_outputs
from scripts.networks.precision import autocast, has_native_bfloat16
from scripts.networks.published_net import PublishedNet
from tests.support.tiny import tiny_net

KEYS = ["a", "b"]


@pytest.fixture
def net() -> JointNet:
    return tiny_net(freeze_classifier=True).eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def test_without_extras_it_is_the_network(net, images):
    with torch.no_grad():
        torch.testing.assert_close(JointInferer(amp=False)(images, net), net(images))


def test_flips_are_averaged(net, images):
    with torch.no_grad():
        packed = JointInferer(flips=True, amp=False)(images, net)
        views = []
        for rows in (False, True):
            for columns in (False, True):
                axes = [axis for axis, flipped in ((2, rows), (3, columns)) if flipped]
                features = net.encode(images.flip(axes))
                logits, maps = net.decode(features, images), net.class_maps(features)
                views.append((logits.flip(axes), maps.flip(axes)))
    logits, maps = unpack_outputs(packed, net.stride)
    torch.testing.assert_close(logits, sum(view[0] for view in views) / 4)
    torch.testing.assert_close(maps, sum(view[1] for view in views) / 4)
    assert not torch.allclose(logits, views[0][0])
    assert not torch.allclose(maps, views[0][1])


@pytest.mark.parametrize("flips", [False, True])
def test_the_bank_holds_each_view_once(net, images, flips: bool):
    bank = FeatureBank()
    inferer = JointInferer(bank, flips=flips, amp=False)
    with torch.no_grad():
        first, again = inferer(images, net, keys=KEYS), inferer(images, net, keys=KEYS)
        plain = JointInferer(flips=flips, amp=False)(images, net)
    assert bank.computed == (8 if flips else 2)
    assert torch.equal(first, again)
    torch.testing.assert_close(first, plain, rtol=1e-2, atol=1e-2)


def test_unnamed_images_stay_unnamed_when_flipped(net, images):
    bank = FeatureBank()
    inferer = JointInferer(bank, flips=True, amp=False)
    with torch.no_grad():
        first = inferer(images, net, keys=["", ""])
        second = inferer(images + 0.1, net, keys=["", ""])
    assert bank.computed == 16
    assert not torch.equal(first, second)


def test_the_bank_is_for_features_that_repeat(net, images):
    bank = FeatureBank()
    inferer = JointInferer(bank, amp=False)
    inferer(images, net)
    net.freeze(False)
    inferer(images, net, keys=KEYS)
    published = PublishedNet(3, base_width=2, leak=4, dropout=0.5, freeze_classifier=True).train()
    first, second = (inferer(images, published, keys=KEYS) for _ in range(2))
    assert bank.computed == 0
    assert not torch.equal(first[:, 1:], second[:, 1:])  # dropout in its encoder draws anew each time


def test_gradients_reach_the_decoder_alone(net, images):
    net.train()
    JointInferer(FeatureBank(), amp=False)(images, net, keys=KEYS)[:, :1].mean().backward()
    parts = {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None}
    assert parts == {"decoder", "segmentation_head"}


def test_classifier_alone(net, images):
    def refuse(*_args):
        raise AssertionError("the decoder ran")

    with torch.no_grad():
        expected = JointInferer(flips=True, amp=False)(images, net)
        net.decoder.register_forward_pre_hook(refuse)
        packed = JointInferer(flips=True, amp=False, decode=False)(images, net)
    assert torch.equal(packed[:, :1], torch.zeros_like(packed[:, :1]))
    assert torch.equal(packed[:, 1:], expected[:, 1:])


def test_a_wrapped_network_is_unwrapped(net, images):
    wrapped = nn.Module()
    wrapped.module = net
    with torch.no_grad():
        assert torch.equal(JointInferer(amp=False)(images, wrapped), JointInferer(amp=False)(images, net))


def test_unpacked_outputs_are_the_packed_ones(net, images):
    with torch.no_grad():
        logits, maps = JointInferer(flips=True, amp=False, packed=False)(images, net)
        packed = JointInferer(flips=True, amp=False)(images, net)
    for ours, expected in zip((logits, maps), unpack_outputs(packed, net.stride), strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("bank", [None, FeatureBank()])
def test_bfloat16_in_float32_out(net, images, bank):
    dtypes: list[torch.dtype] = []
    net.decoder.blocks[-1].convs.conv_1.register_forward_hook(lambda _m, _i, out: dtypes.append(out.dtype))
    with torch.no_grad():
        reduced = JointInferer(bank, amp=True)(images, net, keys=KEYS)
        full = JointInferer(amp=False)(images, net)
    assert torch.bfloat16 in dtypes
    assert dtypes[-1] == torch.float32
    assert reduced.dtype == torch.float32
    assert not torch.equal(reduced[:, :1], full[:, :1])
    assert (reduced - full).abs().max() < 0.05 * full.abs().max()


def test_auto_follows_the_device():
    device = torch.device("cpu")
    with autocast(device, "auto"):
        assert torch.is_autocast_enabled("cpu") == has_native_bfloat16(device)
    with autocast(device, False):
        assert not torch.is_autocast_enabled("cpu")
    with autocast(device, True):
        assert torch.is_autocast_enabled("cpu")
    assert not has_native_bfloat16(torch.device("meta"))


@pytest.mark.parametrize("bank", [None, FeatureBank()])
@pytest.mark.parametrize("most", [1, 2 * 64 * 96, 2**20])
def test_an_engine_gives_what_the_network_gives(net, images, bank, most: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scripts.networks.inferer, "_MOST_PIXELS", most)
    inferer = JointInferer(bank, flips=True, amp=False)
    by_network = JointInferer(bank, flips=True, amp=False)(images, net, keys=KEYS)  # gradients are on: no engine
    with torch.no_grad():
        by_engine = inferer(images, net, keys=KEYS)
    torch.testing.assert_close(by_engine, by_network, rtol=1e-4, atol=1e-4)


def test_an_engine_follows_the_weights(net, images):
    inferer = JointInferer(amp=False)
    with torch.no_grad():
        before = inferer(images, net)
        net.segmentation_head[0].bias.add_(1.0)
        torch.testing.assert_close(inferer(images, net)[:, :1], before[:, :1] + 1.0)
        net.load_state_dict({**net.state_dict(), "segmentation_head.0.bias": torch.tensor([3.0])})
        assert inferer(images, net)[:, :1].mean() > before[:, :1].mean() + 1.0


def test_dropout_that_is_on_is_drawn_from_the_network(images):
    net = tiny_net(dropout=0.5).eval()
    inferer = JointInferer(amp=False)
    with torch.no_grad():
        plain = inferer(images, net)
        net.dropout.train()
        first, second = inferer(images, net), inferer(images, net)
        net.dropout.eval()
        assert not torch.equal(first, second)
        assert torch.equal(inferer(images, net), plain)


class TestStochastic:
    def test_the_encoder_runs_once_and_every_pass_differs(self, images):
        net = tiny_net(dropout=0.3, freeze_classifier=True).eval()
        bank = FeatureBank()
        torch.manual_seed(0)
        found = JointInferer(bank, amp=False).stochastic(images[:1], net, "a", 5)
        assert bank.computed == 1
        assert found.shape == (5, 1, 64, 96)
        assert all(not torch.equal(found[0], other) for other in found[1:])
        assert not net.dropout.training

    @pytest.mark.parametrize("most", [1, 2 * 64 * 96, 2**20])
    def test_its_mean_and_spread_are_those_of_passes_one_by_one(self, images, most, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(scripts.networks.inferer, "_MOST_PIXELS", most)
        net = tiny_net(dropout=0.3, freeze_classifier=True).eval()
        torch.manual_seed(0)
        found = JointInferer(amp=False).stochastic(images[:1], net, "a", 400)
        net.dropout.train()
        with torch.no_grad():
            expected = torch.cat([net(images[:1])[:, :1] for _ in range(400)])
        error = expected.std(0).mean() / 400**0.5
        assert (found.mean(0) - expected.mean(0)).abs().mean() < 3 * error
        assert 0.8 < found.std(0).mean() / expected.std(0).mean() < 1.25

    def test_an_encoder_that_draws_dropout_runs_in_every_pass(self, images):
        net = PublishedNet(3, base_width=2, leak=4, dropout=0.5, freeze_classifier=True).eval()
        bank = FeatureBank()
        found = JointInferer(bank, amp=False).stochastic(images[:1], net, "a", 3)
        assert bank.computed == 0
        assert not torch.equal(found[0], found[1])


def test_an_inferer_that_has_worked_can_be_pickled(net, images):
    inferer = JointInferer(amp=False)
    with torch.no_grad():
        expected = inferer(images, net)
        assert torch.equal(pickle.loads(pickle.dumps(inferer))(images, net), expected)  # noqa: S301  (our own)
