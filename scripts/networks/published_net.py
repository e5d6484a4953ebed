"""The network of Belharbi et al. 2021: a ResNet-18 classifier and a separate segmentation branch that it feeds.

The paper draws a U-Net decoder on the encoder. The published code, which gave the published numbers, is another thing:
the branch has a stem at full resolution and a contracting path of its own, into which the encoder's features *leak*
through one convolution each, and the skips of its expanding path come from that contracting path. This is that
network, in our words, with the same numbers.

No postponed annotations, so that ``torch.jit.script`` can compile it.
"""

import torch
from torch import nn
from torch.nn import functional as F

from scripts.networks.encoders.resnet import TorchvisionResNetEncoder
from scripts.networks.outputs import pack_outputs
from scripts.networks.pooling import ClassMapHead, WildcatPool

ENCODER_CHANNELS = (64, 64, 128, 256, 512)
STEM_CHANNELS = 64
UP_CHANNELS = (256, 128, 128, 64)  # deepest first


def _conv_relu(in_channels: int, out_channels: int, padding: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=padding), nn.ReLU(inplace=True))


def _down(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two convolutions of stride 2: the side shrinks by four, not by two as in a U-Net."""
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers.append(nn.Conv2d(channels, out_channels, 3, stride=2, padding=1, bias=False))
        layers += [nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _resize(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resize (B, C, h, w) to (B, C, height, width), bilinear, corners aligned."""
    if x.shape[2] == height and x.shape[3] == width:
        return x
    return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=True)


def _double_then_resize(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resample twice, as published: to twice the side, then to the size wanted, which differs for most inputs."""
    doubled = F.interpolate(x, size=(2 * x.shape[2], 2 * x.shape[3]), mode="bilinear", align_corners=True)
    return _resize(doubled, height, width)


class SegmentationBranch(nn.Module):
    """Mask logits from the image and the five features of the encoder.

    Args:
        base_width: w; the contracting path has 2w, 4w, 8w, 16w and 32w channels.
        leak: l; channels that each feature of the encoder is reduced to.
        dropout: applied after every block of both paths; shared with the encoder.
    """

    def __init__(self, base_width: int, leak: int, dropout: nn.Dropout) -> None:
        super().__init__()
        widths = [2 * base_width * 2**level for level in range(5)]
        self.stem = nn.Sequential(_conv_relu(3, STEM_CHANNELS), _conv_relu(STEM_CHANNELS, STEM_CHANNELS))
        self.leaks = nn.ModuleList(_conv_relu(channels, leak, padding=0) for channels in ENCODER_CHANNELS)
        entering = (STEM_CHANNELS, *widths[:4])
        self.downs = nn.ModuleList(_down(i + leak, o) for i, o in zip(entering, widths, strict=True))
        rising = (widths[4], *UP_CHANNELS[:3])
        skipped = widths[3::-1]
        self.ups = nn.ModuleList(
            _conv_relu(i + skip, o) for i, skip, o in zip(rising, skipped, UP_CHANNELS, strict=True)
        )
        self.merge = _conv_relu(UP_CHANNELS[3] + STEM_CHANNELS, 64)
        self.last = nn.Conv2d(64, 1, kernel_size=1)
        self.dropout = dropout

    def forward(self, features: list[torch.Tensor], image: torch.Tensor) -> torch.Tensor:
        """Return logits (B, 1, H, W) from the features, strides 2 to 32, and the image (B, 3, H, W)."""
        full = self.stem(image)
        x = full
        skips: list[torch.Tensor] = []
        for level, (leak, down) in enumerate(zip(self.leaks, self.downs)):  # noqa: B905 - TorchScript has no strict=
            leaked = leak(_not_below_kernel(features[level]))
            x = _resize(x, leaked.shape[2], leaked.shape[3])
            skips.append(x)
            x = self.dropout(down(torch.cat([x, leaked], dim=1)))
        for level, up in enumerate(self.ups):
            skip = skips[4 - level]  # skips[0] is the stem, which joins at full resolution below
            x = _double_then_resize(x, skip.shape[2], skip.shape[3])
            x = self.dropout(up(torch.cat([x, skip], dim=1)))
        x = _double_then_resize(x, full.shape[2], full.shape[3])
        return self.last(self.merge(torch.cat([x, full], dim=1)))


def _not_below_kernel(feature: torch.Tensor) -> torch.Tensor:
    """Enlarge a feature of fewer than 3 pixels a side, which the unpadded leak cannot take (inputs below 65 pixels)."""
    return _resize(feature, max(feature.shape[2], 3), max(feature.shape[3], 3))


class PublishedNet(nn.Module):
    """The published two-branch network.

    Input: (B, 3, H, W) float of any H and W. The paper feeds RGB in [0, 1], minus 0.5, over 0.5: scale the images so
    before, or set ``mean`` and ``std`` to 0.5 and feed [0, 1].
    In train mode batch-norm needs more than one value per channel: with sides of at most 192 pixels, two images.

    The paper uses width 24 and leak 64 for GlaS (26,901,451 parameters, 15,719,809 of them in the branch), 12 and 32
    for CUB.

    Args:
        num_classes: C.
        base_width: width of the branch's contracting path.
        leak: channels that each encoder feature is reduced to on its way into the branch.
        modalities: maps averaged per class.
        kmax: see :class:`scripts.networks.pooling.WildcatPool`.
        kmin: likewise.
        alpha: likewise.
        use_bottom: likewise; false as in the published code.
        pool_dropout: dropout on the sorted class-map values.
        dropout: element-wise dropout at 14 points, after each feature of the encoder and each block of the branch (0.2
            for Monte-Carlo dropout). One module, ``self.dropout``, serves all, and freezing does not stop it.
        freeze_classifier: see :meth:`freeze`.
        pretrained: ImageNet weights of the encoder: true, false or the path of their file.
        mean: subtracted from the input.
        std: divides what remains.

    Attributes:
        stride: pixels of the input per pixel of the class maps.
        frozen: whether the encoder and the class maps are frozen.
    """

    stride: int = 32

    def __init__(
        self,
        num_classes: int,
        base_width: int = 24,
        leak: int = 64,
        modalities: int = 5,
        kmax: int | float = 0.1,
        kmin: int | float = 0.1,
        alpha: float = 0.6,
        use_bottom: bool = False,
        pool_dropout: float = 0.1,
        dropout: float = 0.0,
        freeze_classifier: bool = False,
        pretrained: bool | str = False,
        mean: float = 0.0,
        std: float = 1.0,
    ) -> None:
        super().__init__()
        self.mean, self.std = float(mean), float(std)
        self.encoder = TorchvisionResNetEncoder("resnet18", pretrained=pretrained)
        self.head = ClassMapHead(ENCODER_CHANNELS[-1], num_classes, modalities)
        self.pool = WildcatPool(kmax, kmin, alpha, use_bottom=use_bottom, dropout=pool_dropout)
        self.dropout = nn.Dropout(dropout)
        self.branch = SegmentationBranch(base_width, leak, self.dropout)
        self.frozen = False
        self.freeze(freeze_classifier)

    def freeze(self, frozen: bool = True) -> None:
        """Stop (or resume) the training of the encoder and the class maps.

        A frozen part has no gradients, and :meth:`train` leaves its batch-norm on running statistics and the dropout
        of the pooling off. The branch and ``self.dropout`` are not touched.
        """
        self.frozen = frozen
        self.encoder.requires_grad_(not frozen)
        self.head.requires_grad_(not frozen)
        self.train(self.training)

    def has_fixed_features(self) -> bool:
        """Tell whether :meth:`encode` gives the same of an image each time: not while its dropout is on."""
        return self.frozen and not (self.dropout.training and self.dropout.p > 0)

    def train(self, mode: bool = True) -> "PublishedNet":
        """Set train or eval mode; what is frozen stays in eval mode."""
        super().train(mode)
        if self.frozen:
            for module in (self.encoder, self.head, self.pool):
                module.eval()
        return self

    def _scaled(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) / self.std

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return features of 64, 64, 128, 256 and 512 channels, strides 2 to 32, of images (B, 3, H, W)."""
        encoder = self.encoder
        f0 = self.dropout(encoder.act(encoder.bn1(encoder.conv1(self._scaled(x)))))
        f1 = self.dropout(encoder.layer1(encoder.maxpool(f0)))
        f2 = self.dropout(encoder.layer2(f1))
        f3 = self.dropout(encoder.layer3(f2))
        f4 = self.dropout(encoder.layer4(f3))
        return [f0, f1, f2, f3, f4]

    def class_maps(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Return class maps (B, C, ceil(H / 32), ceil(W / 32)); ``self.pool`` makes scores (B, C) of them."""
        return self.head(features[4])

    def decode(self, features: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """Return mask logits (B, 1, H, W) from :meth:`encode`'s features and the images (B, 3, H, W)."""
        return self.branch(features, self._scaled(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, 1 + C, H, W): mask logits, then class maps, as ``outputs.unpack_outputs`` parts them."""
        features = self.encode(x)
        return pack_outputs(self.decode(features, x), self.class_maps(features))
