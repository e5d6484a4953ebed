"""Results of studies that were never run: numbers drawn at random, in the form that a study leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

IMAGES = 12
METHODS: dict[str, dict[str, Any]] = {
    "random": {"gain": 0.0},
    "random_equal_steps": {"gain": 0.004},
    "entropy": {"gain": -0.01},
    "mc_dropout": {"gain": -0.02},
    "label_prop": {"gain": 0.05, "pseudo": True},
    "label_prop_lambda_0": {"gain": 0.004, "pseudo": True, "overrides": {"scale_seg_u": 0.0}},
}
Change = Callable[[dict[str, Any]], None]


def make_result(
    method: str,
    seed: int,
    rounds: int = 6,
    gain: float = 0.0,
    pseudo: bool = False,
    overrides: dict[str, Any] | None = None,
    masks: Sequence[int] | None = None,
    pixels_per_mask: float = 20_000.0,
    seconds_per_mask: float = 0.0,
    level: float | None = None,
) -> dict[str, Any]:
    """A record as of :func:`scripts.studies.results.run_result`; test images and noise belong to the seed."""
    rng = np.random.default_rng([seed, sum(method.encode())])
    counts = list(masks) if masks is not None else [8 + 2 * at for at in range(rounds)]
    hard = np.random.default_rng(7).normal(0, 0.06, IMAGES)
    rows, each = [], []
    for at, count in enumerate(counts):
        rising = 0.85 - 0.35 * np.exp(-at / 2.5) + gain * min(1.0, at / 2)
        mean = (rising if level is None else level) + rng.normal(0, 0.006)
        dice = np.clip(mean + hard + rng.normal(0, 0.02, IMAGES), 0, 1).round(4)
        each.append({f"test_{i:02d}": float(value) for i, value in enumerate(dice)})
        pixels = int(count * pixels_per_mask)
        rows.append(
            {
                "round": at,
                "masks": count,
                "percent_masks": count,
                "pixels": pixels,
                "boundary_px": pixels // 20,
                "annotation_seconds": count * seconds_per_mask,
                "dice": round(float(dice.mean()), 6),
                "miou": 0.5,
                "pxap": 0.5,
                "accuracy": 0.9,
                "pseudo_n": 50 - count if pseudo else None,
                "seconds_total": 10.0,
            }
        )
    preset = {"strategy": "random_order", "overrides": overrides or {}}
    preset |= {"propagation": {"k": 40}, "cycles": 2} if pseudo else {}
    return {
        "format": 1, "study": "drawn", "data": "glands", "split": "published", "method": method, "seed": seed,
        "data_sha256": "a" * 64, "versions": {"python": "3.11"}, "machine": {"cpu": "some", "cores": 2, "threads": 1},
        "seconds": 60.0 * rounds, "queries": [], "rounds": rows, "test_dice": each,
        "settings": {"scale_seg_u": 0.2, "active": {"start": "random", "preset": preset}},
    }  # fmt: skip


def make_study(seeds: int = 5, rounds: int = 6, full_sup: bool = True, **changes: Any) -> list[dict[str, Any]]:
    """Six methods with several rounds, full supervision besides unless not wanted."""
    results = [
        make_result(method, seed, rounds, **{**settings, **changes})
        for method, settings in METHODS.items()
        for seed in range(seeds)
    ]
    if full_sup:
        results += [make_result("full_sup", seed, level=0.87, masks=[67]) for seed in range(seeds)]
    return sorted(results, key=lambda result: (result["method"], result["seed"]))
