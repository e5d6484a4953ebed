from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import scripts.training.learner
from scripts.active.methods import Method
from scripts.active.scores.pixel_maps import entropy, mc_variance
from scripts.core.errors import InputError
from scripts.networks.feature_bank import FeatureBank
from scripts.networks.outputs import ImageMaps, Prediction, cam_mask, upsample_maps
from scripts.networks.theta0 import Theta0
from scripts.training.learner import Learner
from scripts.training.losses import LABELLED
from scripts.training.train import Trained
from tests.support.tiny_runs import tiny_config


@pytest.fixture(scope="module")
def theta(tmp_path_factory: pytest.TempPathFactory) -> Theta0:
    config = tiny_config(Path("unused"), tmp_path_factory.mktemp("out"))
    torch.manual_seed(0)
    network = config.parser().get_parsed_content("network")
    weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return Theta0(weights, "a" * 64, 0.5, 1.0)


def learner_of(data: Any, theta: Theta0, folder: Path, **changes: Any) -> Learner:
    seed, overrides = changes.pop("seed", 0), changes.pop("overrides", None)
    return Learner(tiny_config(Path("unused"), folder, changes), data, FeatureBank(0.1), theta, overrides, seed)


def some_items(data: Any) -> list[dict[str, Any]]:
    return [{**item, "mask": data.store.true_mask(item["id"]), "kind": LABELLED} for item in data.items("train")[:4]]


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class TestTrain:
    def test_decoder_learns_while_the_rest_stays_theta0(self, shapes_data: Any, theta: Theta0, tmp_path: Path) -> None:
        before = {name: value.clone() for name, value in theta.weights.items()}
        trained = learner_of(shapes_data, theta, tmp_path).train(some_items(shapes_data), (0, 0))
        assert equal(theta.weights, before)
        changed = {name.split(".")[0] for name in before if not torch.equal(trained.weights[name], before[name])}
        assert changed == {"decoder", "segmentation_head"}
        assert 0 <= trained.metric <= 1

    def test_a_training_depends_on_seed_and_purpose_alone(
        self, shapes_data: Any, theta: Theta0, tmp_path: Path
    ) -> None:
        learner, items = learner_of(shapes_data, theta, tmp_path), some_items(shapes_data)
        first = learner.train(items, (1, 0))
        torch.manual_seed(99)  # what happens outside does not get in
        other = learner.train(items, (1, 1))
        again = learner_of(shapes_data, theta, tmp_path).train(items, (1, 0))  # with an empty feature bank
        assert equal(first.weights, again.weights)
        assert first.metric == again.metric
        assert not equal(first.weights, other.weights)
        assert not equal(first.weights, learner_of(shapes_data, theta, tmp_path, seed=1).train(items, (1, 0)).weights)

    def test_does_not_touch_the_global_generator(self, shapes_data: Any, theta: Theta0, tmp_path: Path) -> None:
        torch.manual_seed(5)
        expected = torch.rand(1)
        torch.manual_seed(5)
        learner_of(shapes_data, theta, tmp_path).train(some_items(shapes_data), (0, 0))
        assert torch.equal(torch.rand(1), expected)

    def test_what_it_hands_to_the_training(
        self, shapes_data: Any, theta: Theta0, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[Any] = []

        def train(parser: Any, seed: int, start: Any, checkpoint: Any) -> Trained:
            seen.append((parser, start))
            return Trained({}, 0.0, 1, 0.0)

        monkeypatch.setattr(scripts.training.learner, "train", train)
        learner = learner_of(shapes_data, theta, tmp_path, overrides={"max_epochs": 7, "lr": 0.5})
        items = some_items(shapes_data)
        learner.train(items, (2, 1))
        parser, start = seen[0]
        assert start is theta.weights
        assert (parser["max_epochs"], parser["lr"], parser["cycle"]["name"]) == (7, 0.5, "run/round_02_cycle1")
        warm = {name: value + 1 for name, value in theta.weights.items()}
        learner.train(items, (2, 1), warm)
        assert seen[1][1] is warm
        assert [item["id"] for item in parser["train#dataset#data"]] == [item["id"] for item in items]
        assert parser["network_def#pretrained"] is False  # theta0 replaces those weights, so none are read

    def test_last_epoch_is_validated_whatever_the_interval(
        self, shapes_data: Any, theta: Theta0, tmp_path: Path
    ) -> None:
        learner = learner_of(shapes_data, theta, tmp_path, val_interval=5)
        trained = learner.train(some_items(shapes_data), (0, 0))
        assert (trained.epoch, np.isfinite(trained.metric)) == (1, True)

    def test_unknown_override_is_named(self, shapes_data: Any, theta: Theta0, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no_such#thing"):
            learner_of(shapes_data, theta, tmp_path, overrides={"no_such#thing": 1}).train([], (0, 0))


class TestPredict:
    def test_at_original_size_and_repeatable(self, shapes_data: Any, theta: Theta0, tmp_path: Path) -> None:
        learner = learner_of(shapes_data, theta, tmp_path)
        first = list(learner.predict(["test_02", "test_00"], theta.weights))
        again = list(learner_of(shapes_data, theta, tmp_path).predict(["test_00", "test_02"], theta.weights))[::-1]
        assert [p.id for p in first] == ["test_02", "test_00"]
        for one, two in zip(first, again, strict=True):
            assert (one.probs.shape, one.probs.dtype, one.scores.shape) == ((64, 64), np.float32, (2,))
            assert 0 <= one.probs.min() <= one.probs.max() <= 1
            np.testing.assert_array_equal(one.probs, two.probs)
            np.testing.assert_array_equal(one.scores, two.scores)

    def test_equals_the_network_averaged_over_flips(self, shapes_data: Any, theta: Theta0, tmp_path: Path) -> None:
        learner = learner_of(shapes_data, theta, tmp_path, amp=False)
        network = learner.config.parser().get_parsed_content("network")
        network.load_state_dict(theta.weights)
        image = shapes_data.store.image("test_01")[None].float() / 255
        with torch.no_grad():
            logits = [network.eval()(image.flip(axes))[:, :1].flip(axes) for axes in ((), (2,), (3,), (2, 3))]
        expected = torch.stack(logits).mean(0).sigmoid()[0, 0].numpy()
        found = next(iter(learner.predict(["test_01"], theta.weights))).probs
        np.testing.assert_allclose(found, expected, atol=2e-3)  # features are kept in half precision

    def test_maps_of_a_class(self) -> None:
        maps = torch.rand(2, 2, 3, generator=torch.Generator().manual_seed(0))
        p = Prediction("a", np.zeros((50, 70), np.float32), np.zeros(2, np.float32), maps, (50, 70))
        assert p.cam(1).shape == p.cam_mask(1).shape == (50, 70)
        np.testing.assert_array_equal(p.cam(1), upsample_maps(maps[None], (50, 70))[0, 1].numpy())
        np.testing.assert_array_equal(p.cam_mask(0), cam_mask(maps[None], torch.tensor([0]), (50, 70))[0, 0].numpy())


ENTROPY = Method(score=entropy).image_score()
VARIANCE = Method(score=mc_variance).image_score()


class TestScore:
    def test_entropy_of_the_prediction(self, shapes_data: Any, theta: Theta0, tmp_path: Path) -> None:
        learner = learner_of(shapes_data, theta, tmp_path)
        found = learner.score(["train_05", "train_02"], theta.weights, ENTROPY, 0, 1)
        for p in learner.predict(["train_05", "train_02"], theta.weights):
            probs = p.probs.astype(np.float64)
            expected = -(probs * np.log(probs) + (1 - probs) * np.log(1 - probs)).mean()
            assert found[p.id] == pytest.approx([expected], rel=1e-4)

    def test_the_class_map_is_that_of_the_images_class(self, shapes_data: Any, theta: Theta0, tmp_path: Path) -> None:
        learner = learner_of(shapes_data, theta, tmp_path)
        found: list[ImageMaps] = []
        keys = ["train_02", "train_05"]
        learner.score(keys, theta.weights, lambda maps: found.append(maps) or np.zeros(1), 0, 1)  # type: ignore[func-returns-value]
        for p, maps, label in zip(learner.predict(keys, theta.weights), found, (0, 1), strict=True):
            cam = p.cam(label)
            np.testing.assert_allclose(maps.cam, (cam - cam.min()) / (cam.max() - cam.min()), atol=1e-6)
            np.testing.assert_array_equal(maps.probs, p.probs)

    def test_dropout_passes_differ_and_are_seeded(self, shapes_data: Any, theta: Theta0, tmp_path: Path) -> None:
        overrides = {"network_def#dropout": 0.2}
        learner = learner_of(shapes_data, theta, tmp_path, overrides=overrides)
        first = learner.score(["train_05", "train_02"], theta.weights, VARIANCE, 3, 1)
        assert all(value > 0 for value in first.values())
        assert learner.score(["train_02", "train_05"], theta.weights, VARIANCE, 3, 1) == first
        assert learner.score(["train_02"], theta.weights, VARIANCE, 3, 2)["train_02"] != first["train_02"]

    def test_without_dropout_all_passes_agree(self, shapes_data: Any, theta: Theta0, tmp_path: Path) -> None:
        learner = learner_of(shapes_data, theta, tmp_path)
        assert learner.score(["train_05"], theta.weights, VARIANCE, 3, 1) == {"train_05": 0.0}


class TestImageFeatures:
    def test_they_are_the_pooled_last_features_of_theta0(self, shapes_data: Any, theta: Theta0, tmp_path: Path) -> None:
        learner = learner_of(shapes_data, theta, tmp_path)
        found = learner.image_features(["train_05", "train_02"])
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)
        parser = learner.config.parser({"network_def#pretrained": False})
        network = parser.get_parsed_content("network")
        network.load_state_dict(theta.weights)
        network.eval()
        image = shapes_data.store.image("train_02")[None].float() / 255
        with torch.no_grad():
            pooled = network.encode(image)[-1].mean((2, 3))[0]
        np.testing.assert_allclose(found[1], pooled / pooled.norm(), atol=1e-4)

    def test_they_do_not_depend_on_who_is_asked_for_first(
        self, shapes_data: Any, theta: Theta0, tmp_path: Path
    ) -> None:
        one, two = (learner_of(shapes_data, theta, tmp_path) for _ in range(2))
        two.image_features(["train_03"])
        keys = ["train_01", "train_03"]
        np.testing.assert_array_equal(one.image_features(keys), two.image_features(keys))
