from __future__ import annotations

from collections import Counter
from pathlib import Path

from scripts.data.makers.glas import glas_items
from tests.support.data_trees import by_id, faults, touch


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
