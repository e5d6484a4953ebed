"""A model as a file: plain tensors and a description of what they belong to. Reading one executes nothing of it.

Two forms, told apart by the suffix:

* ``.safetensors``: the description is JSON text in the file's metadata, under :data:`KEY`.
* ``.pt``: a state dict, read with ``weights_only=True``; the description lies beside it as ``<name>.json``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pydoc import locate
from typing import Any

import safetensors.torch
import torch
from torch import nn

from scripts.core.errors import InputError, Problem
from scripts.core.files import write_atomic
from scripts.core.torch_rng import isolated_rng
from scripts.networks.weights import Weights, pack_weights, unpack_weights

VERSION = 1
KEY = "model"
SUFFIXES = (".safetensors", ".pt")
HASH = "weights_sha256"
"""Key of the provenance: :func:`weights_sha256` of the weights that a description belongs to."""
MASK_SOURCES = ("decoder", "cam")


@dataclass(frozen=True)
class ModelInfo:
    """What weights belong to.

    Attributes:
        network: ``_target_`` and the arguments of the network, JSON values.
        classes: names of the image classes, in the order of the network's scores.
        image_size: (height, width) in pixels that images are resized to; None for each image's own size.
        threshold: cut of the foreground's probability, in [0, 1].
        mask_from: ``"decoder"``, or ``"cam"`` for a model whose decoder was never trained (method ``wsl``).
        provenance: where the weights come from, JSON values.
        native_size: (height, width) in pixels that training images typically had before they were resized; None where
            that is not known.
        background_classes: names of the classes whose images have no foreground.
        background_gate: whether an image that is predicted as one of them has no foreground; without such classes it
            says nothing.
        bits: how many bits of unsigned 16-bit images count, at most 16 and at least 8; 16 where it learned from others.

    Raises:
        InputError: with everything that is wrong with the values.
    """

    network: Mapping[str, Any]
    classes: tuple[str, ...]
    image_size: tuple[int, int] | None
    threshold: float
    mask_from: str = "decoder"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    native_size: tuple[int, int] | None = None
    background_classes: tuple[str, ...] = ()
    background_gate: bool = True
    bits: int = 16

    def __post_init__(self) -> None:
        checks = (
            ("network", isinstance(self.network, Mapping) and isinstance(self.network.get("_target_"), str),
             "an object with _target_", self.network),
            ("classes", isinstance(self.classes, tuple) and bool(self.classes)
             and all(isinstance(name, str) for name in self.classes), "names", self.classes),
            ("image_size", _is_size(self.image_size), "(height, width) in pixels, or null", self.image_size),
            ("native_size", _is_size(self.native_size), "(height, width) in pixels, or null", self.native_size),
            ("threshold", _is_number(self.threshold) and 0 <= self.threshold <= 1, "a number in [0, 1]",
             self.threshold),
            ("mask_from", self.mask_from in MASK_SOURCES, " or ".join(MASK_SOURCES), self.mask_from),
            ("provenance", isinstance(self.provenance, Mapping), "an object", self.provenance),
            ("background_classes", isinstance(self.background_classes, tuple)
             and all(name in self.classes for name in self.background_classes)
             and len(set(self.background_classes)) < len(self.classes), "some of the classes, not all",
             self.background_classes),
            ("background_gate", isinstance(self.background_gate, bool), "true or false", self.background_gate),
            ("bits", _is_number(self.bits) and self.bits in range(8, 17), "a whole number from 8 to 16", self.bits),
        )  # fmt: skip
        problems = [
            Problem("description of the model", name, expected, repr(found)[:200])
            for name, good, expected, found in checks
            if not good
        ]
        if problems:
            raise InputError(problems)

    @property
    def gated(self) -> tuple[int, ...]:
        """Labels that, predicted, leave nothing to draw, see :meth:`scripts.networks.outputs.Prediction.gated`."""
        found = tuple(self.classes.index(name) for name in self.background_classes)
        return found if self.background_gate else ()

    def to_json(self) -> str:
        """Return the description as JSON text, with the version of its form.

        Without background classes nothing is said of them, nor of bits where all count, so that earlier versions read
        the file too.
        """
        content = {"version": VERSION, **asdict(self)}
        if not self.background_classes:
            del content["background_classes"], content["background_gate"]
        if self.bits == 16:
            del content["bits"]
        return json.dumps(content, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, where: str) -> ModelInfo:
        """Return the description in JSON ``text`` from the file ``where``.

        Raises:
            InputError: no such description, or one of another version.
        """
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(Problem("description of the model is not JSON", where, found=str(error))) from error
        if not isinstance(found, dict) or found.pop("version", None) != VERSION:
            raise InputError(Problem("description of the model cannot be read", where, f"an object, version {VERSION}"))
        unknown = sorted(set(found) - set(cls.__dataclass_fields__))
        missing = sorted({"network", "classes", "image_size", "threshold"} - set(found))
        if unknown or missing:
            problem = Problem("description of the model does not fit", where, f"also {missing}", f"unknown {unknown}")
            raise InputError(problem)
        for name in {"classes", "image_size", "native_size", "background_classes"} & set(found):
            found[name] = tuple(found[name]) if isinstance(found[name], list) else found[name]
        return cls(**found)


def write_model(path: Path | str, weights: Weights, info: ModelInfo) -> None:
    """Write a model in the form of its suffix; a ``.pt`` gets its ``.json`` first.

    Args:
        path: ends in ``.safetensors`` or ``.pt``.
        weights: state dict.
        info: its description.

    Raises:
        InputError: another suffix.
        StateError: the file cannot be written.
    """
    path = _known(path)
    if path.suffix == ".pt":
        write_atomic(_beside(path), (info.to_json() + "\n").encode())
        write_atomic(path, pack_weights(weights))
        return
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    write_atomic(path, safetensors.torch.save(tensors, {KEY: info.to_json()}))


def read_model(path: Path | str) -> tuple[Weights, ModelInfo]:
    """Return the state dict (CPU) and the description of a model file.

    Raises:
        InputError: another suffix, a file that is missing or damaged, no description.
        StateError: a ``.pt`` that holds anything but plain tensors.
    """
    path = _known(path)
    info = read_info(path)
    with _readable(path):
        if path.suffix == ".pt":
            return unpack_weights(path.read_bytes(), where=str(path)), info
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, info  # noqa: SIM118 - it is no mapping


def read_info(path: Path | str) -> ModelInfo:
    """Return the description of a model file without its weights.

    Raises:
        InputError: see :func:`read_model`.
    """
    path = _known(path)
    where = _beside(path) if path.suffix == ".pt" else path
    with _readable(path):
        if path.suffix == ".pt":
            text: str | None = where.read_text(encoding="utf-8")
        else:
            with safetensors.safe_open(path, framework="pt", device="cpu") as file:
                text = (file.metadata() or {}).get(KEY)
    if text is None:
        raise InputError(Problem("file has no description of the model", str(path), f"metadata {KEY!r}"))
    return ModelInfo.from_json(text, str(where))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeDecodeError, safetensors.SafetensorError) as error:
        expected = "model.safetensors, or model.pt with model.json beside it"
        raise InputError(Problem("model cannot be read", str(path), expected, str(error))) from error


def weights_sha256(weights: Mapping[str, torch.Tensor]) -> str:
    """Return a hash over names, types, shapes and values of a state dict; the form of the file does not matter."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous()
        digest.update(repr((name, str(value.dtype), tuple(value.shape))).encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def is_described(weights: Weights, info: ModelInfo) -> bool:
    """Tell whether a description belongs to ``weights``; one without a hash is believed."""
    return info.provenance.get(HASH) in (None, weights_sha256(weights))


def _known(path: Path | str) -> Path:
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(Problem("not the name of a model", str(path), " or ".join(SUFFIXES), path.suffix or "none"))
    return path


def _beside(path: Path) -> Path:
    return path.with_suffix(".json")


def _is_size(value: Any) -> bool:
    return value is None or (isinstance(value, tuple) and len(value) == 2 and all(map(_is_side, value)))


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


DEFAULT_THRESHOLD = 0.5

NETWORKS = ("scripts.networks.joint_net.JointNet", "scripts.networks.published_net.PublishedNet")
"""Networks that a file may name; another one must be the network of the config, which is trusted."""


@dataclass(frozen=True)
class TrainedModel:
    """A model in eval mode.

    Attributes:
        network: on ``device``; see :mod:`scripts.networks.interface`.
        device: where it is.
        info: threshold, classes, image size, provenance (:class:`scripts.networks.model_file.ModelInfo`).
        split_of: SHA-256 of an image file -> split in the run that trained the model; empty where it is not known.
    """

    network: nn.Module
    device: torch.device
    info: ModelInfo
    split_of: Mapping[str, str] = field(default_factory=dict)


def build_network(info: ModelInfo, weights: Weights, device: torch.device, allowed: set[str]) -> nn.Module:
    """Return the described network with its weights, on ``device`` and in eval mode.

    Args:
        info: names the network.
        weights: its state dict.
        device: where it goes.
        allowed: dotted names of the classes that may be built.

    Raises:
        InputError: another class, arguments it does not take, or weights that do not fit.
    """
    arguments = {name: value for name, value in info.network.items() if not name.startswith("_")}
    target = info.network["_target_"]
    if target not in allowed:
        cure = "Only a network of the project, or the one of the config (network_def), is built from a file."
        raise InputError(
            Problem("network of the model is not known", "_target_", ", ".join(sorted(allowed)), target, cure)
        )
    kind: Any = locate(target)
    try:
        with isolated_rng(0, device):  # the initial weights are overwritten
            network: nn.Module = kind(**{**arguments, "pretrained": False})
        network.load_state_dict(weights)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(Problem("model does not fit its network", target, found=str(error)[:500])) from error
    return network.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
