"""The engine ``openvino``: encoder, decoder and the whole network compiled by OpenVINO for the CPU.

A part is traced with TorchScript and compiled when it is first used, once for every size of image. A network that
decides by the size what it computes cannot be traced so: that shows in a pass of another size, and its parts are
compiled for each size.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import nn

from scripts.core.errors import InputError, Problem
from scripts.core.optional import needed
from scripts.networks.engines.folded import fold_norms
from scripts.networks.engines.inference_network import InferenceNetwork
from scripts.networks.interface import joint_network

_TRACED, _OTHER = (64, 96), (128, 64)
"""(H, W) of an image that a part is traced with, and of one that shows whether the trace holds for all sizes."""


class OpenvinoNetwork(InferenceNetwork):
    """A network whose parts OpenVINO runs, with as many threads as torch has when it is made.

    Passes with dropout go through torch. Features are float32.

    Args:
        network: trained, on the CPU; it is not changed.
        amp: bfloat16: true, false, or ``"auto"`` for where the CPU computes in it natively.

    Raises:
        InputError: OpenVINO is not installed, or the network is not on the CPU.
    """

    def __init__(self, network: nn.Module, amp: bool | str = "auto") -> None:
        super().__init__(network, amp)
        self._openvino = needed("openvino")
        if self.device.type != "cpu":
            cure = "Add --device cpu, or take --engine torch."
            raise InputError(Problem("OpenVINO computes on the CPU", "engine", "--device cpu", str(self.device), cure))
        fold_norms(self.network, torch.zeros(1, 3, *_TRACED))
        self._settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if self.reduced else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._compiled: dict[tuple[type[_Part], tuple[int, ...] | None], Any] = {}  # by the images' size; None: any
        self._by_size: dict[type[_Part], bool] = {}

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return five features of images (B, 3, H, W) float32 in [0, 1]."""
        if self.is_stochastic():
            with torch.no_grad():
                return joint_network(self.network).encode(x)
        return self._run(_Encode, [x])

    def decode(self, features: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """Return mask logits (B, 1, H, W) from the features and the images."""
        if self.is_stochastic():
            with torch.no_grad():
                return joint_network(self.network).decode(features, x)
        return self._run(_Decode, [x, *features])[0]

    def whole(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mask logits (B, 1, H, W) and class maps, float32; features never leave OpenVINO."""
        if self.is_stochastic():
            return super().whole(x)
        logits, last = self._run(_Whole, [x])
        return logits, joint_network(self.network).class_maps([last] * 5)

    def _run(self, part: type[_Part], inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        arrays = [np.ascontiguousarray(tensor.detach().float().numpy()) for tensor in inputs]
        found = self._request(part, inputs).infer(arrays, share_inputs=True)
        return [torch.from_numpy(found[at]) for at in range(len(found))]

    @torch.inference_mode(False)
    def _request(self, part: type[_Part], inputs: list[torch.Tensor]) -> Any:
        """Return what runs a part for inputs of these sizes, compiled if need be."""
        size = tuple(inputs[0].shape)
        request = self._compiled.get((part, None)) or self._compiled.get((part, size))
        if request is not None:
            return request
        with torch.autocast("cpu", enabled=False):
            module = part(self.network).eval()
            if part not in self._by_size:
                example = module.example(torch.rand(1, 3, *_TRACED))
                traced = _traced(module, example)
                self._by_size[part] = not _holds(traced, module)
            if self._by_size[part]:
                example = module.example(torch.rand(size))
                traced = _traced(module, example)
                request = self._compile(traced, [list(tensor.shape) for tensor in example])
                self._compiled[part, size] = request
            else:
                request = self._compile(traced, [[-1, tensor.shape[1], -1, -1] for tensor in example])
                self._compiled[part, None] = request
        return request

    def _compile(self, traced: Any, shapes: list[list[int]]) -> Any:
        ov = self._openvino
        model = ov.convert_model(traced, input=[(ov.PartialShape(shape), ov.Type.f32) for shape in shapes])
        return ov.Core().compile_model(model, "CPU", self._settings).create_infer_request()


class _Part(nn.Module):
    """What is compiled in one piece: inputs and outputs are tensors."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def example(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return inputs for images (B, 3, H, W)."""
        return (images,)


class _Encode(_Part):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(joint_network(self.network).encode(x))


class _Decode(_Part):
    @torch.no_grad()
    def example(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (images, *joint_network(self.network).encode(images))

    def forward(self, x: torch.Tensor, *features: torch.Tensor) -> tuple[torch.Tensor]:
        # the images go in whether the decoder reads them or their size: an input that nothing reads would be lost
        return (joint_network(self.network).decode(list(features), x) + 0.0 * x[:, :1],)


class _Whole(_Part):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = joint_network(self.network).encode(x)
        return joint_network(self.network).decode(features, x), features[-1]


def _traced(part: _Part, example: tuple[torch.Tensor, ...]) -> Any:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of branches on sizes: whether they matter, _holds tells
        return torch.jit.freeze(torch.jit.trace(part, example, check_trace=False))


@torch.no_grad()
def _holds(traced: Any, part: _Part) -> bool:
    """Tell whether a trace gives what the part gives for another size and number of images."""
    other = part.example(torch.rand(2, 3, *_OTHER))
    try:
        found = traced(*other)
    except RuntimeError:  # sizes that do not fit together
        return False
    return all(a.shape == b.shape and torch.allclose(a, b, atol=1e-3) for a, b in zip(found, part(*other), strict=True))
