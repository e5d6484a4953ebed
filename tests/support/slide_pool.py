"""Two synthetic slides as the pool of a run: two rounds answered in slide coordinates, then the masks of whole slides.

    python -m tests.support.slide_pool --side 10000 --out runs/slide_pool

The slides of the pool are ``benign`` and ``malignant`` (its right half alone); two small ones are for validation. Every
command is started as a user does. Two trainings are killed (SIGKILL), when stage 0 is done and while the network trains
on the first answers, and given again. Answers are the true outlines within the rectangles, in pixels of the slide. It
prints Dice of the masks of the whole slides against the truth, and what was written, by kind of file.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scripts.data.demo.slide import Mosaic, write_slide
from scripts.images.drawn.pixel_borders import objects
from scripts.images.slide_files.box import Box
from scripts.images.slide_files.reader import Slide
from scripts.state.reader import StateReader

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ["-m", "monai.bundle", "run", "training", "--config_file", "bundle/configs/train.json"]
PREDICT = ["-m", "monai.bundle", "run", "slide", "--config_file", "bundle/configs/slide.json"]
SMALL = {
    "image_size": [64, 64], "batch_size": 2, "max_epochs": 1, "epoch_length": 2, "val_interval": 1, "variants": 2,
    "network_def#pretrained": False, "network_def#decoder_channels": [8] * 5, "active#initial_per_class": 1,
    "active#stage0#overrides#max_epochs": 2, "active#stage0#overrides#epoch_length": 2, "active#max_overlays": 0,
}  # fmt: skip
FULL = {"image_size": [128, 128], "active#initial_per_class": 6, "active#query_per_class": 4, "max_epochs": 6}


@dataclass
class Outcome:
    """What came out.

    Attributes:
        dice: slide -> Dice of its mask.
        pool: suffix -> bytes of the files of the pool.
        run: suffix -> bytes of the files of the run.
        kills: how many commands were killed.
        rounds: asked ids of each round.
    """

    dice: dict[str, float]
    pool: dict[str, int]
    run: dict[str, int]
    kills: int
    rounds: list[list[str]]


def play(
    out: Path, side: int, tile: int, most: int, settings: dict[str, Any], fields: int = 24, after: float = 5
) -> Outcome:
    """Do all of it in the folder ``out``, where slides that are there are used again; kill ``after`` seconds."""
    mosaics = _slides(out, side, fields)
    pool = out / "pool"
    make = f"--labels {out}/slides.csv --mpp 0.5 --tile {tile} --most {most} --masks {out}/val_masks --out {pool}"
    _command(["-m", "scripts.data", "slides", str(out / "slides"), *make.split()])
    words = ["--dataset_dir", str(pool), "--output_dir", str(out / "run"), "--oracle", "folder", "--active#rounds", "2"]
    train = [*TRAIN, *words, *(f"--{key}={value}" for key, value in settings.items())]
    kills = _killed(train, out / "run", 0.0)  # when stage 0 is done: the queries are being chosen
    _command(train)
    folder, rounds = out / "run" / "label_prop_seed0", []
    for index in range(2):
        rounds.append(_answer(folder, index, mosaics))
        if index == 0:
            kills += _killed(train, out / "run", after)  # while the network trains on the first answers
        _command(train)
    _command([*PREDICT, "--slides", str(out / "slides"), "--output_dir", str(out / "predicted"), "--model#output_dir",
              str(out / "run"), "--mpp", "0.5"])  # fmt: skip
    dice = {name: _dice(out / "predicted" / f"{name}_mask.tif", mosaic) for name, mosaic in mosaics.items()}
    return Outcome(dice, _bytes_in(pool), _bytes_in(folder), kills, rounds)


def _slides(out: Path, side: int, fields: int) -> dict[str, Mosaic]:
    small = max(side // 4, 1200)
    plan = {"benign": (side, 1, 0.0), "malignant": (side, 2, 0.5), "val_benign": (small, 3, 0.0),
            "val_malignant": (small, 4, 1.0)}  # fmt: skip
    rows = ["slide,label,patient_id,split"]
    mosaics = {}
    for name, (length, seed, malignant) in plan.items():
        mosaics[name] = Mosaic(length, seed, fields, malignant)
        path, split = out / "slides" / f"{name}.tif", "val" if name.startswith("val") else "train"
        mask = str(out / "val_masks" / f"{name}.tif") if split == "val" else None
        if not path.is_file():
            write_slide(str(path), length, seed, fields, mask=mask, malignant=malignant)
        rows.append(f"{name},{name.removeprefix('val_')},P{seed},{split}")
    (out / "slides.csv").write_text("\n".join(rows))
    return mosaics


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _command(words: Sequence[str]) -> None:
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{words}: exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    name = next((word for word in words if word in ("slides", "training", "slide")), words[1])
    sys.stderr.write(f"{name}: {time.perf_counter() - start:.0f} s\n")


def _killed(words: Sequence[str], folder: Path, after: float) -> int:
    """Start a command, kill it so many seconds after it committed a phase; return how many kills that were, 0 or 1."""
    begin = time.time()
    process = subprocess.Popen([sys.executable, *words], cwd=ROOT, env=_environment(), stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    while process.poll() is None:
        if any(_time_of(path) >= begin for path in folder.rglob("journal.jsonl")):
            time.sleep(after)
            os.killpg(process.pid, signal.SIGKILL)
            return int(process.wait() == -signal.SIGKILL)
        time.sleep(0.02)
    return 0


def _time_of(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _answer(folder: Path, index: int, mosaics: dict[str, Mosaic]) -> list[str]:
    """Hand in the true outlines within the rectangles that went out, in pixels of the slides; return the ids."""
    with StateReader.open(folder) as state:
        asked = state.waiting(index)
    base = folder / "to_annotate" / f"round_{index:02d}"
    answered = []
    for path in sorted((base / "slides").glob("*.geojson")):
        features = json.loads(path.read_text())["features"]
        kept = [each for each in features if "name" in each["properties"]]  # proposals are wiped out
        for rectangle in list(kept):
            ring = np.array(rectangle["geometry"]["coordinates"][0])
            (left, top), (right, bottom) = ring.min(axis=0).astype(int), ring.max(axis=0).astype(int)
            truth = mosaics[path.stem].region(top, left, bottom - top, right - left)[1]
            kept += [_polygon(rings, left, top) for rings in objects(truth.astype(np.uint8))]
            answered.append(rectangle["properties"]["name"])
        (base / "masks" / path.name).write_text(json.dumps({"type": "FeatureCollection", "features": kept}))
    if sorted(answered) != sorted(asked):
        raise RuntimeError(f"asked {asked}, rectangles {answered}")
    return answered


def _polygon(rings: Sequence[np.ndarray], left: int, top: int) -> dict[str, Any]:
    closed = [np.concatenate([ring, ring[:1]]) + np.array([left, top]) for ring in rings]
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring.tolist() for ring in closed]},
            "properties": {"objectType": "annotation", "classification": {"name": "gland"}}}  # fmt: skip


def _dice(path: Path, truth: Mosaic, strip: int = 512) -> float:
    """Dice of a mask as large as the slide, read in strips."""
    both = either = 0
    with Slide(path, "tifffile") as slide:
        for top in range(0, truth.side, strip):
            bottom = min(top + strip, truth.side)
            area = Box(top, 0, bottom, truth.side)
            found = slide.read_values(0, area, (bottom - top, truth.side)) > 0
            true = truth.region(top, 0, bottom - top, truth.side)[1]
            both, either = both + int((found & true).sum()), either + int(found.sum() + true.sum())
    return 2 * both / max(1, either)


def _bytes_in(folder: Path) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for path in folder.rglob("*"):
        if path.is_file():
            counts[path.suffix] += path.stat().st_size
    return dict(sorted(counts.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--most", type=int, default=100)
    given = parser.parse_args()
    found = play(given.out.absolute(), given.side, given.tile, given.most, FULL)
    sys.stdout.write(f"{json.dumps(found.__dict__, indent=1)}\n")


if __name__ == "__main__":
    main()
