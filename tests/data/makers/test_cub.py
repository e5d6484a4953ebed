from __future__ import annotations

from collections import Counter
from pathlib import Path

from scripts.data.makers.cub import cub_items, validation_per_class
from tests.support.data_trees import by_id, faults, touch


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
