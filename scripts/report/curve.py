"""The learning curve of one run: a row per round, as CSV and JSON files and as a table for the terminal.

Dice, mIoU, PxAP, accuracy, threshold and the Dice of pseudo-masks are fractions in [0, 1], on the test split unless the
name says otherwise; ``percent_masks`` is a percentage of the training images, those of background classes left out;
times are seconds. What a run did not measure is ``None`` here, empty in the CSV and ``null`` in the JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.core.files import write_atomic
from scripts.core.result_files import Record, csv_bytes, versions
from scripts.core.run_names import Metric, RunFile
from scripts.evaluation.metrics import auc_over_rounds
from scripts.state.reader import StateReader

MEASURED = (
    Metric.DICE, Metric.MIOU, Metric.PXAP, Metric.ACCURACY, Metric.THRESHOLD, Metric.PSEUDO_DICE, Metric.PSEUDO_N,
)  # fmt: skip
COSTS = (Metric.MASKS, "percent_masks", Metric.PIXELS, "boundary_px", "annotation_seconds")
_OF_VALIDATION = (Metric.VAL_MASKS, Metric.VAL_PIXELS, Metric.VAL_BOUNDARY, Metric.VAL_SECONDS)
SUMMARISED = (Metric.DICE, Metric.MIOU)
PHASE_SECONDS = "seconds_"
_DIGITS = 6
# Column of the terminal's table: heading, width, format.
_TABLE = {
    "round": ("round", 5, "d"),
    Metric.MASKS: ("masks", 5, "d"),
    "percent_masks": ("% masks", 7, ".1f"),
    Metric.DICE: ("Dice", 6, ".4f"),
    Metric.MIOU: ("mIoU", 6, ".4f"),
    Metric.CLEAN_SHARE: ("clean", 6, ".4f"),
    Metric.PXAP: ("PxAP", 6, ".4f"),
    Metric.ACCURACY: ("acc.", 6, ".4f"),
    Metric.THRESHOLD: ("thr.", 5, ".2f"),
    Metric.PSEUDO_N: ("pseudo", 6, "d"),
    Metric.PSEUDO_DICE: ("its Dice", 8, ".4f"),
    "seconds_total": ("seconds", 8, ".1f"),
}


def curve_rows(state: StateReader) -> list[Record]:
    """Return one row per round that has been evaluated, in order of rounds.

    Every row has the columns round, :data:`COSTS`, :data:`MEASURED`, every other metric of the run by name,
    seconds_total and one seconds_<phase> for each phase that any of the rounds had. Costs that are not among the
    metrics of a round are summed up from the masks stored until then. Those of validation masks are added where the run
    counts them (``active#count_validation``); ``percent_masks`` is of training images alone.
    """
    metrics = {at: values for at, values in state.metrics().items() if at >= 0 and Metric.DICE in values}
    seconds = {at: state.seconds(at) for at in metrics}
    phases = list(dict.fromkeys(phase for times in seconds.values() for phase in times))
    known = {Metric.MASKS, Metric.PIXELS, *MEASURED}
    others = sorted({name for values in metrics.values() for name in values} - known)
    settings = state.settings()
    free = [settings["classes"].index(name) for name in settings.get("background_classes", ())]
    trained = sum(image.split == "train" and image.label not in free for image in state.images())
    rows = []
    for at, values in sorted(metrics.items()):
        row: Record = {"round": at, **_costs(state, at, values, trained)}
        row |= {name: values.get(name) for name in (*MEASURED, *others)}
        row[Metric.PSEUDO_N] = None if row[Metric.PSEUDO_N] is None else int(row[Metric.PSEUDO_N])
        row["seconds_total"] = sum(seconds[at].values())
        row |= {PHASE_SECONDS + phase: seconds[at].get(phase) for phase in phases}
        rows.append({name: round(v, _DIGITS) if isinstance(v, float) else v for name, v in row.items()})
    return rows


def curve_auc(rows: Sequence[Record]) -> dict[str, float | None]:
    """Return the area under the curve of Dice and of mIoU in [0, 1], by the formula of Belharbi et al. 2021, Table 3.

    A quantity that some round lacks, and that of no rounds, has no area: ``None``.
    """
    curves = {name: [row[name] for row in rows] for name in SUMMARISED}
    return {name: auc_over_rounds(curve) if curve and None not in curve else None for name, curve in curves.items()}


def write_curve(state: StateReader, run_dir: Path | str) -> tuple[Path, Path]:
    """Write ``curve.csv`` and ``curve.json`` into ``run_dir`` and return both paths.

    The JSON holds ``rounds`` (the rows), ``auc``, ``settings``, ``data_sha256`` and ``versions``.

    Raises:
        StateError: a file cannot be written.
    """
    rows = curve_rows(state)
    table, document = Path(run_dir) / RunFile.CURVE_CSV, Path(run_dir) / RunFile.CURVE_JSON
    content = {
        "auc": curve_auc(rows),
        "rounds": rows,
        "settings": state.settings(),
        "data_sha256": state.data_sha256(),
        "versions": versions(),
    }
    write_atomic(table, csv_bytes(rows, ["round", *COSTS, *MEASURED]))
    write_atomic(document, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    return table, document


def summary_table(rows: Sequence[Record]) -> str:
    """Return the rounds as a fixed-width table for the terminal; columns that no round has are left out."""
    if not rows:
        return "no round has been evaluated yet"
    columns = [name for name in _TABLE if any(row.get(name) is not None for row in rows)]
    lines = ["  ".join(_TABLE[name][0].rjust(_TABLE[name][1]) for name in columns)]
    lines.append("  ".join("-" * _TABLE[name][1] for name in columns))
    lines += ["  ".join(_cell(row.get(name), *_TABLE[name][1:]) for name in columns) for row in rows]
    area = curve_auc(rows)[Metric.DICE]
    if len(rows) > 1 and area is not None:
        lines.append(f"AUC of Dice over {len(rows)} rounds: {area:.4f}")
    return "\n".join(lines)


def _costs(state: StateReader, at: int, values: Mapping[str, float], trained: int) -> Record:
    drawn = state.drawn(at)
    labels = [label for labels in drawn.values() for label in labels]
    masks = int(values.get(Metric.MASKS, len(drawn)))
    pixels = values.get(Metric.PIXELS, sum(label.cost_px for label in labels))
    counted = {name: values.get(name, 0.0) for name in _OF_VALIDATION}  # nothing unless validation masks are counted
    return {
        Metric.MASKS: masks + int(counted[Metric.VAL_MASKS]),
        "percent_masks": 100.0 * masks / trained if trained else None,
        Metric.PIXELS: int(pixels + counted[Metric.VAL_PIXELS]),
        "boundary_px": sum(label.boundary_px for label in labels) + int(counted[Metric.VAL_BOUNDARY]),
        "annotation_seconds": float(sum(label.seconds for label in labels) + counted[Metric.VAL_SECONDS]),
    }


def _cell(value: float | None, width: int, pattern: str) -> str:
    return ("-" if value is None else format(value, pattern)).rjust(width)
