"""Synthetic H&E-like colon tissue: glands of two classes in a textured stroma, with their exact instance mask.

How an image is made. Glands are unions of round-ended segments whose signed distance is known everywhere; the plane is
warped a little first, so that no border is a perfect curve. The distance says which layer a pixel belongs to (nuclear
ring, cytoplasm, lumen) and the mask is simply *distance < 0*, exact by construction. Nuclei, goblet vacuoles and blood
cells are small ellipses stamped into maps of stain concentration, and Beer-Lambert mixing turns the two concentrations
(haematoxylin, eosin) into colours: light = exp(-(h * H + e * E)).

Benign glands are round, separate, with one row of nuclei and pale goblet cells. Malignant glands are branched, crowded,
often touching, with dark stratified epithelium, ragged or several (cribriform) lumina. The stroma holds what is *not*
gland but has its colours: vessels (a pale lumen in a wall), crowds of lymphocytes (dark), pale clefts.

All lengths are in pixels of an image whose shorter side is 192; larger images scale them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scripts.demo_drawing import Map, noise, scatter, segment_distance, stamp, value_at

CLASSES = ("benign", "malignant")
REFERENCE_SIDE = 192
# Optical densities per unit of stain for red, green and blue (Ruifrok and Johnston 2001, measured on H&E).
HAEMATOXYLIN = (0.644, 0.717, 0.267)
EOSIN = (0.093, 0.954, 0.283)


@dataclass(frozen=True)
class Stain:
    """How one patient's slide was stained: two colour vectors (3,), the strength of each, the light of the scanner."""

    haematoxylin: npt.NDArray[np.floating]
    eosin: npt.NDArray[np.floating]
    strength: tuple[float, float]
    white: npt.NDArray[np.floating]


def random_stain(rng: np.random.Generator) -> Stain:
    """Draw the stain of one patient; the spread is about that between the patients of GlaS."""
    vectors = [np.clip(np.array(v) + rng.normal(0, 0.035, 3), 0.02, None) for v in (HAEMATOXYLIN, EOSIN)]
    vectors = [(v / np.linalg.norm(v)).astype(np.float32) for v in vectors]
    strength = (float(rng.uniform(0.8, 1.25)), float(rng.uniform(0.7, 1.35)))
    return Stain(vectors[0], vectors[1], strength, rng.uniform(240, 252, 3).astype(np.float32))


def render_tissue(
    kind: str, size: tuple[int, int], stain: Stain, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return one image (H, W, 3) uint8 RGB and its mask (H, W) uint8: 0 stroma, 1.. one number per gland.

    Args:
        kind: one of :data:`CLASSES`.
        size: (H, W) in pixels.
        stain: colours of the slide, see :func:`random_stain`.
        rng: every random choice comes from here.
    """
    scale = min(size) / REFERENCE_SIDE
    malignant = kind == "malignant"
    glands, owner = _glands(malignant, size, scale, rng)
    vessels = _vessels(glands, scale, rng)
    stroma = _stroma(glands, vessels, malignant, scale, rng)
    epithelium = _malignant_glands if malignant else _benign_glands
    inside = epithelium(-glands, scale, rng)
    edge = np.clip(0.5 - glands, 0, 1)  # one soft pixel, as an optical border has
    h, e = (edge * a + (1 - edge) * b for a, b in zip(inside, stroma, strict=True))
    mask = np.where(glands < 0, owner + 1, 0).astype(np.uint8)
    return _stained(h, e, stain, rng), mask


# --- geometry -------------------------------------------------------------------------------------------------------


def _glands(malignant: bool, size: tuple[int, int], scale: float, rng: np.random.Generator) -> tuple[Map, npt.NDArray]:
    """Signed distance to the nearest gland (negative inside) and the number of that gland, each (H, W)."""
    ys, xs = np.mgrid[: size[0], : size[1]].astype(np.float32)
    bends = ((34, 6.5), (13, 2.8)) if malignant else ((30, 2.2), (12, 0.7))
    for period, depth in bends:
        ys, xs = (axis + noise(size, period * scale, rng) * np.float32(depth * scale) for axis in (ys, xs))
    wanted, gap = (int(rng.integers(8, 16)), -3.0) if malignant else (int(rng.integers(8, 17)), 4.5)
    nearest = np.full(size, np.inf, np.float32)
    owner = np.zeros(size, np.intp)
    count = 0
    for _ in range(25 * wanted):
        segments = _skeleton(malignant, size, scale, rng)
        # A new gland may not reach nearer than the gap to the skeletons there are; crowding is a negative gap.
        crowd = [
            float(value_at(nearest, *point[:, None])[0]) - r for a, b, r in segments for point in (a, (a + b) / 2, b)
        ]
        if count and min(crowd) < gap * scale:
            continue
        distance = np.min([segment_distance(ys, xs, a, b, r) for a, b, r in segments], axis=0)
        if (distance < 0).sum() < 120 * scale**2:  # nearly all of it outside the image
            continue
        owner[distance < nearest] = count
        nearest = np.minimum(nearest, distance)
        count += 1
        if count == wanted:
            break
    return nearest, owner


def _skeleton(
    malignant: bool, size: tuple[int, int], scale: float, rng: np.random.Generator
) -> list[tuple[npt.NDArray, npt.NDArray, float]]:
    """Segments (start, end, radius) of one gland: one short one if benign, a bent chain with branches if malignant."""
    point = rng.uniform(-0.08, 1.08, 2) * size
    angle = rng.uniform(0, 2 * np.pi)
    radius = (rng.uniform(12, 21) if malignant else rng.uniform(16, 24)) * scale
    segments = []
    for _ in range(int(rng.integers(1, 5)) if malignant else 1):
        length = (rng.uniform(12, 34) if malignant else rng.uniform(0, 18)) * scale
        end = point + length * np.array([np.sin(angle), np.cos(angle)])
        segments.append((point.astype(np.float32), end.astype(np.float32), float(radius)))
        point = end if rng.random() < 0.75 else point  # staying where it is makes a branch
        angle += rng.normal(0, 0.9)
        radius = float(np.clip(radius * rng.uniform(0.75, 1.25), 10 * scale, 22 * scale))
    return segments


def _vessels(glands: Map, scale: float, rng: np.random.Generator) -> Map:
    """Signed distance to the nearest vessel, all of them clear of the glands."""
    size = glands.shape
    ys, xs = np.mgrid[: size[0], : size[1]].astype(np.float32)
    ys, xs = (axis + noise(size, 14 * scale, rng) * np.float32(1.2 * scale) for axis in (ys, xs))
    nearest = np.full(size, 99 * scale, np.float32)
    for _ in range(40):
        centre = rng.uniform(0, 1, 2) * size
        room = float(value_at(glands, *centre[:, None])[0])
        if room < 9 * scale:
            continue
        radius = min(room - 4 * scale, rng.uniform(5, 15) * scale)
        tilt, length = rng.uniform(0, np.pi), rng.uniform(0, 1) * radius
        end = centre + length * np.array([np.sin(tilt), np.cos(tilt)])
        nearest = np.minimum(nearest, segment_distance(ys, xs, centre, end, max(radius - length / 2, 4 * scale)))
        if rng.random() < 0.35:
            break
    return nearest


# --- layers: each returns the concentrations (haematoxylin, eosin) ---------------------------------------------------


def _stroma(glands: Map, vessels: Map, malignant: bool, scale: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """Fibres, fibroblasts, lymphocytes, clefts and vessels."""
    size = glands.shape
    ys, xs = np.mgrid[: size[0], : size[1]].astype(np.float32)
    course = rng.uniform(0, np.pi) + 0.8 * noise(size, 60 * scale, rng)  # direction of the fibres, radians
    across = (ys * np.cos(course.mean()) - xs * np.sin(course.mean())) / scale + 7 * noise(size, 45 * scale, rng)
    fibres = np.sin(across * 0.9 + 2.2 * noise(size, 9 * scale, rng)) * (0.6 + 0.4 * noise(size, 20 * scale, rng))
    loose = noise(size, 40 * scale, rng)
    e = 0.44 + 0.10 * fibres + 0.11 * loose + 0.05 * noise(size, 3 * scale, rng)
    h = 0.13 + 0.03 * fibres + 0.04 * noise(size, 5 * scale, rng)

    cleft = np.clip(1.4 - 7 * np.abs(noise(size, 26 * scale, rng)), 0, 1) * np.clip(-loose - 0.4, 0, 1)
    halo = np.clip(1 - np.abs(glands - 2 * scale) / (1.8 * scale), 0, 1) * np.clip(
        noise(size, 25 * scale, rng) - 0.2, 0, 1
    )
    pale = np.maximum(cleft, halo * (0.95 if malignant else 0.6))
    h, e = h * (1 - pale), e * (1 - 0.9 * pale)

    free = (glands > 2.5 * scale) & (vessels > scale)
    crowd = noise(size, 42 * scale, rng)  # lymphocytes gather where it is high
    y, x = scatter(size, 4.6 * scale, rng)
    chance = np.where(value_at(crowd, y, x) > 0.85, 0.95, 0.13 + 0.08 * np.clip(value_at(crowd, y, x), 0, 1))
    keep = (rng.random(y.shape) < chance) & value_at(free, y, x)
    size_of = rng.uniform(1.5, 2.1, keep.sum()) * scale
    round_ones = stamp(size, y[keep], x[keep], (size_of, size_of * 0.9), 0.0, rng.uniform(0.8, 1.15, keep.sum()))
    y, x = scatter(size, 8.5 * scale, rng)
    keep = (rng.random(y.shape) < 0.55) & value_at(free, y, x)
    y, x = y[keep], x[keep]
    turn = value_at(course, y, x) + rng.normal(0, 0.3, y.shape)
    spindle = stamp(
        size, y, x, (rng.uniform(2.8, 4.4, y.shape) * scale, 1.15 * scale), turn, rng.uniform(0.5, 0.9, y.shape)
    )
    return _with_vessels(h + np.maximum(round_ones, spindle), e, vessels, scale, rng)


def _with_vessels(h: Map, e: Map, vessels: Map, scale: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """Add vessels: a pink wall with flat nuclei, and a lumen that is empty, or full of red cells."""
    size = vessels.shape
    wall = np.clip(1 - np.abs(vessels + 1.2 * scale) / (1.8 * scale), 0, 1)
    lumen = np.clip(-vessels / scale - 2.2, 0, 1)
    slope = np.arctan2(*np.gradient(vessels)) + np.pi / 2  # along the wall
    y, x = scatter(size, 4.5 * scale, rng)
    keep = (np.abs(value_at(vessels, y, x) + 0.5 * scale) < 1.6 * scale) & (rng.random(y.shape) < 0.75)
    y, x = y[keep], x[keep]
    flat = stamp(size, y, x, (2.8 * scale, 1.1 * scale), value_at(slope, y, x), 0.95)
    y, x = scatter(size, 3.6 * scale, rng)
    keep = (value_at(vessels, y, x) < -3 * scale) & (rng.random(y.shape) < rng.choice([0.1, 0.45, 0.9]))
    red = stamp(size, y[keep], x[keep], (1.7 * scale, 1.5 * scale), 0.0, 1.25)
    e = np.maximum(e * (1 - lumen) + 0.04 * lumen, np.maximum(0.85 * wall, red))
    h = h * (1 - np.maximum(lumen, 0.7 * wall))
    return np.maximum(h, flat), e


def _benign_glands(depth: Map, scale: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """One basal row of nuclei, a ring of pale goblet cells, a smooth lumen. ``depth``: pixels below the border."""
    size = depth.shape
    slope = np.arctan2(*np.gradient(depth))
    y, x = scatter(size, 3.3 * scale, rng, jitter=0.5)
    keep = (np.abs(value_at(depth, y, x) - 3.4 * scale) < 1.7 * scale) & (rng.random(y.shape) < 0.92)
    y, x = y[keep], x[keep]
    turn = value_at(slope, y, x) + rng.normal(0, 0.2, y.shape)
    nuclei = stamp(size, y, x, (2.5 * scale, 1.5 * scale), turn, rng.uniform(0.8, 1.1, y.shape))

    y, x = scatter(size, 6.2 * scale, rng, jitter=0.45)
    keep = (value_at(depth, y, x) > 7.3 * scale) & (rng.random(y.shape) < 0.9)
    y, x = y[keep], x[keep]
    bubble = rng.uniform(2.2, 3.3, y.shape) * scale
    goblets = stamp(size, y, x, (bubble * 1.2, bubble), value_at(slope, y, x), 1.0)
    lumen = np.clip((depth / scale - 14.5 + 1.2 * noise(size, 12 * scale, rng)) / 1.5, 0, 1)
    pale = np.maximum(goblets * 0.85, lumen)
    e = (0.42 + 0.05 * noise(size, 4 * scale, rng)) * (1 - 0.88 * pale)
    h = (0.24 + 0.04 * noise(size, 5 * scale, rng)) * (1 - 0.8 * pale)
    membrane = np.clip(1 - np.abs(depth - 0.6 * scale) / scale, 0, 1)
    return np.maximum(h, nuclei), e + 0.12 * membrane


def _malignant_glands(depth: Map, scale: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """Several rows of large dark nuclei, ragged or several lumina with debris. ``depth``: pixels below the border."""
    size = depth.shape
    slope = np.arctan2(*np.gradient(depth))
    ragged = depth / scale + 2.6 * noise(size, 10 * scale, rng) + 1.8 * noise(size, 40 * scale, rng)
    lumen = np.clip((ragged - 12.0) / 1.2, 0, 1)
    y, x = scatter(size, 13 * scale, rng, jitter=0.9)
    keep = (value_at(depth, y, x) > 7 * scale) & (rng.random(y.shape) < 0.5)  # cribriform: punched-out holes
    hole = rng.uniform(2.0, 4.2, keep.sum()) * scale
    lumen = np.maximum(
        lumen, stamp(size, y[keep], x[keep], (hole * 1.25, hole), rng.uniform(0, np.pi, keep.sum()), 1.0)
    )

    y, x = scatter(size, 3.7 * scale, rng)
    keep = (value_at(depth, y, x) > 1.2 * scale) & (value_at(lumen, y, x) < 0.4) & (rng.random(y.shape) < 0.88)
    y, x = y[keep], x[keep]
    long = rng.uniform(2.1, 3.5, y.shape) * scale
    turn = value_at(slope, y, x) + rng.normal(0, 0.45, y.shape)
    nuclei = stamp(size, y, x, (long, rng.uniform(1.35, 1.9, y.shape) * scale), turn, rng.uniform(0.65, 1.2, y.shape))
    y, x = scatter(size, 4.5 * scale, rng)
    keep = (value_at(lumen, y, x) > 0.5) & (rng.random(y.shape) < 0.25)
    debris = stamp(size, y[keep], x[keep], (1.6 * scale, 1.3 * scale), 0.0, rng.uniform(0.2, 0.7, keep.sum()))

    dirt = np.clip(0.5 + 0.5 * noise(size, 18 * scale, rng), 0, 1)
    e = (0.46 + 0.06 * noise(size, 4 * scale, rng)) * (1 - lumen) + lumen * (0.04 + 0.22 * dirt)
    h = (0.34 + 0.05 * noise(size, 5 * scale, rng)) * (1 - lumen) + lumen * 0.02
    return np.maximum(h, np.maximum(nuclei * (1 - 0.6 * lumen), debris * 0.6)), e + 0.3 * debris


def _stained(h: Map, e: Map, stain: Stain, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Beer-Lambert: concentrations (H, W) to RGB (H, W, 3) uint8, with uneven staining and sensor noise."""
    size = h.shape
    uneven = 1 + 0.06 * noise(size, max(size) / 2, rng)
    amounts = [np.clip(c, 0, None) * uneven * s for c, s in zip((h, e), stain.strength, strict=True)]
    density = amounts[0][..., None] * stain.haematoxylin + amounts[1][..., None] * stain.eosin
    light = stain.white * np.exp(-1.25 * density) + rng.normal(0, 2.5, (*size, 3))
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)
