"""An exported network in the place of the one it was made of: a TensorRT engine of ``monai.bundle trt_export``.

An export has one output, the packed one of :func:`scripts.networks.outputs.pack_outputs`. :class:`ExportedNetwork`
takes it apart again, so that inferers and transforms need not know whether the network is the one they were written
for.
"""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from scripts.core.errors import InputError, Problem
from scripts.networks.interface import JointNetwork
from scripts.networks.outputs import unpack_outputs

TENSORRT = "torch_tensorrt"


class ExportedNetwork(nn.Module):
    """A :class:`scripts.networks.interface.JointNetwork` whose passes are those of an export. It cannot be trained.

    Args:
        exported: from images (B, 3, H, W) to the packed output (B, 1 + C, H, W).
        original: network that was exported; its pooling is used.

    Attributes:
        is_compiled: true; an inferer runs it as it is.
        stride, frozen, dropout, pool: see :class:`scripts.networks.interface.JointNetwork`; there is no dropout.
    """

    is_compiled: bool = True

    def __init__(self, exported: Callable[[torch.Tensor], torch.Tensor], original: JointNetwork) -> None:
        super().__init__()
        self.exported = exported
        self.stride, self.frozen = original.stride, True
        self.pool, self.dropout = original.pool, nn.Identity()

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the packed output (B, 1 + C, H, W) of images (B, 3, H, W), alone in a list."""
        return [self.exported(x)]

    def class_maps(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Return class maps (B, C, ceil(H / stride), ceil(W / stride)) of what :meth:`encode` returned."""
        return unpack_outputs(features[0], self.stride)[1]

    def decode(self, features: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """Return mask logits (B, 1, H, W) of what :meth:`encode` returned."""
        return unpack_outputs(features[0], self.stride)[0]

    def freeze(self, frozen: bool = True) -> None:
        """Do nothing: an export has no gradients."""

    def has_fixed_features(self) -> bool:
        """Return false: what :meth:`encode` gives is no feature to keep."""
        return False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the packed output (B, 1 + C, H, W) of images (B, 3, H, W)."""
        return self.exported(x)


def load_engine(path: Path | str, original: JointNetwork, device: torch.device | str) -> ExportedNetwork:
    """Return the network of a TensorRT engine in TorchScript.

    Args:
        path: file of ``python -m monai.bundle trt_export``.
        original: network that was exported.
        device: the GPU it was exported for.

    Raises:
        InputError: with all that is missing of a GPU, the package torch_tensorrt and the file; or an engine of another
            machine.
    """
    path, problems = Path(path), []
    if torch.device(device).type != "cuda" or not torch.cuda.is_available():
        cure = "Leave out inference_trt.json: the same network runs on a CPU without it."
        problems.append(Problem("a TensorRT engine runs on an NVIDIA GPU only", "device", "cuda", str(device), cure))
    if importlib.util.find_spec(TENSORRT) is None:
        cure = "Install the torch-tensorrt that fits your torch and CUDA, or leave out inference_trt.json."
        problems.append(Problem("package is missing", TENSORRT, cure=cure))
    if not zipfile.is_zipfile(path):  # TorchScript is a zip archive
        cure = "Make it with python -m monai.bundle trt_export, see docs/export.md."
        found = "another file" if path.exists() else "nothing there"
        problems.append(Problem("there is no TensorRT engine", str(path), "a file of trt_export", found, cure))
    if problems:
        raise InputError(problems)
    importlib.import_module(TENSORRT)  # its operators are in the file
    try:
        engine = torch.jit.load(path, map_location=device)
    except RuntimeError as error:
        cure = "An engine runs with the GPU and the versions it was made with: export it again here."
        raise InputError(Problem("TensorRT engine cannot be loaded", str(path), "", str(error)[:300], cure)) from error
    return ExportedNetwork(engine.eval(), original)
