"""One training: the same weights from the same seed, best validation kept; checkpoints without pickles."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from scripts.core.run_config import RunConfig
from scripts.data.run_data import RunData, open_data
from scripts.networks.feature_bank import FeatureBank
from scripts.networks.joint_net import JointNet
from scripts.networks.weights import Weights, pack_weights, unpack_weights
from scripts.training.losses import LABELLED, PSEUDO, UNLABELLED
from scripts.training.train import Trained, train
from tests.support.tiny import WORKING_SIZE, tiny_content, tiny_net


@pytest.fixture(scope="module")
def data(tiny_folder: Path) -> RunData:
    return open_data(str(tiny_folder), image_size=WORKING_SIZE)


@pytest.fixture(scope="module")
def config(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return RunConfig(tiny_content(tiny_folder, tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def theta() -> Weights:
    return tiny_net(2).state_dict()


@pytest.fixture(scope="module")
def first(config: RunConfig, data: RunData, theta: Weights) -> Trained:
    return trained(config, data, theta)


def trained(config: RunConfig, data: RunData, theta: Weights | None, seed: int = 7, limit_gb: float = 1.0, **changes):
    objects = {"data": data, "features": FeatureBank(limit_gb)}
    return train(config.parser({name.replace("__", "#"): v for name, v in changes.items()}, objects), seed, theta)


def same(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_same_seed_gives_the_same_bits(config, data, theta, first):
    torch.manual_seed(31337)
    np.random.seed(31337)
    random.seed(31337)
    again = trained(config, data, theta)
    assert same(again.weights, first.weights)
    assert (again.metric, again.epoch) == (first.metric, first.epoch)


def test_other_seeds_give_other_weights(config, data, theta, first):
    assert not same(trained(config, data, theta, cycle__seed=1).weights, first.weights)
    dropout = [trained(config, data, theta, seed=seed, network_def__dropout=0.5).weights for seed in (7, 8)]
    assert not same(*dropout)
    initial = [trained(config, data, None, seed=seed).weights for seed in (7, 8)]
    assert not torch.equal(*(weights["head.conv.weight"] for weights in initial))


@pytest.mark.parametrize("change", [{"num_workers": 2}, {"limit_gb": 0.0}])
def test_workers_and_memory_do_not_matter(config, data, theta, first, change: dict):
    assert same(trained(config, data, theta, **change).weights, first.weights)


def test_global_generators_are_as_before(config, data, theta):
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    trained(config, data, theta, network_def__dropout=0.5)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]


def test_frozen_parts_are_those_of_theta(first, theta):
    changed = {name for name in theta if not torch.equal(first.weights[name], theta[name])}
    assert {name.split(".")[0] for name in changed} == {"decoder", "segmentation_head"}


def test_weights_are_those_of_the_validation(config, data, first):
    parser = config.parser({}, {"data": data, "features": FeatureBank()})
    parser.get_parsed_content("network").load_state_dict(first.weights)
    evaluator = parser.get_parsed_content("validate#evaluator")
    evaluator.run()
    assert evaluator.state.best_metric == pytest.approx(first.metric, abs=1e-6)
    assert 0 < first.metric <= 1
    assert 1 <= first.epoch <= 2
    assert first.seconds > 0


def test_the_last_epoch_is_validated_whatever_the_interval(config, data, theta):
    found = trained(config, data, theta, val_interval=5)
    assert found.epoch == 2
    assert found.metric > 0


def test_a_training_decodes_no_image_again(config, data, theta, monkeypatch):
    monkeypatch.setattr("scripts.images.store.read_image", None)  # all was decoded when the data were opened
    monkeypatch.setattr("scripts.images.store.read_whole_mask", None)
    assert trained(config, data, theta, max_epochs=4).epoch > 0


def test_classification_alone_trains_encoder_and_classifier(config, data, theta):
    kinds = [{**item, "mask": None, "kind": UNLABELLED} for item in data.items("train")]
    stage0 = config["active#stage0#overrides"] | {"max_epochs": 1, "epoch_length": 2, "features": None}
    found = train(config.parser(stage0, {"data": data, "train#dataset#data": kinds}), 0, theta)
    changed = {name.split(".")[0] for name in theta if not torch.equal(found.weights[name], theta[name])}
    assert changed == {"encoder", "head"}
    assert found.metric in (0.0, 0.5, 1.0)  # accuracy on two images


def test_pseudo_masks_teach_less_than_true_ones(config, data, theta, first):
    """The kind of an item reaches the loss: with lambda 0 pseudo-masks teach nothing."""
    items = [{**item, "kind": PSEUDO} for item in data.items("train")]
    objects = {"data": data, "train#dataset#data": items, "features": FeatureBank()}
    off = {"scale_seg_u": 0.0, "optimizer#weight_decay": 0.0}
    found = train(config.parser(off, objects), 7, theta).weights
    parameters = [name for name, _ in JointNet(pretrained=False, decoder_channels=(8,) * 5).named_parameters()]
    assert all(torch.equal(found[name], theta[name]) for name in parameters)
    labelled = [{**item, "kind": LABELLED} for item in data.items("train")]
    parser = config.parser({}, {**objects, "train#dataset#data": labelled})
    assert same(train(parser, 7, theta).weights, first.weights)


def test_a_training_is_stored_as_its_difference_to_theta(first, theta):
    data = pack_weights(first.weights, theta)
    assert same(unpack_weights(data, theta), first.weights)
    assert len(data) < len(pack_weights(first.weights)) / 4
