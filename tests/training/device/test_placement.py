"""Where pixels are kept, and that they are copied there once."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from scripts.images.store import GIB, ImageStore
from scripts.training.device.placement import Placement, choose_place


@pytest.fixture
def store() -> ImageStore:
    store = ImageStore()
    for number in range(3):
        image = np.full((4, 6, 3), 10 * number, np.uint8)
        store.keep({"id": f"i{number}", "image": "-", "mask": None}, image, None)
    return store


@pytest.mark.parametrize(
    ("needed", "on_device", "on_host", "expected"),
    [
        (10, 100, 100, "device"),
        (50, 100, 0, "device"),
        (51, 100, 1000, "pinned"),
        (10, 0, 20, "pinned"),
        (11, 0, 21, "store"),
        (11, 0, 0, "store"),
    ],
)
def test_the_nearest_place_with_room(needed: int, on_device: int, on_host: int, expected: str) -> None:
    assert choose_place(needed, on_device, on_host) == expected


def test_on_the_cpu_pixels_stay_where_they_are(store: ImageStore) -> None:
    placement = Placement(store, "cpu")
    images = placement.images(["i2", "i0"])
    assert (images.dtype, images.shape) == (torch.uint8, (2, 3, 4, 6))
    assert [int(image.unique()) for image in images] == [20, 0]
    assert (placement.place, store.copies) == ("store", {})
    masks = [torch.zeros(1, 4, 6, dtype=torch.uint8), torch.ones(1, 4, 6, dtype=torch.uint8)]
    assert torch.equal(placement.masks(masks, [0, 1]), torch.stack(masks))


def test_on_another_device_images_are_copied_once_per_run_and_masks_once_per_training(store: ImageStore) -> None:
    first, second = Placement(store, "meta", "device"), Placement(store, "meta")
    assert second.place == "device"  # the first decision holds
    assert first.images(["i0", "i1"]).device.type == "meta"
    copies = dict(store.copies)
    assert set(copies) == {"i0", "i1"} and all(copy.device.type == "meta" for copy in copies.values())
    assert second.images(["i0", "i2"]).shape == (2, 3, 4, 6)
    assert store.copies["i0"] is copies["i0"]
    assert torch.equal(store.image("i0"), torch.zeros(3, 4, 6, dtype=torch.uint8))  # the host's own is as it was
    mask = torch.ones(1, 4, 6, dtype=torch.uint8)
    assert first.masks([mask, mask], ["x", "x"]).device.type == "meta"
    assert list(first._masks) == ["x"] and not second._masks


def test_the_place_is_told_once(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (GIB, 2 * GIB))
    assert Placement(store, "cuda:0").place == Placement(store, "cuda:0").place == "device"
    assert [record.message for record in caplog.records] == [
        "images and masks (0.0 GiB) are kept in the memory of cuda:0"
    ]


def test_bytes_are_those_of_all_images(store: ImageStore) -> None:
    assert store.pixel_bytes() == 3 * 3 * 4 * 6
