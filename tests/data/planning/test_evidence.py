"""What plans are tried with: drawn data sets, the comparison with the settings of train.json, data of many files."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from scripts.data.datalist import read_datalist
from scripts.data.planning.fingerprint import fingerprint_of
from scripts.images.masks import NONZERO
from tests.support import plan_against_defaults as comparison
from tests.support.generated_sets import make_set
from tests.support.plan_speed import make_many


@pytest.mark.parametrize("name", ["lesions", "cells"])
def test_a_set_depends_on_its_seed_alone(tmp_path: Path, name: str) -> None:
    first, again, other = (
        make_set(name, tmp_path / f"{n}", seed, (2, 1, 0)).parent for n, seed in enumerate((0, 0, 1))
    )
    files = sorted(path.relative_to(first) for path in first.rglob("*.png"))
    assert len(files) == 6
    assert all((first / file).read_bytes() == (again / file).read_bytes() for file in files)
    assert all((first / file).read_bytes() != (other / file).read_bytes() for file in files)


def test_lesions_are_darker_than_what_is_around_and_normal_has_none(tmp_path: Path) -> None:
    folder = make_set("lesions", tmp_path, 0, (10, 1, 1)).parent
    data = read_datalist(folder, progress=False)
    assert data.counts()["train"] == {"benign": 4, "malignant": 4, "normal": 2}
    darker = []
    for item in data.split("train"):
        image, mask = np.asarray(Image.open(item["image"]), float), np.asarray(Image.open(item["mask"])) > 0
        if data.classes[item["label"]] == "normal":
            assert not mask.any()
            continue
        assert ndimage.label(mask)[1] == 1
        around = ndimage.binary_dilation(mask, iterations=25) & ~ndimage.binary_dilation(mask, iterations=8)
        darker.append(image[mask].mean() / image[around].mean())
    assert np.mean(darker) < 0.8
    assert fingerprint_of(data, NONZERO).empty_classes == ("normal",)


def test_cells_are_many_bright_and_small(tmp_path: Path) -> None:
    folder = make_set("cells", tmp_path, 0, (4, 1, 1)).parent
    data = read_datalist(folder, progress=False)
    cells = {"few": [], "clustered": []}
    for item in data.split("train"):
        image, mask = np.asarray(Image.open(item["image"]), float), np.asarray(Image.open(item["mask"]))
        assert image.shape == mask.shape == (512, 512)
        assert image[mask > 0].mean() > image[mask == 0].mean() + 20
        cells[data.classes[item["label"]]].append(mask.max())
    assert max(cells["few"]) < min(cells["clustered"])
    assert 9 < (fingerprint_of(data, NONZERO).object_px or 0) < 20


def test_data_of_many_files_is_a_data_set(tmp_path: Path) -> None:
    assert len(read_datalist(make_many(tmp_path, 30), progress=False).split("train")) == 21


class TestComparison:
    def made(self, monkeypatch: pytest.MonkeyPatch, plan: dict[str, object]) -> list[list[str]]:
        """Let runs write what they would: Dice is 0.5 and 0.01 for each mask, 0.1 less without the plan."""
        called: list[list[str]] = []

        def bundle(run_id: str, files: Sequence[Path], words: Sequence[str], log: Path) -> None:
            called.append([run_id, *map(str, files), *words])
            given = dict(zip(words[::2], words[1::2], strict=True))
            log.mkdir(parents=True, exist_ok=True)
            if run_id == "plan":
                (log / "plan.json").write_text(json.dumps(plan))
                return
            settings = json.loads(Path(files[1]).read_text())
            run = log / f"label_prop_seed{given['--active#seed']}"
            run.mkdir()
            with open(run / "curve.csv", "w", newline="") as stream:
                writer = csv.writer(stream)
                writer.writerow(["round", "masks", "dice", "accuracy", "seconds_total"])
                for at in range(int(given["--active#rounds"])):
                    masks = 2 * (settings["active#initial_per_class"] + at)
                    dice = 0.5 + 0.01 * masks - 0.1 * (log.name == "defaults")
                    writer.writerow([at, masks, dice, 1.0, 2.0])

        monkeypatch.setattr(comparison, "_bundle", bundle)
        return called

    def test_is_at_equal_masks_and_goes_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        plan = {"_desc_": "x", "num_classes": 3, "image_size": [288, 352], "active#initial_per_class": 4}
        called = self.made(monkeypatch, {**plan, "active#rounds": 11})
        words = ["--sets", "lesions", "--rounds", "2", "--counts", "1", "1", "1", "--out", str(tmp_path / "x.json")]
        comparison.main([*words, "--seeds", "0"])
        comparison.main([*words, "--seeds", "0", "1"])
        assert [call[0] for call in called] == ["plan", "training", "training"] * 2
        assert all("['normal']" in call for call in called)
        assert (tmp_path / "x.md").read_text().splitlines()[2:] == [
            "| lesions | 8 | 0.580 | 0.480 | +0.100 | +0.100 to +0.100 | 2 |",
            "| lesions | 10 | 0.600 | 0.500 | +0.100 | +0.100 to +0.100 | 2 |",
        ]
        old = json.loads((tmp_path / "x" / "lesions_seed0" / "defaults.json").read_text())
        assert old == {
            "num_classes": 3, "image_size": [192, 256], "active#initial_per_class": 2, "active#rounds": 4,
        }  # fmt: skip

    def test_glas_is_against_its_own_settings(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        called = self.made(monkeypatch, {"num_classes": 2, "active#initial_per_class": 4, "active#rounds": 11})
        comparison.main(["--sets", "glas", "--out", str(tmp_path / "x.json")])
        assert called[2][3].endswith("glas.json")
        assert called[2][called[2].index("--active#rounds") + 1] == "11"
        assert {"splits.csv", "split_paper"} < set(called[0])
