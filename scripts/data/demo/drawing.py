"""Drawing with arrays for the demo tissue: smooth noise, scattered positions, stamped ellipses, segment distances.

Everything works on whole arrays at once; a map has one value per pixel, positions are (y, x) in pixels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Map = npt.NDArray
"""One value per pixel, (H, W), or one per position, (N,)."""


def noise(size: tuple[int, int], period: float, rng: np.random.Generator) -> Map:
    """Smooth noise of about zero mean and unit deviation whose hills are about ``period`` pixels apart."""
    height, width = size
    step = period / 2.0  # drawn finer than the hills and blurred: a coarse grid alone shows its rows and columns
    grid = rng.normal(0, 3.7, (int(height / step) + 7, int(width / step) + 7)).astype(np.float32)
    for _ in range(2):
        grid = 0.25 * (grid[:-2] + 2 * grid[1:-1] + grid[2:])
        grid = 0.25 * (grid[:, :-2] + 2 * grid[:, 1:-1] + grid[:, 2:])
    box = (1.0, 1.0, 1.0 + width / step, 1.0 + height / step)
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC, box=box))


def threads(size: tuple[int, int], period: float, rng: np.random.Generator) -> Map:
    """Wavy threads in one random direction, ``period`` pixels apart, in [-1, 1] and faint in places."""
    ys, xs = np.mgrid[: size[0], : size[1]].astype(np.float32)
    turn = rng.uniform(0, np.pi)
    across = (ys * np.cos(turn) - xs * np.sin(turn)) * np.float32(2 * np.pi / period)
    waves = np.sin(across + 5 * noise(size, 7 * period, rng) + 2 * noise(size, 2 * period, rng))
    return waves * np.clip(0.5 + 0.5 * noise(size, 5 * period, rng), 0, 1)


def blurred(light: npt.NDArray[np.floating], deviation: float) -> npt.NDArray[np.floating]:
    """Gaussian blur of an image (H, W, 3) of values 0..255 with a standard deviation in pixels."""
    image = Image.fromarray(np.clip(np.rint(light), 0, 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(deviation)), np.float32)


def value_at(values: Map, ys: Map, xs: Map) -> Map:
    """Values at positions, nearest pixel, positions outside clipped to the border."""
    height, width = values.shape
    return values[np.clip(ys, 0, height - 1).astype(np.intp), np.clip(xs, 0, width - 1).astype(np.intp)]


def scatter(size: tuple[int, int], spacing: float, rng: np.random.Generator, jitter: float = 0.8) -> tuple[Map, Map]:
    """Positions (ys, xs) of a jittered grid: random, but never two on one spot as free draws would be."""
    ys, xs = np.meshgrid(*(np.arange(-spacing, n + spacing, spacing, dtype=np.float32) for n in size), indexing="ij")
    xs[::2] += spacing / 2
    shake = rng.uniform(-jitter / 2, jitter / 2, (2, *ys.shape)).astype(np.float32) * spacing
    return (ys + shake[0]).ravel(), (xs + shake[1]).ravel()


def stamp(
    size: tuple[int, int],
    ys: Map,
    xs: Map,
    radii: tuple[Map | float, Map | float],
    angle: Map | float,
    value: Map | float = 1.0,
) -> Map:
    """Draw filled soft-edged ellipses; where they overlap, the larger value stays.

    Args:
        size: (H, W).
        ys: centres (N,); xs likewise.
        radii: half axes along and across ``angle``, each (N,) or one number, in pixels.
        angle: direction of the first half axis in radians, from x towards y.
        value: what to draw at the centres.
    """
    canvas = np.zeros(size, np.float32)
    if not len(ys):
        return canvas
    long, wide, turn, height = (
        np.broadcast_to(v, ys.shape).astype(np.float32)[:, None] for v in (*radii, angle, value)
    )
    reach = int(np.ceil(max(long.max(), wide.max()))) + 1
    dy, dx = (d.ravel()[None] for d in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    rows, columns = np.rint(ys)[:, None] + dy, np.rint(xs)[:, None] + dx  # (N, window)
    v, u = rows - ys[:, None], columns - xs[:, None]
    along, across = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
    away = np.sqrt((along / long) ** 2 + (across / wide) ** 2)
    drawn = height * np.clip((1 - away) * np.minimum(long, wide) + 0.5, 0, 1)
    seen = (drawn > 0) & (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
    np.maximum.at(canvas, (rows[seen].astype(np.intp), columns[seen].astype(np.intp)), drawn[seen])
    return canvas


def segment_distance(ys: Map, xs: Map, start: npt.NDArray, end: npt.NDArray, radius: float) -> Map:
    """Signed distance to a round-ended segment from ``start`` to ``end`` (y, x); negative inside."""
    d = end - start
    t = np.clip(((ys - start[0]) * d[0] + (xs - start[1]) * d[1]) / max(float(d @ d), 1e-6), 0, 1)
    return np.hypot(ys - start[0] - t * d[0], xs - start[1] - t * d[1]) - np.float32(radius)
