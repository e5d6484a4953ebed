"""The joint network: any size, packed output, freezing to the bit, encoders, scaling, scripting."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scripts.core.errors import InputError
from scripts.networks.interface import JointNetwork, joint_network
from scripts.networks.joint_net import JointNet, parameter_groups
from scripts.networks.outputs import unpack_outputs
from scripts.networks.published_net import PublishedNet
from tests.support.tiny import tiny_net

SIZES = [(64, 64), (374, 374), (97, 131), (33, 50), (1, 1)]


def image(height: int = 64, width: int = 64, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def spoil_norms(net: nn.Module) -> None:
    """Give batch-norm statistics that a running update would move at once."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)


def steps(net: JointNet, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], count: int = 3) -> set[str]:
    """Train a few steps, evaluating in between, and return the names of the parts that changed by a single bit."""
    spoil_norms(net)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1)
    for step in range(count):
        net.train()
        features = net.encode(image(batch=2) + step)
        value = loss(net.pool(net.class_maps(features)), net.decode(features, image(batch=2)))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        net.eval()
        net(image())
    return {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}


def both(scores: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return scores.square().sum() + logits.square().mean() + logits.mean()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("out_stride", [1, 2, 4])
def test_any_size_and_the_packed_output_holds_both(size: tuple[int, int], out_stride: int):
    net = tiny_net(out_stride=out_stride).eval()
    x = image(*size, batch=2)
    with torch.no_grad():
        packed, features = net(x), net.encode(x)
        logits, maps = net.decode(features, x), net.class_maps(features)
    assert packed.shape == (2, 4, *size)
    assert maps.shape == (2, 3, *(math.ceil(side / 32) for side in size))
    assert logits.shape == (2, 1, *size)
    assert torch.isfinite(packed).all()
    unpacked = unpack_outputs(packed, net.stride)
    assert torch.equal(unpacked[0], logits)
    assert torch.equal(unpacked[1], maps)


def test_sides_are_rounded_up_by_repeating_the_border():
    net = tiny_net().eval()
    x = image(50, 70)
    rows = torch.arange(64).clamp(max=49)
    columns = torch.arange(96).clamp(max=69)
    padded = x[:, :, rows][:, :, :, columns]
    with torch.no_grad():
        assert torch.equal(net(x)[:, :1], net(padded)[:, :1, :50, :70])
        assert torch.equal(net.class_maps(net.encode(x)), net.class_maps(net.encode(padded)))


@pytest.mark.parametrize("when", ["at once", "later"])
def test_frozen_parts_stay_the_same_to_the_bit(when: str):
    net = tiny_net(freeze_classifier=when == "at once", dropout=0.5, pool_dropout=0.5)
    if when == "later":
        net.train()
        net.freeze()
    changed = steps(net, both)
    assert {name.split(".")[0] for name in changed} == {"decoder", "segmentation_head"}
    assert any("running_mean" in name for name in changed)  # the decoder's own batch-norm does run
    assert {name.split(".")[0] for name, p in net.named_parameters() if p.requires_grad} == {
        "decoder",
        "segmentation_head",
    }
    net.train()
    assert not any(module.training for part in (net.encoder, net.head, net.pool) for module in part.modules())
    assert net.dropout.training
    assert net.has_fixed_features()


def test_unfreezing_trains_everything_again():
    net = tiny_net(freeze_classifier=True, freeze_norm=False)
    net.train()
    net.freeze(False)
    assert all(module.training for module in net.modules())
    assert {name.split(".")[0] for name in steps(net, both)} == {"encoder", "head", "decoder", "segmentation_head"}
    assert not net.has_fixed_features()


@pytest.mark.parametrize("freeze_norm", [True, False])
def test_freeze_norm_keeps_statistics_while_weights_train(freeze_norm: bool):
    changed = steps(tiny_net(freeze_norm=freeze_norm), both)
    in_encoder = {name for name in changed if name.startswith("encoder.")}
    assert any(name.endswith("weight") for name in in_encoder)
    statistics = {name for name in in_encoder if "running" in name or "tracked" in name}
    assert bool(statistics) != freeze_norm


def test_out_stride_leaves_out_the_blocks_of_finer_resolution():
    full, half, quarter = (tiny_net(out_stride=stride) for stride in (1, 2, 4))
    assert [len(net.decoder.blocks) for net in (full, half, quarter)] == [5, 4, 3]
    sides: list[int] = []
    half.decoder.blocks[-1].convs.conv_1.register_forward_hook(lambda _m, _i, out: sides.append(out.shape[-1]))
    with torch.no_grad():
        half.eval()(image())
    assert sides == [32]
    unused = [name for name, p in half.named_parameters() if p.grad is None and "decoder" not in name]
    both(half.pool(half.class_maps(half.encode(image()))), half(image())[:, :1]).backward()
    assert unused
    assert all(p.grad is not None for p in half.parameters())  # every parameter takes part


@pytest.mark.parametrize("settings", [{"backbone": "resnet7"}, {"out_stride": 3}])
def test_unknown_settings_are_refused(settings: dict):
    with pytest.raises(InputError, match="network_def"):
        tiny_net(**settings)


@pytest.mark.parametrize("backbone", ["efficientnet-b0", "resnet18"])
@pytest.mark.parametrize("size", [(64, 64), (33, 50)])
def test_other_encoders_without_weights(backbone: str, size: tuple[int, int]):
    net = tiny_net(backbone=backbone).eval()
    with torch.no_grad():
        packed = net(image(*size))
    assert packed.shape == (1, 4, *size)
    assert torch.isfinite(packed).all()


@pytest.mark.parametrize(
    ("backbone", "mean", "std"),
    [
        ("efficientnet_lite0", [127 / 255] * 3, [128 / 255] * 3),
        ("resnet18", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ],
)
def test_the_encoder_gets_scaled_images(backbone: str, mean: list[float], std: list[float]):
    net = tiny_net(backbone=backbone).eval()
    seen: list[torch.Tensor] = []
    net.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = image()
    with torch.no_grad():
        net(x)
    for channel in range(3):
        torch.testing.assert_close(seen[0][:, channel], (x[:, channel] - mean[channel]) / std[channel])
    assert not {"mean", "std"} & set(net.state_dict())


@pytest.mark.parametrize("other", [{"alpha": 0.0}, {"alpha": 0.9}, {"kmin": 0.5}, {"use_bottom": False}])
def test_the_lowest_values_count_in_the_score(other: dict):
    maps = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(2))
    ordered = maps.flatten(2).sort(2)[0]
    ours = tiny_net().eval().pool(maps)
    torch.testing.assert_close(ours, (ordered[..., -6:].mean(2) + 0.6 * ordered[..., :2].mean(2)) / 2)
    assert (tiny_net(**other).eval().pool(maps) - ours).abs().min() > 1e-3


def test_modalities_are_averaged():
    net = tiny_net(modalities=4).eval()
    features = net.encode(image())
    responses = F.conv2d(features[-1], net.head.conv.weight, net.head.conv.bias)
    expected = torch.stack([responses[:, 4 * c : 4 * c + 4].mean(1) for c in range(3)], dim=1)
    torch.testing.assert_close(net.class_maps(features), expected)


@pytest.mark.parametrize("out_stride", [1, 2, 4])
def test_can_be_scripted(out_stride: int):
    net = tiny_net(out_stride=out_stride, freeze_classifier=True).eval()
    scripted = torch.jit.script(net)
    for size in ((64, 64), (45, 70)):
        torch.testing.assert_close(scripted(image(*size)), net(image(*size)))


def test_dropout_alone_changes_the_mask_and_not_the_classes():
    net = tiny_net(dropout=0.5).eval()
    net.dropout.train()
    with torch.no_grad():
        first, second = net(image()), net(image())
    assert not torch.equal(first[:, :1], second[:, :1])
    assert torch.equal(first[:, 1:], second[:, 1:])


def test_parameter_groups_hold_the_parts_named():
    net = tiny_net()
    groups = parameter_groups(net, {"encoder": 0.1, "head": 0.2})
    assert [group["lr"] for group in groups] == [0.1, 0.2]
    assert [len(group["params"]) for group in groups] == [len(list(net.encoder.parameters())), 2]
    assert all(any(p is q for q in net.head.parameters()) for p in groups[1]["params"])


@pytest.mark.parametrize("make", [tiny_net, lambda: PublishedNet(3, base_width=2, leak=4)])
def test_both_networks_have_the_interface(make: Callable[[], nn.Module]):
    net = make()
    assert isinstance(net, JointNetwork)
    for name in ("encode", "class_maps", "decode", "freeze", "has_fixed_features"):
        expected = inspect.signature(getattr(JointNetwork, name)).parameters
        assert list(inspect.signature(getattr(type(net), name)).parameters) == list(expected)
    wrapped = nn.Module()
    wrapped.module = net
    assert joint_network(wrapped) is joint_network(net) is net


def test_features_repeat_unless_dropout_is_in_the_encoder():
    net = PublishedNet(2, base_width=2, leak=4, dropout=0.2, freeze_classifier=True)
    assert not net.train().has_fixed_features()
    assert net.eval().has_fixed_features()
    net.freeze(False)
    assert not net.has_fixed_features()
