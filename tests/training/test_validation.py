"""Selection metrics at original resolution against plain numpy, and the copy of the best weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ignite.metrics import Metric
from monai.engines import SupervisedEvaluator
from torch import nn

from scripts.core.errors import InputError
from scripts.images.store import ImageStore
from scripts.images.values import BackgroundClasses
from scripts.networks.outputs import pack_outputs
from scripts.training.validation import BestWeights, JointMetric, is_not_worse


def numpy_bilinear(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear resizing with half-pixel centres, one axis after the other."""
    for axis, target in enumerate(size):
        source = values.shape[axis]
        at = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, source - 1)
        weight = (at - low).reshape([-1, 1] if axis == 0 else [1, -1])
        values = np.take(values, low, axis) * (1 - weight) + np.take(values, high, axis) * weight
    return values


def numpy_dice(logits: np.ndarray, truth: np.ndarray, threshold: float) -> float:
    """Dice at the size of the truth, without its ignored pixels."""
    pred = 1 / (1 + np.exp(-numpy_bilinear(logits, truth.shape))) >= threshold
    known = truth != 255
    overlap = (pred & (truth == 1) & known).sum()
    return 2 * overlap / ((pred & known).sum() + (truth == 1).sum() + 1e-8)


class Net(nn.Module):
    """The pooling and the stride of a network, and one weight."""

    stride = 32

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(1))
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


ORIGINAL = {"a": (90, 70), "b": (50, 120), "c": (64, 64), "d": (61, 33)}
MAPS = torch.tensor([[0.0, 1.0], [2.0, 1.0], [0.5, 1.0], [3.0, 1.0]])  # highest values: classes 1, 0, 1, 0
LABELS = torch.tensor([1, 0, 0, 0])  # three of four are right


@pytest.fixture
def store() -> ImageStore:
    rng = np.random.default_rng(0)
    store = ImageStore(image_size=(64, 64))
    for key, size in ORIGINAL.items():
        mask = None if key == "d" else rng.choice(np.array([0, 1, 255], np.uint8), size, p=[0.5, 0.4, 0.1])
        store.keep({"id": key, "image": "-", "mask": None}, np.zeros((*size, 3), np.uint8), mask)
    return store


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))


def run(metric: JointMetric, logits: torch.Tensor) -> float:
    """The metric over batches of one and three images."""
    maps = MAPS[:, :, None, None].expand(-1, -1, 2, 2)
    metric.reset()
    for part in (slice(0, 1), slice(1, 4)):
        targets = {"label": LABELS[part], "id": list(ORIGINAL)[part]}
        metric.update((pack_outputs(logits[part], maps[part]), targets))
    return metric.compute()


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_dice_at_original_resolution_equals_plain_numpy(store: ImageStore, logits: torch.Tensor, threshold: float):
    expected = [
        numpy_dice(logits[i, 0].double().numpy(), store.true_mask(key), threshold) for i, key in enumerate("abc")
    ]
    assert run(JointMetric("dice", store, Net(), threshold), logits) == pytest.approx(np.mean(expected), abs=1e-4)


def test_accuracy_and_the_sum(store: ImageStore, logits: torch.Tensor):
    assert run(JointMetric("accuracy", store, Net()), logits) == 0.75
    dice = run(JointMetric("dice", store, Net()), logits)
    assert run(JointMetric("joint", store, Net()), logits) == pytest.approx(0.75 + dice)


def test_accuracy_equals_golden(golden, store: ImageStore):
    data = golden("metrics")
    metric = JointMetric("accuracy", store, Net())
    metric.reset()
    maps = torch.tensor(data["scores"])[:, :, None, None]  # the pooling of maps of one pixel gives the scores
    targets = {"label": torch.tensor(data["labels"]), "id": [""] * len(maps)}
    metric.update((pack_outputs(torch.zeros(len(maps), 1, 32, 32), maps), targets))
    assert {metric.compute() * len(maps)} == {row["sum_acc"] for row in data["rows"]}


def test_reset_forgets(store: ImageStore, logits: torch.Tensor):
    metric = JointMetric("joint", store, Net())
    assert run(metric, -logits) != run(metric, logits) == run(JointMetric("joint", store, Net()), logits)


def test_a_wrapped_network_is_unwrapped(store: ImageStore, logits: torch.Tensor):
    wrapped = nn.Module()
    wrapped.module = Net()
    assert run(JointMetric("accuracy", store, wrapped), logits) == 0.75


@pytest.mark.parametrize("of", ["dice", "accuracy", "joint"])
def test_nothing_seen_is_no_metric(store: ImageStore, of: str):
    with pytest.raises(InputError, match="no "):
        JointMetric(of, store, Net()).compute()


def test_images_without_masks_give_no_dice(store: ImageStore, logits: torch.Tensor):
    metric = JointMetric("dice", store, Net())
    packed = pack_outputs(logits[3:], MAPS[3:, :, None, None].expand(-1, -1, 2, 2))
    metric.update((packed, {"label": LABELS[3:], "id": ["d"]}))
    with pytest.raises(InputError, match="no "):
        metric.compute()


class Scripted(Metric):
    """A metric with the values that the test wants, and a new weight for each."""

    def __init__(self, values: list[float], net: Net) -> None:
        self.values, self.net = values, net
        super().__init__(output_transform=lambda _: (0, 0))

    def reset(self) -> None:
        pass

    def update(self, output: object) -> None:
        pass

    def compute(self) -> float:
        return self.values[int(self.net.weight[0]) - 1]


def validated(values: list[float], epochs: range) -> BestWeights:
    """Best weights after a validation per epoch; in each the weight is the number of the epoch."""
    net = Net()
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=[{"image": torch.zeros(1), "label": torch.zeros(1)}],
        network=net,
        key_val_metric={"scripted": Scripted(values, net)},
        metric_cmp_fn=is_not_worse,
        decollate=False,
    )
    best = BestWeights(net)
    best.attach(evaluator)
    for epoch in epochs:
        with torch.no_grad():
            net.weight.fill_(epoch)
        evaluator.run(epoch)
    with torch.no_grad():
        net.weight.fill_(-1)  # the copy must not follow
    return best


@pytest.mark.parametrize(
    ("values", "epoch"),
    [([0.2, 0.5, 0.5, 0.4], 3), ([0.5, 0.5, 0.5, 0.5], 4), ([0.9, 0.5, 0.6, 0.4], 1), ([0.0, 0.0, 0.0, 0.0], 4)],
)
def test_best_weights_are_the_latest_of_the_best(values: list[float], epoch: int):
    best = validated(values, range(1, 5))
    assert (best.epoch, best.metric) == (epoch, max(values))
    assert best.weights["weight"].tolist() == [epoch, epoch]


def test_validations_with_gaps():
    best = validated([0.0, 0.7, 0.0, 0.6], range(2, 5, 2))
    assert (best.epoch, best.metric) == (2, 0.7)


def test_without_validation_there_is_no_copy():
    best = BestWeights(Net())
    best.attach(SupervisedEvaluator(torch.device("cpu"), [], Net(), decollate=False))
    assert best.weights is None


class TestBackground:
    """Images a, b have foreground, c has none; the classes predicted are 1, 0, 1, 0."""

    @pytest.fixture
    def kept(self, store: ImageStore) -> ImageStore:
        store.keep_empty_mask("c")
        return store

    def dices(self, store: ImageStore, logits: torch.Tensor) -> list[float]:
        return [numpy_dice(logits[i, 0].double().numpy(), store.true_mask(key), 0.5) for i, key in enumerate("ab")]

    def test_dice_is_over_images_with_foreground(self, kept: ImageStore, logits: torch.Tensor):
        metric = JointMetric("dice", kept, Net(), background=BackgroundClasses((1,), gate=False))
        assert run(metric, logits) == pytest.approx(np.mean(self.dices(kept, logits)), abs=1e-4)
        everything = run(JointMetric("dice", kept, Net()), logits)  # as published: c counts as 0
        assert everything == pytest.approx(sum(self.dices(kept, logits)) / 3, abs=1e-4)

    def test_a_predicted_background_class_draws_nothing(self, kept: ImageStore, logits: torch.Tensor):
        of_a, of_b = self.dices(kept, logits)
        found = {label: run(JointMetric("dice", kept, Net(), background=BackgroundClasses((label,))), logits)
                 for label in (0, 1)}  # fmt: skip
        assert found == {0: pytest.approx(of_a / 2, abs=1e-4), 1: pytest.approx(of_b / 2, abs=1e-4)}
        joint = JointMetric("joint", kept, Net(), background=BackgroundClasses((1,)))
        assert run(joint, logits) == pytest.approx(0.75 + of_b / 2, abs=1e-4)

    def test_of_equal_scores_the_first_class_counts(self, kept: ImageStore, logits: torch.Tensor):
        targets = {"label": LABELS[:1], "id": ["a"]}
        packed = pack_outputs(logits[:1], torch.zeros(1, 2, 2, 2))
        for label, gated in ((0, True), (1, False)):
            metric = JointMetric("dice", kept, Net(), background=BackgroundClasses((label,)))
            metric.update((packed, targets))
            assert (metric.compute() == 0.0) is gated

    def test_only_empty_masks_give_no_dice(self, kept: ImageStore, logits: torch.Tensor):
        metric = JointMetric("dice", kept, Net(), background=BackgroundClasses((1,)))
        metric.update((pack_outputs(logits[2:3], MAPS[2:3, :, None, None].expand(-1, -1, 2, 2)),
                       {"label": LABELS[2:3], "id": ["c"]}))  # fmt: skip
        with pytest.raises(InputError, match="no mask of a validation image with foreground"):
            metric.compute()
