"""Glands of the demo tissue: how each architecture grows (signed distance, owner) and the cells that line it.

A gland is a union of round-ended segments in a slightly warped plane. Its signed distance is known everywhere and the
mask is simply *distance < 0*, exact by construction. :data:`GROWTHS` lists the architectures of each class; the cells
of all of them are drawn by :func:`epithelium` from the numbers in :class:`Growth`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scripts.data.demo.drawing import Map, noise, scatter, segment_distance, stamp, threads, value_at

Range = tuple[float, float]


@dataclass(frozen=True)
class Growth:
    """One architecture; lengths in pixels at the reference size, densities in units of stain.

    Attributes:
        name: as a pathologist would call it.
        count: fewest and most glands wanted (there are fewer when they find no room).
        radius: of the segments; the first glands take the large ones, later ones fill the gaps.
        parts: fewest and most segments per gland; ``reach``: length of each.
        gap: least distance to the next gland; negative lets them crowd and fuse.
        bends: (period, depth) of the two warps of the plane.
        rim: thickness of the epithelium around the lumen; ``ragged``: how much it varies within a gland.
        closed: share of the glands cut so that no lumen shows.
        rows: depth to which nuclei stand; a single row is about 5, stratified epithelium 9 and more.
        nucleus: half length; ``dark``: stain of the nuclei.
        goblets: share of the places behind the nuclei taken by pale mucous cells, of half width ``bubble``.
        holes: share of the places inside punched out (cribriform).
        cytoplasm: haematoxylin and eosin of the cell bodies.
        content: of the lumen: "clear", "mucin", "secretion" or "necrosis".
    """

    name: str
    count: tuple[int, int]
    radius: Range
    parts: tuple[int, int]
    reach: Range
    gap: float
    bends: tuple[Range, Range]
    rim: Range
    ragged: float
    closed: float
    rows: float
    nucleus: Range
    dark: Range
    goblets: float
    bubble: Range
    holes: float
    cytoplasm: Range
    content: str


_ROUND, _BENT = ((30.0, 2.2), (12.0, 0.7)), ((34.0, 6.5), (13.0, 2.8))
_FINE, _PLUMP = (2.2, 2.8), (2.3, 3.9)


def _benign(name: str, count: tuple[int, int], radius: Range, rim: Range, **other: object) -> Growth:
    values: dict[str, object] = {
        "parts": (1, 1), "reach": (0, 18), "gap": 3.5, "bends": _ROUND, "ragged": 1.2, "closed": 0.1, "rows": 5.2,
        "nucleus": _FINE, "dark": (0.8, 1.1), "goblets": 0.9, "bubble": (2.2, 3.3), "holes": 0.0,
        "cytoplasm": (0.24, 0.42), "content": "clear",
    }  # fmt: skip
    return Growth(name=name, count=count, radius=radius, rim=rim, **{**values, **other})  # type: ignore[arg-type]


def _malignant(name: str, count: tuple[int, int], radius: Range, rim: Range, **other: object) -> Growth:
    values: dict[str, object] = {
        "parts": (1, 4), "reach": (12, 34), "gap": -3.0, "bends": _BENT, "ragged": 3.0, "closed": 0.0, "rows": 99.0,
        "nucleus": _PLUMP, "dark": (0.75, 1.3), "goblets": 0.0, "bubble": (2, 3), "holes": 0.1,
        "cytoplasm": (0.34, 0.46), "content": "clear",
    }  # fmt: skip
    return Growth(name=name, count=count, radius=radius, rim=rim, **{**values, **other})  # type: ignore[arg-type]


GROWTHS: dict[str, tuple[Growth, ...]] = {
    "benign": (
        _benign("crypts", (10, 18), (16, 26), (13, 16)),
        _benign("columnar", (9, 16), (14, 26), (9, 12), goblets=0.04, cytoplasm=(0.17, 0.56), content="secretion"),
        _benign("dilated", (6, 11), (16, 54), (7.5, 9.5), reach=(0, 30), goblets=0.25, closed=0, content="secretion"),
        _benign("tangential", (12, 20), (11, 20), (13, 17), closed=0.75, goblets=0.6),
        _benign("microglandular", (16, 30), (9, 14), (6.5, 9), gap=3, reach=(0, 12), goblets=0.1),
        _benign("goblet rich", (9, 16), (16, 28), (15, 22), rows=4, goblets=1, bubble=(3.2, 4.4), content="mucin",
                cytoplasm=(0.2, 0.24), closed=0.4),
    ),
    "malignant": (
        _malignant("tubular", (10, 18), (12, 22), (10.5, 13.5)),
        _malignant("cribriform", (5, 9), (20, 42), (99, 99), holes=0.75, parts=(1, 3)),
        _malignant("solid", (10, 20), (10, 21), (99, 99), holes=0.0, parts=(1, 3), cytoplasm=(0.32, 0.5)),
        _malignant("necrotic", (6, 11), (16, 52), (12, 17), holes=0.05, parts=(1, 2), content="necrosis"),
        _malignant("mucinous", (6, 11), (15, 34), (9, 12), holes=0, ragged=2.4, content="mucin"),
        _malignant("pale cell", (8, 15), (13, 28), (14, 20), dark=(0.6, 1.0), cytoplasm=(0.17, 0.48), holes=0.05),
    ),
}  # fmt: skip
"""The architectures of each class."""


def grow(growth: Growth, size: tuple[int, int], scale: float, taken: Map, rng: np.random.Generator) -> tuple[Map, Map]:
    """Signed distance to the nearest gland (negative inside) and the number of that gland, each (H, W).

    Args:
        growth: the architecture.
        size: (H, W) in pixels.
        scale: pixels per pixel of the reference size.
        taken: (H, W) signed distance to what else lies in the tissue; glands keep mostly clear of it.
        rng: every random choice comes from here.
    """
    ys, xs = np.mgrid[: size[0], : size[1]].astype(np.float32)
    for period, depth in growth.bends:
        ys, xs = (axis + noise(size, period * scale, rng) * np.float32(depth * scale) for axis in (ys, xs))
    wanted = int(rng.integers(growth.count[0], growth.count[1] + 1))
    nearest = np.full(size, np.inf, np.float32)
    owner = np.zeros(size, np.intp)
    count, tries = 0, 30 * wanted
    for attempt in range(tries):
        segments = _skeleton(growth, size, scale, attempt / tries, rng)
        # A new gland may not reach nearer than the gap to the skeletons there are; crowding is a negative gap.
        points = [(point, r) for a, b, r in segments for point in (a, (a + b) / 2, b)]
        if count and min(float(value_at(nearest, *p[:, None])[0]) - r for p, r in points) < growth.gap * scale:
            continue
        if min(float(value_at(taken, *p[:, None])[0]) - 0.5 * r for p, r in points) < 0:
            continue
        distance = np.min([segment_distance(ys, xs, a, b, r) for a, b, r in segments], axis=0)
        if ((distance < 0) & (distance < nearest)).sum() < 120 * scale**2:  # nearly all of it outside the image
            continue
        owner[distance < nearest] = count
        nearest = np.minimum(nearest, distance)
        count += 1
        if count == wanted:
            break
    return nearest, owner


def _skeleton(
    growth: Growth, size: tuple[int, int], scale: float, progress: float, rng: np.random.Generator
) -> list[tuple[npt.NDArray, npt.NDArray, float]]:
    """Segments (start, end, radius) of one gland, a bent chain with branches; smaller as ``progress`` nears 1."""
    low, high = growth.radius
    point = rng.uniform(-0.08, 1.08, 2) * size
    angle = rng.uniform(0, 2 * np.pi)
    radius = rng.uniform(low, high - (high - low) * progress**0.5) * scale
    segments = []
    for _ in range(int(rng.integers(growth.parts[0], growth.parts[1] + 1))):
        length = rng.uniform(*growth.reach) * scale
        end = point + length * np.array([np.sin(angle), np.cos(angle)])
        segments.append((point.astype(np.float32), end.astype(np.float32), float(radius)))
        point = end if rng.random() < 0.75 else point  # staying where it is makes a branch
        angle += rng.normal(0, 0.9)
        radius = float(np.clip(radius * rng.uniform(0.75, 1.25), 0.8 * low * scale, high * scale))
    return segments


def epithelium(growth: Growth, depth: Map, owner: Map, scale: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """Concentrations (haematoxylin, eosin), each (H, W), of the inside of the glands.

    Args:
        growth: the architecture.
        depth: (H, W) pixels below the border of the gland; negative outside.
        owner: (H, W) number of the gland.
        scale: pixels per pixel of the reference size.
        rng: every random choice comes from here.
    """
    size = depth.shape
    slope = np.arctan2(*np.gradient(depth))
    glands = int(owner.max()) + 1
    shut = rng.random(glands) < growth.closed
    rim = np.where(shut, 99.0, rng.uniform(*growth.rim, glands))[owner]
    lumen = (
        depth / scale - rim + growth.ragged * (0.8 * noise(size, 10 * scale, rng) + 0.6 * noise(size, 40 * scale, rng))
    )
    lumen = np.clip(lumen / 1.3, 0, 1)
    y, x = scatter(size, 13 * scale, rng, jitter=0.9)
    keep = (value_at(depth, y, x) > 7 * scale) & (rng.random(y.shape) < growth.holes)
    hole = rng.uniform(2.0, 4.2, keep.sum()) * scale
    turn = rng.uniform(0, np.pi, keep.sum())
    lumen = np.maximum(lumen, stamp(size, y[keep], x[keep], (hole * 1.25, hole), turn, 1.0))

    goblets = _goblets(growth, depth, slope, scale, rng)
    nuclei = _nuclei(growth, depth, slope, np.maximum(lumen, goblets), shut[owner], scale, rng)
    bodies_h = growth.cytoplasm[0] + 0.045 * noise(size, 5 * scale, rng)
    bodies_e = growth.cytoplasm[1] + 0.055 * noise(size, 4 * scale, rng)
    mucus = 0.10 if growth.content == "mucin" else 0.04
    bodies_h, bodies_e = bodies_h * (1 - 0.85 * goblets) + mucus * goblets, bodies_e * (1 - 0.85 * goblets)
    inner_h, inner_e = _content(growth.content, size, scale, rng)
    membrane = np.clip(1 - np.abs(depth - 0.6 * scale) / scale, 0, 1)
    h = np.maximum(bodies_h, nuclei) * (1 - lumen) + inner_h * lumen
    return h, (bodies_e + 0.12 * membrane) * (1 - lumen) + inner_e * lumen


def _goblets(growth: Growth, depth: Map, slope: Map, scale: float, rng: np.random.Generator) -> Map:
    wide = sum(growth.bubble)
    y, x = scatter(depth.shape, 1.13 * wide * scale, rng, jitter=0.45)
    deep = value_at(depth, y, x) > (growth.rows + 0.4 * wide) * scale
    keep = deep & (rng.random(y.shape) < growth.goblets)
    y, x = y[keep], x[keep]
    bubble = rng.uniform(*growth.bubble, y.shape) * scale
    return stamp(depth.shape, y, x, (bubble * 1.2, bubble), value_at(slope, y, x), 1.0)


def _nuclei(
    growth: Growth, depth: Map, slope: Map, pale: Map, shut: Map, scale: float, rng: np.random.Generator
) -> Map:
    """Nuclei in the row or rows below the border, and all over where the cut runs along the gland's wall."""
    single = growth.rows < 9
    y, x = scatter(depth.shape, (3.3 if single else 3.7) * scale, rng, jitter=0.5 if single else 0.8)
    below = value_at(depth, y, x) / scale
    chance = np.where((below > (1.7 if single else 1.2)) & (below < growth.rows), 0.9, 0.0)
    if single:
        chance = np.where(value_at(shut, y, x) & (below > 1.7), np.maximum(chance, 0.45), chance)
    keep = (rng.random(y.shape) < chance) & (value_at(pale, y, x) < 0.4)
    y, x = y[keep], x[keep]
    turn = value_at(slope, y, x) + rng.normal(0, 0.2 if single else 0.45, y.shape)
    long = rng.uniform(*growth.nucleus, y.shape) * scale
    wide = rng.uniform(1.35, 1.6 if single else 2.1, y.shape) * scale
    return stamp(depth.shape, y, x, (long, wide), turn, rng.uniform(*growth.dark, y.shape))


def _content(content: str, size: tuple[int, int], scale: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """Concentrations of what fills the lumina."""
    dirt = np.clip(0.5 + 0.5 * noise(size, 18 * scale, rng), 0, 1)
    streaks = threads(size, 7 * scale, rng)
    y, x = scatter(size, 4.5 * scale, rng)
    if content == "mucin":
        return 0.15 + 0.03 * streaks + 0.03 * dirt, 0.06 + 0.02 * streaks
    if content == "secretion":
        pink = np.clip(1.5 * noise(size, 45 * scale, rng), 0, 1)
        return 0.02 + 0.03 * pink, 0.04 + 0.3 * pink + 0.02 * streaks * pink
    share = 0.5 if content == "necrosis" else 0.08
    keep = rng.random(y.shape) < share * np.clip(value_at(dirt, y, x) * 2, 0, 1)
    debris = stamp(size, y[keep], x[keep], (1.6 * scale, 1.3 * scale), 0.0, rng.uniform(0.2, 0.8, keep.sum()))
    if content == "necrosis":
        return 0.08 + 0.6 * debris, 0.12 + 0.5 * dirt + 0.08 * streaks + 0.2 * debris
    return 0.02 + 0.4 * debris, 0.03 + 0.12 * dirt * (debris > 0) + 0.2 * debris
