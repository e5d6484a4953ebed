"""The learning curves of several runs in one picture: a line per method, mean and deviation over its seeds.

Methods without rounds (``wsl``, ``full_sup``: one value) are horizontal lines. Deviations are over seeds with ddof 0,
as in Belharbi et al. 2021.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scripts.core.result_files import Record
from scripts.core.run_names import Metric
from scripts.evaluation.metrics import mean_std

FLAT = ("wsl", "full_sup")
NAMES = {
    "wsl": "WSL (no mask)",
    "random": "Random",
    "entropy": "Entropy",
    "mc_dropout": "MC dropout",
    "label_prop": "Label propagation",
    "full_sup": "Full supervision",
}
# Okabe and Ito's palette; the marker tells the methods apart without any colour.
STYLES = {
    "label_prop": ("#D55E00", "o"),
    "random": ("#0072B2", "s"),
    "entropy": ("#009E73", "^"),
    "mc_dropout": ("#CC79A7", "D"),
    "wsl": ("#56646E", ""),
    "full_sup": ("#000000", ""),
}
_OTHERS = (("#E69F00", "v"), ("#56B4E9", "P"), ("#8C6D31", "X"), ("#6A51A3", "*"))


def draw_curves(
    runs: Mapping[str, Sequence[Sequence[Record]]], title: str = "Test Dice per annotation budget"
) -> bytes:
    """Return the picture as PNG bytes.

    Args:
        runs: method -> rows of each of its seeds (:func:`scripts.report.curve.curve_rows`); runs without rows are left
            out.
        title: heading of the picture.
    """
    figure = Figure(figsize=(8.0, 5.0), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    methods = {method: [list(rows) for rows in seeds if rows] for method, seeds in runs.items()}
    methods = {method: seeds for method, seeds in methods.items() if seeds}
    unknown = [method for method in methods if method not in STYLES]
    styles = STYLES | {method: _OTHERS[i % len(_OTHERS)] for i, method in enumerate(unknown)}
    for method, seeds in methods.items():
        draw = _draw_flat if method in FLAT else _draw_curve
        draw(axes, method, seeds, *styles[method])
    _finish(axes, methods, title)
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})
    return target.getvalue()


def method_name(method: str) -> str:
    """Return the name of a method for readers."""
    return NAMES.get(method, method)


def _label(method: str, seeds: int) -> str:
    return f"{method_name(method)} ({seeds} seeds)" if seeds > 1 else method_name(method)


def _draw_curve(axes: Axes, method: str, seeds: list[list[Record]], colour: str, marker: str) -> None:
    # Only rounds that every seed has reached: a mean over other seeds each round would show steps that mean nothing.
    last = min(len(rows) for rows in seeds)
    masks = [mean_std([rows[i][Metric.MASKS] for rows in seeds])[0] for i in range(last)]
    means, deviations = zip(*(mean_std([rows[i][Metric.DICE] for rows in seeds]) for i in range(last)), strict=True)
    label = _label(method, len(seeds))
    axes.plot(masks, means, color=colour, marker=marker, markersize=5, linewidth=1.8, label=label, zorder=3)
    if len(seeds) > 1:
        low, high = ([m + sign * d for m, d in zip(means, deviations, strict=True)] for sign in (-1, 1))
        axes.fill_between(masks, low, high, color=colour, alpha=0.18, linewidth=0, zorder=2)


def _draw_flat(axes: Axes, method: str, seeds: list[list[Record]], colour: str, _marker: str) -> None:
    mean, deviation = mean_std([rows[-1][Metric.DICE] for rows in seeds])
    dashes = (0, (2, 2)) if method == "wsl" else (0, (6, 2))
    label = f"{_label(method, len(seeds))}: {mean:.3f}"
    axes.axhline(mean, color=colour, linewidth=1.6, linestyle=dashes, label=label, zorder=1)
    if len(seeds) > 1:
        axes.axhspan(mean - deviation, mean + deviation, color=colour, alpha=0.10, linewidth=0, zorder=0)


def _finish(axes: Axes, methods: Mapping[str, list[list[Record]]], title: str) -> None:
    axes.set_title(title, loc="left", fontsize=12)
    if any(len(seeds) > 1 for seeds in methods.values()):
        axes.set_title("mean over seeds, band ±1 sd", loc="right", fontsize=9, color="#666666")
    axes.set_xlabel("oracle masks (images)")
    axes.set_ylabel("test Dice, mean over images")
    axes.grid(True, color="#E3E3E3", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not methods:
        axes.text(0.5, 0.5, "no round has been evaluated yet", transform=axes.transAxes, ha="center", color="#666666")
        return
    if not any(method not in FLAT for method in methods):
        axes.set_xticks([])
    # Below the axes: inside, it would hide a line in one data set or another.
    axes.figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
