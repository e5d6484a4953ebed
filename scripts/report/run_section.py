"""The parts of the report that tell about one run: rounds, times, pseudo-masks, pictures of its queries, its images."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from scripts.core.result_files import Record
from scripts.core.run_names import Metric, RunFile, Stage
from scripts.images.targets import target_of_png
from scripts.report.people_section import people_section
from scripts.state.reader import StateReader
from scripts.state.rows import PseudoRow

STAGES = {Stage.CYCLE_0: "before the last training", Stage.FINAL: "after it"}
SPLITS = {"train": "training", "val": "validation", "test": "test"}
PICTURED_ROUNDS = 8
PICTURES_PER_ROUND = 2
JPEG_QUALITY = 82
_ROUND_FOLDER = re.compile(r"round_(\d+)")
_COLUMNS = {
    "round": ("round", None),
    Metric.MASKS: ("masks", None),
    "percent_masks": ("% of training", ".1f"),
    Metric.PIXELS: ("Mpixels", "mega"),
    "boundary_px": ("border px", None),
    Metric.DICE: ("Dice", ".4f"),
    Metric.MIOU: ("mIoU", ".4f"),
    Metric.DICE_ALL: ("Dice, empty as 0", ".4f"),
    Metric.CLEAN_SHARE: ("clean", ".4f"),
    Metric.FALSE_AREA: ("false area", ".4f"),
    Metric.PXAP: ("PxAP", ".4f"),
    Metric.ACCURACY: ("acc.", ".4f"),
    Metric.THRESHOLD: ("threshold", ".2f"),
    Metric.VAL_DICE: ("Dice, validation", ".4f"),
    Metric.PSEUDO_N: ("pseudo-masks", None),
    Metric.PSEUDO_DICE: ("their Dice", ".4f"),
}
Table = tuple[list[str], list[list[Any]]]
"""Columns, and rows as long as these."""


def run_section(
    state: StateReader, run_dir: Path, rows: Sequence[Record], classes: Sequence[str], pictures: bool
) -> dict[str, Any]:
    """Return what the page tells about one run; without any ``rows`` only ``people``.

    Args:
        state: its state.
        run_dir: its folder; pictures are in ``overlays/round_NN/*.png``.
        rows: its learning curve.
        classes: class names by index; may be empty.
        pictures: whether the overlays are shown.

    Returns:
        what ``evaluated`` in the template reads; JPEGs are bytes, or None where the file cannot be read.
    """
    people = people_section(state)
    if not rows:
        return {"people": people}
    shown, total = _overlays(run_dir) if pictures else ([], 0)
    return {
        "people": people, "rounds": _rounds(rows), "times": _times(rows), "queries": _queries(state, rows, classes),
        "pseudo": _pseudo_masks(state, rows), "overlays": shown, "all_overlays": total,
    }  # fmt: skip


def data_section(state: StateReader, classes: Sequence[str], patients: Any) -> dict[str, Any]:
    """Return what the page tells about the images of a run.

    Args:
        state: its state.
        classes: class names by index; may be empty.
        patients: number of patients with images in several splits, ``None`` where it is not known.

    Returns:
        ``images``, a table; ``sha256``; ``left_out``, pairs (image, reason); ``shared_patients``, ``patients`` as int.
    """
    images = state.images()
    counts = Counter((image.split, image.label) for image in images)
    labels = sorted({image.label for image in images})
    names = [_class_name(label, classes) for label in labels]
    rows = [
        [shown, *(counts[split, label] for label in labels), sum(counts[split, label] for label in labels)]
        for split, shown in SPLITS.items()
    ]
    return {
        "images": (["split", *names, "all"], rows),
        "sha256": state.data_sha256(),
        "left_out": sorted(state.quarantined().items()),
        "shared_patients": None if patients is None else int(patients),
    }


def _class_name(label: int, classes: Sequence[str]) -> str:
    return classes[label] if label < len(classes) else f"class {label}"


def _rounds(rows: Sequence[Record]) -> Table:
    columns = [name for name in _COLUMNS if any(row.get(name) is not None for row in rows)]
    body = [[_formatted(row.get(name), _COLUMNS[name][1]) for name in columns] for row in rows]
    return [_COLUMNS[name][0] for name in columns], body


def _formatted(value: Any, pattern: str | None) -> Any:
    if value is None or pattern is None:
        return value
    return format(value / 1e6, ".2f") if pattern == "mega" else format(value, pattern)


def _times(rows: Sequence[Record]) -> Table:
    """Seconds of each phase per round, and over all rounds in the last row."""
    phases = [name for name in rows[0] if name.startswith("seconds_") and name != "seconds_total"]
    columns = ["round", *(name.removeprefix("seconds_").replace("_", " ") for name in phases), "all"]
    body = [[row["round"], *(_formatted(row[name], ".1f") for name in (*phases, "seconds_total"))] for row in rows]
    whole = [sum(row[name] or 0.0 for row in rows) for name in (*phases, "seconds_total")]
    return columns, [*body, ["all", *(f"{seconds:.1f}" for seconds in whole)]]


def _queries(state: StateReader, rows: Sequence[Record], classes: Sequence[str]) -> list[list[Any]]:
    label_of = {image.id: _class_name(image.label, classes) for image in state.images()}
    return [
        [query.round, query.rank + 1, query.id, label_of[query.id], query.score]
        for query in state.queries()
        if query.round <= rows[-1]["round"]
    ]


def _pseudo_masks(state: StateReader, rows: Sequence[Record]) -> dict[str, Any]:
    """A row per round and stage, and the provenance of each pseudo-mask of the last round."""
    stages: list[list[Any]] = []
    last: list[PseudoRow] = []
    has_chain = bool((state.settings().get("active", {}).get("preset") or {}).get("chain"))
    for row in rows:
        for stage, shown in STAGES.items():
            pairs = state.pseudo(row["round"], stage)
            if pairs:
                last = sorted(pairs, key=lambda pair: pair.id)
                score = row[Metric.PSEUDO_DICE] if stage is Stage.FINAL else None
                stages.append([row["round"], shown, *_pair_summary(pairs), score])
    return {
        "stages": stages,
        "last": [
            [
                pair.id,
                pair.donor,
                pair.distance,
                f"{pair.threshold:.2f}",
                *(_of_pixels(state, pair) if has_chain else ()),
            ]
            for pair in last
        ],
        "has_chain": has_chain,
        "last_stage": f"round {last[0].round}, {STAGES[Stage(last[0].stage)]}" if last else "",
    }


def _of_pixels(state: StateReader, pair: PseudoRow) -> list[str | None]:
    """Which steps of the chain gave how many of an image's targets, and the mean weight."""
    made = target_of_png(state.read_blob(pair.blob))
    shares = np.bincount(made.origin.ravel()) / made.origin.size
    steps = ", ".join(f"step {at}: {share:.0%}" for at, share in enumerate(shares) if at and share)
    return [steps or None, f"{made.weight.mean() / 255:.2f}"]


def _pair_summary(pairs: Sequence[PseudoRow]) -> list[Any]:
    distances = [pair.distance for pair in pairs]
    thresholds = ", ".join(f"{value:.2f}" for value in sorted({pair.threshold for pair in pairs}))
    donors = len({pair.donor for pair in pairs})
    return [len(pairs), donors, min(distances), median(distances), max(distances), thresholds]


def _overlays(run_dir: Path) -> tuple[list[dict[str, Any]], int]:
    """A few pictures of a few rounds, and the number of all."""
    matches = (
        (_ROUND_FOLDER.fullmatch(folder.name), folder) for folder in (run_dir / RunFile.OVERLAYS).glob("round_*")
    )
    paths = {int(match[1]): sorted(folder.glob("*.png")) for match, folder in matches if match}
    chosen = [(path, at) for at in _evenly(sorted(paths), PICTURED_ROUNDS) for path in paths[at][:PICTURES_PER_ROUND]]
    return [_overlay(path, at) for path, at in chosen], sum(map(len, paths.values()))


def _evenly(values: Sequence[int], wanted: int) -> list[int]:
    """At most ``wanted`` of the values, with the first and the last among them."""
    if len(values) <= wanted:
        return list(values)
    return [values[round(i * (len(values) - 1) / (wanted - 1))] for i in range(wanted)]


def _overlay(path: Path, at: int) -> dict[str, Any]:
    """The picture as JPEG, a fifth of the PNG, or why it cannot be read."""
    target = io.BytesIO()
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.convert("RGB").save(target, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        return {"file": path.name, "jpeg": None, "problem": str(error)}
    return {"file": path.name, "jpeg": target.getvalue(), "alt": f"round {at}: {path.stem}"}
