"""Two data sets unlike the demo's glands, drawn by numbers, to try on them what was made for GlaS.

``python -m tests.support.generated_sets lesions FOLDER --seed 0`` writes ``images/*.png``, ``masks/*.png`` and
``table.csv`` with the columns image, label, mask, split. The bytes depend on the arguments alone.

* ``lesions``: grey speckle as of ultrasound, about 420 x 560 pixels, sizes vary. Class benign has a smooth oval lesion,
  wider than high, malignant one with spikes and a washed-out border; normal has none, and an empty mask. Dark layers
  and shadows that are no lesion are in all classes.
* ``cells``: bright round cells of 10 to 40 pixels in 512 x 512, noise and an uneven glow; class few has them scattered,
  clustered in clumps. Specks and blurred cells out of focus are no foreground. Masks number the cells.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from scripts.core.result_files import csv_bytes
from scripts.core.seeds import numpy_generator
from scripts.data.demo.drawing import noise, stamp

COUNTS = (60, 20, 40)
"""Images of train, val and test."""
Picture = tuple[np.ndarray, np.ndarray]
"""Image uint8 (H, W) and mask uint8 (H, W), 0 outside."""
Plane = npt.NDArray[np.floating]


def make_set(name: str, folder: str | Path, seed: int = 0, counts: Sequence[int] = COUNTS) -> Path:
    """Write a data set, one of :data:`SETS`, and return the path of its table.

    Args:
        name: of the set.
        folder: made if absent.
        seed: another seed gives other images.
        counts: images of train, val and test; the classes take turns.
    """
    root = Path(folder)
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True, exist_ok=True)
    draw, turns = SETS[name]
    rows = []
    for split, count in zip(("train", "val", "test"), counts, strict=True):
        for number in range(count):
            label, file = turns[number % len(turns)], f"{split}_{number + 1:03d}.png"
            image, mask = draw(label, numpy_generator(seed, name, file))
            Image.fromarray(image).save(root / "images" / file)
            Image.fromarray(mask).save(root / "masks" / file)
            rows.append({"image": f"images/{file}", "label": label, "mask": f"masks/{file}", "split": split})
    (root / "table.csv").write_bytes(csv_bytes(rows, ("image", "label", "mask", "split")))
    return root / "table.csv"


# ---- lesions in speckle ----------------------------------------------------------------------------------------------


def draw_lesion(label: str, rng: np.random.Generator) -> Picture:
    """Draw an image of class benign, malignant or normal."""
    size = (round(420 * rng.uniform(0.85, 1.15)), round(560 * rng.uniform(0.85, 1.15)))
    echo = _tissue(size, rng)
    mask = np.zeros(size, np.uint8)
    if label != "normal":
        inside, centre, radius = _lesion(label, size, rng)
        mask = inside.astype(np.uint8) * 255
        border = rng.uniform(2, 4) if label == "benign" else rng.uniform(3, 8)
        share = _blurred(inside.astype(np.float32), border)
        dark = rng.uniform(0.25, 0.5) * np.exp(0.12 * noise(size, radius, rng))
        echo = echo * (1 - share) + echo * dark * share
        echo = echo * _behind(
            size, centre, radius, rng.uniform(0.9, 1.35) if label == "benign" else rng.uniform(0.6, 1)
        )
    spots = np.hypot(*rng.normal(size=(2, *size)).astype(np.float32))  # Rayleigh: what coherent waves make of tissue
    spots = _blurred(spots, 1.2, 2.2)
    spots = 1 + (spots - spots.mean()) / spots.std() * rng.uniform(0.3, 0.42)
    light = 255 * np.clip(echo * spots, 0, None) ** 0.8 * rng.uniform(0.8, 1.1)
    return np.clip(light + rng.normal(0, 4, size), 0, 255).astype(np.uint8), mask


def _tissue(size: tuple[int, int], rng: np.random.Generator) -> Plane:
    """Brightness without speckle: layers of skin, fat and muscle, dark lobules, shadows, less light from the depth."""
    height, width = size
    depth = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    wave = depth + 0.05 * noise(size, width / 2, rng)
    layers = 0.42 + 0.1 * np.sin(2 * np.pi * (wave * rng.uniform(1.5, 3) + rng.uniform())) + 0.07 * noise(size, 60, rng)
    layers = np.where(wave < rng.uniform(0.04, 0.08), 0.75, layers)
    for _ in range(rng.integers(2, 6)):  # dark, flat and faint: no lesion
        where = (np.array([rng.uniform(0.15, 0.95) * height]), np.array([rng.uniform(0, 1) * width]))
        flat = stamp(size, *where, (rng.uniform(40, 110), rng.uniform(8, 22)), rng.uniform(-0.3, 0.3))
        layers = layers * (1 - rng.uniform(0.2, 0.45) * _blurred(flat, 6))
    across = np.linspace(0, 1, width, dtype=np.float32)[None]
    for _ in range(rng.integers(0, 3)):  # shadows run downwards
        layers = layers * (
            1 - rng.uniform(0.15, 0.4) * np.exp(-(((across - rng.uniform()) / rng.uniform(0.02, 0.06)) ** 2))
        )
    return np.clip(layers, 0.05, 1) * np.exp(-rng.uniform(0.2, 0.8) * depth)


def _lesion(
    label: str, size: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, tuple[float, float], float]:
    """Return the mask, bool (H, W), the centre (y, x) and the radius of a lesion in pixels."""
    height, width = size
    radius = float(np.exp(rng.uniform(np.log(25), np.log(80))))
    centre = rng.uniform(0.3, 0.7) * height, rng.uniform(0.2, 0.8) * width
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    wide = rng.uniform(1.3, 1.9) if label == "benign" else rng.uniform(0.75, 1.25)
    v, u = (ys - centre[0]) * np.sqrt(wide), (xs - centre[1]) / np.sqrt(wide)
    tilt = rng.uniform(-0.25, 0.25)
    v, u = v * np.cos(tilt) - u * np.sin(tilt), u * np.cos(tilt) + v * np.sin(tilt)
    angle = np.arctan2(v, u)
    edge = np.ones(size, np.float32)
    strength = 0.03 if label == "benign" else 0.11
    for order in range(2, 5 if label == "benign" else 9):
        edge += strength * rng.normal() / np.sqrt(order - 1) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    for _ in range(0 if label == "benign" else rng.integers(5, 11)):  # spikes
        away = np.angle(np.exp(1j * (angle - rng.uniform(0, 2 * np.pi))))
        edge += rng.uniform(0.15, 0.5) * np.exp(-((away / rng.uniform(0.06, 0.14)) ** 2))
    return np.hypot(v, u) < radius * np.clip(edge, 0.4, None), centre, radius


def _behind(size: tuple[int, int], centre: tuple[float, float], radius: float, gain: float) -> Plane:
    """Light behind a lesion: more where it lets sound through, less where it does not."""
    ys, xs = np.mgrid[: size[0], : size[1]].astype(np.float32)
    column = np.exp(-(((xs - centre[1]) / radius) ** 2))
    return 1 + (gain - 1) * column / (1 + np.exp(-(ys - centre[0] - 0.8 * radius) / 6))


# ---- round cells -----------------------------------------------------------------------------------------------------


def draw_cells(label: str, rng: np.random.Generator) -> Picture:
    """Draw an image of class few or clustered."""
    size = (512, 512)
    ys, xs, radii = _places(label, size, rng)
    mask = np.zeros(size, np.uint8)
    light = np.zeros(size, np.float32)
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    for number, (y, x, radius) in enumerate(zip(ys, xs, radii, strict=True), start=1):
        stretch, turn = rng.uniform(0.85, 1.18), rng.uniform(0, np.pi)
        reach = int(1.5 * radius) + 3
        near = (slice(max(0, int(y) - reach), int(y) + reach), slice(max(0, int(x) - reach), int(x) + reach))
        v, u = rows[near] - y, columns[near] - x
        v, u = v * np.cos(turn) - u * np.sin(turn), u * np.cos(turn) + v * np.sin(turn)
        away = np.hypot(v * stretch, u / stretch) / radius
        mask[near][(away < 1) & (mask[near] == 0)] = number
        shape = np.clip((1.05 - away) * radius / 2, 0, 1) * (1 - rng.uniform(0.1, 0.5) * np.clip(away, 0, 1) ** 2)
        light[near] = np.maximum(light[near], rng.uniform(0.25, 0.9) * shape)
    light *= 1 + 0.15 * noise(size, 5, rng)  # chromatin
    blurred_ones = rng.integers(2, 9)
    light += _blurred(stamp(size, *rng.uniform(0, 512, (2, blurred_ones)), (18.0, 18.0), 0.0, rng.uniform(0.1, 0.3)), 9)
    specks = rng.integers(10, 40)
    light += stamp(size, *rng.uniform(0, 512, (2, specks)), (1.6, 1.6), 0.0, rng.uniform(0.2, 0.7, specks))
    glow = 0.12 + 0.05 * noise(size, 300, rng)
    light = _blurred(light, rng.uniform(0.6, 1.6)) + np.clip(glow, 0.02, None)
    counts = rng.poisson(np.clip(light, 0, None) * rng.uniform(40, 90)) / 65  # few photons: noise grows with light
    return np.clip(255 * rng.uniform(0.7, 1.0) * counts + rng.normal(0, 4, size), 0, 255).astype(np.uint8), mask


def _places(label: str, size: tuple[int, int], rng: np.random.Generator) -> tuple[Plane, Plane, Plane]:
    """Return centres and radii of cells that hardly overlap, in pixels."""
    clumps = rng.uniform(50, 462, (rng.integers(2, 6), 2))
    wanted = rng.integers(20, 50) if label == "few" else rng.integers(50, 110)
    found: list[tuple[float, float, float]] = []
    for _ in range(20 * wanted):
        if len(found) == wanted:
            break
        lonely = label == "few" or rng.uniform() < 0.15
        y, x = rng.uniform(0, size[0], 2) if lonely else clumps[rng.integers(len(clumps))] + rng.normal(0, 38, 2)
        radius = float(np.clip(rng.lognormal(np.log(10), 0.35), 5, 20))
        gap = 1.3 if label == "few" else 0.85
        free = all(np.hypot(y - b, x - a) > gap * (radius + r) for b, a, r in found)
        if free and 0 <= y < size[0] and 0 <= x < size[1]:
            found.append((float(y), float(x), radius))
    ys, xs, radii = np.array(found, np.float32).T
    return ys, xs, radii


def _blurred(values: Plane, down: float, across: float | None = None) -> Plane:
    """Gaussian blur, standard deviations in pixels."""
    return ndimage.gaussian_filter(np.asarray(values, np.float32), (down, down if across is None else across))


SETS: dict[str, tuple[Callable[[str, np.random.Generator], Picture], tuple[str, ...]]] = {
    "lesions": (draw_lesion, ("benign", "malignant", "benign", "malignant", "normal")),
    "cells": (draw_cells, ("few", "clustered")),
}
"""Name -> what draws an image of a class, and the classes in the order in which they take turns."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write a data set drawn by numbers.")
    parser.add_argument("name", choices=sorted(SETS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--counts", type=int, nargs=3, default=COUNTS, metavar=("TRAIN", "VAL", "TEST"))
    given = parser.parse_args(arguments)
    print(make_set(given.name, given.folder, given.seed, given.counts))  # noqa: T201


if __name__ == "__main__":
    main()
