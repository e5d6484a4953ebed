"""The part of the report about annotators: who drew what in which time, how far they agree, what was not taken."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import median
from typing import Any

from scripts.evaluation.agreement import agreement, consensus
from scripts.images.png import png_to_mask
from scripts.images.values import IGNORE
from scripts.state.reader import StateReader
from scripts.state.rows import BOX, SIMULATED, LabelRow


def people_section(state: StateReader) -> dict[str, list[list[Any]]]:
    """Return rows of the tables about people; all are empty where every mask came from disk and nobody did anything."""
    labels = [row for row in state.labels() if row.user != SIMULATED and row.status == "accepted"]
    return {
        "annotators": _annotators(state, labels),
        "several": _several(state, labels),
        "skipped": [[row.id, row.user, row.at, row.reason] for row in state.skipped().values()],
        "refused": [[row.id, row.user, row.at, row.origin, row.reason] for row in state.refusals()],
    }


def _annotators(state: StateReader, labels: list[LabelRow]) -> list[list[Any]]:
    by_user: dict[str, list[LabelRow]] = defaultdict(list)
    for row in labels:
        by_user[row.user].append(row)
    refused = Counter(row.user for row in state.refusals())
    body = []
    for user in sorted(set(by_user) | set(refused)):
        rows = by_user[user]
        times = [row.seconds for row in rows if row.seconds > 0]
        body.append([
            user, len(rows), sum(row.kind == BOX for row in rows), len({row.id for row in rows}), refused[user],
            f"{sum(times):.0f}" if times else None, f"{median(times):.0f}" if times else None,
            sum(row.cost_px for row in rows), sum(row.boundary_px for row in rows),
        ])  # fmt: skip
    return body


def _several(state: StateReader, labels: list[LabelRow]) -> list[list[Any]]:
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
    return body
