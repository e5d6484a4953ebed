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
from scripts.data.run_data import RunData, open_data
from scripts.images.masks import MaskRule
from scripts.training.dataset import DrawnDataset, FromStored
from tests.support.tiny import ORIGINAL_SIZE, SPLITS, WORKING_SIZE
from tests.support.tiny_runs import make_images, open_tiny


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


NORMAL = {"train": 3, "val": 1, "test": 2}


class TestBackgroundClasses:
    def test_none_are_declared_by_default(self, shapes_data: RunData) -> None:
        assert (shapes_data.background.labels, shapes_data.background.gated) == ((), ())
        assert shapes_data.drawable_classes == shapes_data.classes == ("a", "b")
        assert shapes_data.items("train") == shapes_data.drawable("train") == shapes_data.datalist.split("train")
        assert {shape.has_foreground for shape in shapes_data.shapes.values()} == {True}

    def test_their_images_are_marked_and_apart(self, tmp_path: Path) -> None:
        data = open_tiny(make_images(tmp_path, normal=NORMAL), background_classes=["n"])
        assert (data.classes, data.background.labels, data.background.gated) == (("a", "b", "n"), (2,), (2,))
        assert (data.background_names, data.drawable_classes) == (("n",), ("a", "b"))
        marked = [item["id"] for item in data.items("train") if item.get("empty")]
        assert marked == ["train_n0", "train_n1", "train_n2"]
        assert [item["id"] for item in data.drawable("train")] == [f"train_{i:02d}" for i in range(12)]

    def test_without_the_gate_nothing_is_gated(self, tmp_path: Path) -> None:
        folder = make_images(tmp_path, normal=NORMAL)
        background = open_tiny(folder, background_classes=["n"], background_gate=False).background
        assert (background.labels, background.gated) == ((2,), ())

    def test_an_image_without_a_mask_on_disk_has_its_empty_one(self, tmp_path: Path) -> None:
        folder = make_images(tmp_path, normal=NORMAL, without_mask=["train_n1", "train_01"])
        data = open_tiny(folder, background_classes=["n"])
        mask = data.store.true_mask("train_n1")
        assert mask is not None and mask.shape == (64, 64) and mask.dtype == np.uint8 and not mask.any()
        assert data.store.true_mask("train_01") is None
        assert "train_n1" not in data.shapes  # what is known of files

    @pytest.mark.parametrize(
        ("names", "told"),
        [
            (["n", "normal"], "unknown class; expected of a, b, n; found normal"),
            ("n", "not a list of classes; expected a list of class names; found 'n'"),
            (["a", "b", "n"], "no class has foreground; expected fewer than all classes; found a, b, n"),
        ],
    )
    def test_refused(self, tmp_path: Path, names: list[str] | str, told: str) -> None:
        with pytest.raises(InputError, match="data#background_classes") as caught:
            open_tiny(make_images(tmp_path, normal=NORMAL), background_classes=names)
        assert told in str(caught.value)

    def test_a_declared_class_with_foreground_is_refused_in_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(InputError) as caught:
            open_tiny(make_images(tmp_path, normal=NORMAL, without_mask=["val_00"]), background_classes=["a", "n"])
        (problem,) = caught.value.problems
        assert problem.what == "masks of class a have foreground, which it is declared not to have"
        assert problem.found.startswith("9 of 9 masks with foreground: train_00, train_02, ")
        assert "take a out of data#background_classes" in problem.cure

    def test_classes_whose_known_masks_are_all_empty(self, tmp_path: Path) -> None:
        folder = make_images(tmp_path, normal=NORMAL, without_mask=["train_n0", "train_n1", "val_n0", "test_n0"])
        assert open_tiny(folder).empty_classes() == ("n",)
        assert open_tiny(folder, background_classes=["n"]).empty_classes() == ()
        blind = [f"{split}_n{i}" for split, count in NORMAL.items() for i in range(count)]
        assert open_tiny(make_images(tmp_path, normal=NORMAL, without_mask=blind)).empty_classes() == ()


def remade(folder: Path, change, mode: str | None = None) -> Path:
    """Replace every mask of :func:`make_images` (values 0 and 1) by ``change(mask)``."""
    for path in sorted(folder.glob("*_mask.png")):
        Image.fromarray(change(np.asarray(Image.open(path)))).save(path)
    return folder


SIZES = {"train": 4, "val": 2, "test": 2}


def on_white(mask: np.ndarray) -> np.ndarray:
    return np.where(mask[..., None] == 1, [200, 30, 0], [255, 255, 255]).astype(np.uint8)


class TestMasksWithoutHope:
    @pytest.mark.parametrize(
        ("change", "rule", "what", "found", "cure"),
        [
            (lambda m: m * 255, MaskRule([1]), "no mask has foreground", "values 0, 255 in 8 masks", "nonzero"),
            (lambda m: m, MaskRule("over:127.5"), "no mask has foreground", "values 0, 1", "nonzero"),
            (lambda m: m + 1, MaskRule(), "no mask has background", "values 1, 2", "over:1.5"),
            (lambda m: 255 - 55 * m, MaskRule(), "no mask has background", "values 200, 255", '"[200]"'),
            (on_white, MaskRule(), "no mask has background", "colours [255, 255, 255], [200, 30, 0]",
             '"[[200, 30, 0]]"'),
            (lambda m: m * 0, MaskRule(), "no mask has foreground", "values 0", "data#background_classes"),
        ],
    )  # fmt: skip
    def test_stop_a_run_and_name_the_rule_that_fits(self, change, rule, what, found, cure, tmp_path: Path) -> None:
        folder = remade(make_images(tmp_path, SIZES), change)
        with pytest.raises(InputError) as caught:
            open_tiny(folder, mask_rule=rule)
        for part in (what, found, cure):
            assert part in str(caught.value)

    def test_the_cure_works(self, tmp_path: Path) -> None:
        folder = remade(make_images(tmp_path, SIZES), on_white)
        data = open_tiny(folder, mask_rule=MaskRule([[200, 30, 0]]))
        assert all(shape.has_foreground and shape.has_background for shape in data.shapes.values())

    def test_one_good_mask_is_hope(self, tmp_path: Path) -> None:
        folder = make_images(tmp_path, SIZES)
        for path in sorted(folder.glob("*_mask.png"))[1:]:
            Image.fromarray(np.zeros((64, 64), np.uint8)).save(path)
        assert sum(shape.has_foreground for shape in open_tiny(folder).shapes.values()) == 1

    def test_classes_without_foreground_are_not_asked_for_it(self, tmp_path: Path) -> None:
        folder = make_images(tmp_path, SIZES, without_mask=[f"{s}_{i:02d}" for s, n in SIZES.items() for i in range(n)],
                             normal={"train": 2, "val": 1, "test": 1})  # fmt: skip
        assert len(open_tiny(folder, background_classes=["n"]).shapes) == 4

    @pytest.mark.parametrize(
        ("change", "told"), [(lambda m: 255 - m * 255, "[0]"), (lambda m: (1 - m) * 7, "[0]"), (lambda m: m, None)]
    )
    def test_inverted_ones_are_told(self, change, told: str | None, tmp_path: Path, caplog) -> None:
        folder = remade(make_images(tmp_path, SIZES), change)
        open_tiny(folder)
        lines = [record.getMessage() for record in caplog.records if "cover most of their border" in record.message]
        assert len(lines) == (told is not None)
        if told is not None:
            assert lines[0].startswith("8 of 8 masks")
            assert f'--mask_rule#foreground "{told}"' in lines[0]
            caplog.clear()
            open_tiny(folder, mask_rule=MaskRule([0]))
            assert "cover most" not in caplog.text


def deep(folder: Path, highest: dict[str, int]) -> Path:
    """Store images of :func:`make_images` as grey of 16 bits, their brightest pixel as told, else 4095."""
    for path in sorted(folder.glob("*[0-9].png")):
        grey = np.asarray(Image.open(path).convert("L")).astype(np.float64)
        top = highest.get(path.stem, 4095)
        Image.fromarray(np.rint(grey / grey.max() * top).astype(np.uint16)).save(path)
    return folder


class TestBits:
    def test_are_those_of_the_brightest_image(self, tmp_path: Path, caplog) -> None:
        data = open_tiny(deep(make_images(tmp_path, SIZES), {"train_00": 900}))
        assert (data.datalist.bits, data.store.bits) == (12, 12)
        assert "8 images hold 16-bit numbers up to 4095: they are read as images of 12 bits" in caplog.text
        stored = np.asarray(Image.open(tmp_path / "train_01.png"))
        assert np.array_equal(data.store.original_image("train_01")[..., 0], stored >> 4)
        assert len(np.unique(data.store.pixels("train_01"))) > 50  # grey levels, of which the high byte keeps 16

    def test_are_16_where_one_image_needs_them_or_none_has_them(self, tmp_path: Path, caplog) -> None:
        assert open_tiny(deep(make_images(tmp_path / "a", SIZES), {"test_01": 40000})).datalist.bits == 16
        assert open_tiny(make_images(tmp_path / "b", SIZES)).datalist.bits == 16
        assert "bits" not in caplog.text

    def test_can_be_said(self, tmp_path: Path) -> None:
        folder = deep(make_images(tmp_path, SIZES), {})
        assert open_tiny(folder, bits=16).store.original_image("val_00").max() == 15
        with pytest.raises(InputError, match="brighter than white") as caught:
            open_tiny(folder, bits=10)
        assert len(caught.value.problems) == 8
        with pytest.raises(InputError, match="data#bits: unknown choice; expected auto, 8, 10"):
            open_tiny(folder, bits=11)
