from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.data.datalist import read_datalist
from scripts.data.makers.slide_tiles import TileRule
from scripts.data.makers.slides import slide_items
from scripts.images.mask_files.several import read_whole_mask
from scripts.images.masks import read_mask
from scripts.images.reading import read_image
from scripts.images.slide_files.region import load_region
from tests.data.makers.test_commands import main
from tests.support.regions import SIDE, make_pool
from tests.support.slides import tissue, write_tiff

IMAGE = tissue(256, 320, glass=True)
WHOLE = TileRule(64, thin=0.0)


def folder(root: Path, table: str = "slide,label\na,x\n", **images: np.ndarray) -> Path:
    for name, image in (images or {"a": IMAGE}).items():
        write_tiff(root / "slides" / f"{name}.tif", image, levels=2, photometric="rgb")
    (root / "slides.csv").write_text(table)
    return root


def made(root: Path, rule: TileRule = WHOLE, **options: Any) -> list[dict[str, Any]]:
    fractions = {"val_fraction": 0.0, "test_fraction": 0.0}
    return slide_items(root / "slides", root / "slides.csv", root / "pool", rule, **{**fractions, **options})[0]


def told(root: Path, rule: TileRule = WHOLE, **options: Any) -> list[str]:
    with pytest.raises(InputError) as error:
        made(root, rule, **options)
    return [problem.what for problem in error.value.problems]


class TestRegions:
    def test_a_grid_of_what_has_tissue(self, tmp_path: Path) -> None:
        items = made(folder(tmp_path))
        assert len(items) == 16  # of 20: the left fifth is glass
        for item in items:
            area = load_region(item["image"]).area
            np.testing.assert_array_equal(read_image(item["image"]), IMAGE[area.slices()])
            assert area.left >= 64 and area.size == (64, 64)
            assert item["id"] == f"a_y{int(area.top):06d}_x{int(area.left):06d}"
            assert (item["slide"], item["patient_id"], item["mask"]) == ("a", "a", None)

    def test_micrometres(self, tmp_path: Path) -> None:
        items = made(folder(tmp_path), TileRule(32, mpp=0.5, slide_mpp=0.25, thin=0.0))
        assert len(items) == 16
        assert {load_region(item["image"]).area.size for item in items} == {(64, 64)}
        assert {read_image(item["image"]).shape for item in items} == {(32, 32, 3)}
        assert {load_region(item["image"]).level for item in items} == {1}

    def test_no_pixels_are_written_and_nothing_changes_the_second_time(self, tmp_path: Path) -> None:
        made(folder(tmp_path))
        files = [path for path in (tmp_path / "pool").rglob("*") if path.is_file()]
        assert {path.suffix for path in files} == {".region"} and all(path.stat().st_size < 400 for path in files)
        before = {path: path.stat().st_mtime_ns for path in files}
        made(tmp_path)
        assert {path: path.stat().st_mtime_ns for path in files} == before

    def test_near_duplicates_are_thinned(self, tmp_path: Path) -> None:
        plain = np.full((256, 256, 3), (200, 150, 180), np.uint8)
        plain[:64, :64] = (90, 40, 120)
        plain[64:128, :32] = (90, 40, 120)
        root = folder(tmp_path, a=plain)
        areas = [load_region(item["image"]).area[:2] for item in made(root, TileRule(64))]
        assert areas == [(0.0, 0.0), (0.0, 64.0), (64.0, 0.0)]
        assert len(made(root, TileRule(64, most=2))) == 2
        assert len(made(root, TileRule(64, thin=0.0))) == 16

    def test_the_same_for_any_number_of_times(self, tmp_path: Path) -> None:
        root = folder(tmp_path)
        ids = [item["id"] for item in made(root, TileRule(32, most=7))]
        assert ids == [item["id"] for item in made(root, TileRule(32, most=7))] and len(ids) == 7


class TestMasks:
    def test_of_a_slide_of_masks_of_any_size(self, tmp_path: Path) -> None:
        dark = (IMAGE.max(axis=2) < 140).astype(np.uint8) * np.uint8(255)
        for number, mask in enumerate((dark, dark[::2, ::2])):
            root = folder(tmp_path / str(number))
            write_tiff(root / "masks" / "a.tif", mask, photometric="minisblack")
            for item in made(root, masks=root / "masks"):
                truth = dark[load_region(item["image"]).area.slices()] > 0
                assert (read_mask(item["mask"]) != truth).mean() < (0.08 if number else 1e-9)

    def test_of_outlines(self, tmp_path: Path) -> None:
        root = folder(tmp_path)
        square = [[100, 100], [200, 100], [200, 200], [100, 200], [100, 100]]
        features = [{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [square]}, "properties": {}}]
        (root / "masks").mkdir()
        (root / "masks" / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        truth = np.zeros(IMAGE.shape[:2], bool)
        truth[100:200, 100:200] = True
        for item in made(root, masks=root / "masks"):
            mask = read_whole_mask(item["mask"], item["image"])
            np.testing.assert_array_equal(mask, truth[load_region(item["image"]).area.slices()])

    def test_refused(self, tmp_path: Path) -> None:
        root = folder(tmp_path)
        write_tiff(root / "masks" / "a.tif", np.zeros((256, 256), np.uint8), photometric="minisblack")
        assert told(root, masks=root / "masks") == ["mask has another shape than its slide"]
        (root / "masks" / "a.geojson").write_text("{}")
        assert told(root, masks=root / "masks") == ["slide has several masks"]


class TestTable:
    def test_what_is_written_is_what_the_reader_reads(self, tmp_path: Path) -> None:
        pool = make_pool(tmp_path)
        data = read_datalist(pool, progress=False)
        assert Counter(item["split"] for item in data.items) == {"train": 32, "val": 32, "test": 32}
        assert data.classes == ("a", "b") and all(item["mask"] for item in data.items)
        assert (pool / "data.csv").read_text().startswith("id,image,label,mask,split,patient_id,slide\n")

    def test_splits_are_of_whole_slides_or_patients(self, tmp_path: Path) -> None:
        rows = "\n".join(f"s{n},{'xy'[n % 2]},{'' if n < 6 else 'P'}" for n in range(10))
        images = {f"s{n}": tissue(128, 128, seed=n) for n in range(10)}
        root = folder(tmp_path, f"slide,label,patient_id\n{rows}", **images)
        items = made(root, val_fraction=0.2, test_fraction=0.2)
        splits: dict[str, set[str]] = {}
        for item in items:
            splits.setdefault(item["patient_id"], set()).add(item["split"])
        assert all(len(found) == 1 for found in splits.values()) and set(splits) == {*(f"s{n}" for n in range(6)), "P"}
        assert {item["split"] for item in items} == {"train", "val", "test"}

    def test_too_few_slides_for_the_splits(self, tmp_path: Path) -> None:
        problems = told(folder(tmp_path), val_fraction=0.2)
        assert problems == ["grouping by patient leaves no image for val"]

    def test_faults_of_the_table(self, tmp_path: Path) -> None:
        images = {"a": tissue(128, 128), "b": tissue(128, 128)}
        assert told(folder(tmp_path, "slide,label\na,x\n", **images)) == ["slide has no label"]
        assert told(folder(tmp_path, "slide,label\na,x\nb,\nc,x\na.tif,x", **images)) == [
            "row has no label", "row fits not exactly one slide", "slide is listed twice",
        ]  # fmt: skip
        assert told(folder(tmp_path, "slide,label,split\na,x,train\nb,x,", **images)) == ["unknown split"]
        assert told(folder(tmp_path, "image,label\na,x\n", **images)) == ["columns are missing"]

    def test_faults_of_slides(self, tmp_path: Path) -> None:
        root = folder(tmp_path / "1", a=np.full((128, 128, 3), 240, np.uint8))
        assert told(root) == ["slide has no region with tissue"]
        assert told(root, TileRule(512)) == ["slide is smaller than a region"]
        assert told(root, TileRule(64, mpp=0.5)) == ["size of the slide's pixels is not known"]
        (root / "slides" / "a.tif").write_bytes(b"no slide")
        assert told(root) == ["openslide cannot open the slide"]
        (root / "slides" / "a.tif").unlink()
        assert told(root) == ["no slide in the folder"]


def test_values_out_of_range() -> None:
    with pytest.raises(InputError) as error:
        TileRule(8, 0, -1, 2, -1, 0)
    assert [p.where for p in error.value.problems] == [
        "--tile", "--mpp", "--slide_mpp", "--min_tissue", "--thin", "--most",
    ]  # fmt: skip


def test_the_command(tmp_path: Path) -> None:
    root = folder(tmp_path, "slide,label,split\na,x,train\n")
    words = [str(root / "slides"), "--labels", str(root / "slides.csv"), "--tile", str(SIDE), "--out", str(root / "p")]
    main(["slides", *words])
    assert len(read_datalist(root / "p", progress=False).items) > 3
