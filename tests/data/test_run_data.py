"""Opening a data set: everything from one decoding of each file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from monai.transforms import Compose
from PIL import Image

from scripts.core.errors import InputError
from scripts.data.histograms import colour_histogram
from scripts.data.run_data import open_data
from scripts.training.dataset import DrawnDataset, FromStored
from tests.support.tiny import ORIGINAL_SIZE, SPLITS, WORKING_SIZE


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often Pillow opened each file, by name."""
    counts: Counter[str] = Counter()
    original = Image.open

    def counting(file, *args, **kwargs):
        counts[Path(getattr(file, "name", file)).name] += 1
        return original(file, *args, **kwargs)

    monkeypatch.setattr(Image, "open", counting)
    return counts


def test_splits_classes_masks_and_sizes(tiny_folder: Path):
    data = open_data(str(tiny_folder), image_size=WORKING_SIZE)
    assert data.classes == ("a", "b")
    assert {split: len(data.items(split)) for split in ("train", "val", "test")} == dict(Counter(SPLITS))
    assert [item["label"] for item in data.items("train")] == [0, 1] * 3
    assert data.store.image("i0").shape == (3, *WORKING_SIZE)
    mask = np.asarray(Image.open(tiny_folder / "m0.png")) // 255
    assert mask.shape == ORIGINAL_SIZE
    assert np.array_equal(data.store.true_mask("i0"), mask)


def test_native_size_without_image_size(tiny_folder: Path):
    assert open_data(str(tiny_folder)).store.image("i0").shape == (3, *ORIGINAL_SIZE)


def test_native_size_is_the_median_before_resizing(tiny_folder: Path):
    assert open_data(str(tiny_folder), image_size=(64, 64)).native_size() == (80, 72)


def test_histograms_are_those_of_the_original_training_images(tiny_folder: Path):
    data = open_data(str(tiny_folder), image_size=(16, 16))
    assert list(data.histograms) == [item["id"] for item in data.items("train")]
    expected = colour_histogram(np.asarray(Image.open(tiny_folder / "i3.png")))
    assert np.array_equal(data.histograms["i3"], expected)


@pytest.mark.parametrize("limit_gb", [4.0, 0.0])
def test_each_file_is_decoded_once_over_epochs_and_trainings(tiny_folder: Path, opened: Counter[str], limit_gb: float):
    data = open_data(str(tiny_folder), image_size=WORKING_SIZE, memory_limit_gb=limit_gb)
    files = {f"{kind}{i}.png" for kind in "im" for i in range(len(SPLITS))}
    assert {name: opened[name] for name in files} == dict.fromkeys(files, 1)
    opened.clear()
    for _cycle in range(2):
        dataset = DrawnDataset(data.items("train"), Compose([FromStored(data.store)]))
        for epoch in range(3):
            for index in range(len(dataset)):
                dataset[epoch, index]
    for item in data.items("val"):
        data.store.true_mask(item["id"])
    assert not opened


def test_demo_is_made_only_where_it_is_asked_for(tiny_folder: Path, tmp_path: Path):
    made: list[str] = []

    def demo(folder: str) -> None:
        made.append(folder)

    open_data(str(tiny_folder), demo_dir=str(tmp_path), demo=demo)
    assert made == []
    open_data(str(tiny_folder), demo_dir=f"{tiny_folder}/../{tiny_folder.name}", demo=demo)
    assert len(made) == 1


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path):
    Image.new("RGB", (8, 8)).save(tmp_path / "small.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    rows = ["image,label,split", "small.png,a,train", "broken.png,a,val", "gone.png,a,test"]
    (tmp_path / "data.csv").write_text("\n".join(rows))
    with pytest.raises(InputError) as caught:
        open_data(str(tmp_path))
    assert "broken" in str(caught.value)
    assert "gone" in str(caught.value)
