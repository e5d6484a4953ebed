"""The demo data set: complete, deterministic, kept when whole, remade when not, and neither empty nor trivial."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts.core.errors import InputError
from scripts.data.demo.data_set import make_demo
from scripts.data.demo.glands import GROWTHS
from scripts.data.demo.tissue import CLASSES, Slide, random_slide, render_tissue

SMALL: dict[str, Any] = {"n_train": 2, "n_val": 2, "n_test": 2, "size": (64, 80)}


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def tissue() -> list[tuple[str, np.ndarray, np.ndarray]]:
    made = []
    for kind in CLASSES:
        for place in range(len(GROWTHS[kind])):
            rng = np.random.default_rng(place)
            made.append((kind, *render_tissue(kind, (192, 256), random_slide(rng), rng, place)))
    return made


def test_table_names_every_file_and_no_patient_is_in_two_splits(tmp_path: Path) -> None:
    table = make_demo(tmp_path, n_train=8, n_val=2, n_test=4, size=(96, 128))
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["image", "label", "mask", "split", "patient_id"]
    assert [row["split"] for row in rows].count("train") == 8
    assert {(row["split"], row["label"]) for row in rows} == {(s, c) for s in ("train", "val", "test") for c in CLASSES}
    patients: dict[str, set[tuple[str, str]]] = {}
    for row in rows:
        image, mask = (np.asarray(Image.open(tmp_path / row[column])) for column in ("image", "mask"))
        assert image.shape == (96, 128, 3)
        assert mask.shape == (96, 128)
        assert set(np.unique(mask)) == set(range(mask.max() + 1)), "instance numbers have a gap"
        patients.setdefault(row["patient_id"], set()).add((row["split"], row["label"]))
    assert all(len(where) == 1 for where in patients.values())


def test_bytes_depend_on_the_seed_alone(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_demo(tmp_path / name, seed=seed, **SMALL)
    same, again, other = (_hashes(tmp_path / name) for name in "abc")
    assert same == again
    assert all(other[path] != digest for path, digest in same.items() if path.startswith("images"))


def test_complete_data_are_kept_and_damaged_data_are_remade(tmp_path: Path) -> None:
    table = make_demo(tmp_path, **SMALL)
    before, written = _hashes(tmp_path), table.stat().st_mtime_ns
    make_demo(tmp_path, **SMALL)
    assert table.stat().st_mtime_ns == written, "complete data were written again"
    for damage in ("images/train_01.png", "masks/val_02.png", "manifest.json"):
        (tmp_path / damage).write_bytes(b"{")
        make_demo(tmp_path, **SMALL)
        assert _hashes(tmp_path) == before
    make_demo(tmp_path, seed=1, **SMALL)
    assert _hashes(tmp_path) != before


def test_too_little_is_refused_with_everything_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        make_demo(tmp_path, n_train=1, n_val=0, size=(20, 200))
    text = str(caught.value)
    assert all(name in text for name in ("n_train", "n_val", "size"))
    assert not list(tmp_path.iterdir())


def test_both_classes_have_glands_and_stroma(tissue: list) -> None:
    for kind, image, mask in tissue:
        assert image.dtype == mask.dtype == np.uint8
        assert 0.10 < (mask > 0).mean() < 0.85, kind
        assert mask.max() >= 3, kind


def test_glands_of_a_class_differ_in_shape(tissue: list) -> None:
    def roundness(mask: np.ndarray) -> float:
        """Mean of 4 pi area / border^2 over whole glands."""
        values = []
        for gland in range(1, mask.max() + 1):
            one = np.pad(mask == gland, 1)
            if one[1].any() or one[-2].any() or one[:, 1].any() or one[:, -2].any() or one.sum() < 200:
                continue
            border = sum((one ^ np.roll(one, 1, axis)).sum() for axis in (0, 1))
            values.append(4 * np.pi * one.sum() / (border * np.pi / 4) ** 2)
        return float(np.mean(values)) if values else np.nan

    mean = {kind: np.nanmean([roundness(mask) for k, _, mask in tissue if k == kind]) for kind in CLASSES}
    assert mean["benign"] > mean["malignant"] + 0.1


def test_no_threshold_on_a_colour_finds_the_glands(tissue: list) -> None:
    best = 0.0
    for channel in range(3):
        for sign in (1, -1):
            for cut in range(10, 250, 10):
                dices = []
                for _, image, mask in tissue:
                    pred, truth = sign * image[..., channel].astype(int) >= sign * cut, mask > 0
                    dices.append(2 * (pred & truth).sum() / (pred.sum() + truth.sum()))
                best = max(best, float(np.mean(dices)))
    assert 0.3 < best < 0.68


def test_the_shape_of_the_image_is_free() -> None:
    rng = np.random.default_rng(0)
    image, mask = render_tissue("malignant", (101, 67), random_slide(rng), rng)
    assert image.shape == (101, 67, 3)
    assert mask.shape == (101, 67)


def _slide(**changes: Any) -> Slide:
    return dataclasses.replace(random_slide(np.random.default_rng(5)), **changes)


def test_architectures_take_turns_and_every_one_is_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []

    def render(kind: str, size: tuple[int, int], slide: Slide, rng: np.random.Generator, place: int) -> tuple:
        seen.append((kind, place % len(GROWTHS[kind])))
        return np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)

    monkeypatch.setattr("scripts.data.demo.data_set.render_tissue", render)
    make_demo(tmp_path, n_train=12, n_val=2, n_test=12)
    everything = sorted((kind, place) for kind in CLASSES for place in range(len(GROWTHS[kind])))
    assert sorted(seen[:12]) == sorted(seen[14:]) == everything
    assert len({names.name for kind in CLASSES for names in GROWTHS[kind]}) == len(everything)


def test_an_architecture_looks_like_its_name() -> None:
    """Dilated glands reach across half the image, microglands stay small; a solid nest has no lumen, a crypt has."""

    def drawn(kind: str, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
        place = [growth.name for growth in GROWTHS[kind]].index(name)
        slide = _slide(blur=0.0, grain=1.0, zoom=1.0, strength=(1.0, 1.0), white=np.full(3, 250.0))
        return [render_tissue(kind, (192, 256), slide, np.random.default_rng(seed), place) for seed in range(3)]

    def widest(made: list[tuple[np.ndarray, np.ndarray]]) -> float:
        return max(np.sqrt((mask == gland).sum()) for _, mask in made for gland in range(1, mask.max() + 1))

    def pale(made: list[tuple[np.ndarray, np.ndarray]]) -> float:
        return float(np.mean([(image.min(-1)[mask > 0] > 205).mean() for image, mask in made]))

    assert widest(drawn("benign", "dilated")) > 2 * widest(drawn("benign", "microglandular"))
    assert widest(drawn("benign", "dilated")) > 60
    assert pale(drawn("malignant", "solid")) < 0.01 < 0.05 < pale(drawn("benign", "crypts"))


def test_slides_differ_in_stain_and_focus() -> None:
    slides = [random_slide(np.random.default_rng(seed)) for seed in range(12)]
    images = [render_tissue("benign", (96, 128), slide, np.random.default_rng(1))[0] for slide in slides]
    assert np.std([image.mean((0, 1)) for image in images], axis=0).min() > 8, "of 255, in each channel"
    assert len({slide.ground for slide in slides}) > 2

    def roughness(**changes: Any) -> float:
        image = render_tissue("benign", (96, 128), _slide(grain=0.0, **changes), np.random.default_rng(1))[0]
        return float(np.abs(np.diff(image.astype(float), axis=1)).mean())

    assert roughness(blur=1.5) < 0.8 * roughness(blur=0.0)


class TestNormal:
    def test_without_them_nothing_is_different(self, tmp_path: Path) -> None:
        make_demo(tmp_path / "a", **SMALL)
        make_demo(tmp_path / "b", normal=0, **SMALL)
        assert _hashes(tmp_path / "a") == _hashes(tmp_path / "b")
        assert '"normal"' not in (tmp_path / "a" / "manifest.json").read_text()

    def test_they_come_beside_the_others(self, tmp_path: Path) -> None:
        make_demo(tmp_path / "without", **{**SMALL, "n_train": 4})
        table = make_demo(tmp_path / "with", normal=3, **{**SMALL, "n_train": 4})
        with table.open() as stream:
            rows = [row for row in csv.DictReader(stream) if row["label"] == "normal"]
        counts = [sum(row["split"] == split for row in rows) for split in ("train", "val", "test")]
        assert counts == [3, 2, 2]  # 3 / 4 of each 2, rounded
        assert not any(np.asarray(Image.open(tmp_path / "with" / row["mask"])).any() for row in rows)
        pictures = [np.asarray(Image.open(tmp_path / "with" / row["image"])) for row in rows]
        assert all(picture.shape == (64, 80, 3) and picture.std() > 5 for picture in pictures)
        assert len({picture.tobytes() for picture in pictures}) == len(rows)
        before, after = _hashes(tmp_path / "without"), _hashes(tmp_path / "with")
        assert {name: after[name] for name in before if name.endswith(".png")} == {
            name: digest for name, digest in before.items() if name.endswith(".png")
        }
        patients = {row["patient_id"]: row["split"] for row in rows}
        assert all(patients[row["patient_id"]] == row["split"] for row in rows)

    def test_a_negative_number_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="demo normal: too few images; expected >= 0; found -1"):
            make_demo(tmp_path, normal=-1, **SMALL)
