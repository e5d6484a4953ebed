"""What the benchmark times: trainings, predictions and preparations, each as one call to repeat."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from scripts.active.neighbours import neighbour_graph
from scripts.core.errors import InputError, Problem
from scripts.core.seeds import numpy_generator
from scripts.core.torch_rng import isolated_rng
from scripts.data.datalist import read_datalist
from scripts.data.histograms import colour_histogram
from scripts.images.store import ImageStore
from scripts.networks.feature_bank import FeatureBank
from scripts.networks.inferer import JointInferer
from scripts.networks.joint_net import JointNet
from scripts.networks.precision import autocast, computes_in_bfloat16
from scripts.networks.published_net import PublishedNet
from scripts.training.criterion import JointCriterion
from scripts.training.losses import LABELLED, BCEDice, JointLoss

VARIANTS: dict[str, str] = {
    "kept": "JointNet, frozen encoder, features kept",
    "computed": "JointNet, frozen encoder, features computed each time",
    "joint": "JointNet, all trained",
    "published": "PublishedNet (base_width 24, leak 64), frozen encoder",
}
"""Networks and ways to train them, by key."""
PEAK_SIDE = 2048
"""Rows and columns of the matrices whose product measures what the machine can do."""


@dataclass(frozen=True)
class Case:
    """Something to time.

    Attributes:
        group: ``"train"``, ``"predict"``, ``"flips"``, ``"stage0"``, ``"mc"``, ``"decode"``, ``"histogram"``,
            ``"graph"`` or ``"peak"``.
        key: of :data:`VARIANTS`; empty for what has no network.
        images: how many images one call handles.
        run: the call.
    """

    group: str
    key: str
    images: int
    run: Callable[[], object]


@dataclass(frozen=True)
class Samples:
    """Images to work on.

    Attributes:
        items: dicts with ``id``, ``image``, ``mask`` (paths) and ``label``.
        images: (B, 3, h, w) float32 in [0, 1].
        masks: (B, 1, h, w) uint8 in {0, 1, 255}.
        labels: (B,) int64.
        originals: images at original size, uint8 (H, W, 3).
        classes: number of classes.
    """

    items: Sequence[Mapping[str, Any]]
    images: torch.Tensor
    masks: torch.Tensor
    labels: torch.Tensor
    originals: Sequence[np.ndarray]
    classes: int


def load_samples(
    dataset_dir: str, table: str | None, split_column: str, image_size: tuple[int, int], batch: int, limit: int
) -> Samples:
    """Read the training images of a data set.

    Args:
        dataset_dir: see :func:`scripts.data.datalist.read_datalist`, as ``table`` and ``split_column``.
        image_size: (h, w) of the network's input.
        batch: B, images to train on; images are repeated where there are fewer.
        limit: most images to read.

    Raises:
        InputError: the data set cannot be read or has no training image with a mask.
    """
    datalist = read_datalist(dataset_dir, table, split_column, check=False, progress=False)
    items = [item for item in datalist.split("train") if item["mask"] is not None][:limit]
    if not items:
        raise InputError(Problem("no training image with a mask", dataset_dir))
    store = ImageStore(items, image_size)
    chosen = [items[number % len(items)] for number in range(batch)]
    masks = []
    for item in chosen:
        mask = store.true_mask(item["id"])
        masks.append(store.resized_mask(np.zeros(image_size, np.uint8) if mask is None else mask))
    return Samples(
        items,
        torch.stack([store.image(item["id"]) for item in chosen]).float() / 255,
        torch.stack(masks),
        torch.tensor([item["label"] for item in chosen]),
        [store.original_image(item["id"]) for item in items],
        len(datalist.classes),
    )


def write_random_images(folder: Path, count: int, size: tuple[int, int], seed: int) -> Path:
    """Write smooth random images with masks, (H, W) = ``size``, and their table; return the table's path."""
    generator = numpy_generator(seed, "benchmark images")
    rows = ["image,mask,label,split"]
    for number in range(count):
        coarse = generator.integers(0, 256, (8, 12, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)
        picture.save(folder / f"{number}.png")
        mask = (np.asarray(picture)[..., 0] > 127).astype(np.uint8)
        Image.fromarray(mask).save(folder / f"{number}_mask.png")
        rows.append(f"{number}.png,{number}_mask.png,{'ab'[number % 2]},train")
    table = folder / "data.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


def build_network(key: str, classes: int, seed: int, device: torch.device) -> Any:
    """Return the network of a variant, in train mode, with initial weights that depend on ``seed`` only."""
    network: Any
    with isolated_rng(seed):
        if key == "published":
            network = PublishedNet(classes, base_width=24, leak=64, freeze_classifier=True, mean=0.5, std=0.5)
        else:
            network = JointNet(classes, pretrained=False, freeze_classifier=key != "joint")
    return network.to(device).to(memory_format=torch.channels_last).train()


class Variant:
    """One network with all that training and prediction need.

    Args:
        key: of :data:`VARIANTS`.
        samples: the batch to work on.
        batch: images per training step, at most as many as in ``samples``.
        device: where to compute.
        amp: see :class:`scripts.networks.inferer.JointInferer`.
        seed: of the initial weights.
    """

    def __init__(
        self, key: str, samples: Samples, batch: int, device: torch.device, amp: bool | str = "auto", seed: int = 0
    ) -> None:
        self.key, self.batch = key, batch
        self.network = build_network(key, samples.classes, seed, device)
        bank = FeatureBank() if key == "kept" else None
        self.inferer, self.flipping = JointInferer(bank, amp=amp), JointInferer(bank, flips=True, amp=amp)
        self.images = samples.images[:batch].to(device)
        self.targets = {
            "mask": samples.masks[:batch].to(device),
            "label": samples.labels[:batch].to(device),
            "kind": torch.full((batch,), LABELLED, device=device),
        }
        self.names = [f"{number}#plain" for number in range(batch)]
        self.criterion = JointCriterion(
            self.network, JointLoss(scale_cl=0.0 if self.network.frozen else 1.0, seg_loss=BCEDice())
        )
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)

    def train_step(self) -> None:
        """Forward, loss, backward and optimizer step on the batch."""
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        self.criterion(self.inferer(self.images, self.network, self.names), self.targets).backward()
        self.optimizer.step()

    def stage0_step(self) -> None:
        """Train encoder and class maps on the image labels: forward, backward, without the decoder or an optimizer."""
        frozen = self.network.frozen
        self.network.freeze(False)
        self.network.train()
        with autocast(self.images.device, self.inferer.amp):
            features = self.network.encode(self.images)
        maps = self.network.class_maps([feature.float() for feature in features])
        F.cross_entropy(self.network.pool(maps), self.targets["label"]).backward()
        self.network.zero_grad(set_to_none=True)
        self.network.freeze(frozen)

    def predict(self, count: int, flips: bool = False) -> None:
        """Predict ``count`` images one at a time, as a run does."""
        self.network.eval()
        inferer = self.flipping if flips else self.inferer
        with torch.no_grad():
            for number in range(count):
                place = number % self.batch
                inferer(self.images[place : place + 1], self.network, [self.names[place]])

    def operations(self) -> dict[str, float]:
        """Return multiplications with additions per image of a training step and of a prediction, without flips."""
        found = {}
        for name, work in (("train", self.train_step), ("predict", lambda: self.predict(1))):
            work()  # features are kept, and an engine has its copy
            with FlopCounterMode(display=False) as counter:
                work()
            found[name] = counter.get_total_flops() / 2 / (self.batch if name == "train" else 1)
        return found

    def parameters(self) -> tuple[int, int]:
        """Return the numbers of all parameters and of those that train."""
        parameters = list(self.network.parameters())
        return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def network_cases(variants: Mapping[str, Variant], predictions: int) -> list[Case]:
    """Return the cases of networks; ``predictions`` is how many images a prediction case handles."""
    cases = [Case("train", key, variant.batch, variant.train_step) for key, variant in variants.items()]
    for key, variant in variants.items():
        if key == "joint":  # predicts exactly as "computed" does
            continue
        cases.append(Case("predict", key, predictions, lambda v=variant: v.predict(predictions)))  # type: ignore[misc]
        cases.append(Case("flips", key, predictions, lambda v=variant: v.predict(predictions, True)))  # type: ignore[misc]
    for key in ("joint", "published"):
        cases.append(Case("stage0", key, variants[key].batch, variants[key].stage0_step))
    return cases


def peak_case(device: torch.device, amp: bool | str) -> Case:
    """Return a matrix product whose ``images`` are its multiplications with additions, in the precision of the rest."""
    kind = torch.bfloat16 if computes_in_bfloat16(device, amp) else torch.float32
    one, other = (torch.full((PEAK_SIDE, PEAK_SIDE), 0.5, dtype=kind, device=device) for _ in range(2))

    def product() -> None:
        torch.mm(one, other)

    return Case("peak", "", PEAK_SIDE**3, product)


def data_cases(samples: Samples, image_size: tuple[int, int], neighbours: int = 40) -> list[Case]:
    """Return the cases of what is done once per run and image: decoding, histograms, similarity graph."""
    histograms = {
        str(item["id"]): colour_histogram(image) for item, image in zip(samples.items, samples.originals, strict=True)
    }
    class_of = {str(item["id"]): str(item["label"]) for item in samples.items}
    count = len(samples.items)

    def decode() -> None:
        ImageStore(samples.items, image_size).preload()

    def describe() -> None:
        for image in samples.originals:
            colour_histogram(image)

    def build() -> None:
        neighbour_graph(histograms, class_of, neighbours)

    return [
        Case("decode", "", count, decode),
        Case("histogram", "", count, describe),
        Case("graph", "", count, build),
    ]


def peak_memory(
    key: str, image_size: tuple[int, int], batch: int, device: str = "cpu", amp: bool | str = "auto", threads: int = 0
) -> int:
    """Return the peak memory, in bytes, of two training steps of a variant; to be called in a fresh process.

    On the CPU it is the peak resident memory of the process, interpreter and libraries included; an empty ``key``
    measures those alone. On a GPU it is the peak of what torch has allocated there.
    """
    if threads:
        torch.set_num_threads(threads)
    place = torch.device(device)
    if key:
        shape = (batch, 3, *image_size)
        masks = torch.zeros(batch, 1, *image_size, dtype=torch.uint8)
        samples = Samples([], torch.full(shape, 0.5), masks, torch.zeros(batch, dtype=torch.int64), [], 2)
        variant = Variant(key, samples, batch, place, amp)
        for _ in range(2):  # the optimizer's state appears after the first
            variant.train_step()
    if place.type == "cuda":
        return int(torch.cuda.max_memory_allocated(place))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
