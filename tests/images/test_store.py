from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scripts.data.checks import check_items
from scripts.images import store as store_module
from scripts.images.masks import MaskRule, read_mask
from scripts.images.store import ImageStore

N = 6


@pytest.fixture
def items(tmp_path: Path) -> list[dict]:
    rng = np.random.default_rng(0)
    made = []
    for i in range(N):
        Image.fromarray(rng.integers(0, 256, (12 + i, 20, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
        Image.fromarray(rng.integers(0, 3, (12 + i, 20), dtype=np.uint8)).save(tmp_path / f"{i}_m.png")
        mask = None if i == 5 else str(tmp_path / f"{i}_m.png")
        made.append({"id": str(i), "image": str(tmp_path / f"{i}.png"), "label": 0, "mask": mask})
    return made


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that a store decoded itself, one per decoding."""
    names: list[str] = []
    read = store_module.read_image

    def counting(path: str) -> np.ndarray:
        names.append(Path(path).stem)
        return read(path)

    monkeypatch.setattr(store_module, "read_image", counting)
    return names


def pixels(item: dict) -> np.ndarray:
    return np.asarray(Image.open(item["image"]))


def test_images_come_at_working_size(items: list[dict], decoded: list[str]) -> None:
    store = ImageStore(items, image_size=(8, 10))
    image = store.image("2")
    expected = np.asarray(Image.open(items[2]["image"]).resize((10, 8), Image.Resampling.BICUBIC))
    assert image.dtype == torch.uint8
    assert np.array_equal(image.numpy(), expected.transpose(2, 0, 1))
    assert store.original_size("2") == (14, 20)
    assert store.original_size("3") == (15, 20)  # not decoded: from the header
    assert decoded == ["2"]
    assert np.array_equal(store.original_image("2"), pixels(items[2]))


def test_native_size_keeps_the_pixels(items: list[dict]) -> None:
    store = ImageStore(items)
    assert np.array_equal(store.image("1").permute(1, 2, 0).numpy(), pixels(items[1]))


def test_each_image_is_decoded_once_even_by_many_threads(items: list[dict], decoded: list[str]) -> None:
    store = ImageStore(items, (8, 8))
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: store.image(str(n % N)), range(20 * N)))
    assert sorted(decoded) == [str(i) for i in range(N)]
    assert all(torch.equal(results[n], results[n % N]) for n in range(20 * N))


def test_a_changed_tensor_does_not_change_the_store(items: list[dict]) -> None:
    store = ImageStore(items)
    before = store.image("0")
    store.image("0").zero_()
    assert torch.equal(store.image("0"), before)
    assert before.any()


def test_pixels_are_not_copied_and_their_bytes_are_known_before(items: list[dict], decoded: list[str]) -> None:
    store = ImageStore(items)
    assert store.pixel_bytes() == sum(pixels(item).size for item in items)
    assert decoded == []
    assert torch.equal(store.pixels("0"), store.image("0"))
    assert store.pixels("0").data_ptr() == store.pixels("0").data_ptr() != store.image("0").data_ptr()


def test_what_exceeds_the_limit_is_the_same_from_disk(
    items: list[dict], decoded: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = ImageStore(items)
    free.preload()
    decoded.clear()
    spill = tmp_path / "spill"
    monkeypatch.setattr(store_module.tempfile, "TemporaryFile", lambda **_: spill.open("w+b"))
    tight = ImageStore(items, decode_limit_gb=1500 / store_module.GIB)  # about two of six images
    tight.preload()
    in_memory = sum(pixels(item).size for item in items) - spill.stat().st_size
    assert 0 < in_memory <= 1500
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda n: tight.image(str(n % N)), range(10 * N)))
    assert all(torch.equal(image, free.image(str(n % N))) for n, image in enumerate(loaded))
    assert sorted(decoded) == [str(i) for i in range(N)]


def test_masks_survive_packing_at_original_size(items: list[dict]) -> None:
    rule = MaskRule(ignore=2)
    store = ImageStore(items, (8, 8), rule)
    for item in items[:5]:
        expected = read_mask(item["mask"], rule)
        assert set(np.unique(expected)) == {0, 1, 255}
        assert np.array_equal(store.true_mask(item["id"]), expected)
    assert store.true_mask("5") is None
    Path(items[0]["mask"]).unlink()
    assert store.true_mask("0") is not None  # read once


def test_resized_masks_hold_no_new_values() -> None:
    mask = np.random.default_rng(1).choice(np.array([0, 1, 255], np.uint8), (37, 53))
    resized = ImageStore(image_size=(16, 24)).resized_mask(mask)
    assert resized.shape == (1, 16, 24)
    assert resized.dtype == torch.uint8
    rows = ((np.arange(16) + 0.5) * 37 / 16).astype(int)
    columns = ((np.arange(24) + 0.5) * 53 / 24).astype(int)
    assert np.array_equal(resized[0].numpy(), mask[np.ix_(rows, columns)])
    assert torch.equal(ImageStore().resized_mask(mask), torch.from_numpy(mask)[None])


def test_checking_can_be_the_only_decoding(items: list[dict], monkeypatch) -> None:
    store = ImageStore(image_size=(8, 8))
    assert check_items(items, MaskRule(), False, store.keep) == {}
    monkeypatch.setattr(store_module, "read_image", None)
    monkeypatch.setattr(store_module, "read_whole_mask", None)
    store.preload()  # decodes nothing
    assert len(store) == N
    assert np.array_equal(store.true_mask("1"), read_mask(items[1]["mask"]))


def test_unknown_ids_are_key_errors(items: list[dict]) -> None:
    with pytest.raises(KeyError):
        ImageStore(items).image("absent")


def test_images_can_be_added_later(items: list[dict], decoded: list[str]) -> None:
    store = ImageStore(items[:1])
    assert "0" in store
    assert "1" not in store
    store.add(items[1])
    assert "1" in store
    assert decoded == []
    assert np.array_equal(store.image("1").permute(1, 2, 0).numpy(), pixels(items[1]))


def test_an_empty_mask_without_a_file(tmp_path: Path) -> None:
    Image.new("RGB", (7, 5)).save(tmp_path / "a.png")
    store = ImageStore([{"id": "a", "image": tmp_path / "a.png", "mask": None}], image_size=(3, 3))
    assert store.true_mask("a") is None
    store.keep_empty_mask("a")
    mask = store.true_mask("a")
    assert mask is not None and mask.shape == (5, 7) and mask.dtype == np.uint8 and not mask.any()
    with pytest.raises(KeyError):
        store.keep_empty_mask("b")
