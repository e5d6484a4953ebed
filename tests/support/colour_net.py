"""A joint network that is known by heart: red is foreground, and the classes are red and blue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn
from torch.nn import functional as F

from scripts.core.errors import user_error_of
from scripts.networks.model_file import ModelInfo, write_model
from scripts.networks.outputs import pack_outputs
from scripts.networks.pooling import WildcatPool
from scripts.trained.source import ModelSource
from tests.support.tiny_runs import CONFIGS

TARGET = "tests.support.colour_net.ColourNet"
INFO = ModelInfo({"_target_": TARGET}, ("blue", "red"), (64, 96), 0.5, native_size=(64, 96))


class _Seen(list[tuple[int, ...]]):
    """Sizes of images; a copy of the network adds to the same list."""

    def __deepcopy__(self, _memo: object) -> _Seen:
        return self


class ColourNet(nn.Module):
    """Logit of a pixel: 8 times (red - blue). Class maps: means of blue and of red over 32 x 32 pixels."""

    stride = 32
    frozen = False

    def __init__(self, num_classes: int = 2, pretrained: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(8.0))
        self.pool = WildcatPool(kmax=0.3, kmin=0.1)
        self.dropout = nn.Dropout(dropout)
        self.sizes = _Seen()

    def has_fixed_features(self) -> bool:
        return False

    def freeze(self, frozen: bool = True) -> None:
        self.frozen = frozen

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        self.sizes.append(tuple(x.shape))
        padded = F.pad(x, [0, -x.shape[3] % 32, 0, -x.shape[2] % 32], mode="replicate")
        return [x, F.avg_pool2d(padded, 32)]

    def class_maps(self, features: list[torch.Tensor]) -> torch.Tensor:
        return 10 * features[-1][:, [2, 0]]

    def decode(self, features: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        shown = self.dropout(features[0])
        return self.gain * (shown[:, :1] - shown[:, 2:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.encode(x)
        return pack_outputs(self.decode(features, x), self.class_maps(features))


def write_colour_model(folder: Path, **changes: Any) -> Path:
    """Write the network as ``model.pt`` with its description and return the file."""
    write_model(folder / "model.pt", ColourNet().state_dict(), replace(INFO, **changes))
    return folder / "model.pt"


def colour_source(folder: Path, **changes: Any) -> ModelSource:
    """The source of such a file."""
    return ModelSource(ColourNet(), ckpt=write_colour_model(folder, **changes))


def inference(changes: dict[str, Any]) -> ConfigParser:
    """The config ``inference.json``, as the command line makes it, on the CPU and with the network of this module."""
    parser = ConfigParser(ConfigParser.load_config_files([CONFIGS / "inference.json"]))
    for key, value in {"device": "cpu", "network_def": {"_target_": TARGET}, **changes}.items():
        parser[key] = value
    return parser


def refusal(parser: ConfigParser, key: str = "run") -> str:
    """The text of the user's error that a command ends with."""
    try:
        parser.get_parsed_content(key)
    except Exception as error:  # noqa: BLE001 - MONAI wraps the error in its own
        return str(user_error_of(error))
    raise AssertionError("no error")
