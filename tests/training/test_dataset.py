"""Draws and batches: a draw depends on seed, image and epoch alone, and an image moves with its mask."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose, EnsureTyped, RandAffined, RandFlipd, RandShiftIntensityd
from torch.utils.data import DataLoader

from scripts.core.run_config import RunConfig
from scripts.data.run_data import RunData, open_data
from scripts.images.store import ImageStore
from scripts.networks.feature_bank import FeatureBank
from scripts.training.batches import kinds_of
from scripts.training.criterion import PrepareJointBatch
from scripts.training.dataset import DrawnDataset, EqualSizes, FromStored, collate
from scripts.training.device.augmentation import Augmentation
from tests.support.tiny import WORKING_SIZE, tiny_content, tiny_net
from tests.support.tiny_runs import make_images, open_tiny

L, U, P = 0, 1, 2


@pytest.fixture(scope="module")
def data(tiny_folder: Path) -> RunData:
    return open_data(str(tiny_folder), image_size=WORKING_SIZE)


@pytest.fixture
def transforms() -> Compose:
    """Random transforms of single items, as users may put into their config."""
    both = {"keys": ["image", "mask"], "allow_missing_keys": True}
    return Compose(
        [
            RandFlipd(prob=0.5, spatial_axis=0, **both),
            RandFlipd(prob=0.5, spatial_axis=1, **both),
            RandAffined(
                prob=0.9, rotate_range=3.1416, scale_range=(0.25, 0.25), mode=["bilinear", "nearest"],
                padding_mode="reflection", **both,
            ),
            RandShiftIntensityd(keys="image", prob=0.8, offsets=0.1, allow_missing_keys=True),
            EnsureTyped(track_meta=False, **both),
        ]
    )  # fmt: skip


def drawn(data: RunData, transforms: Compose, **settings) -> DrawnDataset:
    transform = Compose([FromStored(data.store), *transforms.transforms])
    return DrawnDataset(data.items("train"), transform, **settings)


class TestTwoMaps:
    """Where one image of a training has targets and weights, all have them, and hard masks mean what they meant."""

    def items(self, data: RunData) -> list[dict[str, Any]]:
        first, second = data.items("train")[:2]
        mask = data.store.true_mask(second["id"]).copy()
        mask[:9] = 255
        maps = np.stack([np.full(mask.shape, 100, np.uint8), np.full(mask.shape, 200, np.uint8)])
        return [{**first, "mask": maps, "kind": P}, {**second, "mask": mask, "kind": L}]

    def test_a_mask_becomes_target_and_weight(self, data: RunData):
        plain = FromStored(data.store)
        soft, hard = (DrawnDataset(self.items(data), Compose([plain]), deferred=True)[at]["mask"] for at in (0, 1))
        expected = plain(self.items(data)[1])["mask"][0]
        assert soft.shape == hard.shape == (2, *expected.shape)
        assert torch.equal(hard[0], (expected == 1) * torch.tensor(255, dtype=torch.uint8))
        assert torch.equal(hard[1], (expected != 255) * torch.tensor(255, dtype=torch.uint8))
        assert (soft[0].unique().tolist(), soft[1].unique().tolist()) == ([100], [200])

    def test_masks_alone_stay_masks(self, data: RunData):
        only = DrawnDataset(self.items(data)[1:], Compose([FromStored(data.store)]), deferred=True)
        assert only[0]["mask"].shape[0] == 1

    def test_maps_move_with_the_image_through_random_transforms(self, data: RunData, transforms: Compose):
        transform = Compose([FromStored(data.store), *transforms.transforms])
        soft = DrawnDataset(self.items(data), transform, seed=3)[(5, 1)]["mask"]
        alone = DrawnDataset(self.items(data)[1:], transform, seed=3)[(5, 0)]["mask"]
        assert torch.equal(soft[0] == 255, alone[0] == 1)
        assert torch.equal(soft[1] == 0, alone[0] == 255)

    def test_a_batch_of_both_is_augmented_on_the_device(self, data: RunData):
        dataset = DrawnDataset(self.items(data), Compose([FromStored(data.store)]), seed=1, deferred=True)
        prepare = PrepareJointBatch(data.store, None, Augmentation(0.5, 0.9, 180.0, 0.25, 12.0, 0.8, 0.15, 0.8, 0.1))
        _, targets, _, _ = prepare(collate([dataset[(3, 0)], dataset[(3, 1)]]), "cpu")
        masks = targets["mask"]
        assert masks.shape[:2] == (2, 2)
        assert (masks[0, 0].unique().tolist(), masks[0, 1].unique().tolist()) == ([100], [200])
        assert set(masks[1].unique().tolist()) <= {0, 255}


class TestFromStored:
    def test_values(self, data: RunData):
        sample = FromStored(data.store)(data.items("train")[1])
        assert sample["id"] == "i1"
        assert sample["image"].dtype == torch.float32
        assert torch.equal(sample["image"], data.store.image("i1") / 255)
        assert torch.equal(sample["mask"], data.store.resized_mask(data.store.true_mask("i1")))
        assert sample["mask"].unique().tolist() == [0, 1]
        assert (int(sample["label"]), int(sample["kind"])) == (1, L)

    def test_targets_and_weights_are_resized_alike(self, data: RunData):
        maps = np.random.default_rng(0).integers(0, 256, (2, 50, 70)).astype(np.uint8)
        sample = FromStored(data.store)({**data.items("train")[1], "mask": maps})
        for found, one in zip(sample["mask"], maps, strict=True):
            assert torch.equal(found[None], data.store.resized_mask(one))

    def test_no_mask_is_all_ignored(self, data: RunData):
        sample = FromStored(data.store)({**data.items("train")[0], "mask": None})
        assert sample["mask"].unique().tolist() == [255]
        assert int(sample["kind"]) == U

    def test_array_masks_stand_in_for_the_stored_one(self, data: RunData):
        mask = np.zeros(data.store.original_size("i0"), np.uint8)
        mask[:40] = 1
        sample = FromStored(data.store)({**data.items("train")[0], "mask": mask, "kind": P})
        assert sample["mask"].shape == (1, *WORKING_SIZE)
        assert torch.equal(sample["mask"][0, :, 0], (torch.arange(64) < 32).to(torch.uint8))
        assert int(sample["kind"]) == P

    def test_items_of_other_tools(self, tiny_folder: Path):
        store = ImageStore(image_size=WORKING_SIZE)
        item = {"image": str(tiny_folder / "i2.png"), "label": str(tiny_folder / "m2.png")}
        sample = FromStored(store)(item)
        assert int(sample["label"]) == -1
        assert sample["mask"].unique().tolist() == [0, 1]
        assert kinds_of([item]) == [int(sample["kind"])] == [L]


class TestDraws:
    def test_order_workers_and_global_state_do_not_matter(self, data: RunData, transforms: Compose):
        draws = [(epoch, index) for epoch in range(2) for index in range(6)]
        batches = [draws[i : i + 3] for i in range(0, 12, 3)]

        def images(plan: list, num_workers: int) -> dict[tuple[str, str], torch.Tensor]:
            loader = DataLoader(
                drawn(data, transforms, seed=3, variants=2),
                batch_sampler=plan,
                num_workers=num_workers,
                collate_fn=collate,
            )
            found = {}
            for batch in loader:
                for name in ("image", "mask"):
                    found |= {(key, name): value for key, value in zip(batch["key"], batch[name], strict=True)}
            return found

        first = images(batches, 0)
        assert len(first) == 24
        for generator in (random, np.random, torch):
            generator.seed(99) if generator is not torch else torch.manual_seed(99)
        for other in (images(batches, 2), images([batch[::-1] for batch in batches[::-1]], 0)):
            assert all(torch.equal(first[key], other[key]) for key in first)

    def test_seed_image_and_epoch_matter(self, data: RunData, transforms: Compose):
        dataset = drawn(data, transforms, seed=3)
        assert torch.equal(dataset[0, 0]["image"], dataset[0]["image"])
        assert not torch.equal(dataset[0, 0]["image"], dataset[1, 0]["image"])
        assert not torch.equal(dataset[0, 0]["image"], drawn(data, transforms, seed=4)[0, 0]["image"])
        assert dataset[5, 0]["key"] == ""

    def test_variants_come_again(self, data: RunData, transforms: Compose):
        dataset = drawn(data, transforms, variants=3)
        samples = [dataset[epoch, 2] for epoch in range(6)]
        assert [sample["key"] for sample in samples] == ["i2#0", "i2#1", "i2#2"] * 2
        assert all(torch.equal(a["image"], b["image"]) for a, b in zip(samples[:3], samples[3:], strict=True))
        assert not torch.equal(samples[0]["image"], samples[1]["image"])
        assert drawn(data, transforms, variants=0)[7, 2]["key"] == "i2#plain"

    def test_image_and_mask_are_flipped_together(self, transforms: Compose):
        """The published training flips the image and not the mask: three quarters of its pairs do not match."""
        mask = np.zeros((32, 48), np.uint8)
        mask[:9, :13] = 1  # in one corner, so each flip shows
        image = np.repeat(np.where(mask, 200, 50).astype(np.uint8)[..., None], 3, axis=2)
        store = ImageStore()
        item = {"id": "corner", "image": "-", "mask": "-", "label": 0}
        store.keep(item, image, mask)
        flips = [transform for transform in transforms.transforms if isinstance(transform, RandFlipd)]
        assert len(flips) == 2
        dataset = DrawnDataset(
            [item], Compose([FromStored(store), *flips, EnsureTyped(["image", "mask"], track_meta=False)])
        )
        corners = Counter()
        for epoch in range(40):
            sample = dataset[epoch, 0]
            for channel in sample["image"]:
                bright = channel > (channel.min() + channel.max()) / 2
                assert torch.equal(bright, sample["mask"][0] == 1)
            corners[tuple(sample["mask"][0, [0, 0, -1, -1], [0, -1, 0, -1]].tolist())] += 1
        assert len(corners) == 4
        assert all(sum(corner) == 1 for corner in corners)
        assert all(type(sample[name]) is torch.Tensor for name in ("image", "mask"))

    def test_image_and_mask_move_together_through_all_transforms(self, transforms: Compose):
        mask = np.zeros((64, 96), np.uint8)
        mask[8:40, 10:60] = 1
        image = np.repeat(np.where(mask, 220, 30).astype(np.uint8)[..., None], 3, axis=2)
        store = ImageStore()
        item = {"id": "block", "image": "-", "mask": "-", "label": 0}
        store.keep(item, image, mask)
        dataset = DrawnDataset([item], Compose([FromStored(store), *transforms.transforms]))
        for epoch in range(20):
            sample = dataset[epoch, 0]
            assert set(sample["mask"].unique().tolist()) <= {0, 1}
            bright = sample["image"][0] > (sample["image"][0].min() + sample["image"][0].max()) / 2
            # bilinear and nearest resampling differ on the edges alone
            assert (bright == (sample["mask"][0] == 1)).float().mean() > 0.97


class TestCollate:
    def test_stacks_tensors_and_lists_names(self, data: RunData):
        samples = [DrawnDataset(data.items("train"), Compose([FromStored(data.store)]), variants=0)[i] for i in (0, 1)]
        batch = collate(samples)
        assert batch["image"].shape == (2, 3, *WORKING_SIZE)
        assert batch["mask"].shape == (2, 1, *WORKING_SIZE)
        assert batch["mask"].dtype == torch.uint8
        assert batch["label"].tolist() == [0, 1]
        assert batch["id"] == ["i0", "i1"]
        assert batch["key"] == ["i0#plain", "i1#plain"]

    def test_sizes_that_differ_are_named(self):
        with pytest.raises(ValueError, match=r"several sizes in one batch.*4 x 4, 4 x 5"):
            collate([{"image": torch.zeros(3, 4, n)} for n in (4, 5)])


class TestDeferred:
    """Samples whose pixels are taken, and augmented, on the device."""

    def batches(self, parser: ConfigParser, draws: list, num_workers: int = 0) -> dict[tuple[str, str], torch.Tensor]:
        prepare = parser.get_parsed_content("prepare_batch")
        dataset = parser.get_parsed_content("train#dataset")
        loader = DataLoader(dataset, batch_sampler=draws, num_workers=num_workers, collate_fn=collate)
        found = {}
        for batch in loader:
            images, targets, _, kwargs = prepare(batch, "cpu")
            for key, image, mask in zip(kwargs["keys"], images, targets["mask"], strict=True):
                found |= {(key, "image"): image, (key, "mask"): mask}
        return found

    def parser(self, tiny_folder: Path, data: RunData, **changes: Any) -> ConfigParser:
        config = RunConfig(tiny_content(tiny_folder, tiny_folder))
        items = [{**item, "mask": data.store.true_mask(item["id"])} for item in data.items("train")]
        objects = {"data": data, "features": FeatureBank(), "train#dataset#data": items}
        return config.parser({"variants": 2, "active#seed": 3, **changes}, objects)

    @pytest.mark.parametrize("own", [[], [{"_target_": "RandFlipd", "keys": ["image", "mask"], "prob": 0.5}]])
    def test_batches_workers_and_order_do_not_matter(self, tiny_folder: Path, data: RunData, own: list) -> None:
        parser = self.parser(tiny_folder, data, **{"train#random_transforms": own})
        draws = [(epoch, index) for epoch in range(2) for index in range(6)]
        first = self.batches(parser, [draws[i : i + 3] for i in range(0, 12, 3)])
        assert len(first) == 24
        backwards = draws[::-1]
        for other in (
            self.batches(parser, [draws], num_workers=2),
            self.batches(parser, [backwards[i : i + 4] for i in range(0, 12, 4)]),
        ):
            assert all(torch.equal(first[key], other[key]) for key in first)
        assert not torch.equal(first["i0#0", "image"], first["i0#1", "image"])
        other_seed = self.batches(self.parser(tiny_folder, data, **{"active#seed": 4}), [draws])
        assert not torch.equal(first["i0#0", "image"], other_seed["i0#0", "image"])

    def test_samples_have_no_pixels_and_their_masks_are_resized_once(
        self, tiny_folder: Path, data: RunData, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dataset = self.parser(tiny_folder, data).get_parsed_content("train#dataset")
        first = dataset[0, 1]
        assert "image" not in first
        assert (first["key"], first["index"], first["id"]) == ("i1#0", 1, "i1")
        assert torch.equal(first["mask"], data.store.resized_mask(data.store.true_mask("i1")))
        monkeypatch.setattr(ImageStore, "resized_mask", None)
        again = dataset[1, 1]
        assert torch.equal(again["mask"], first["mask"])
        assert again["seed"] != first["seed"]

    def test_what_is_not_remembered_is_made_anew(
        self, tiny_folder: Path, data: RunData, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("scripts.training.dataset._REMEMBERED_BYTES", WORKING_SIZE[0] * WORKING_SIZE[1])
        dataset = self.parser(tiny_folder, data).get_parsed_content("train#dataset")
        assert all(torch.equal(dataset[0, i]["mask"], dataset[1, i]["mask"]) for i in range(3))
        assert list(dataset._remembered) == [0]

    def test_without_variants_nothing_is_changed(self, tiny_folder: Path, data: RunData) -> None:
        found = self.batches(self.parser(tiny_folder, data, variants=0), [[(5, 2), (0, 1)]])
        assert torch.equal(found["i2#plain", "image"], data.store.image("i2") / 255)
        assert torch.equal(found["i1#plain", "mask"], data.store.resized_mask(data.store.true_mask("i1")))

    def test_without_augmentation_nothing_is_changed(self, tiny_folder: Path, data: RunData) -> None:
        found = self.batches(self.parser(tiny_folder, data, **{"train#augmentation": None}), [[(1, 2)]])
        assert torch.equal(found["i2#1", "image"], data.store.image("i2") / 255)

    def test_image_and_mask_move_together(self, tiny_folder: Path) -> None:
        mask = np.zeros((64, 96), np.uint8)
        mask[8:40, 10:60] = 1
        image = np.repeat(np.where(mask, 220, 30).astype(np.uint8)[..., None], 3, axis=2)
        store = ImageStore()
        store.keep({"id": "block", "image": "-", "mask": "-"}, image, mask)
        item = {"id": "block", "image": "-", "mask": mask, "label": 0}
        dataset = DrawnDataset([item], Compose([FromStored(store)]), deferred=True)
        prepare = PrepareJointBatch(store, None, Augmentation())
        images, targets, _, _ = prepare(collate([dataset[epoch, 0] for epoch in range(20)]), "cpu")
        assert targets["mask"].dtype == torch.uint8
        assert targets["mask"].unique().tolist() == [0, 1]
        for drawn, drawn_mask in zip(images[:, 0], targets["mask"][:, 0], strict=True):
            bright = drawn > (drawn.min() + drawn.max()) / 2
            assert (bright == (drawn_mask == 1)).float().mean() > 0.97

    def test_a_kept_version_is_not_drawn_again_and_its_mask_is_the_same(self, tiny_folder: Path, data: RunData) -> None:
        parser = self.parser(tiny_folder, data)
        bank, draws = parser.get_parsed_content("features"), [(0, 0), (0, 1), (0, 2)]
        before = self.batches(parser, [draws])
        for kept in (["i1#0"], ["i0#0", "i1#0", "i2#0"]):
            bank.features(tiny_net().eval(), torch.zeros(len(kept), 3, 64, 64), kept)
            after = self.batches(parser, [draws])
            for key, name in before:
                empty = name == "image" and key in kept
                assert torch.equal(after[key, name], torch.zeros(3, 64, 64) if empty else before[key, name])

    def test_sizes_that_differ_are_named(self) -> None:
        samples = [{"mask": torch.zeros(1, 4, n, dtype=torch.uint8), "seed": 1, "index": 0} for n in (4, 5)]
        with pytest.raises(ValueError, match=r"several sizes in one batch.*4 x 4, 4 x 5"):
            collate(samples)


def test_a_kept_version_is_not_drawn_again_and_its_mask_is_the_same(data: RunData, transforms: Compose) -> None:
    bank, net = FeatureBank(), tiny_net().eval()
    plain = drawn(data, transforms, seed=3, variants=4)
    banked = drawn(data, transforms, seed=3, variants=4, bank=bank)
    before = [plain[epoch, i] for epoch in range(4) for i in range(2)]
    for sample in before:
        bank.features(net, sample["image"][None], [sample["key"]])
    for at, sample in enumerate(before):
        again = banked[at // 2, at % 2]
        assert again["key"] == sample["key"]
        assert torch.equal(again["mask"], sample["mask"])
        assert again["image"].shape == sample["image"].shape
        assert not again["image"].any()
    assert torch.equal(banked[5, 0]["mask"], before[2]["mask"])  # epoch 5 shows version 1 again
    assert banked[0, 2]["image"].any()  # not kept: drawn


class Sizes:
    """A store that tells sizes."""

    def __init__(self, *sizes: tuple[int, int]) -> None:
        self.sizes = {str(i): size for i, size in enumerate(sizes)}

    def __contains__(self, key: object) -> bool:
        return key in self.sizes

    def add(self, item: dict[str, Any]) -> None:
        self.sizes[item["id"]] = (1, len(item["image"]))

    def working_size(self, key: str) -> tuple[int, int]:
        return self.sizes[key]


def test_neighbours_of_one_size_pass_together_in_their_order():
    small, large = (10, 20), (30, 40)
    store = Sizes(small, small, small, large, small, large, large)
    plan = EqualSizes([{"id": str(i), "image": "a"} for i in range(7)], store, batch_size=2)
    assert list(plan) == [[0, 1], [2], [3], [4], [5, 6]]
    assert len(plan) == 5
    assert list(plan) == list(plan)
    assert list(EqualSizes([], store)) == []
    unnamed = [{"image": name, "label": "mask.png"} for name in ("a", "b", "long")]  # as other tools give them
    assert list(EqualSizes(unnamed, store)) == [[0, 1], [2]]


class TestBackground:
    def test_an_empty_mask_is_a_kind_of_its_own(self, tmp_path: Path) -> None:
        folder = make_images(tmp_path, normal={"train": 2}, without_mask=["train_n1"])
        data = open_tiny(folder, background_classes=["n"])
        made = {item["id"]: FromStored(data.store)(item) for item in data.items("train")}
        for key in ("train_n0", "train_n1"):
            assert (int(made[key]["kind"]), int(made[key]["label"])) == (3, 2)
            assert made[key]["mask"].shape == (1, 64, 64) and not made[key]["mask"].any()
        assert int(made["train_00"]["kind"]) == L and made["train_00"]["mask"].any()

    def test_stage_0_sees_no_mask_of_them(self, tmp_path: Path) -> None:
        data = open_tiny(make_images(tmp_path, normal={"train": 1}), background_classes=["n"])
        sample = FromStored(data.store)({**data.items("train")[-1], "mask": None, "kind": U})
        assert int(sample["kind"]) == U and (sample["mask"] == 255).all()
