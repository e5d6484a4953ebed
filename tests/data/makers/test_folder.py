from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pytest

from scripts.core.errors import InputError
from scripts.data.makers.folder import folder_items
from tests.support.data_trees import by_id, faults, touch


class TestFolder:
    def test_masks_in_their_own_folder(self, tmp_path: Path) -> None:
        touch(tmp_path, "images/a.png", "images/b.jpg", "images/c.tif", "images/._a.png", "images/notes.txt")
        touch(tmp_path, "masks/a.png", "masks/b_mask.png", "masks/._b.png", "masks/unrelated.png")
        (tmp_path / "l.csv").write_text(
            "image,label,split,patient_id\na.png,y,train,1\nb,x,valid,\nimages/c.tif,y,test,2\n"
        )
        items, classes = folder_items(tmp_path / "images", tmp_path / "l.csv", tmp_path / "masks")
        assert classes == ("x", "y")
        assert by_id(items, tmp_path) == {
            "a": ("images/a.png", "masks/a.png", 1, "train"),
            "b": ("images/b.jpg", "masks/b_mask.png", 0, "val"),
            "c": ("images/c.tif", None, 1, "test"),
        }
        assert [item["patient_id"] for item in items] == ["1", None, "2"]

    def test_masks_beside_images_are_no_images(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.bmp", "a_anno.bmp", "lonely_mask.png")
        (tmp_path / "l.csv").write_text("image,label,split\na.bmp,x,train\nlonely_mask,x,val\n")
        items, _ = folder_items(tmp_path, tmp_path / "l.csv")
        assert by_id(items, tmp_path) == {
            "a": ("a.bmp", "a_anno.bmp", 0, "train"),
            "lonely_mask": ("lonely_mask.png", None, 0, "val"),  # no image that it could be the mask of
        }

    def test_a_mask_folder_within_the_images_is_left_out(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.png", "masks/a.png")
        (tmp_path / "l.csv").write_text("image,label,split\na.png,x,train\n")
        items, _ = folder_items(tmp_path, tmp_path / "l.csv", tmp_path / "masks")
        assert by_id(items, tmp_path) == {"a": ("a.png", "masks/a.png", 0, "train")}

    def test_repeated_names_are_told_apart_by_folder(self, tmp_path: Path) -> None:
        touch(tmp_path, "images/x/a.png", "images/y/a.png", "masks/x/a.png", "masks/y/a.png")
        (tmp_path / "l.csv").write_text("image,label,split\nx/a.png,x,train\ny/a,y,train\n")
        items, _ = folder_items(tmp_path / "images", tmp_path / "l.csv", tmp_path / "masks")
        assert by_id(items, tmp_path) == {
            "x/a": ("images/x/a.png", "masks/x/a.png", 0, "train"),
            "y/a": ("images/y/a.png", "masks/y/a.png", 1, "train"),
        }

    def test_splits_are_drawn_when_the_table_has_none(self, tmp_path: Path) -> None:
        touch(tmp_path, *(f"images/{i}.png" for i in range(20)))
        (tmp_path / "l.csv").write_text("image,label\n" + "".join(f"{i},{'xy'[i % 2]}\n" for i in range(20)))
        items, _ = folder_items(tmp_path / "images", tmp_path / "l.csv")
        assert Counter((item["label"], item["split"]) for item in items) == {
            (label, split): n for label in (0, 1) for split, n in (("train", 6), ("val", 2), ("test", 2))
        }

    def test_every_fault_is_listed(self, tmp_path: Path) -> None:
        touch(tmp_path, "images/x/a.png", "images/y/a.png", "images/b.png", "images/c.png", "images/d.png")
        touch(tmp_path, "masks/a.png", "masks/b.png", "masks/b_mask.png")
        (tmp_path / "l.csv").write_text("image,label\na,x\nb,x\nb.png,y\nabsent,x\nc,\nx/a,x\ny/a,x\n")
        assert faults(folder_items, tmp_path / "images", tmp_path / "l.csv", tmp_path / "masks") == [
            "row fits not exactly one image",
            "image is listed twice",
            "row fits not exactly one image",
            "row has no label",
            "mask fits several images",
            "image has two masks",
            "image has no label",
            "image has no label",
        ]

    def test_half_filled_splits_are_refused(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.png", "b.png")
        (tmp_path / "l.csv").write_text("image,label,split\na,x,train\nb,x,\n")
        assert faults(folder_items, tmp_path, tmp_path / "l.csv") == ["unknown split"]

    def test_missing_folder_table_and_columns(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.png")
        (tmp_path / "l.csv").write_text("file,label\na,x\n")
        assert faults(folder_items, tmp_path / "absent", tmp_path / "l.csv") == ["folder is missing"]
        assert faults(folder_items, tmp_path, tmp_path / "absent.csv") == ["file is missing"]
        assert faults(folder_items, tmp_path, tmp_path / "l.csv") == ["columns are missing"]


class TestWhatIsTold:
    def test_masks_without_an_image_and_images_without_a_mask(self, tmp_path: Path, caplog) -> None:
        touch(tmp_path, "i/a.png", "i/b.png", "m/a.png", "m/q.png", "m/r.png")
        (tmp_path / "l.csv").write_text("image,label,split\na,x,train\nb,x,val\n")
        folder_items(tmp_path / "i", tmp_path / "l.csv", tmp_path / "m")
        assert "2 files of masks fit no image: q.png, r.png; say how masks are named" in caplog.text
        assert "1 images have no mask: b.png" in caplog.text

    def test_files_of_other_forms(self, tmp_path: Path, caplog) -> None:
        touch(tmp_path, "i/a.png", "i/b.heic", "m/a.png", "m/b.avif", "i/notes.txt")
        (tmp_path / "l.csv").write_text("image,label,split\na,x,train\n")
        folder_items(tmp_path / "i", tmp_path / "l.csv", tmp_path / "m")
        assert "in no form that can be read: 1 *.avif (b.avif), 1 *.heic (b.heic)" in caplog.text

    def test_several_masks_of_an_image(self, tmp_path: Path, caplog) -> None:
        touch(tmp_path, "a.png", "a_mask.png", "a_mask_1.png")
        (tmp_path / "l.csv").write_text("image,label,split\na,x,train\n")
        items, _ = folder_items(tmp_path, tmp_path / "l.csv")
        assert items[0]["mask"] == f"{tmp_path / 'a_mask.png'}|{tmp_path / 'a_mask_1.png'}"
        assert "1 images have several masks, which are joined: a.png (2)" in caplog.text

    def test_a_guess(self, tmp_path: Path, caplog) -> None:
        touch(tmp_path, *(f"i/f{n}.png" for n in range(3)), *(f"m/roi{n}.png" for n in range(3)))
        (tmp_path / "l.csv").write_text("image,label,split\nf0,x,train\nf1,x,val\nf2,x,test\n")
        items, _ = folder_items(tmp_path / "i", tmp_path / "l.csv", tmp_path / "m")
        assert [Path(item["mask"]).name for item in items] == ["roi0.png", "roi1.png", "roi2.png"]
        assert "images f* and masks roi*" in caplog.text

    def test_nothing_where_all_fits(self, tmp_path: Path, caplog) -> None:
        touch(tmp_path, "i/a.png", "m/a.png")
        (tmp_path / "l.csv").write_text("image,label,split\na,x,train\n")
        folder_items(tmp_path / "i", tmp_path / "l.csv", tmp_path / "m")
        assert caplog.text == ""


def test_a_pattern_finds_masks_beside_images(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a_roi.png", "b.png")
    (tmp_path / "l.csv").write_text("image,label,split\na,x,train\nb,x,val\n")
    items, _ = folder_items(tmp_path, tmp_path / "l.csv", mask_pattern="{image}_roi")
    assert by_id(items, tmp_path) == {"a": ("a.png", "a_roi.png", 0, "train"), "b": ("b.png", None, 0, "val")}


class TestFoldersAsLabels:
    def test_a_folder_per_class(self, tmp_path: Path, caplog) -> None:
        for name, number in (("benign", 10), ("malignant", 5)):
            touch(tmp_path, *(f"{name}/{name} ({n}).png" for n in range(number)), f"{name}/{name} (1)_mask.png")
        with caplog.at_level(logging.INFO):
            items, classes = folder_items(tmp_path)
        assert classes == ("benign", "malignant")
        assert Counter((item["label"], item["split"]) for item in items) == {
            (0, "train"): 6, (0, "val"): 2, (0, "test"): 2, (1, "train"): 3, (1, "val"): 1, (1, "test"): 1,
        }  # fmt: skip
        assert sum(item["mask"] is not None for item in items) == 2
        assert "classes are the folders: benign (10), malignant (5)" in caplog.text

    @pytest.mark.parametrize(
        "order", ["{split}/{name}", "{name}/{split}", "images/{split}/{name}", "{split}/img/{name}"]
    )
    def test_folders_of_splits_around_or_within(self, tmp_path: Path, order: str) -> None:
        parts = [(split, name) for split in ("train", "Validation", "test") for name in ("x", "y")]
        touch(tmp_path, *(f"{order.format(split=split, name=name)}/{split}{name}.png" for split, name in parts))
        items, classes = folder_items(tmp_path)
        assert classes == ("x", "y")
        assert {item["id"]: (item["split"], item["label"]) for item in items} == {
            f"{split}{name}": ({"Validation": "val"}.get(split, split), "xy".index(name)) for split, name in parts
        }

    def test_validation_is_taken_from_training_where_no_folder_is_for_it(self, tmp_path: Path, caplog) -> None:
        touch(tmp_path, *(f"train/{name}/{n}{name}.png" for n in range(5) for name in "xy"))
        touch(tmp_path, "test/x/a.png", "test/y/b.png")
        items, _ = folder_items(tmp_path)
        assert Counter(item["split"] for item in items) == {"train": 8, "val": 2, "test": 2}
        assert {item["id"] for item in items if item["split"] == "test"} == {"a", "b"}
        assert "no folder is for validation: 2 images of train are taken" in caplog.text

    def test_a_table_has_the_labels_and_folders_the_splits(self, tmp_path: Path) -> None:
        touch(tmp_path, "imagesTr/a_0000.png", "imagesTr/b_0000.png", "imagesTs/c_0000.png", "labelsTr/a.png")
        (tmp_path / "l.csv").write_text("image,label\na,x\nb_0000,x\nc,x\n")
        items, _ = folder_items(tmp_path, tmp_path / "l.csv")
        found = by_id(items, tmp_path)
        assert found["a_0000"][1] == "labelsTr/a.png"
        assert sorted(item[3] for item in found.values()) == ["test", "train", "val"]
        assert found["c_0000"][3] == "test"

    def test_images_in_no_folder_have_no_class(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.png", "x/b.png", "images/c.png", "train/d.png")
        assert faults(folder_items, tmp_path) == ["image has no class"] * 3

    def test_nnunet_has_no_classes(self, tmp_path: Path) -> None:
        touch(tmp_path, "imagesTr/a_0000.png", "labelsTr/a.png")
        with pytest.raises(InputError, match=r"Give --labels TABLE .*nnU-Net has masks of objects"):
            folder_items(tmp_path)

    def test_some_images_in_folders_of_splits(self, tmp_path: Path) -> None:
        touch(tmp_path, "train/x/a.png", "test/x/b.png", "x/c.png")
        assert faults(folder_items, tmp_path) == ["image lies in no folder of a split"]

    def test_folders_that_differ_only_in_case(self, tmp_path: Path) -> None:
        touch(tmp_path, "train/Benign/a.png", "test/benign/b.png")
        assert faults(folder_items, tmp_path) == ["classes differ only in case or signs"]
        (tmp_path / "l.csv").write_text("image,label\na,1\nb,1.0\n")
        assert faults(folder_items, tmp_path, tmp_path / "l.csv") == ["classes differ only in the form of a number"]
