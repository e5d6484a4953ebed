"""Small data sets laid out as README.md and docs/data.md describe them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from scripts.data.datalist import read_datalist
from scripts.data.makers.glas import glas_items
from tests.support.tiny_runs import make_images

SIZES = {"train": 8, "val": 2, "test": 2}


def write_my_data(folder: Path) -> Path:
    """A folder with ``data.csv``, ``datalist.json``, ``labels.csv``, ``images/`` (with ``a.png``) and ``masks/``."""
    drawn = make_images(folder.parent / f"{folder.name}_drawn", SIZES)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rows = [line.split(",") for line in (drawn / "data.csv").read_text().splitlines()]
    table, labels = ["image,label,mask,split"], ["image,label,split"]
    lists: dict[str, list[dict[str, str]]] = {"training": [], "validation": [], "test": []}
    sections = {"train": "training", "val": "validation", "test": "test"}
    for number, values in enumerate(rows[1:]):
        row = dict(zip(rows[0], values, strict=True))
        name = "a.png" if number == 0 else row["image"]
        shutil.copy(drawn / row["image"], folder / "images" / name)
        shutil.copy(drawn / row["mask"], folder / "masks" / name)
        table.append(f"images/{name},{row['label']},masks/{name},{row['split']}")
        labels.append(f"{name},{row['label']},{row['split']}")
        entry = {"image": f"images/{name}", "label": row["label"], "mask": f"masks/{name}"}
        lists[sections[row["split"]]].append(entry)
    (folder / "data.csv").write_text("\n".join(table) + "\n")
    (folder / "labels.csv").write_text("\n".join(labels) + "\n")
    (folder / "datalist.json").write_text(json.dumps(lists))
    shutil.rmtree(drawn)
    return folder


def write_glas_archive(folder: Path) -> Path:
    """A folder laid out as the organisers ship GlaS: ``train_1.bmp``, ``train_1_anno.bmp``, ..., ``Grade.csv``."""
    drawn = make_images(folder.parent / f"{folder.name}_drawn", {"train": 12, "test": 4})
    folder.mkdir(parents=True)
    rows = ["name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)"]
    for path in sorted(drawn.glob("*[0-9].png")):
        split, number = path.stem.split("_")
        name = f"{'train' if split == 'train' else 'testA'}_{int(number) + 1}"
        Image.open(path).save(folder / f"{name}.bmp")
        mask = np.asarray(Image.open(path.with_name(f"{path.stem}_mask.png")))
        Image.fromarray(mask).save(folder / f"{name}_anno.bmp")
        rows.append(f"{name},{int(number) % 5}, {'benign' if int(number) % 2 else 'malignant'}, adenomatous")
    (folder / "Grade.csv").write_text("\n".join(rows) + "\n")
    shutil.rmtree(drawn)
    return folder


def test_my_data_can_be_read_as_table_and_as_list(tmp_path: Path) -> None:
    folder = write_my_data(tmp_path / "my_data")
    table, listed = (read_datalist(folder / name, progress=False) for name in ("data.csv", "datalist.json"))
    assert table.image_sha256 == listed.image_sha256
    assert table.counts() == listed.counts()


def test_the_archive_looks_like_the_real_one(tmp_path: Path) -> None:
    items, _ = glas_items(write_glas_archive(tmp_path / "archive"))
    assert {item["split"] for item in items} == {"train", "val", "test"}
