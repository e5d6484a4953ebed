"""The parts of the report that tell about one run: rounds, times, pseudo-masks, pictures of its queries, its images."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from scripts.core.result_files import Record as Row
from scripts.core.run_names import RunFile, Stage
from scripts.report.html import folded, picture, table, text
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
    "masks": ("masks", None),
    "percent_masks": ("% of training", ".1f"),
    "pixels": ("Mpixels", "mega"),
    "boundary_px": ("border px", None),
    "dice": ("Dice", ".4f"),
    "miou": ("mIoU", ".4f"),
    "pxap": ("PxAP", ".4f"),
    "accuracy": ("acc.", ".4f"),
    "threshold": ("threshold", ".2f"),
    "val_dice": ("Dice, validation", ".4f"),
    "pseudo_n": ("pseudo-masks", None),
    "pseudo_dice": ("their Dice", ".4f"),
}


def run_section(state: StateReader, run_dir: Path, rows: Sequence[Row], classes: Sequence[str], pictures: bool) -> str:
    """Return the HTML about one run.

    Args:
        state: its state.
        run_dir: its folder; pictures are in ``overlays/round_NN/*.png``.
        rows: its learning curve.
        classes: class names by index; may be empty.
        pictures: whether the overlays are shown.
    """
    if not rows:
        return f"<p>No round has been evaluated yet.</p>\n{people_section(state)}"
    parts = ["<h3>Rounds</h3>", _rounds(rows), "<h3>Seconds per phase</h3>", _times(rows)]
    parts += [_queries(state, rows, classes), people_section(state), _pseudo_masks(state, rows)]
    if pictures:
        parts.append(_pictures(run_dir))
    return "\n".join(part for part in parts if part)


def data_section(state: StateReader, classes: Sequence[str], patients: Any) -> str:
    """Return the HTML about the images of a run.

    Args:
        state: its state.
        classes: class names by index; may be empty.
        patients: number of patients with images in several splits, ``None`` where it is not known.
    """
    images = state.images()
    counts = Counter((image.split, image.label) for image in images)
    labels = sorted({image.label for image in images})
    names = [_class_name(label, classes) for label in labels]
    rows = [
        [shown, *(counts[split, label] for label in labels), sum(counts[split, label] for label in labels)]
        for split, shown in SPLITS.items()
    ]
    parts = [table(["split", *names, "all"], rows, "Images per split and class")]
    parts.append(f"<p>SHA-256 of the data list: <code>{text(state.data_sha256())}</code></p>")
    left_out = state.quarantined()
    if left_out:
        note = f"{len(left_out)} images were left out, because their files cannot be used"
        parts.append(f"<p class='warn'>{note}:</p>")
        parts.append(table(["image", "reason"], sorted(left_out.items())))
    if patients is None:
        parts.append("<p class='note'>The run did not record whether patients occur in several splits.</p>")
    elif int(patients):
        parts.append(
            f"<p class='warn'>{int(patients)} patients have images in several splits: the test figures also measure "
            "how well these patients are remembered, and are higher than on new patients.</p>"
        )
    else:
        parts.append("<p>No patient is known to have images in several splits.</p>")
    return "\n".join(parts)


def _class_name(label: int, classes: Sequence[str]) -> str:
    return classes[label] if label < len(classes) else f"class {label}"


def _rounds(rows: Sequence[Row]) -> str:
    columns = [name for name in _COLUMNS if any(row.get(name) is not None for row in rows)]
    body = [[_formatted(row.get(name), _COLUMNS[name][1]) for name in columns] for row in rows]
    return table([_COLUMNS[name][0] for name in columns], body)


def _formatted(value: Any, pattern: str | None) -> Any:
    if value is None or pattern is None:
        return value
    return format(value / 1e6, ".2f") if pattern == "mega" else format(value, pattern)


def _times(rows: Sequence[Row]) -> str:
    phases = [name for name in rows[0] if name.startswith("seconds_") and name != "seconds_total"]
    columns = ["round", *(name.removeprefix("seconds_").replace("_", " ") for name in phases), "all"]
    body = [[row["round"], *(_formatted(row[name], ".1f") for name in (*phases, "seconds_total"))] for row in rows]
    whole = [sum(row[name] or 0.0 for row in rows) for name in (*phases, "seconds_total")]
    return table(columns, [*body, ["all", *(f"{seconds:.1f}" for seconds in whole)]])


def _queries(state: StateReader, rows: Sequence[Row], classes: Sequence[str]) -> str:
    label_of = {image.id: _class_name(image.label, classes) for image in state.images()}
    body = [
        [query.round, query.rank + 1, query.id, label_of[query.id], query.score]
        for query in state.queries()
        if query.round <= rows[-1]["round"]
    ]
    if not body:
        return ""
    return folded(f"Queries: {len(body)} images", table(["round", "rank", "image", "class", "score"], body))


def _pseudo_masks(state: StateReader, rows: Sequence[Row]) -> str:
    """A line per round and stage, and the provenance of each pseudo-mask of the last round."""
    body: list[list[Any]] = []
    last: list[PseudoRow] = []
    for row in rows:
        for stage, shown in STAGES.items():
            pairs = state.pseudo(row["round"], stage)
            if pairs:
                last = pairs
                score = row["pseudo_dice"] if stage is Stage.FINAL else None
                body.append([row["round"], shown, *_pair_summary(pairs), score])
    if not body:
        return ""
    heads = ["round", "made", "masks", "donors", "nearest", "median distance", "farthest", "threshold", "their Dice"]
    each = [[p.id, p.donor, p.distance, f"{p.threshold:.2f}"] for p in sorted(last, key=lambda p: p.id)]
    where = f"Provenance of the {len(last)} pseudo-masks of round {last[0].round}, {STAGES[Stage(last[0].stage)]}"
    note = "<p class='note'>Those of all rounds are in state.sqlite, table <code>pseudo</code>.</p>"
    listing = table(["image", "donor", "Jensen-Shannon distance", "threshold"], each) + note
    return "<h3>Pseudo-masks</h3>\n" + table(heads, body) + folded(where, listing)


def _pair_summary(pairs: Sequence[PseudoRow]) -> list[Any]:
    distances = [pair.distance for pair in pairs]
    thresholds = ", ".join(f"{value:.2f}" for value in sorted({pair.threshold for pair in pairs}))
    donors = len({pair.donor for pair in pairs})
    return [len(pairs), donors, min(distances), median(distances), max(distances), thresholds]


def _pictures(run_dir: Path) -> str:
    folders = {
        int(match[1]): folder
        for folder in (run_dir / RunFile.OVERLAYS).glob("round_*")
        if (match := _ROUND_FOLDER.fullmatch(folder.name))
    }
    if not folders:
        return ""
    chosen = _evenly(sorted(folders), PICTURED_ROUNDS)
    parts = ["<h3>Queried images</h3>"]
    total, shown = sum(len(list(folder.glob("*.png"))) for folder in folders.values()), 0
    for at in chosen:
        for path in sorted(folders[at].glob("*.png"))[:PICTURES_PER_ROUND]:
            parts.append(_jpeg(path, f"round {at}: {path.stem}"))
            shown += 1
    if shown < total:
        note = f"{shown} of {total} pictures; the others are in the run's folder, overlays/round_NN."
        parts.append(f"<p class='note'>{note}</p>")
    return "\n".join(parts)


def _evenly(values: Sequence[int], wanted: int) -> list[int]:
    """At most ``wanted`` of the values, with the first and the last among them."""
    if len(values) <= wanted:
        return list(values)
    return [values[round(i * (len(values) - 1) / (wanted - 1))] for i in range(wanted)]


def _jpeg(path: Path, alt: str) -> str:
    """The picture as JPEG, a fifth of the PNG; one that cannot be read is named instead."""
    target = io.BytesIO()
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.convert("RGB").save(target, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        return f"<p class='warn'>{text(path.name)} cannot be read: {text(error)}</p>"
    return picture(target.getvalue(), alt, "jpeg")
