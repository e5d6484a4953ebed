"""The memory of frozen features: one pass per key, and the same numbers whether anything is kept or not."""

from __future__ import annotations

import pytest
import torch

from scripts.networks.feature_bank import FeatureBank
from scripts.networks.joint_net import JointNet
from tests.support.tiny import tiny_net


@pytest.fixture(scope="module")
def net() -> JointNet:
    return tiny_net(freeze_classifier=True).eval()


@pytest.fixture
def passes(net: JointNet):
    """Batch sizes that reached the encoder, or a copy of it; the empty image by which norms are folded is left out."""
    seen: list[int] = []

    def note(_module: object, args: tuple[torch.Tensor]) -> None:
        if args[0].std(dim=(2, 3)).max() > 0:
            seen.append(len(args[0]))

    handle = net.encoder.register_forward_pre_hook(note)
    yield seen
    handle.remove()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))


KEYS = ["a#0", "b#0", "c#0", "d#0"]


def test_one_pass_per_key(net, images, passes):
    bank = FeatureBank()
    first = bank.features(net, images, KEYS)
    again = bank.features(net, images[[3, 1]], ["d#0", "b#0"])
    assert passes == [1, 1, 1, 1]
    assert bank.computed == 4
    assert all(torch.equal(a[[3, 1]], b) for a, b in zip(first, again, strict=True))
    bank.features(net, images[:1], ["a#1"])
    assert len(passes) == 5


def test_what_is_kept_changes_nothing(net, images, passes):
    one = sum(feature.numel() * 2 for feature in net.encode(images[:1]))
    passes.clear()
    for limit, expected in ((1.0, 4), (0.0, 12), (2.5 * one / 1024**3, 4 + 2 + 2)):
        bank = FeatureBank(limit)
        results = [bank.features(net, images, KEYS) for _ in range(3)]
        assert len(passes) == bank.computed == expected
        passes.clear()
        for result in results:
            reference = FeatureBank().features(net, images, KEYS)
            assert all(torch.equal(a, b) for a, b in zip(result, reference, strict=True))
        passes.clear()


def test_values_are_the_encoders_in_half_precision(net, images):
    found = FeatureBank().features(net, images, KEYS)
    with torch.no_grad():
        exact = net.encode(images)
    assert len(found) == len(exact) == 5
    for ours, true in zip(found, exact, strict=True):
        assert ours.shape == true.shape
        assert ours.dtype == torch.float32
        assert torch.equal(ours, ours.half().float())
        torch.testing.assert_close(ours, true, rtol=1e-3, atol=1e-3 * true.abs().max().item())
        assert not ours.requires_grad


def test_an_image_does_not_depend_on_its_batch(net, images):
    whole = FeatureBank().features(net, images, KEYS)
    alone = FeatureBank().features(net, images[2:3], KEYS[2:3])
    assert all(torch.equal(a[2:3], b) for a, b in zip(whole, alone, strict=True))


def test_unnamed_images_are_not_kept(net, images, passes):
    bank = FeatureBank()
    first = bank.features(net, images[:1], [""])
    second = bank.features(net, images[1:2], [""])
    assert len(passes) == 2
    assert not torch.equal(first[4], second[4])


def test_another_owner_starts_anew(net, images, passes):
    bank = FeatureBank()
    bank.bind("theta0")
    bank.features(net, images, KEYS)
    bank.bind("theta0")
    bank.features(net, images, KEYS)
    assert len(passes) == 4
    bank.bind("another")
    bank.features(net, images, KEYS)
    assert len(passes) == 8


def test_memory_is_free_again_after_another_owner(net, images, passes):
    one = sum(feature.numel() * 2 for feature in net.encode(images[:1]))
    passes.clear()
    bank = FeatureBank(1.5 * one / 1024**3)
    for owner in ("first", "second"):
        bank.bind(owner)
        for _ in range(2):
            bank.features(net, images[:1], KEYS[:1])
    assert len(passes) == 2


def test_changing_what_was_handed_out_harms_nothing(net, images):
    bank = FeatureBank()
    first = bank.features(net, images[:1], KEYS[:1])
    copy = [feature.clone() for feature in first]
    for feature in first:
        feature.zero_()
    again = bank.features(net, images[:1], KEYS[:1])
    assert all(torch.equal(a, b) for a, b in zip(again, copy, strict=True))


def test_keys_must_match_images(net, images):
    with pytest.raises(ValueError, match="zip"):
        FeatureBank().features(net, images, KEYS[:3])
