"""MONAI's exports of both networks against the networks themselves, on sizes and batches they were not traced with."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export, onnx_export
from monai.data import load_net_with_metadata

from scripts.networks.outputs import unpack_outputs
from scripts.networks.pooling import WildcatPool
from tests.support.tiny_runs import CONFIGS

SIZES = [(96, 128), (250, 333), (67, 131)]
BATCHES = (1, 4)
CASES = [(batch, 3, *size) for batch in BATCHES for size in SIZES]
NETWORKS: dict[str, dict[str, Any]] = {
    "JointNet": {"network_def#pretrained": False, "network_def#decoder_channels": [8, 8, 8, 8, 8]},
    "PublishedNet": {
        "network_def": {
            "_target_": "scripts.networks.published_net.PublishedNet", "num_classes": 2, "base_width": 4, "leak": 8,
        },
    },
}  # fmt: skip
Run = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module", params=list(NETWORKS))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, torch.nn.Module, Path]:
    """Name, network with weights that are not those of a fresh one, and the folder with its ``model.pt``."""
    folder = tmp_path_factory.mktemp(request.param)
    parser = ConfigParser(ConfigParser.load_config_file(CONFIGS / "train.json"))
    for key, value in NETWORKS[request.param].items():
        parser[key] = value
    torch.manual_seed(3)
    network = parser.get_parsed_content("network_def").eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    torch.save(network.state_dict(), folder / "model.pt")
    return request.param, network, folder


def files(folder: Path, name: str) -> dict[str, str]:
    return {
        "filepath": str(folder / name), "ckpt_file": str(folder / "model.pt"),
        "meta_file": str(CONFIGS / "metadata.json"), "config_file": str(CONFIGS / "train.json"),
    }  # fmt: skip


def assert_equal(network: torch.nn.Module, run: Run) -> None:
    rng = np.random.default_rng(0)
    for shape in CASES:
        images = rng.random(shape, dtype=np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(images)).numpy()
        found = run(images)
        assert found.shape == expected.shape, shape
        assert np.abs(expected).max() > 1e-2  # else anything is equal
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4, err_msg=str(shape))


def test_torchscript(case: tuple[str, torch.nn.Module, Path]) -> None:
    name, network, folder = case
    ckpt_export(**files(folder, "model.ts"), **NETWORKS[name])
    script, metadata, extra = load_net_with_metadata(str(folder / "model.ts"), more_extra_files=["train.json"])
    assert metadata["version"] == json.loads((CONFIGS / "metadata.json").read_text())["version"]
    assert json.loads(extra["train.json"])["network_def"]["kmax"] == 0.3  # what the class scores need is inside
    with torch.no_grad():
        assert_equal(network, lambda images: script(torch.from_numpy(images)).numpy())


@pytest.mark.slow
def test_onnx(case: tuple[str, torch.nn.Module, Path], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", "torch.__trace")  # pytest's handler would make torch write down every step
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package, reason="requirements-export.txt is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="requirements-export.txt is not installed")
    name, network, folder = case
    if name == "PublishedNet" and not os.environ.get("CI"):
        pytest.skip("tracing PublishedNet takes 20 seconds: set CI=1 to do it")
    onnx_export(args_file=str(CONFIGS / "onnx_export.json"), **files(folder, "model.onnx"), **NETWORKS[name])
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (image,), (pred,) = session.get_inputs(), session.get_outputs()
    assert (image.name, pred.name, image.shape[1], pred.shape[1]) == ("image", "pred", 3, 3)
    assert all(isinstance(image.shape[axis], str) for axis in (0, 2, 3))  # free, not numbers
    assert_equal(network, lambda images: session.run(None, {"image": images})[0])


class TestClassScores:
    """The text of docs/export.md that makes class scores of an export's output."""

    @pytest.fixture(scope="class")
    def documented(self) -> Callable[..., np.ndarray]:
        page = (CONFIGS.parents[1] / "docs" / "export.md").read_text()
        (text,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def class_scores" in code]
        names: dict[str, Any] = {}
        exec(text, names)
        return names["class_scores"]

    @pytest.mark.parametrize("size", [*SIZES, (31, 17), (32, 700)])
    @pytest.mark.parametrize("settings", [{}, {"kmax": 3, "kmin": 2, "alpha": 0.2}, {"kmax": 0.1, "use_bottom": False}])
    def test_are_those_of_the_network(
        self, size: tuple[int, int], settings: dict[str, Any], documented: Callable[..., np.ndarray]
    ) -> None:
        packed = torch.randn(2, 4, *size, generator=torch.Generator().manual_seed(0))
        maps = unpack_outputs(packed, 32)[1]
        expected = WildcatPool(**{"kmax": 0.3, "kmin": 0.1, "alpha": 0.6, **settings})(maps)
        np.testing.assert_allclose(documented(packed.numpy(), **settings), expected.numpy(), atol=1e-6)
