"""Finished runs made in milliseconds, for the tests of what only reads a run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from scripts.state.rows import LabelRow, PseudoRow
from scripts.state.run_state import RunState

CLASSES = ["benign", "malignant"]
SPLIT_SIZES = {"train": 10, "val": 4, "test": 6}
MASK_PX = 100 * 80


def item_list() -> list[dict]:
    return [
        {
            "id": f"{split}_{i}",
            "sha256": hashlib.sha256(f"{split}{i}".encode()).hexdigest(),
            "label": i % 2,
            "split": split,
        }
        for split, count in SPLIT_SIZES.items()
        for i in range(count)
    ]


def make_run(run_dir: Path, method: str, seed: int, dices: list[float], per_round: int = 2, **settings: object) -> Path:
    """One round per Dice; each labels ``per_round`` more images; label_prop pairs all others with train_0."""
    known = {"active": {"method": method, "seed": seed}, "classes": CLASSES, "patients_in_several_splits": 0}
    with RunState.open(run_dir) as state:
        state.register_run({**known, **settings}, (), item_list(), "d" * 64)
        mask = state.put_blob(b"mask", ".png")
        for at, dice in enumerate(dices):
            new = [f"train_{i}" for i in range(at * per_round, (at + 1) * per_round)]
            labels = [LabelRow(name, at, mask, MASK_PX, 120, 30.0) for name in new]
            state.commit(at, "query", queries=[(name, 0.5 + at) for name in new], labels=labels, seconds=0.5)
            others = [f"train_{i}" for i in range((at + 1) * per_round, SPLIT_SIZES["train"])]
            pairs = [PseudoRow(name, at, "final", "train_0", 0.02 * i, 0.41, mask) for i, name in enumerate(others)]
            propagated = method == "label_prop" and others
            state.commit(at, "train", pseudo=pairs if propagated else [], seconds=10.0 + at)
            metrics = {"dice": dice, "miou": dice - 0.1, "pxap": 0.6, "accuracy": 1.0, "threshold": 0.41}
            if propagated:
                metrics |= {"pseudo_dice": dice - 0.05, "pseudo_n": len(pairs)}
            state.commit(at, "evaluate", metrics=metrics, seconds=1.25)
    return run_dir
