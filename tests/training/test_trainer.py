"""A loss that is no number stops a training before it spoils anything; a batch that is too large is halved."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events

from scripts.core.errors import InputError
from scripts.core.run_config import RunConfig
from scripts.data.run_data import RunData, open_data
from scripts.networks.feature_bank import FeatureBank
from scripts.networks.joint_net import JointNet
from scripts.networks.weights import Weights
from scripts.training.losses import JointLoss
from scripts.training.train import train
from scripts.training.trainer import JointTrainer, StepBar, is_out_of_memory
from scripts.training.validation import BestWeights
from tests.support.tiny import WORKING_SIZE, tiny_content, tiny_net

PLAIN = {"cycle#name": "run/round_02_cycle1", "max_epochs": 2, "epoch_length": 2, "batch_size": 3}
CPU = "[enforce fail at alloc_cpu.cpp:126] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to ..."


@pytest.fixture(scope="module")
def data(tiny_folder: Path) -> RunData:
    return open_data(str(tiny_folder), image_size=WORKING_SIZE)


@pytest.fixture(scope="module")
def config(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return RunConfig(tiny_content(tiny_folder, tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def theta() -> Weights:
    return tiny_net(2).state_dict()


def run(config: RunConfig, data: RunData, theta: Weights, **changes: Any) -> Weights:
    overrides = {**PLAIN, **changes}
    return train(config.parser(overrides, {"data": data, "features": FeatureBank()}), 7, theta).weights


@pytest.fixture()
def poisoned(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The third step's loss is NaN; the ids of all batches are noted."""
    seen: list[list[str]] = []
    usual = JointLoss.terms

    def terms(self: JointLoss, *arguments: torch.Tensor) -> dict[str, torch.Tensor]:
        found = usual(self, *arguments)
        return {**found, "total": found["total"] * float("nan")} if len(seen) == 3 else found

    step = JointTrainer._iteration

    def note(self: JointTrainer, engine: Any, batch: Any) -> Any:
        seen.append(list(batch["id"]))
        return step(self, engine, batch)

    monkeypatch.setattr(JointLoss, "terms", terms)
    monkeypatch.setattr(JointTrainer, "_iteration", note)
    return seen


def test_every_step_is_seen_in_the_versions_of_the_weights(config, data, theta):
    parser = config.parser(PLAIN, {"data": data, "features": FeatureBank()})
    network = parser.get_parsed_content("network")
    assert parser.get_parsed_content("optimizer").defaults["fused"]  # its steps leave them as they are
    train(parser, 7, theta)
    steps = PLAIN["max_epochs"] * PLAIN["epoch_length"]
    assert all(p._version >= steps for p in network.parameters() if p.requires_grad)


class TestNotFinite:
    def test_the_error_names_training_step_and_images(self, config, data, theta, poisoned):
        with pytest.raises(InputError) as error:
            run(config, data, theta)
        assert "run/round_02_cycle1, epoch 2, step 3" in str(error.value)
        assert f"nan for the batch of {', '.join(poisoned[2])}." in str(error.value)
        assert len(poisoned) == 3

    def test_the_weights_are_as_before_the_step(self, config, data, theta, poisoned):
        parser = config.parser(PLAIN, {"data": data, "features": FeatureBank()})
        parser.get_parsed_content("network").load_state_dict(theta)
        trainer, before = parser.get_parsed_content("train#trainer"), []

        @trainer.on(Events.ITERATION_COMPLETED)
        def copy(engine: Any) -> None:
            before.append({name: value.detach().clone() for name, value in trainer.network.named_parameters()})

        with pytest.raises(InputError):
            trainer.run()
        assert len(before) == 2
        assert all(torch.equal(value, before[-1][name]) for name, value in trainer.network.named_parameters())

    def test_a_late_look_names_the_same_step_before_anything_is_validated(
        self, config, data, theta, poisoned, monkeypatch
    ):
        validated = []
        monkeypatch.setattr(BestWeights, "__call__", lambda self, evaluator: validated.append(evaluator.state.epoch))
        with pytest.raises(InputError) as error:
            run(config, data, theta, **{"train#trainer#check_each_step": False, "epoch_length": 4})
        assert "run/round_02_cycle1, epoch 1, step 3" in str(error.value)
        assert f"nan for the batch of {', '.join(poisoned[2])}." in str(error.value)
        assert len(poisoned) == 4  # the epoch went on to its end
        assert validated == []

    def test_a_late_look_waits_for_the_device_once_per_epoch(self, config, data, theta, monkeypatch):
        looks = []
        usual = JointTrainer._require_finite
        monkeypatch.setattr(
            JointTrainer,
            "_require_finite",
            lambda self: [looks.append((self.state.iteration, len(self._losses))), usual(self)],
        )
        late = run(config, data, theta, **{"train#trainer#check_each_step": False})
        assert looks == [(2, 2), (4, 2)]
        looks.clear()
        early = run(config, data, theta)
        assert [count for _, count in looks if count] == [1] * 4
        assert all(torch.equal(late[name], early[name]) for name in early)

    def test_weights_that_are_not_finite_are_not_returned(self, config, data, theta, monkeypatch):
        usual = JointTrainer._iteration

        def spoil(self: JointTrainer, engine: Any, batch: Any) -> Any:
            output = usual(self, engine, batch)
            if engine.state.iteration == 4:  # the last one: no loss comes after it
                with torch.no_grad():
                    next(p for p in self.network.parameters() if p.requires_grad).fill_(float("inf"))
            return output

        monkeypatch.setattr(JointTrainer, "_iteration", spoil)
        with pytest.raises(InputError, match=r"round_02_cycle1.*weights are not finite.*lower lr"):
            run(config, data, theta, val_interval=5)


@pytest.fixture()
def small_memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Memory for ``[0]`` images in a training step; the sizes that were tried follow."""
    memory = [8]
    usual = JointNet.decode

    def decode(self: JointNet, features: Any, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            memory.append(len(images))
            if len(images) > memory[0]:
                raise RuntimeError(CPU)
        return usual(self, features, images)

    monkeypatch.setattr(JointNet, "decode", decode)
    return memory


class TestTooLarge:
    def test_halves_give_the_gradient_of_the_whole(self, config, data, theta, small_memory, caplog, monkeypatch):
        """Apart from batch statistics, so norms stay on their running ones here."""
        usual = JointNet.train
        monkeypatch.setattr(
            JointNet, "train", lambda net, mode=True: [usual(net, mode), net.decoder.eval(), net.dropout.train()][0]
        )
        settings = {"labelled_share": None, "optimizer": {"_target_": "torch.optim.SGD",
                    "params": "$@network.parameters()", "lr": "@lr"}}  # fmt: skip
        whole = run(config, data, theta, **settings)
        assert small_memory[1:] == [3] * 4
        small_memory[:] = [2]
        halves = run(config, data, theta, **settings)
        assert small_memory[1:] == [3, *[2, 1] * 4]  # once the batch was too large, and from then on it is halved
        assert caplog.text.count("two halves") == 1
        moved = [name for name in whole if not torch.equal(whole[name], theta[name])]
        assert moved
        for name in moved:
            apart = (halves[name] - whole[name]).norm() / (whole[name] - theta[name]).norm()
            assert apart < 0.01, name  # float arithmetic of other sums, over four steps

    def test_half_a_batch_that_is_too_large_ends_the_training(self, config, data, theta, small_memory):
        small_memory[:] = [1]
        with pytest.raises(InputError, match=r"round_02_cycle1, epoch 1, step 1: out of memory.*2 images.*batch_size"):
            run(config, data, theta)
        assert small_memory[1:] == [3, 2]

    def test_a_batch_of_one_cannot_be_halved(self, config, data, theta, small_memory):
        small_memory[:] = [0]
        with pytest.raises(InputError, match="memory for 1 image at once"):
            run(config, data, theta, batch_size=1)

    def test_other_errors_pass(self, config, data, theta, monkeypatch):
        def broken(*_: Any, **__: Any) -> None:
            raise RuntimeError("shapes do not match")

        monkeypatch.setattr(JointNet, "decode", broken)
        with pytest.raises(RuntimeError, match="shapes do not match"):
            run(config, data, theta)

    def test_a_step_that_may_have_changed_weights_is_not_done_again(self, config, data, theta, monkeypatch):
        def no_memory(*_: Any, **__: Any) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(torch.optim.AdamW, "step", no_memory)
        with pytest.raises(InputError, match=r"out of memory.*3 images"):
            run(config, data, theta)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError(CPU), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("other"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_which_errors_mean_memory(error: BaseException, expected: bool):
    assert is_out_of_memory(error) is expected


def test_a_real_allocation_that_fails_is_recognised():
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(error.value)


class FakeBar:
    """Stands in for tqdm."""

    made: list[FakeBar]

    def __init__(self, **settings) -> None:
        self.settings, self.steps, self.postfix, self.closed = settings, 0, [], 0
        FakeBar.made.append(self)

    def set_postfix(self, terms: dict[str, str], refresh: bool) -> None:
        self.postfix.append(terms)

    def update(self) -> bool:
        self.steps += 1
        return self.steps % 3 == 0  # tqdm tells whether it has drawn the bar

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[FakeBar]:
    FakeBar.made = []
    monkeypatch.setattr("scripts.training.trainer.tqdm", FakeBar)
    return FakeBar.made


def trained(step, criterion: SimpleNamespace | None = None) -> Engine:
    trainer = Engine(step)
    StepBar("round_01_cycle0", criterion or SimpleNamespace(terms={})).attach(trainer)
    trainer.run(range(4), max_epochs=3)
    return trainer


def test_bar_counts_all_steps_and_shows_the_terms_in_use(bars: list[FakeBar]):
    criterion = SimpleNamespace(terms={})

    def step(engine: Engine, _batch: int) -> None:
        criterion.terms = {"total": engine.state.iteration / 8, "cl": 0.0}

    trained(step, criterion)
    (bar,) = bars
    assert bar.settings["total"] == bar.steps == 12
    assert bar.settings["desc"] == "round 01 cycle0"
    assert bar.settings["leave"] is False
    # terms are read only when the bar is drawn: each reading waits for the device
    assert bar.postfix == [{"total": f"{step / 8:.3f}"} for step in (3, 6, 9, 12)]
    assert bar.closed


@pytest.mark.parametrize("error", [ValueError("boom"), KeyboardInterrupt()])
def test_an_error_closes_the_bar_and_goes_on(bars: list[FakeBar], error: BaseException):
    def step(engine: Engine, _batch: int) -> None:
        if engine.state.iteration == 5:
            raise error

    with pytest.raises(type(error)) as caught:
        trained(step)
    assert caught.value is error
    assert bars[0].steps == 4
    assert bars[0].closed


def test_termination_closes_the_bar(bars: list[FakeBar]):
    trained(lambda engine, _: engine.terminate() if engine.state.iteration == 3 else None)
    assert bars[0].steps == 3
    assert bars[0].closed


def test_each_run_has_its_own_bar(bars: list[FakeBar]):
    trainer = trained(lambda *_: None)
    trainer.run(range(4), max_epochs=3)
    assert [bar.steps for bar in bars] == [12, 12]
