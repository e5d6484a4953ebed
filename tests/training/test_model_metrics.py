from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from scripts.evaluation.metrics import PxAP, dice
from scripts.evaluation.thresholds import ThresholdStats
from scripts.networks.model_file import DEFAULT_THRESHOLD
from scripts.networks.outputs import Prediction
from scripts.training.model_metrics import evaluate, pseudo_quality
from tests.support.tiny_runs import make_images, open_tiny


class Oracular:
    """Predicts the truth at a given confidence; its classifier always says class b."""

    def __init__(self, data: Any, confidence: float = 0.3, noise: float = 0.0) -> None:
        self.data, self.confidence, self.noise = data, confidence, noise

    def probs(self, key: str) -> np.ndarray:
        rng = np.random.default_rng(sum(key.encode()))
        clean = np.where(self.data.store.true_mask(key) == 1, self.confidence, 0.1)
        return (clean + rng.uniform(0, self.noise, clean.shape)).astype(np.float32)

    def predict(self, ids: Sequence[str], weights: Any) -> Iterator[Prediction]:
        for key in ids:
            maps = torch.zeros(2, 4, 4)
            maps[1, 1:3, 1:3] = 1.0
            maps[0, 0, 0] = 1.0
            yield Prediction(key, self.probs(key), np.array([0.0, 1.0], dtype=np.float32), maps, (64, 64))


class TestEvaluate:
    def test_threshold_of_validation_is_used_on_test(self, shapes_data: Any) -> None:
        learner = Oracular(shapes_data)
        found = evaluate(learner, {}).metrics  # type: ignore[arg-type]
        assert 0.1 < found["threshold"] <= 0.3
        measured = (found["val_dice"], found["dice"], found["dice_at_0.5"])
        assert measured == pytest.approx((1.0, 1.0, 0.0), abs=1e-9)
        assert found["accuracy"] == 0.5

    def test_equals_plain_computation(self, shapes_data: Any) -> None:
        learner = Oracular(shapes_data, 0.4, noise=0.5)
        found = evaluate(learner, {}).metrics  # type: ignore[arg-type]
        truth = shapes_data.store.true_mask
        val = [item["id"] for item in shapes_data.items("val")]
        stats = ThresholdStats()
        for key in val:
            stats.update(learner.probs(key), truth(key))
        best = stats.compute()
        assert (found["threshold"], found["val_dice"], found["val_miou"]) == (best.value, best.dice, best.miou)
        test = [item["id"] for item in shapes_data.items("test")]
        expected = np.mean([dice(learner.probs(key).astype(np.float64) >= best.value, truth(key)) for key in test])
        assert found["dice"] == pytest.approx(expected, abs=1e-12)
        area = PxAP()
        for p, item in zip(learner.predict(test, {}), shapes_data.items("test"), strict=True):
            area.update(p.cam(item["label"]), truth(p.id))
        assert found["pxap"] == area.compute()

    def test_accuracy_counts_the_first_of_equal_scores(self, shapes_data: Any) -> None:
        """Images of class a have two equal scores, those of class b a higher second one: all are right."""
        label_of = {item["id"]: item["label"] for item in shapes_data.items("test")}
        assert set(label_of.values()) == {0, 1}

        class Tied(Oracular):
            def predict(self, ids: Sequence[str], weights: Any) -> Iterator[Prediction]:
                for p in super().predict(ids, weights):
                    yield replace(p, scores=np.array([1.0, 1.0 + label_of.get(p.id, 0)], dtype=np.float32))

        assert evaluate(Tied(shapes_data), {}).metrics["accuracy"] == 1.0  # type: ignore[arg-type]

    def test_wsl_takes_the_masks_of_the_true_class(self, shapes_data: Any) -> None:
        learner = Oracular(shapes_data)
        found = evaluate(learner, {}, wsl=True).metrics  # type: ignore[arg-type]
        items = shapes_data.items("test")
        predicted = {p.id: p for p in learner.predict([item["id"] for item in items], {})}
        expected = [
            dice(predicted[item["id"]].cam_mask(item["label"]), shapes_data.store.true_mask(item["id"]))
            for item in items
        ]
        assert found["dice"] == found["wsl_dice"] == pytest.approx(np.mean(expected), abs=1e-12)
        assert found["threshold"] == DEFAULT_THRESHOLD

    def test_threshold_alone(self, shapes_data: Any) -> None:
        found = evaluate(Oracular(shapes_data), {}, test=False).metrics  # type: ignore[arg-type]
        assert set(found) == {"threshold", "val_dice", "val_miou"}

    def test_images_without_masks(self, tmp_path: Path) -> None:
        bare = {f"{split}_{i:02d}" for split in ("val", "test") for i in range(2)}
        data = open_tiny(make_images(tmp_path, {"train": 2, "val": 2, "test": 3}, without_mask=bare))
        learner = Oracular(data)
        learner.probs = lambda key: np.full((64, 64), 0.7, dtype=np.float32)  # type: ignore[method-assign]
        found = evaluate(learner, {}).metrics  # type: ignore[arg-type]
        assert found["threshold"] == DEFAULT_THRESHOLD
        assert "val_dice" not in found
        assert found["accuracy"] == pytest.approx(1 / 3)  # all test images have a class
        truth = data.store.true_mask("test_02")
        assert truth is not None
        assert found["dice"] == pytest.approx(dice(np.ones((64, 64)), truth))  # one has a mask


class TestPseudoQuality:
    def test_mean_dice_against_masks_on_disk(self, shapes_data: Any) -> None:
        truth = shapes_data.store.true_mask("train_00")
        assert pseudo_quality(shapes_data, {"train_00": truth, "train_01": np.zeros_like(truth)}) == pytest.approx(0.5)

    def test_nothing_to_compare_with(self, tmp_path: Path) -> None:
        data = open_tiny(make_images(tmp_path, {"train": 2, "val": 2, "test": 2}, without_mask={"train_00"}))
        ones = np.ones((64, 64), dtype=np.uint8)
        assert pseudo_quality(data, {"train_00": ones}) is None
        assert pseudo_quality(data, {}) is None


class Fixed:
    """Says foreground in the upper half of every image, in no doubt, and the class it is told to."""

    def __init__(self, data: Any, says: dict[str, int]) -> None:
        self.data, self.says = data, says

    def predict(self, ids: Sequence[str], weights: Any) -> Iterator[Prediction]:
        for key in ids:
            probs = np.zeros((64, 64), np.float32)
            probs[:32] = 1.0
            maps = torch.zeros(3, 2, 2)
            maps[self.says.get(key, 0)] = 1.0
            yield Prediction(key, probs, maps.mean((1, 2)).numpy(), maps, (64, 64))


class TestBackground:
    """Two test images of class a, two of b, two of n, of which one is recognised: 2 of 4 and 1 of 2 by hand."""

    SAYS: ClassVar[dict[str, int]] = {"test_n0": 2, "test_01": 2, "val_n0": 2}

    def data(self, folder: Path, **changes: Any) -> Any:
        names = {"test_n0", "test_n1", "val_n0"}
        return open_tiny(make_images(folder, normal={"train": 1, "val": 1, "test": 2}, without_mask=names), **changes)

    def halves(self, data: Any) -> dict[str, float]:
        upper = np.zeros((64, 64), np.uint8)
        upper[:32] = 1
        return {f"test_{i:02d}": dice(upper, data.store.true_mask(f"test_{i:02d}")) for i in range(4)}

    def test_gated(self, tmp_path: Path) -> None:
        data = self.data(tmp_path, background_classes=["n"])
        measured = evaluate(Fixed(data, self.SAYS), {})  # type: ignore[arg-type]
        found, halves = measured.metrics, self.halves(data)
        halves["test_01"] = 0.0  # taken for an image of n
        assert measured.test_dice == pytest.approx(halves)
        assert found["dice"] == pytest.approx(np.mean(list(halves.values())))
        assert found["dice_all"] == pytest.approx(sum(halves.values()) / 6)
        assert (found["clean_share"], found["false_area"]) == (0.5, pytest.approx(0.25))  # half of one of two
        assert (found["val_clean_share"], found["val_false_area"]) == (1.0, 0.0)
        assert found["accuracy"] == pytest.approx(3 / 6)

    def test_without_the_gate(self, tmp_path: Path) -> None:
        data = self.data(tmp_path, background_classes=["n"], background_gate=False)
        found = evaluate(Fixed(data, self.SAYS), {}).metrics  # type: ignore[arg-type]
        assert found["dice"] == pytest.approx(np.mean(list(self.halves(data).values())))
        assert (found["clean_share"], found["false_area"]) == (0.0, pytest.approx(0.5))

    def test_the_classifiers_mask_of_an_image_without_foreground_is_that_of_the_predicted_class(
        self, tmp_path: Path
    ) -> None:
        data = self.data(tmp_path, background_classes=["n"])
        found = evaluate(Fixed(data, self.SAYS), {}, wsl=True).metrics  # type: ignore[arg-type]
        assert (found["clean_share"], found["false_area"]) == (0.5, pytest.approx(0.5))

    def test_not_declared_it_is_what_it_was(self, tmp_path: Path) -> None:
        folder = make_images(tmp_path, normal={"train": 1, "val": 1, "test": 2})
        found = evaluate(Fixed(open_tiny(folder), self.SAYS), {})  # type: ignore[arg-type]
        assert not {"dice_all", "clean_share", "false_area", "val_clean_share"} & set(found.metrics)
        assert found.metrics["dice"] == pytest.approx(sum(self.halves(open_tiny(folder)).values()) / 6)
        assert len(found.test_dice) == 6

    def test_no_test_image_with_foreground_has_no_dice(self, tmp_path: Path) -> None:
        without = [f"test_{i:02d}" for i in range(4)]
        data = open_tiny(make_images(tmp_path, normal={"train": 1, "test": 1}, without_mask=without),
                         background_classes=["n"])  # fmt: skip
        found = evaluate(Fixed(data, {}), {}).metrics  # type: ignore[arg-type]
        assert "dice" not in found and (found["clean_share"], found["dice_all"]) == (0.0, 0.0)
