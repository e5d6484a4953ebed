from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scripts.core.errors import InputError
from scripts.networks.inferer import JointInferer
from scripts.networks.joint_net import JointNet
from scripts.trained import exported
from scripts.trained.exported import ExportedNetwork, load_engine


@pytest.fixture(scope="module")
def network() -> JointNet:
    torch.manual_seed(0)
    return JointNet(pretrained=False, decoder_channels=(8, 8, 8, 8, 8)).eval()


@pytest.fixture(scope="module")
def stand_in(network: JointNet) -> ExportedNetwork:
    return ExportedNetwork(torch.jit.script(network), network)


class TestExportedNetwork:
    @pytest.mark.parametrize("flips", [False, True])
    @pytest.mark.parametrize("size", [(64, 96), (70, 51)])
    def test_passes_an_inferer_as_its_original_does(
        self, size: tuple[int, int], flips: bool, network: JointNet, stand_in: ExportedNetwork
    ) -> None:
        images = torch.rand(2, 3, *size)
        with torch.no_grad():
            found, expected = (JointInferer(flips=flips, amp=False)(images, net) for net in (stand_in, network))
            torch.testing.assert_close(stand_in(images), network(images), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)  # the original has its norms folded

    def test_scores_are_pooled_as_before(self, network: JointNet, stand_in: ExportedNetwork) -> None:
        images = torch.rand(1, 3, 64, 96)
        with torch.no_grad():
            scores = stand_in.pool(stand_in.class_maps(stand_in.encode(images)))
            torch.testing.assert_close(scores, network.pool(network.class_maps(network.encode(images))))


class TestLoadEngine:
    def test_all_that_is_missing_is_told(
        self, network: JointNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exported, "TENSORRT", "no_such_package")
        with pytest.raises(InputError) as caught:
            load_engine(tmp_path / "model_trt.ts", network, "cpu")
        assert len(caught.value.problems) == 3
        text = str(caught.value)
        assert all(part in text for part in ("NVIDIA GPU", "no_such_package: package is missing", "model_trt.ts"))

    def test_another_file_is_not_loaded(self, network: JointNet, tmp_path: Path) -> None:
        (tmp_path / "model_trt.ts").write_bytes(b"no archive")
        with pytest.raises(InputError, match=r"no TensorRT engine; expected a file of trt_export; found another file"):
            load_engine(tmp_path / "model_trt.ts", network, "cpu")
