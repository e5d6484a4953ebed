from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from scripts.core.errors import InputError
from scripts.data.makers import cub_items, folder_items, glas_items, validation_per_class


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def faults(make, *arguments, **settings) -> list[str]:
    with pytest.raises(InputError) as caught:
        make(*arguments, **settings)
    return [problem.what for problem in caught.value.problems]


def by_id(items: list[dict], root: Path) -> dict[str, tuple]:
    def short(path):
        return None if path is None else Path(path).relative_to(root).as_posix()

    return {item["id"]: (short(item["image"]), short(item["mask"]), item["label"], item["split"]) for item in items}


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


def glas_tree(root: Path, n_train: int = 10) -> Path:
    names = [f"train_{i}" for i in range(1, n_train + 1)] + ["testA_1", "testB_1"]
    lines = ["name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)"]
    for i, name in enumerate(names):
        touch(root, f"{name}.bmp", f"{name}_anno.bmp")
        lines.append(f"{name},{i // 2}, {('benign', 'malignant')[i % 2]}, adenomatous")
    (root / "Grade.csv").write_text("\r\n".join(lines))
    return root


class TestGlas:
    def test_official_folder(self, tmp_path: Path) -> None:
        items, classes = glas_items(glas_tree(tmp_path))
        assert classes == ("benign", "malignant")
        found = by_id(items, tmp_path)
        assert len(found) == 12
        assert found["testA_1"] == ("testA_1.bmp", "testA_1_anno.bmp", 0, "test")
        assert found["testB_1"][2:] == (1, "test")
        official = {key: value for key, value in found.items() if key.startswith("train")}
        assert Counter(value[2:] for value in official.values()) == {
            (0, "train"): 4, (0, "val"): 1, (1, "train"): 4, (1, "val"): 1,
        }  # fmt: skip
        assert next(item for item in items if item["id"] == "train_4")["patient_id"] == "1"

    def test_patients_on_request(self, tmp_path: Path) -> None:
        items, _ = glas_items(glas_tree(tmp_path), group_by_patient=True)
        val = [item for item in items if item["split"] == "val"]
        assert len(val) == 2
        assert len({item["patient_id"] for item in val}) == 1

    def test_missing_files_are_all_listed(self, tmp_path: Path) -> None:
        glas_tree(tmp_path)
        (tmp_path / "train_1.bmp").unlink()
        (tmp_path / "testA_1_anno.bmp").unlink()
        assert faults(glas_items, tmp_path) == ["file is missing"] * 2
        for path in tmp_path.glob("*.bmp"):
            path.unlink()
        assert faults(glas_items, tmp_path) == ["no image of the official archive"]
        (tmp_path / "Grade.csv").unlink()
        assert faults(glas_items, tmp_path) == ["file is missing"]

    def test_real_grades_give_the_published_counts(self, tmp_path: Path, shared: Path) -> None:
        grades = (shared / "data" / "glas" / "Grade.csv").read_text()
        (tmp_path / "Grade.csv").write_text(grades)
        for line in grades.splitlines()[1:]:
            if name := line.split(",")[0]:
                touch(tmp_path, f"{name}.bmp", f"{name}_anno.bmp")
        items, _ = glas_items(tmp_path)
        assert Counter((item["split"], item["label"]) for item in items) == {
            ("train", 0): 29, ("train", 1): 38, ("val", 0): 8, ("val", 1): 10, ("test", 0): 37, ("test", 1): 43,
        }  # fmt: skip


def cub_tree(root: Path) -> Path:
    names = ["001.Black_footed_Albatross", "002.Laysan_Albatross"]
    text = dict.fromkeys(("images", "classes", "image_class_labels", "train_test_split"), "")
    for c, name in enumerate(names, start=1):
        text["classes"] += f"{c} {name}\n"
        for i in range(6):
            number = (c - 1) * 6 + i + 1
            touch(root, f"images/{name}/bird_{number}.jpg", f"segmentations/{name}/bird_{number}.png")
            text["images"] += f"{number} {name}/bird_{number}.jpg\n"
            text["image_class_labels"] += f"{number} {c}\n"
            text["train_test_split"] += f"{number} {int(i < 4)}\n"
    for name, content in text.items():
        (root / f"{name}.txt").write_text(content)
    return root


class TestCub:
    def test_tree(self, tmp_path: Path) -> None:
        items, classes = cub_items(cub_tree(tmp_path), val_per_class=1)
        assert classes == ("001.Black_footed_Albatross", "002.Laysan_Albatross")
        found = by_id(items, tmp_path)
        assert found["bird_5"] == (
            "images/001.Black_footed_Albatross/bird_5.jpg", "segmentations/001.Black_footed_Albatross/bird_5.png",
            0, "test",
        )  # fmt: skip
        assert Counter(value[2:] for value in found.values()) == {
            (label, split): n for label in (0, 1) for split, n in (("train", 3), ("val", 1), ("test", 2))
        }

    def test_published_counts(self) -> None:
        # The official training part has 5994 images in 200 classes: 29 in six of them, 30 in the others.
        class_of = {f"{c}_{i}": str(c) for c in range(200) for i in range(29 if c < 6 else 30)}
        assert len(class_of) == 5994
        val = validation_per_class(class_of, 6)
        assert (len(class_of) - len(val), len(val)) == (4794, 1200)
        assert set(Counter(class_of[key] for key in val).values()) == {6}

    def test_faults(self, tmp_path: Path) -> None:
        cub_tree(tmp_path)
        (tmp_path / "segmentations/001.Black_footed_Albatross/bird_1.png").unlink()
        lines = (tmp_path / "train_test_split.txt").read_text().splitlines()
        (tmp_path / "train_test_split.txt").write_text("\n".join(lines[:-1]))
        assert faults(cub_items, tmp_path) == ["file is missing", "image without class or part"]
        (tmp_path / "classes.txt").write_text("1\n")
        assert faults(cub_items, tmp_path) == ["malformed line"]
        (tmp_path / "classes.txt").unlink()
        assert faults(cub_items, tmp_path) == ["file cannot be read"]
