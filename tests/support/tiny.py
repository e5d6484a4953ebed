"""A data set of ten small images, and the bundle's config cut down to train on it in a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from scripts.networks.joint_net import JointNet

CONFIG = Path(__file__).resolve().parents[2] / "bundle" / "configs" / "train.json"
SPLITS = ("train",) * 6 + ("val",) * 2 + ("test",) * 2
ORIGINAL_SIZE = (80, 72)
WORKING_SIZE = (64, 64)


def write_tiny(folder: Path) -> Path:
    """Images ``i0`` to ``i9`` of two classes: class b is blue, and a pale disc is the foreground."""
    rng = np.random.default_rng(0)
    rows = ["image,label,mask,split,id"]
    height, width = ORIGINAL_SIZE
    y, x = np.mgrid[:height, :width]
    for i, split in enumerate(SPLITS):
        mask = (y - rng.integers(20, 60)) ** 2 + (x - rng.integers(20, 52)) ** 2 < 15**2
        image = rng.integers(0, 90, (height, width, 3))
        image[..., 2] += 90 * (i % 2)
        image[mask] += 70
        Image.fromarray(image.astype(np.uint8)).save(folder / f"i{i}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"m{i}.png")
        rows.append(f"i{i}.png,{'ab'[i % 2]},m{i}.png,{split},i{i}")
    (folder / "data.csv").write_text("\n".join(rows) + "\n")
    return folder


def tiny_content(data: Path, output: Path) -> dict[str, Any]:
    """The content of ``train.json`` for the data set in ``data``, with a small network and few steps."""
    content = json.loads(CONFIG.read_text())
    content |= {
        "dataset_dir": str(data),
        "output_dir": str(output),
        "device": "cpu",
        "amp": False,
        "image_size": list(WORKING_SIZE),
        "batch_size": 2,
        "max_epochs": 2,
        "epoch_length": 2,
        "val_interval": 1,
        "variants": 2,
    }
    content["cycle"]["rounds"] = True
    content["network_def"] |= {"pretrained": False, "decoder_channels": [8, 8, 8, 8, 8]}
    return content


def tiny_net(num_classes: int = 3, **settings: Any) -> JointNet:
    """A small network, the same each time, whose signal neither dies out nor explodes on its way through the encoder.

    Without pretrained weights PyTorch's initial ones let it shrink to denormal numbers, which are slow and all alike.
    """
    torch.manual_seed(0)
    net = JointNet(num_classes, pretrained=False, **{"decoder_channels": (8, 8, 8, 8, 8), **settings})
    for module in net.encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return net
