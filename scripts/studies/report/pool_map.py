"""The map of the pool: image features in two dimensions by principal components, and the points as they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from scripts.studies.report.pool import Asked, PoolView

WIDTH, HEIGHT, _MARGIN = 720, 520, 26
NOT_ASKED = "#C9CED3"
# Okabe and Ito's palette without black and yellow; classes beyond it share its colours.
CLASS_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D31", "#6A51A3")


@dataclass(frozen=True)
class Point:
    """A training image on the map.

    Attributes:
        id: the image.
        label: its class.
        x, y: place in the drawing, pixels.
        asked: None where it was not asked about.
        colours: by class, by round, by score.
    """

    id: str
    label: str
    x: float
    y: float
    asked: Asked | None
    colours: tuple[str, str, str]


def principal_components(features: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Project features onto the two directions in which they vary most.

    Args:
        features: (N, D) float, finite, N >= 1.

    Returns:
        (N, 2) float64, zero where a direction does not exist, and the share of the variance of each in [0, 1]. The sign
        is such that the largest loading of a direction (the first of equals) is positive.
    """
    centred = np.asarray(features, dtype=np.float64) - np.mean(features, axis=0, dtype=np.float64)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    found, shares = np.zeros((len(centred), 2)), [0.0, 0.0]
    total = float((sizes**2).sum())
    for at in range(min(2, len(sizes)) if total > 0 else 0):
        direction = directions[at] * np.sign(directions[at][np.abs(directions[at]).argmax()])
        found[:, at] = centred @ direction
        shares[at] = float(sizes[at] ** 2) / total
    return found, (shares[0], shares[1])


def map_points(view: PoolView) -> tuple[list[Point], tuple[float, float]]:
    """Return the points of a pool, those asked about at the end so that they lie on top, and the shares of the axes.

    Both axes have one scale, so distances on the map compare in all directions.
    """
    places, shares = principal_components(view.features)
    span = np.ptp(places, axis=0)
    room = np.array([WIDTH - 2 * _MARGIN, HEIGHT - 2 * _MARGIN])
    scale = min((float(r / s) for r, s in zip(room, span, strict=True) if s > 0), default=1.0)
    middle = (places.max(axis=0) + places.min(axis=0)) / 2
    drawn = (places - middle) * [scale, -scale] + [WIDTH / 2, HEIGHT / 2]
    by_id = {one.id: one for one in view.asked}
    rounds = _levels([float(one.round) for one in view.asked])
    scores = _levels([one.score for one in view.asked if one.score is not None])
    class_of = class_colours(view.classes)
    points = [
        Point(
            key,
            label,
            round(float(x), 1),
            round(float(y), 1),
            by_id.get(key),
            (class_of[label], *_shades(by_id.get(key), rounds, scores)),
        )
        for key, label, (x, y) in zip(view.ids, view.classes, drawn, strict=True)
    ]
    return sorted(points, key=lambda point: point.asked is not None), shares


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """Return a colour per class, by name."""
    return {name: CLASS_COLOURS[at % len(CLASS_COLOURS)] for at, name in enumerate(sorted(set(classes)))}


def shade(level: float) -> str:
    """Return the colour of a level in [0, 1]: dark violet to yellow, and not the palest of it."""
    return to_hex(matplotlib.colormaps["viridis"](0.95 * level))


def _levels(values: Sequence[float]) -> tuple[float, float]:
    return (min(values), max(values)) if values else (0.0, 0.0)


def _shades(asked: Asked | None, rounds: tuple[float, float], scores: tuple[float, float]) -> tuple[str, str]:
    if asked is None:
        return NOT_ASKED, NOT_ASKED
    by_score = NOT_ASKED if asked.score is None else shade(_part(asked.score, scores))
    return shade(_part(asked.round, rounds)), by_score


def _part(value: float, ends: tuple[float, float]) -> float:
    low, high = ends
    return (value - low) / (high - low) if high > low else 0.0
