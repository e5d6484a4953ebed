from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts.core.command_line import run
from scripts.data.demo.data_set import make_demo
from scripts.data.run_data import open_data
from scripts.evaluation.metrics import dice
from scripts.images.masks import read_mask
from scripts.networks.inferer import JointInferer
from scripts.networks.model_file import HASH, is_described, read_model
from scripts.networks.outputs import prediction
from scripts.release.__main__ import COMMANDS
from scripts.release.model import release
from scripts.trained.source import load_model
from tests.support.tiny_runs import CONFIGS, tiny_loop

MODEL = CONFIGS.parents[1] / "models" / "model.pt"


@pytest.fixture(scope="module")
def finished(shapes_data: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    tiny_loop(shapes_data, folder, "random").run()
    return folder


class TestRelease:
    @pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
    def test_a_run_becomes_a_file(self, name: str, finished: Path, tmp_path: Path) -> None:
        release(output_dir=str(finished), out=str(tmp_path / name), command="train it")
        weights, info = read_model(tmp_path / name)
        expected = load_model(finished)
        assert all(torch.equal(value, weights[key]) for key, value in expected.network.state_dict().items())
        assert {"method": "random", "masks": 4, "command": "train it"}.items() <= info.provenance.items()
        assert info.provenance["versions"]["torch"] == torch.__version__
        assert is_described(weights, info)

    def test_another_form_is_the_same_model(self, finished: Path, tmp_path: Path) -> None:
        first, second = tmp_path / "a.pt", tmp_path / "b.safetensors"
        release(output_dir=str(finished), round=0, out=str(first))
        release(ckpt=str(first), out=str(second))
        info, (same, described) = read_model(first)[1], read_model(second)
        assert described == info and info.provenance["round"] == 0
        assert is_described(same, info) and info.provenance[HASH]

    def test_same_bytes_each_time(self, finished: Path, tmp_path: Path) -> None:
        for name in ("a.pt", "b.pt"):
            release(output_dir=str(finished), out=str(tmp_path / name))
        assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()

    def test_faults_end_the_command_in_a_line(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(SystemExit) as caught:
            run("release", COMMANDS, ["model", "--output_dir", str(tmp_path), "--out", str(tmp_path / "model.pt")])
        assert caught.value.code == 2 and "which run is not clear" in caplog.text
        assert not list(tmp_path.iterdir())


class TestReleasedModel:
    """``models/model.pt`` as it is in the repository."""

    def test_is_small_plain_and_the_one_that_is_described(self) -> None:
        weights, info = read_model(MODEL)
        assert MODEL.stat().st_size < 25_000_000
        assert is_described(weights, info) and info.provenance[HASH]
        assert {"method", "seed", "command", "versions", "theta0_sha256"} <= info.provenance.keys()

    def test_is_not_ignored_by_git(self) -> None:
        patterns = (CONFIGS.parents[1] / ".gitignore").read_text().split()
        assert not {"*.pt", "models/", "/models/", "/models/*.pt", "*.json"} & set(patterns)

    def test_is_that_of_the_metadata(self) -> None:
        info = read_model(MODEL)[1]
        channels = json.loads((CONFIGS / "metadata.json").read_text())["network_data_format"]["outputs"]["pred"]
        assert channels["num_channels"] == 1 + len(info.classes)

    @pytest.mark.slow
    def test_knows_the_demo_that_it_was_trained_on(self, tmp_path: Path) -> None:
        make_demo(tmp_path)
        model = load_model("unused", ckpt=MODEL)
        data = open_data(str(tmp_path), image_size=model.info.image_size)
        assert data.datalist.sha256 == model.info.provenance["data_sha256"]  # and on nothing else
        inferer, found = JointInferer(flips=True, amp=False), []
        for item in data.items("test"):
            image = data.store.image(item["id"])[None].float() / 255.0
            with torch.no_grad():
                packed = inferer(image, model.network)
            guess = prediction(item["id"], packed, model.network, data.store.original_size(item["id"]))
            assert guess.scores.argmax() == item["label"]
            found.append(dice(guess.probs >= model.info.threshold, read_mask(item["mask"])))
        assert sum(found) / len(found) == pytest.approx(0.927, abs=2e-3)  # the figure of docs/README.md
