from __future__ import annotations

from collections import Counter
from pathlib import Path

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
