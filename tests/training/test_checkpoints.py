"""A training that was stopped goes on from its checkpoint to the same bits, and no file is trusted."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts.core.errors import StateError
from scripts.core.run_config import RunConfig
from scripts.data.run_data import RunData, open_data
from scripts.networks.feature_bank import FeatureBank
from scripts.networks.weights import Weights
from scripts.training import checkpoints
from scripts.training.checkpoints import CheckpointFile
from scripts.training.train import Trained, train
from scripts.training.trainer import JointTrainer
from tests.networks.test_weights import Malicious, same
from tests.support.tiny import WORKING_SIZE, tiny_content, tiny_net

EPOCHS, STEPS = 4, 2
NOISE = {"network_def#dropout": 0.3, "max_epochs": EPOCHS, "epoch_length": STEPS}


class Stopped(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def data(tiny_folder: Path) -> RunData:
    return open_data(str(tiny_folder), image_size=WORKING_SIZE)


@pytest.fixture(scope="module")
def config(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return RunConfig(tiny_content(tiny_folder, tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def theta() -> Weights:
    return tiny_net(2).state_dict()


@dataclass
class Steps:
    """Numbers of the optimisation steps that were done, and the one before which the process ends (0 for none)."""

    done: list[int] = field(default_factory=list)
    stop: int = 0


@pytest.fixture()
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    found, usual = Steps(), JointTrainer._iteration

    def step(self: JointTrainer, engine: Any, batch: Any) -> Any:
        if engine.state.iteration == found.stop:
            raise Stopped
        found.done.append(engine.state.iteration)
        return usual(self, engine, batch)

    monkeypatch.setattr(JointTrainer, "_iteration", step)
    return found


Run = Callable[..., Trained]


@pytest.fixture()
def run(config: RunConfig, data: RunData, theta: Weights, tmp_path: Path, steps: Steps) -> Run:
    """Train, with ``stop`` before that step; ``seconds`` None keeps no checkpoint."""

    def go(stop: int = 0, seconds: float | None = 0.0, tag: str = "a", start: Weights | None = theta, **changes: Any):
        overrides = {**NOISE, **{name.replace("__", "#"): value for name, value in changes.items()}}
        parser = config.parser(overrides, {"data": data, "features": FeatureBank()})
        steps.stop, steps.done = stop, []
        file = CheckpointFile(tmp_path / "training.ckpt", seconds or 0.0)
        return train(parser, 7, start, None if seconds is None else file.of(tag))

    return go


def stopped(run: Run, at: int, **changes: Any) -> None:
    with pytest.raises(Stopped):
        run(stop=at, **changes)


@pytest.mark.parametrize("at", range(1, EPOCHS * STEPS + 1))
def test_stopped_anywhere_it_ends_with_the_same_bits(run: Run, steps: Steps, at: int):
    whole = run(seconds=None)
    stopped(run, at)
    again = run()
    kept = (at - 1) // STEPS * STEPS
    assert steps.done == list(range(kept + 1, EPOCHS * STEPS + 1))
    assert same(again.weights, whole.weights)
    assert (again.metric, again.epoch) == (whole.metric, whole.epoch)


@pytest.mark.parametrize(
    "changes",
    [
        {"start": None, "freeze_classifier": False, "selection": "joint", "features": None, "variants": None},
        {"num_workers": 1, "labelled_share": 0.5},
        {"val_interval": 3},
        {"optimizer___target_": "torch.optim.SGD", "optimizer__momentum": 0.9},
    ],
)
def test_other_settings_too(run: Run, changes: dict[str, Any]):
    whole = run(seconds=None, **changes)
    stopped(run, 4, **changes)
    stopped(run, 6, **changes)
    again = run(**changes)
    assert same(again.weights, whole.weights)
    assert (again.metric, again.epoch) == (whole.metric, whole.epoch)


def test_without_a_stop_checkpoints_change_nothing(run: Run, tmp_path: Path):
    assert same(run().weights, run(seconds=None).weights)


def test_the_interval_is_kept(run: Run, tmp_path: Path, steps: Steps):
    stopped(run, 7, seconds=3600.0)
    assert not (tmp_path / "training.ckpt").exists()
    run(seconds=3600.0)
    assert steps.done[0] == 1


@pytest.mark.parametrize(("seconds", "written"), [(0.0, EPOCHS - 1), (1e-6, 1)])
def test_a_slow_disk_gets_fewer_checkpoints(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seconds: float, written: int
):
    """One that took a second is followed by 49 without another, unless one is wanted at every end of an epoch."""
    usual, times = checkpoints.write_atomic, []

    def slow(path: Path, data: bytes) -> None:
        times.append(time.monotonic())
        time.sleep(0.3)
        usual(path, data)

    monkeypatch.setattr(checkpoints, "write_atomic", slow)
    with caplog.at_level("INFO"):
        run(seconds=seconds)
    assert len(times) == written
    assert f"{written} checkpoints of this training took" in caplog.text


def test_frozen_weights_and_those_of_theta_are_not_written(run: Run, tmp_path: Path, theta: Weights):
    stopped(run, 4)
    head, _, payload = (tmp_path / "training.ckpt").read_bytes().partition(b"\n")
    content = torch.load(io.BytesIO(payload), weights_only=True)
    assert {name.split(".")[0] for name in content["network"]}.isdisjoint({"encoder", "head"})
    assert json.loads(head)["sha256"] == hashlib.sha256(payload).hexdigest()


def test_the_checkpoint_of_another_training_is_not_taken(run: Run, steps: Steps, tmp_path: Path):
    stopped(run, 6, tag="a")
    stopped(run, 2, tag="b")
    assert steps.done == [1]
    assert not (tmp_path / "training.ckpt").exists()


def spoiled(content: bytes) -> dict[str, bytes]:
    head, _, payload = content.partition(b"\n")
    buffer = io.BytesIO()
    torch.save({"iteration": 4}, buffer)
    other = buffer.getvalue()
    named = {"training": json.loads(head)["training"], "sha256": hashlib.sha256(other).hexdigest()}
    return {
        "empty": b"",
        "truncated": content[:-10],
        "one bit": content[:-2000] + bytes([content[-2000] ^ 1]) + content[-1999:],
        "text": b"hello\nthere",
        "a list": b"[1]\n" + payload,
        "other keys": json.dumps(named).encode() + b"\n" + other,
    }


@pytest.mark.parametrize("kind", ["empty", "truncated", "one bit", "text", "a list", "other keys"])
def test_a_damaged_checkpoint_is_refused(run: Run, tmp_path: Path, kind: str):
    stopped(run, 4)
    path = tmp_path / "training.ckpt"
    path.write_bytes(spoiled(path.read_bytes())[kind])
    with pytest.raises(StateError, match=r"training\.ckpt.*cannot be used.*Remove the file"):
        run()


def test_a_pickle_is_refused_and_not_run(run: Run, tmp_path: Path):
    stopped(run, 4)
    path, canary, buffer = tmp_path / "training.ckpt", tmp_path / "canary", io.BytesIO()
    torch.save({"network": Malicious(canary)}, buffer)
    head = json.loads(path.read_bytes().partition(b"\n")[0]) | {"sha256": hashlib.sha256(buffer.getvalue()).hexdigest()}
    path.write_bytes(json.dumps(head).encode() + b"\n" + buffer.getvalue())
    with pytest.raises(StateError, match="plain values"):
        run()
    assert not canary.exists()


def test_a_folder_in_its_place_is_refused(run: Run, tmp_path: Path):
    (tmp_path / "training.ckpt").mkdir()
    with pytest.raises(StateError, match="cannot be read"):
        run()


def test_other_loaders_train_without_checkpoints(run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    loader = {"_target_": "torch.utils.data.DataLoader", "dataset": "@train#dataset", "batch_size": 2,
              "collate_fn": "@collate"}  # fmt: skip
    run(train__dataloader=loader)
    assert "no checkpoints of this training" in caplog.text
    assert not (tmp_path / "training.ckpt").exists()
