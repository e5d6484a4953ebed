"""Pictures of a study: curves against a cost, each method before all others, and the Pareto front of the last round.

Bands are one standard deviation over seeds (ddof 0); thin lines are the lowest and highest seed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from scripts.studies.curves import pareto_front
from scripts.studies.report.findings import RANDOM
from scripts.studies.report.method_curves import COSTS, MethodCurves, StudyCurves
from scripts.studies.report.styles import GREY, GRID, INK, Style, styles_of

MOST_BANDS = 4
_COLUMNS, _DPI = 4, 120
_IMAGES = next(iter(COSTS))


def draw_curves(study: StudyCurves, costs: Sequence[str]) -> bytes:
    """Return a PNG: all methods in one panel per cost; bands only where they are few enough to be seen."""
    across = min(2, len(costs))
    down = -(-len(costs) // across)
    figure = _figure(4.6 * across + 1.2, 3.3 * down + _legend_height(len(costs), len(study.methods)))
    styles = styles_of(method.name for method in study.methods)
    panels = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axes, cost in zip(panels, costs, strict=False):
        for method in study.curves:
            _curve(axes, method, cost, styles[method.name], band=len(study.curves) <= MOST_BANDS)
        _flat_lines(axes, study, styles)
        _dress(axes, cost)
    for axes in panels[len(costs) :]:
        axes.set_axis_off()
    for axes in panels[::across]:
        axes.set_ylabel("test Dice", fontsize=9)
    _legend(figure, list(panels[len(costs) :]), study.methods, styles)
    return _png(figure)


def draw_each(study: StudyCurves, cost: str) -> bytes:
    """Return a PNG: a panel per method, its curve with all there is to tell before the others in grey."""
    across = min(_COLUMNS, len(study.curves))
    down = -(-len(study.curves) // across)
    figure = _figure(2.5 * across + 0.6, 2.15 * down + 0.75)
    styles = styles_of(method.name for method in study.methods)
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, method in zip(panels, study.curves, strict=False):
        for other in study.curves:
            if other is not method:
                axes.plot(*_means(other, cost), color=GREY, linewidth=0.8, zorder=1)
        random = study.named(RANDOM)
        if random is not None and random is not method:
            axes.plot(*_means(random, cost), color=INK, linewidth=1.2, linestyle=(0, (4, 2)), zorder=2)
        _curve(axes, method, cost, styles[method.name], band=True, ends=True)
        _flat_lines(axes, study, styles)
        seeds = f"{len(method.seeds)} seed" + ("s" if len(method.seeds) > 1 else "")
        axes.set_title(method.name, fontsize=8.5, loc="left", color="#111111")
        axes.set_title(seeds, fontsize=7, loc="right", color="#666666")
        _dress(axes, cost, label=False)
    for axes in panels[len(study.curves) :]:
        axes.set_axis_off()
    for axes in (panels[at] for at in range(len(study.curves)) if at + across >= len(study.curves)):
        axes.tick_params(labelbottom=True)
    figure.supxlabel(COSTS[cost], fontsize=9)
    figure.supylabel("test Dice", fontsize=9)
    return _png(figure)


def draw_pareto(study: StudyCurves, costs: Sequence[str]) -> bytes:
    """Return a PNG: Dice of the last common round against what it cost, and the methods that no other beats."""
    across = min(2, len(costs))
    down = -(-len(costs) // across)
    figure = _figure(4.6 * across + 1.2, 3.1 * down + _legend_height(len(costs), len(study.curves)))
    styles = styles_of(method.name for method in study.methods)
    panels = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axes, cost in zip(panels, costs, strict=False):
        points = pareto_points(study, cost)
        for method, (x, y) in zip(study.curves, points, strict=True):
            style = styles[method.name]
            deviations = (method.costs[cost][:, study.last].std(), method.dice[:, study.last].std())
            axes.errorbar(x, y, *deviations[::-1], color=style.colour, elinewidth=0.8, alpha=0.55, zorder=2)
            face = "white" if style.is_open else style.colour
            axes.scatter([x], [y], s=52, marker=style.marker, facecolor=face, edgecolor=style.colour, zorder=4)
        front = points[pareto_front(points[:, 0], points[:, 1])]
        front = front[np.lexsort((front[:, 1], front[:, 0]))]
        axes.step(front[:, 0], front[:, 1], where="post", color=INK, linewidth=1.0, linestyle=(0, (3, 2)), zorder=1)
        axes.scatter(front[:, 0], front[:, 1], s=150, facecolor="none", edgecolor=INK, linewidth=1.0, zorder=3)
        _dress(axes, cost, rounds=False)
    for axes in panels[len(costs) :]:
        axes.set_axis_off()
    for axes in panels[::across]:
        axes.set_ylabel(f"test Dice in round {study.last}", fontsize=9)
    _legend(figure, list(panels[len(costs) :]), study.curves, styles, lines=False)
    return _png(figure)


def differing_costs(study: StudyCurves, costs: Sequence[str]) -> list[str]:
    """Return the costs of which the methods spent different amounts until the last common round."""
    return [cost for cost in costs if study.curves and np.ptp(pareto_points(study, cost)[:, 0]) > 0]


def pareto_points(study: StudyCurves, cost: str) -> np.ndarray:
    """Return mean cost and mean Dice of each curve in the last common round, (M, 2)."""
    at = study.last
    return np.array([[method.costs[cost][:, at].mean(), method.dice[:, at].mean()] for method in study.curves])


def _means(method: MethodCurves, cost: str) -> tuple[np.ndarray, np.ndarray]:
    return method.costs[cost].mean(axis=0), method.dice.mean(axis=0)


def _curve(axes: Axes, method: MethodCurves, cost: str, style: Style, band: bool, ends: bool = False) -> None:
    spent, mean = _means(method, cost)
    axes.plot(spent, mean, **style.line(), markersize=4.5, linewidth=1.6, zorder=4)
    if len(method.seeds) < 2:
        return
    if band:
        deviation = method.dice.std(axis=0)
        axes.fill_between(spent, mean - deviation, mean + deviation, color=style.colour, alpha=0.18, lw=0, zorder=3)
    if ends:
        for end in (method.dice.min(axis=0), method.dice.max(axis=0)):
            axes.plot(spent, end, color=style.colour, linewidth=0.6, zorder=3)


def _flat_lines(axes: Axes, study: StudyCurves, styles: Mapping[str, Style]) -> None:
    for method in study.methods:
        if method.flat:
            style = styles[method.name]
            value = method.dice[:, -1].mean()
            axes.axhline(value, color=style.colour, linewidth=1.1, linestyle=style.dashes, zorder=1)


def _dress(axes: Axes, cost: str, label: bool = True, rounds: bool = True) -> None:
    axes.grid(True, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, length=2.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=cost == _IMAGES))
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    if label:
        axes.set_xlabel(COSTS[cost] + ("" if rounds else " until then"), fontsize=9)


def _short(value: float, _: int) -> str:
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g} {sign}"
    return f"{value:g}"


def _legend_height(panels: int, names: int) -> float:
    """Return the inches below the panels that names need; none where a panel is free."""
    return 0.2 if _has_room(panels) else 0.3 + 0.22 * -(-names // 4)


def _has_room(panels: int) -> bool:
    return panels > 1 and panels % 2 == 1


def _legend(
    figure: Figure,
    free: Sequence[Axes],
    methods: Sequence[MethodCurves],
    styles: Mapping[str, Style],
    lines: bool = True,
) -> None:
    """Name the methods in a panel that is free, else below all panels: within one it would hide a line."""
    handles = []
    for method in methods:
        style = styles[method.name]
        look = style.line() if lines else {**style.line(), "linestyle": "none"}
        label = method.name
        if method.flat:
            label += f": {method.dice[:, -1].mean():.3f}"
        handles.append(Line2D([], [], label=label, linewidth=1.6, markersize=5, **look))
    if len(free):
        free[0].legend(handles=handles, loc="center", ncols=2, fontsize=8.5, frameon=False, handlelength=3)
    else:
        figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False, handlelength=3)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})
    return target.getvalue()
