"""What a round asks of the network: train from theta0, predict, score. Knows nothing of rounds or of state."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from scripts.core.run_config import RunConfig
from scripts.core.seeds import derive_seed
from scripts.core.torch_rng import isolated_rng
from scripts.data.run_data import RunData
from scripts.networks.feature_bank import FeatureBank
from scripts.networks.interface import JointNetwork
from scripts.networks.outputs import ImageMaps, Prediction, image_maps, prediction, restore_passes
from scripts.networks.theta0 import Theta0
from scripts.networks.weights import Weights, pack_weights
from scripts.training.checkpoints import CheckpointFile
from scripts.training.dataset import equal_sizes
from scripts.training.train import Trained, train


class Learner:
    """Trainings and predictions of one run.

    Args:
        config: of the run.
        data: images of the run.
        bank: memory of the frozen encoder's features.
        theta0: where every training starts.
        overrides: config values of all trainings and predictions of the method.
        seed: of the run.
        name: of the run, for logs.
        checkpoint: where the training that is going on is kept; None keeps nothing.
    """

    def __init__(
        self,
        config: RunConfig,
        data: RunData,
        bank: FeatureBank | None,
        theta0: Theta0,
        overrides: Mapping[str, Any] | None = None,
        seed: int = 0,
        name: str = "run",
        checkpoint: CheckpointFile | None = None,
    ) -> None:
        self.name, self.checkpoint = name, checkpoint
        self.config, self.data, self.bank, self.theta0 = config, data, bank, theta0
        self.overrides, self.seed = dict(overrides or {}), seed
        self._features: dict[str, np.ndarray] = {}
        self._theta0_ready: tuple[Any, JointNetwork, torch.device] | None = None
        if bank is not None:
            bank.bind(theta0.sha256)

    def train(
        self, items: Sequence[Mapping[str, Any]], purpose: tuple[int, int], start: Weights | None = None
    ) -> Trained:
        """Train on ``items`` and return the weights of the best validation.

        Args:
            items: training images with ``mask`` (uint8 (H, W), or target and weight (2, H, W)) and ``kind``.
            purpose: (round, cycle), for seeds and logs.
            start: weights to begin with; None for theta0.
        """
        round_, cycle = purpose
        name = f"{self.name}/round_{round_:02d}_cycle{cycle}"
        changes = {"cycle#name": name, "cycle#seed": derive_seed(self.seed, *purpose, "order")}
        objects = {"train#dataset#data": list(items), "validate#dataset#data": self.data.items("val")}
        checkpoint = None
        if self.checkpoint is not None:
            checkpoint = self.checkpoint.of(name, self.seed, self.theta0.sha256, _fingerprint(items, start))
        seed = derive_seed(self.seed, *purpose, "train")
        theta = self.theta0.weights if start is None else start
        return train(self._parser(changes, objects), seed, theta, checkpoint)

    def predict(self, ids: Sequence[str], weights: Weights) -> Iterator[Prediction]:
        """Yield a prediction per id, with the evaluation's inferer."""
        parser, network, device = self._ready(weights)
        names = ("validate#inferer", "validate#preprocessing", "geometry")
        inferer, preprocessing, geometry = (parser.get_parsed_content(name) for name in names)
        store = self.data.store
        for some in equal_sizes(ids, store.working_size, int(parser["pass_size"])):
            with torch.no_grad():
                images = torch.cat([_image(preprocessing, key, device) for key in some])
                packed = inferer(images, network, keys=[f"{key}#plain" for key in some])
            for key, one in zip(some, packed.split(1), strict=True):
                yield prediction(key, one, network, store.original_size(key), geometry)

    def score(
        self,
        ids: Sequence[str],
        weights: Weights,
        score: Callable[[ImageMaps], np.ndarray],
        passes: int,
        purpose: int,
    ) -> dict[str, np.ndarray]:
        """Return how much each image would tell, (S,) float64, or each of its windows, (S, N), as ``score`` gives it.

        Args:
            ids: the images.
            weights: state dict.
            score: of the image's maps at original size.
            passes: stochastic passes with dropout on, without flips and else as in evaluation; 0 for one plain pass.
            purpose: the round, for the seeds of the dropout.
        """
        if passes == 0:
            label_of = {item["id"]: item["label"] for item in self.data.datalist.items}
            return {p.id: score(image_maps(p, label_of[p.id])) for p in self.predict(ids, weights)}
        parser, network, device = self._ready(weights)
        preprocessing, geometry = (parser.get_parsed_content(name) for name in ("validate#preprocessing", "geometry"))
        inferer = parser.get_parsed_content("validate#inferer")
        found = {}
        for key in ids:
            size = self.data.store.original_size(key)
            with torch.no_grad(), isolated_rng(derive_seed(self.seed, purpose, "dropout", key), device):
                logits = inferer.stochastic(_image(preprocessing, key, device), network, f"{key}#plain", passes)
                found[key] = score(ImageMaps(restore_passes(logits[:, 0], size, geometry)))
        return found

    def image_features(self, ids: Sequence[str]) -> np.ndarray:
        """Return the features by which images are compared, (n, D) float32, each row of length 1.

        They are the mean over pixels of theta0's last features, so they are the same in every round. Those of all
        training images are computed at the first call, together, so that they do not depend on who is asked for.

        Args:
            ids: training images.
        """
        if not self._features:
            parser, network, device = self._start()
            preprocessing = parser.get_parsed_content("validate#preprocessing")
            keys = [item["id"] for item in self.data.items("train")]
            for some in equal_sizes(keys, self.data.store.working_size, int(parser["pass_size"])):
                with torch.no_grad():
                    images = torch.cat([_image(preprocessing, key, device) for key in some])
                    pooled = F.normalize(network.encode(images)[-1].float().mean((2, 3)))
                self._features |= dict(zip(some, pooled.cpu().numpy(), strict=True))
        return np.stack([self._features[key] for key in ids])

    def dense_features(self, key: str) -> np.ndarray:
        """Return theta0's features of a stored image at an eighth of its working size, (D, h, w) float32.

        The levels at strides 4 to 32 are resized to it (bilinear) and stand behind each other.
        """
        parser, network, device = self._start()
        preprocessing = parser.get_parsed_content("validate#preprocessing")
        with torch.no_grad():
            levels = [level.float() for level in network.encode(_image(preprocessing, key, device))[1:]]
            size = (levels[1].shape[2], levels[1].shape[3])
            resized = [F.interpolate(level, size=size, mode="bilinear", align_corners=False) for level in levels]
        return torch.cat(resized, dim=1)[0].cpu().numpy()

    def _parser(self, changes: Mapping[str, Any], objects: Mapping[str, Any] | None = None) -> Any:
        shared = {"data": self.data, "features": self.bank, **(objects or {})}
        fixed = {"cycle#rounds": True, "network_def#pretrained": False}
        return self.config.parser({**fixed, **self.overrides, **changes}, shared)

    def _start(self) -> tuple[Any, JointNetwork, torch.device]:
        """Return :meth:`_ready` of theta0, made once."""
        if self._theta0_ready is None:
            self._theta0_ready = self._ready(self.theta0.weights)
        return self._theta0_ready

    def _ready(self, weights: Weights) -> tuple[Any, JointNetwork, torch.device]:
        parser = self._parser({})
        device = torch.device(parser.get_parsed_content("device"))
        with isolated_rng(0, device):  # the initial weights are overwritten
            network = parser.get_parsed_content("network")
        network.load_state_dict(weights)
        return parser, network.to(memory_format=torch.channels_last).eval(), device


def _image(preprocessing: Callable[[Mapping[str, Any]], Any], key: str, device: torch.device) -> torch.Tensor:
    """Return (1, 3, h, w) float32 in [0, 1], the network's input of a stored image."""
    image: torch.Tensor = preprocessing({"id": key, "image": key, "mask": None})["image"]
    return image[None].to(device).contiguous()


def _fingerprint(items: Sequence[Mapping[str, Any]], start: Weights | None) -> str:
    """Return a hash of the ids, kinds and masks that a training learns from, and of the weights it begins with."""
    digest = hashlib.sha256(b"" if start is None else pack_weights(start))
    for item in items:
        mask = np.asarray(item["mask"])
        digest.update(repr((item["id"], int(item["kind"]), mask.shape, mask.dtype.str)).encode())
        digest.update(mask.tobytes())
    return digest.hexdigest()
