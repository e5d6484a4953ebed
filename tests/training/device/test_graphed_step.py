"""A recorded step does what the step does; where nothing can be recorded, nothing changes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts.core.run_config import RunConfig
from scripts.data.run_data import RunData, open_data
from scripts.networks.feature_bank import FeatureBank
from scripts.networks.inferer import JointInferer
from scripts.networks.weights import Weights
from scripts.training.device import graphed_step
from scripts.training.device.graphed_step import GraphedStep
from scripts.training.train import train
from tests.support.tiny import WORKING_SIZE, tiny_content, tiny_net

FORCED = {"train#trainer#cuda_graph": True}
KINDS: dict[str, dict[str, Any]] = {
    "features kept": {},
    "all trained": {"freeze_classifier": False, "features": None, "network_def#dropout": 0.2},
}


@pytest.fixture(scope="module")
def data(tiny_folder: Path) -> RunData:
    return open_data(str(tiny_folder), image_size=WORKING_SIZE)


@pytest.fixture(scope="module")
def config(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return RunConfig(tiny_content(tiny_folder, tmp_path_factory.mktemp("run")))


def run(config: RunConfig, data: RunData, changes: dict[str, Any]) -> Weights:
    objects = {"data": data} if "features" in changes else {"data": data, "features": FeatureBank()}
    return train(config.parser({"cycle#name": "x", **changes}, objects), 7, tiny_net(2).state_dict()).weights


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Recordings of Python instead of CUDA: warmed up as there, then done again at each replay; the replays counted."""
    count: list[int] = []

    def record(step: graphed_step.Step) -> graphed_step.Step:
        for _ in range(3):
            step()
        return lambda: [step(), count.append(1)][0]

    monkeypatch.setattr(graphed_step, "recorded_on_cuda", record)
    return count


@pytest.mark.parametrize("kind", KINDS)
def test_replayed_steps_give_the_same_weights_to_the_bit(
    config: RunConfig, data: RunData, played: list[int], kind: str
) -> None:
    expected = run(config, data, KINDS[kind])
    assert not played  # on the CPU nobody records
    found = run(config, data, {**KINDS[kind], **FORCED})
    assert len(played) == 4
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_batch_of_another_size_is_done_without(config: RunConfig, data: RunData, played: list[int]) -> None:
    short = {"labelled_share": None, "train#batches#short_last": True, "batch_size": 4}  # of 6 images: 4, 2, 4, 2
    expected = run(config, data, short)
    found = run(config, data, {**short, **FORCED})
    assert len(played) == 2
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_where_recording_fails_steps_are_done_one_by_one(
    config: RunConfig, data: RunData, caplog: pytest.LogCaptureFixture
) -> None:
    expected = run(config, data, {})
    caplog.set_level(logging.WARNING)
    found = run(config, data, FORCED)  # there is no GPU here
    assert caplog.text.count("cannot be recorded") == 1
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_recording_leaves_running_statistics_and_noise_alone(played: list[int]) -> None:
    net = tiny_net(2, dropout=0.5).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    inferer = JointInferer(None, amp=False)
    step = GraphedStep(inferer, net, lambda packed, _: packed.square().mean(), optimizer)
    images = torch.rand(2, 3, 64, 64)
    before, noise = [each.clone() for each in net.buffers()], torch.get_rng_state()
    step._prepare([images, *[torch.zeros(2)] * 3], images, kept=False)
    assert all(torch.equal(old, new) for old, new in zip(before, net.buffers(), strict=True))
    assert torch.equal(torch.get_rng_state(), noise)
