"""Everything between the glands of the demo tissue: stroma, and structures that look like glands but are none.

The structures are chosen without regard to the class, so that they tell nothing about it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scripts.data.demo.drawing import Map, noise, scatter, segment_distance, stamp, threads, value_at

RADII = {
    "artery": (11, 20),
    "fat": (20, 38),
    "follicle": (12, 24),
    "muscle": (12, 22),
    "debris": (12, 20),
    "mucin": (10, 18),
}
"""What may lie in the stroma, and the range of its radius in pixels."""


@dataclass(frozen=True)
class Ground:
    """The stroma of one patient: eosin and haematoxylin between the cells, strength of the fibres and of the waves in
    density, share of the places with a fibroblast or a lymphocyte, share of pale clefts."""

    eosin: float
    haematoxylin: float
    fibres: float
    waves: float
    spindles: float
    lymphocytes: float
    clefts: float


GROUNDS = (
    Ground(0.44, 0.13, 0.10, 0.11, 0.55, 0.14, 1.0),  # ordinary lamina propria
    Ground(0.20, 0.06, 0.06, 0.10, 0.35, 0.10, 1.5),  # oedematous, pale
    Ground(0.70, 0.16, 0.16, 0.10, 0.45, 0.03, 0.3),  # desmoplastic, dense
    Ground(0.46, 0.22, 0.08, 0.12, 0.85, 0.10, 0.2),  # cellular, as blue as epithelium
    Ground(0.38, 0.17, 0.06, 0.14, 0.45, 0.33, 0.6),  # inflamed
)


def lay_out(size: tuple[int, int], scale: float, rng: np.random.Generator) -> dict[str, Map]:
    """Choose structures and return the signed distance (H, W) to each kind chosen, negative inside."""
    ys, xs = np.mgrid[: size[0], : size[1]].astype(np.float32)
    for period, depth in ((40, 4.0), (14, 1.4)):
        ys, xs = (axis + noise(size, period * scale, rng) * np.float32(depth * scale) for axis in (ys, xs))
    found: dict[str, Map] = {}
    for name in rng.choice(list(RADII), int(rng.integers(1, 3)), replace=False):
        for _ in range(2 if name in ("artery", "debris") else 1):
            radius = rng.uniform(*RADII[name]) * scale
            start, turn = rng.uniform(0.0, 1.0, 2) * size, rng.uniform(0, np.pi)
            length = (rng.uniform(1.5, 3.5) if name == "muscle" else rng.uniform(0, 0.8)) * radius
            end = start + length * np.array([np.sin(turn), np.cos(turn)])
            distance = segment_distance(ys, xs, start.astype(np.float32), end.astype(np.float32), float(radius))
            found[name] = np.minimum(found[name], distance) if name in found else distance
    return found


def stroma(
    ground: Ground, glands: Map, structures: dict[str, Map], scale: float, rng: np.random.Generator
) -> tuple[Map, Map]:
    """Concentrations (haematoxylin, eosin), each (H, W), of everything that is not gland.

    Args:
        ground: kind of stroma.
        glands: (H, W) signed distance to the nearest gland.
        structures: from :func:`lay_out`; nearer glands cover them.
        scale: pixels per pixel of the reference size.
        rng: every random choice comes from here.
    """
    size = glands.shape
    ys, xs = np.mgrid[: size[0], : size[1]].astype(np.float32)
    course = rng.uniform(0, np.pi) + 0.8 * noise(size, 60 * scale, rng)  # direction of the fibres, radians
    across = (ys * np.cos(course.mean()) - xs * np.sin(course.mean())) / scale + 7 * noise(size, 45 * scale, rng)
    fibres = np.sin(across * 0.9 + 2.2 * noise(size, 9 * scale, rng)) * (0.6 + 0.4 * noise(size, 20 * scale, rng))
    loose = noise(size, 40 * scale, rng)
    e = ground.eosin + ground.fibres * fibres + ground.waves * loose + 0.05 * noise(size, 3 * scale, rng)
    h = ground.haematoxylin + 0.3 * ground.fibres * fibres + 0.04 * noise(size, 5 * scale, rng)

    cleft = np.clip(1.4 - 7 * np.abs(noise(size, 26 * scale, rng)), 0, 1) * np.clip(
        ground.clefts * (-loose - 0.4), 0, 1
    )
    halo = np.clip(1 - np.abs(glands - 2 * scale) / (1.8 * scale), 0, 1)  # where glands have shrunk off the stroma
    pale = np.maximum(cleft, 0.9 * halo * np.clip(ground.clefts * (noise(size, 25 * scale, rng) - 0.3), 0, 1))
    h, e = h * (1 - pale), e * (1 - 0.9 * pale)

    vessels = _vessels(np.minimum(glands, np.min([*structures.values()], axis=0)), scale, rng)
    free = (glands > 2.5 * scale) & (vessels > scale)
    crowd = noise(size, 42 * scale, rng)  # lymphocytes gather where it is high
    y, x = scatter(size, 4.6 * scale, rng)
    chance = np.where(value_at(crowd, y, x) > 1.25 - ground.lymphocytes, 0.9, ground.lymphocytes)
    keep = (rng.random(y.shape) < chance) & value_at(free, y, x)
    radius = rng.uniform(1.5, 2.1, keep.sum()) * scale
    cells = stamp(size, y[keep], x[keep], (radius, radius * 0.9), 0.0, rng.uniform(0.8, 1.15, keep.sum()))
    y, x = scatter(size, 7.5 * scale, rng)
    keep = (rng.random(y.shape) < ground.spindles) & value_at(free, y, x)
    y, x = y[keep], x[keep]
    turn = value_at(course, y, x) + rng.normal(0, 0.3, y.shape)
    long = rng.uniform(2.8, 4.4, y.shape) * scale
    cells = np.maximum(cells, stamp(size, y, x, (long, 1.15 * scale), turn, rng.uniform(0.5, 0.9, y.shape)))
    h = np.maximum(h, cells)
    for name, distance in structures.items():
        inside = np.clip(0.5 - distance / (1.5 * scale), 0, 1)
        new_h, new_e = _DRAWN[name](distance, scale, rng)
        h, e = h * (1 - inside) + new_h * inside, e * (1 - inside) + new_e * inside
    return _with_vessels(h, e, vessels, scale, rng)


# --- structures: each takes the signed distance and returns the concentrations inside --------------------------------


def _fat(distance: Map, scale: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """Fat cells: large, empty, with thin walls, here and there a flat nucleus."""
    size = distance.shape
    y, x = scatter(size, 17 * scale, rng, jitter=0.6)
    near = value_at(distance, y, x) < 20 * scale
    y, x = y[near], x[near]
    ys, xs = np.mgrid[: size[0], : size[1]].astype(np.float32)
    ys, xs = (axis + noise(size, 12 * scale, rng) * np.float32(scale) for axis in (ys, xs))
    first, second = (np.full(size, np.inf, np.float32) for _ in range(2))
    for cy, cx in zip(y, x, strict=True):
        away = np.hypot(ys - cy, xs - cx)
        second = np.minimum(second, np.maximum(first, away))
        first = np.minimum(first, away)
    wall = np.clip(1.4 - np.nan_to_num(second - first, posinf=99.0) / (1.6 * scale), 0, 1)
    y, x = scatter(size, 9 * scale, rng)
    keep = (value_at(wall, y, x) > 0.8) & (rng.random(y.shape) < 0.5)
    nuclei = stamp(size, y[keep], x[keep], (2.6 * scale, 1.1 * scale), rng.uniform(0, np.pi, keep.sum()), 0.9)
    return np.maximum(0.12 * wall, nuclei * (wall > 0)), 0.02 + 0.5 * wall


def _follicle(distance: Map, scale: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """A crowd of lymphocytes with a border, often paler in its centre; as dark and as round as a solid nest."""
    size = distance.shape
    y, x = scatter(size, 3.7 * scale, rng)
    centre = np.clip(-value_at(distance, y, x) / scale - 12, 0, 6) / 6 * rng.choice([0.0, 0.6])
    keep = (value_at(distance, y, x) < 0) & (rng.random(y.shape) < 0.95 - 0.5 * centre)
    radius = rng.uniform(1.4, 2.1, keep.sum()) * scale
    cells = stamp(size, y[keep], x[keep], (radius, radius * 0.92), 0.0, rng.uniform(0.75, 1.15, keep.sum()))
    return np.maximum(0.22 + 0.03 * noise(size, 5 * scale, rng), cells), 0.26 + 0.05 * noise(size, 6 * scale, rng)


def _muscle(distance: Map, scale: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """A bundle of smooth muscle: deeply pink, striped, with cigar-shaped nuclei along it."""
    size = distance.shape
    along = np.arctan2(*np.gradient(distance)) + np.pi / 2
    stripes = np.sin(2.2 * distance / scale + 2.5 * noise(size, 16 * scale, rng))
    y, x = scatter(size, 6.5 * scale, rng)
    keep = rng.random(y.shape) < 0.5
    y, x = y[keep], x[keep]
    nuclei = stamp(size, y, x, (4.2 * scale, 1.1 * scale), value_at(along, y, x), rng.uniform(0.6, 0.95, y.shape))
    return np.maximum(0.17 + 0.02 * stripes, nuclei), 0.72 + 0.06 * stripes + 0.05 * noise(size, 20 * scale, rng)


def _artery(distance: Map, scale: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """A thick ring of muscle around a small lumen: the outline of a gland without its epithelium."""
    h, e = _muscle(distance, scale, rng)
    size = distance.shape
    lumen = np.clip(-distance / scale - rng.uniform(6, 9) + 0.8 * noise(size, 8 * scale, rng), 0, 1)
    y, x = scatter(size, 3.6 * scale, rng)
    keep = (value_at(lumen, y, x) > 0.9) & (rng.random(y.shape) < rng.choice([0.0, 0.8]))
    red = stamp(size, y[keep], x[keep], (1.7 * scale, 1.5 * scale), 0.0, 1.2)
    y, x = scatter(size, 3.6 * scale, rng)
    keep = np.abs(value_at(lumen, y, x) - 0.5) < 0.45
    lining = stamp(size, y[keep], x[keep], (2.0 * scale, 1.2 * scale), 0.0, 0.9)
    return np.maximum(h * (1 - lumen), lining), np.maximum(e * (1 - lumen) + 0.03 * lumen, red)


def _debris(distance: Map, scale: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """A cleft with dead tissue and strips of detached cells: nuclear dust on smudgy pink, no border of its own."""
    size = distance.shape
    clump = np.clip(0.3 + 1.2 * noise(size, 15 * scale, rng) + np.clip(-distance / (10 * scale) - 0.5, -1, 0.4), 0, 1)
    y, x = scatter(size, 3.4 * scale, rng)
    keep = rng.random(y.shape) < 0.6 * value_at(clump, y, x)
    radius = rng.uniform(0.8, 2.2, keep.sum()) * scale
    dust = stamp(size, y[keep], x[keep], (radius, radius * 0.8), 0.0, rng.uniform(0.4, 1.15, keep.sum()))
    return np.maximum(0.02 + 0.14 * clump, dust), 0.04 + 0.5 * clump


def _mucin(distance: Map, scale: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """A pool of mucus without a lining, with threads and a few floating cells."""
    size = distance.shape
    lines = threads(size, 7 * scale, rng)
    y, x = scatter(size, 8 * scale, rng)
    keep = rng.random(y.shape) < 0.2
    cells = stamp(size, y[keep], x[keep], (1.8 * scale, 1.6 * scale), 0.0, 0.8)
    return np.maximum(0.16 + 0.03 * lines, cells), 0.06 + 0.02 * lines


_DRAWN = {"fat": _fat, "follicle": _follicle, "muscle": _muscle, "artery": _artery, "debris": _debris, "mucin": _mucin}


def _vessels(taken: Map, scale: float, rng: np.random.Generator) -> Map:
    """Signed distance to the nearest small vessel, all of them clear of what there is."""
    size = taken.shape
    ys, xs = np.mgrid[: size[0], : size[1]].astype(np.float32)
    ys, xs = (axis + noise(size, 14 * scale, rng) * np.float32(1.2 * scale) for axis in (ys, xs))
    nearest = np.full(size, 99 * scale, np.float32)
    for _ in range(40):
        centre = rng.uniform(0, 1, 2) * size
        room = float(value_at(taken, *centre[:, None])[0])
        if room < 9 * scale:
            continue
        radius = min(room - 4 * scale, rng.uniform(5, 15) * scale)
        tilt, length = rng.uniform(0, np.pi), rng.uniform(0, 1) * radius
        end = centre + length * np.array([np.sin(tilt), np.cos(tilt)])
        nearest = np.minimum(nearest, segment_distance(ys, xs, centre, end, max(radius - length / 2, 4 * scale)))
        if rng.random() < 0.35:
            break
    return nearest


def _with_vessels(h: Map, e: Map, vessels: Map, scale: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """Add small vessels: a pink wall with flat nuclei, and a lumen that is empty, or full of red cells."""
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
