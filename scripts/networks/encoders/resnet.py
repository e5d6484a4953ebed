"""ResNet-18, -34 and -50 with torchvision's parameters, as encoders of MONAI's ``FlexibleUNet``.

MONAI's own "resnet18" and "resnet34" have parameter-free shortcuts and a first convolution of one channel, so that
ImageNet weights do not fit them and TorchScript refuses them. These are built of the same MONAI blocks with projection
shortcuts, which makes every name and shape that of torchvision.

Importing this module registers ``"tv_resnet18"``, ``"tv_resnet34"`` and ``"tv_resnet50"``.
"""

from typing import ClassVar

import torch
from monai.networks.blocks import BaseEncoder
from monai.networks.nets.flexible_unet import FLEXUNET_BACKBONE
from monai.networks.nets.resnet import ResNet

from scripts.networks.encoders.pretrained import resnet_weights


class TorchvisionResNetEncoder(ResNet, BaseEncoder):
    """Five feature maps of a ResNet, strides 2, 4, 8, 16 and 32.

    Args:
        model_name: ``"resnet18"``, ``"resnet34"`` or ``"resnet50"``.
        in_channels: channels of the input; ImageNet weights need 3.
        spatial_dims: must be 2.
        pretrained: false for random weights, true for the ImageNet weights of torchvision (cache or download), or the
            path of their file.

    Raises:
        ValueError: an unknown name, not 2 dimensions, or ImageNet weights for another number of channels.
        InputError: the weights cannot be had (:func:`scripts.networks.encoders.pretrained.resnet_weights`).
    """

    # name: (block, blocks per stage, channels of the five features)
    variants: ClassVar[dict[str, tuple[str, list[int], tuple[int, ...]]]] = {
        "resnet18": ("basic", [2, 2, 2, 2], (64, 64, 128, 256, 512)),
        "resnet34": ("basic", [3, 4, 6, 3], (64, 64, 128, 256, 512)),
        "resnet50": ("bottleneck", [3, 4, 6, 3], (64, 256, 512, 1024, 2048)),
    }

    def __init__(
        self,
        model_name: str = "resnet18",
        in_channels: int = 3,
        spatial_dims: int = 2,
        pretrained: bool | str = False,
    ) -> None:
        if model_name not in self.variants:
            raise ValueError(f"model_name: expected one of {', '.join(self.variants)}, found {model_name!r}")
        if spatial_dims != 2 or (pretrained and in_channels != 3):
            raise ValueError(
                f"{model_name}: expected spatial_dims=2, and in_channels=3 with pretrained weights, "
                f"found spatial_dims={spatial_dims} and in_channels={in_channels}"
            )
        block, layers, _ = self.variants[model_name]
        super().__init__(
            block,
            layers,
            block_inplanes=[64, 128, 256, 512],
            spatial_dims=2,
            n_input_channels=in_channels,
            conv1_t_stride=2,
            shortcut_type="B",
            bias_downsample=False,
            feed_forward=False,
        )
        if pretrained:
            weights = resnet_weights(model_name, pretrained if isinstance(pretrained, str) else None)
            self.load_state_dict({name: value for name, value in weights.items() if not name.startswith("fc.")})

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:  # type: ignore[override]
        """Map (B, in_channels, H, W) to five features; each side is halved and rounded up from one to the next."""
        x = self.act(self.bn1(self.conv1(x)))
        features = [x]
        x = self.layer1(self.maxpool(x))
        features.append(x)
        x = self.layer2(x)
        features.append(x)
        x = self.layer3(x)
        features.append(x)
        x = self.layer4(x)
        features.append(x)
        return features

    @classmethod
    def get_encoder_parameters(cls) -> list[dict]:
        """Default arguments of each registered encoder (interface of ``FLEXUNET_BACKBONE``)."""
        return [{"model_name": name, "in_channels": 3, "spatial_dims": 2, "pretrained": False} for name in cls.variants]

    @classmethod
    def num_channels_per_output(cls) -> list[tuple[int, ...]]:
        """Channels of the features (interface of ``FLEXUNET_BACKBONE``)."""
        return [channels for _, _, channels in cls.variants.values()]

    @classmethod
    def num_outputs(cls) -> list[int]:
        """Number of features (interface of ``FLEXUNET_BACKBONE``)."""
        return [5] * len(cls.variants)

    @classmethod
    def get_encoder_names(cls) -> list[str]:
        """Registered names (interface of ``FLEXUNET_BACKBONE``)."""
        return [f"tv_{name}" for name in cls.variants]


FLEXUNET_BACKBONE.register_class(TorchvisionResNetEncoder)
