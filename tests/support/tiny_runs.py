"""A data set, a config and a learner so small that whole runs take a second or less."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from PIL import Image

from scripts.active.rounds import ActiveLearning
from scripts.core.config.ids import ids_read_by, is_among
from scripts.core.run_config import RunConfig
from scripts.data.run_data import RunData, open_data
from scripts.networks.outputs import ImageMaps, Prediction
from scripts.networks.theta0 import Theta0
from scripts.networks.weights import Weights
from scripts.state.reader import StateReader
from scripts.training.train import Trained

CONFIGS = Path(__file__).resolve().parents[2] / "bundle" / "configs"
SIZES = {"train": 12, "val": 4, "test": 4}
SIDE = 64
SMALL: dict[str, Any] = {
    "device": "cpu",
    "demo": None,
    "auto_plan": False,
    "image_size": [SIDE, SIDE],
    "batch_size": 2,
    "max_epochs": 1,
    "epoch_length": 2,
    "val_interval": 1,
    "variants": 2,
    "network_def#pretrained": False,
    "network_def#decoder_channels": [8] * 5,
    "active#rounds": 2,
    "active#initial_per_class": 1,
    "active#max_overlays": 0,
    "active#stage0#overrides#max_epochs": 1,
    "active#stage0#overrides#epoch_length": 2,
}


def words_of(values: Mapping[str, Any], run_id: str = "training", *files: str) -> list[str]:
    """The values as words of a command line, without those that running ``run_id`` of some configs does not read."""
    content = ConfigParser.load_config_files([CONFIGS / name for name in files or ("train.json",)])
    read = ids_read_by(content, run_id if run_id in content else "training")
    return [f"--{key}={value}" for key, value in values.items() if value is not None and is_among(key, read)]


def make_images(
    folder: Path,
    sizes: Mapping[str, int] | None = None,
    without_mask: Collection[str] = (),
    side: int = SIDE,
    normal: Mapping[str, int] | None = None,
) -> Path:
    """Dark discs (class a) and squares (class b) on light noise, each with its mask; return the folder.

    ``normal``: split -> number of further images of a class ``n`` with noise alone, whose mask is empty.
    """
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    lines = []
    for split, count in (sizes or SIZES).items():
        for number in range(count):
            name, kind = f"{split}_{number:02d}", "ab"[number % 2]
            y, x, r = *rng.integers(side // 3, 2 * side // 3, 2).tolist(), side // 6 + number % 3 * 3
            dy, dx = np.abs(rows - y), np.abs(columns - x)
            inside = (dy**2 + dx**2 <= r**2) if kind == "a" else np.maximum(dy, dx) <= r
            pixels = np.where(inside[..., None], (120, 40, 110), (225, 190 + number % 4 * 10, 215))
            picture = np.clip(pixels + rng.normal(0, 12, (side, side, 3)), 0, 255).astype(np.uint8)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / f"{name}.png")
            Image.fromarray(inside.astype(np.uint8)).save(folder / f"{name}_mask.png")
            mask = "" if name in without_mask else f"{name}_mask.png"
            lines.append({"image": f"{name}.png", "label": kind, "mask": mask, "split": split})
    for split, number in ((split, n) for split, count in (normal or {}).items() for n in range(count)):
        name = f"{split}_n{number}"
        picture = np.clip(rng.normal((225, 200, 215), 12, (side, side, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{name}.png")
        Image.fromarray(np.zeros((side, side), np.uint8)).save(folder / f"{name}_mask.png")
        mask = "" if name in without_mask else f"{name}_mask.png"
        lines.append({"image": f"{name}.png", "label": "n", "mask": mask, "split": split})
    with open(folder / "data.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return folder


def open_tiny(folder: Path, **changes: Any) -> RunData:
    """The images of :func:`make_images`, decoded."""
    return open_data(str(folder), image_size=(SIDE, SIDE), **changes)


def tiny_config(
    data: Path, output: Path, changes: Mapping[str, Any] | None = None, overlay: str | None = None
) -> RunConfig:
    """The bundle's train.json, made small; ``changes`` by nested id come last."""
    files = [CONFIGS / "train.json", *([CONFIGS / overlay] if overlay else [])]
    parser = ConfigParser(ConfigParser.load_config_files(files))
    for key, value in {"dataset_dir": str(data), "output_dir": str(output), **SMALL, **(changes or {})}.items():
        parser[key] = value
    return RunConfig(parser.get())


def tiny_loop(data: RunData, output: Path, method: str = "label_prop", **changes: Any) -> ActiveLearning:
    """The config's ``active#loop`` of a method, as the bundle makes it, on images that are decoded already."""
    config = tiny_config(Path("unused"), output, {"active#method": method, **changes})
    return config.parser(objects={"data": data, "config": config}).get_parsed_content("active#loop")


# ---- a learner that only pretends --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """One training a :class:`FakeLearner` was asked for: kind and mask of each image."""

    purpose: tuple[int, int]
    theta: float
    kinds: dict[str, int]
    masks: dict[str, str]


@dataclass
class FakeLearner:
    """Its weights are a number made of what it was trained on, and its predictions are made of that number."""

    config: Any
    data: RunData
    bank: Any
    theta0: Theta0
    overrides: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    name: str = "run"
    checkpoint: Any = None
    metric: Callable[[tuple[int, int]], float] = lambda purpose: 0.5
    calls: list[Call] = field(default_factory=list)
    scored: list[tuple[str, float]] = field(default_factory=list)

    def train(
        self, items: Sequence[Mapping[str, Any]], purpose: tuple[int, int], start: Weights | None = None
    ) -> Trained:
        masks = {item["id"]: hashlib.sha256(item["mask"].tobytes()).hexdigest()[:8] for item in items}
        kinds = {item["id"]: item["kind"] for item in items}
        theta = float((self.theta0.weights if start is None else start)["w"])
        self.calls.append(Call(purpose, theta, kinds, masks))
        digest = hashlib.sha256(repr((theta, purpose, self.seed, sorted(masks.items()), kinds)).encode()).digest()
        return Trained({"w": torch.tensor(1.0 + digest[0])}, self.metric(purpose), 1, 0.0)

    def predict(self, ids: Sequence[str], weights: Weights) -> Iterator[Prediction]:
        for key in ids:
            size = self.data.store.original_size(key)
            digest = hashlib.sha256(f"{key}{float(weights['w'])}".encode()).digest()
            probs = np.random.default_rng(digest[0]).random(size, dtype=np.float32)
            shape = (len(self.data.classes), 2, 2)
            maps = torch.from_numpy(np.random.default_rng(digest[1]).random(shape, dtype=np.float32))
            yield Prediction(key, probs, maps.mean((1, 2)).numpy(), maps, size)

    def score(
        self, ids: Sequence[str], weights: Weights, score: Any, passes: int, purpose: int
    ) -> dict[str, np.ndarray]:
        shape = (max(passes, 1), 2, 2)
        maps = ImageMaps(torch.full(shape, 0.5), None if passes else torch.ones(shape[1:]))
        numbers = len(score(maps)) if callable(score) else 1
        found = {key: (sum(key.encode()) * 7919 + purpose + np.arange(numbers) * 31) % 101 / 101 for key in ids}
        self.scored += [(key, float(weights["w"])) for key in ids]
        return found

    def dense_features(self, key: str) -> np.ndarray:
        return np.random.default_rng(sum(key.encode())).normal(size=(3, 2, 2)).astype(np.float32)

    def image_features(self, ids: Sequence[str]) -> np.ndarray:
        found = np.stack([np.random.default_rng(sum(key.encode())).normal(size=4) for key in ids])
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


class RegionLearner(FakeLearner):
    """Its scores are made of its predictions, by the method's own score."""

    def score(
        self, ids: Sequence[str], weights: Weights, score: Any, passes: int, purpose: int
    ) -> dict[str, np.ndarray]:
        found = self.predict(ids, weights)
        return {p.id: score(ImageMaps(torch.from_numpy(p.probs)[None])) for p in found}


def fake_theta0(*_: Any) -> Theta0:
    """A theta0 for :class:`FakeLearner`."""
    return Theta0({"w": torch.tensor(0.0)}, "a" * 64, 0.5, 1.0)


# ---- reading what a run left -------------------------------------------------------------------------------------


def what_happened(folder: Path) -> dict[str, Any]:
    """Everything of a run's state but times: two runs that did the same are equal."""
    with StateReader.open(folder) as state:
        rounds = sorted(state.metrics())
        return {
            "queries": state.queries(),
            "labels": state.labels(),
            "pseudo": [state.pseudo(r, stage) for r in rounds for stage in ("cycle0", "final")],
            "metrics": state.metrics(),
            "phases": {r: state.phases(r) for r in rounds},
        }
