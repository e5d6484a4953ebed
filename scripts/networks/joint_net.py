"""The joint network: one encoder, class maps on its last features, a U-Net decoder for the mask.

:class:`JointNet` is MONAI's ``FlexibleUNet`` with a classifier. It and
:class:`scripts.networks.published_net.PublishedNet` have the same methods, so that either can stand in ``network_def``:
``encode``, ``class_maps``, ``pool``, ``decode``, ``freeze``, and ``forward`` which packs both outputs in one tensor.
"""

import torch
from monai.networks.nets import FlexibleUNet
from monai.networks.nets.flexible_unet import FLEXUNET_BACKBONE, SegmentationHead
from torch import nn
from torch.nn import functional as F

import scripts.networks.encoders.resnet  # noqa: F401  (registers tv_resnet18, tv_resnet34, tv_resnet50)
from scripts.core.errors import InputError, Problem
from scripts.networks.decoder import enlarge, to_one_channel, up_and_convolve
from scripts.networks.encoders.lite0 import IMAGENET_SCALING, INPUT_SCALING
from scripts.networks.outputs import pack_outputs
from scripts.networks.pooling import ClassMapHead, WildcatPool

TORCHVISION = {name: f"tv_{name}" for name in ("resnet18", "resnet34", "resnet50")}
"""MONAI's ResNets differ from torchvision's, so ImageNet weights need the encoders of ours."""


class JointNet(FlexibleUNet):
    """Classification by class maps and segmentation by a U-Net decoder on one encoder.

    Input: (B, 3, H, W) float RGB in [0, 1], any H and W; the scaling that the encoder's pretrained weights
    need is part of the network.

    Args:
        num_classes: C, classes of the images.
        backbone: ``"efficientnet_lite0"``; ``"resnet18"``, ``"resnet34"`` or ``"resnet50"``, which are torchvision's
            here, not MONAI's of the same names; or another name of MONAI's ``FLEXUNET_BACKBONE``
            (``"efficientnet-b0"``, ...).
        pretrained: ImageNet weights of the encoder; for the ResNets also the path of their file.
        decoder_channels: channels of the decoder blocks at strides 16, 8, 4, 2 and 1.
        out_stride: pixels of the input per pixel of the decoder's last block, whose logits are upsampled bilinearly: 2
            leaves out the block at full resolution, which costs as much as all others together, 4 also the one before
            it, half of what remains; 1 keeps all.
        modalities: maps averaged per class (WILDCAT).
        kmax: share (float) or number (int) of highest class-map values in a score.
        kmin: the same of lowest values.
        alpha: weight of the lowest values.
        use_bottom: whether the ``kmin``/``alpha`` term is used; the published code computes it and drops it.
        pool_dropout: dropout on the sorted class-map values, train mode only.
        dropout: dropout in the decoder blocks (0.2 for Monte-Carlo dropout).
        freeze_norm: keep the encoder's batch-norm on its pretrained statistics also while the encoder trains: batches
            of a few images estimate them badly.
        freeze_classifier: see :meth:`freeze`.

    Attributes:
        stride: pixels of the input per pixel of the class maps.
        frozen: whether encoder and classifier are frozen.

    Raises:
        InputError: unknown backbone, or an ``out_stride`` other than 1, 2 and 4.
    """

    stride: int = 32
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        num_classes: int = 2,
        backbone: str = "efficientnet_lite0",
        pretrained: bool | str = True,
        decoder_channels: tuple[int, ...] = (64, 48, 32, 16, 16),
        out_stride: int = 2,
        modalities: int = 1,
        kmax: int | float = 0.3,
        kmin: int | float = 0.1,
        alpha: float = 0.6,
        use_bottom: bool = True,
        pool_dropout: float = 0.0,
        dropout: float = 0.0,
        freeze_norm: bool = True,
        freeze_classifier: bool = False,
    ) -> None:
        backbone = TORCHVISION.get(backbone, backbone)
        if backbone not in FLEXUNET_BACKBONE.register_dict:
            names = ", ".join(sorted(FLEXUNET_BACKBONE.register_dict))
            raise InputError(Problem("unknown encoder", "network_def#backbone", f"one of {names}", repr(backbone)))
        if out_stride not in (1, 2, 4):
            raise InputError(Problem("unknown resolution", "network_def#out_stride", "1, 2 or 4", str(out_stride)))
        super().__init__(
            3,
            1,
            backbone,
            pretrained=pretrained,  # type: ignore[arg-type]  # our ResNets take a path too
            decoder_channels=tuple(decoder_channels),
            is_pad=False,  # sides are multiples of 32, see encode
        )
        self.out_stride = out_stride
        if out_stride > 1:
            left_out = out_stride // 2
            self.decoder.blocks = self.decoder.blocks[:-left_out]
            self.segmentation_head = SegmentationHead(2, decoder_channels[-1 - left_out], 1, kernel_size=3)
        self.dropout = nn.Dropout(dropout)
        features = FLEXUNET_BACKBONE.register_dict[backbone]["feature_channel"][-1]
        self.head = ClassMapHead(features, num_classes, modalities)
        self.pool = WildcatPool(kmax, kmin, alpha, use_bottom=use_bottom, dropout=pool_dropout)
        mean, std = INPUT_SCALING.get(backbone, IMAGENET_SCALING)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.frozen = False
        self.freeze_norm = freeze_norm
        self.freeze(freeze_classifier)

    def freeze(self, frozen: bool = True) -> None:
        """Stop (or resume) the training of the encoder and the classifier, as in the published second phase.

        A frozen part has no gradients, and :meth:`train` leaves its batch-norm on running statistics.
        """
        self.frozen = frozen
        self.encoder.requires_grad_(not frozen)
        self.head.requires_grad_(not frozen)
        self.train(self.training)

    def has_fixed_features(self) -> bool:
        """Tell whether :meth:`encode` gives the same of an image each time; its dropout comes only in the decoder."""
        return self.frozen

    def train(self, mode: bool = True) -> "JointNet":
        """Set train or eval mode; what is frozen stays in eval mode."""
        super().train(mode)
        if self.frozen:
            for module in (self.encoder, self.head, self.pool):
                module.eval()
        elif self.freeze_norm:
            for module in self.encoder.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the features at strides 2, 4, 8, 16, 32 of RGB images (B, 3, H, W) in [0, 1].

        Sides are first rounded up to a multiple of 32 by repeating the last row and column, since the decoder's blocks
        double their input exactly; :meth:`decode` cuts the surplus off again.
        """
        # no branch on the size, and sides written as 32 times a number: so an export to ONNX holds for every size
        pad_h = (x.shape[2] + 31) // 32 * 32 - x.shape[2]
        pad_w = (x.shape[3] + 31) // 32 * 32 - x.shape[3]
        x = F.pad(x, [0, pad_w, 0, pad_h], mode="replicate")
        return self.encoder((x - self.mean) / self.std)

    def class_maps(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Return class maps (B, C, ceil(H / 32), ceil(W / 32)); ``self.pool`` makes scores (B, C) of them."""
        return self.head(features[-1])

    def decode(self, features: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """Return mask logits (B, 1, H, W) from :meth:`encode`'s features; ``x`` (B, 3, H, W) gives the size only."""
        if torch.jit.is_scripting() or torch.jit.is_tracing() or x.is_cuda:
            # plain for exporters; few launches where those cost
            y = self.decoder([self.dropout(f) for f in features], self.skip_connect)
            y = self.segmentation_head(self.dropout(y))
            if self.out_stride > 1:
                y = F.interpolate(y.float(), scale_factor=float(self.out_stride), mode="bilinear", align_corners=False)
        else:
            y = self._decode_quickly(features)
        return y[:, :, : x.shape[2], : x.shape[3]]  # see encode

    @torch.jit.unused
    def _decode_quickly(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Return what the modules of the decoder return one after the other, at a third of their cost less."""
        dropped = [self.dropout(feature) for feature in features]
        y = dropped[-1]
        for i, block in enumerate(self.decoder.blocks):
            y = up_and_convolve(block, y, dropped[-2 - i] if i < self.skip_connect else None)
        y = self.dropout(y)
        y = self.segmentation_head(y) if torch.is_grad_enabled() else to_one_channel(self.segmentation_head[0], y)
        return enlarge(y.float(), self.out_stride) if self.out_stride > 1 else y

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, 1 + C, H, W): mask logits, then class maps, as ``outputs.unpack_outputs`` parts them."""
        features = self.encode(x)
        return pack_outputs(self.decode(features, x), self.class_maps(features))


def parameter_groups(network: nn.Module, lr: dict[str, float]) -> list[dict]:
    """Return optimizer groups with a learning rate each, of the children of ``network`` named in ``lr``.

    Parameters of other children are left out, so they are not trained.
    """
    return [{"params": list(getattr(network, name).parameters()), "lr": value} for name, value in lr.items()]
