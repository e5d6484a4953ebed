"""The part of the report about annotators: who drew what in which time, how far they agree, what was not taken."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import median
from typing import Any

from scripts.evaluation.agreement import agreement, consensus
from scripts.images.png import png_to_mask
from scripts.images.values import IGNORE
from scripts.report.html import folded, table
from scripts.state.reader import StateReader
from scripts.state.rows import SIMULATED, LabelRow

_NOTE = (
    "<p class='note'>The run learns the majority of the annotators' latest masks, pixel by pixel; where they are even "
    "the pixel is ignored. Agreement is the mean Dice of all pairs of annotators.</p>"
)


def people_section(state: StateReader) -> str:
    """Return the HTML about the people of a run; empty where all masks came from disk and nobody did anything."""
    labels = [row for row in state.labels() if row.user != SIMULATED and row.status == "accepted"]
    parts = [_annotators(state, labels), _several(state, labels), _skipped(state), _refused(state)]
    shown = "\n".join(part for part in parts if part)
    return f"<h3>Annotators</h3>\n{shown}" if shown else ""


def _annotators(state: StateReader, labels: list[LabelRow]) -> str:
    by_user: dict[str, list[LabelRow]] = defaultdict(list)
    for row in labels:
        by_user[row.user].append(row)
    refused = Counter(row.user for row in state.refusals())
    body = []
    for user in sorted(set(by_user) | set(refused)):
        rows = by_user[user]
        times = [row.seconds for row in rows if row.seconds > 0]
        body.append([
            user, len(rows), len({row.id for row in rows}), refused[user],
            f"{sum(times):.0f}" if times else None, f"{median(times):.0f}" if times else None,
            sum(row.cost_px for row in rows), sum(row.boundary_px for row in rows),
        ])  # fmt: skip
    heads = ["annotator", "masks", "images", "refused", "seconds", "median per mask", "pixels drawn", "border px"]
    return table(heads, body) if body else ""


def _several(state: StateReader, labels: list[LabelRow]) -> str:
    """Images that several people drew; also those that no round has taken yet."""
    latest: dict[str, dict[str, LabelRow]] = defaultdict(dict)
    for row in labels:
        latest[row.id][row.user] = row
    body: list[list[Any]] = []
    for key, rows in sorted(latest.items()):
        if len(rows) > 1:
            masks = [png_to_mask(state.read_blob(row.blob)) for row in rows.values()]
            both = consensus(masks)
            body.append([key, ", ".join(rows), agreement(masks), int((both == 1).sum()), int((both == IGNORE).sum())])
    if not body:
        return ""
    heads = ["image", "annotators", "agreement", "foreground of the majority, px", "ignored, px"]
    summary = f"Images with several annotators: {len(body)}"
    return folded(summary, table(heads, body) + _NOTE, opened=True)


def _skipped(state: StateReader) -> str:
    body = [[row.id, row.user, row.at, row.reason] for row in state.skipped().values()]
    heads = ["image", "annotator", "when", "why"]
    return folded(f"Images that cannot be drawn: {len(body)}", table(heads, body)) if body else ""


def _refused(state: StateReader) -> str:
    body = [[row.id, row.user, row.at, row.origin, row.reason] for row in state.refusals()]
    heads = ["image", "annotator", "when", "from", "what was wrong"]
    return folded(f"Masks that were not taken: {len(body)}", table(heads, body)) if body else ""
