"""One picture and one self-contained page for all runs in an output folder.

``write_report`` only reads the states, so it may be called at any time, also while a run is writing. The page needs no
network and no script, and is the same bytes as long as the runs are the same.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from scripts.core.errors import Problem, StateError
from scripts.core.files import remove_leftovers, write_atomic
from scripts.core.result_files import Record, versions
from scripts.core.run_names import Metric, OutputFile, RunFile
from scripts.evaluation.metrics import mean_std
from scripts.report.curve import curve_auc, curve_rows
from scripts.report.curve_plot import FLAT, NAMES, draw_curves, method_name
from scripts.report.run_section import data_section, run_section
from scripts.state.reader import StateReader
from scripts.state.settings_checks import flatten_settings

logger = logging.getLogger(__name__)

TEMPLATE = "page.html.j2"
NONE = "\N{EN DASH}"
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?( ± \d+(\.\d+)?)?|" + NONE)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ReportedRun:
    """What the report needs of one run, read once.

    Attributes:
        name: its folder, relative to the output folder.
        method: strategy, e.g. ``"label_prop"``.
        seed: seed of the run, ``None`` where the settings name none.
        rows: its learning curve.
        settings: flattened settings.
        details: :func:`scripts.report.run_section.run_section` of it.
        data: :func:`scripts.report.run_section.data_section` of it.
    """

    name: str
    method: str
    seed: int | None
    rows: list[Record]
    settings: dict[str, Any]
    details: dict[str, Any]
    data: dict[str, Any]


def write_report(output_dir: Path | str, title: str = "Active learning with a weak annotator") -> Path:
    """Write ``learning_curve.png`` and ``report.html`` into ``output_dir`` and return the path of the page.

    Runs are ``output_dir`` itself and its subfolders down to two levels, where they hold a ``state.sqlite``. A run that
    cannot be read is named on the page with the reason; the others are reported.

    Args:
        output_dir: folder of one or several runs.
        title: heading of the page and of the picture.

    Raises:
        StateError: no run at all, or the page cannot be written.
    """
    output_dir = Path(output_dir)
    folders = sorted({path.parent for depth in ("", "*/", "*/*/") for path in output_dir.glob(depth + RunFile.STATE)})
    if not folders:
        cure = "Name the output_dir of a training run."
        raise StateError(Problem("holds no run", str(output_dir), f"a folder with {RunFile.STATE}", cure=cure))
    runs, broken = [], []
    pictured: set[str] = set()
    for folder in folders:
        name = str(folder.relative_to(output_dir))
        try:
            run = _read(folder, output_dir.name if name == "." else name, pictured)
        except StateError as error:
            logger.warning("report: %s cannot be read: %s", folder, error)
            broken.append((name, str(error)))
            continue
        pictured.add(run.method)
        runs.append(run)
    place = {method: at for at, method in enumerate(NAMES)}
    runs.sort(key=lambda run: (place.get(run.method, len(place)), run.seed or 0, run.name))
    curve = draw_curves(_curves(runs), title)
    remove_leftovers(output_dir, deep=False)
    write_atomic(output_dir / OutputFile.LEARNING_CURVE, curve)
    target = output_dir / OutputFile.REPORT
    write_atomic(target, _page(title, output_dir.name, runs, broken, curve).encode())
    return target


def _page(title: str, folder: str, runs: Sequence[ReportedRun], broken: Sequence[tuple[str, str]], curve: bytes) -> str:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, finalize=_shown,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    templates.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    templates.filters["method_name"] = method_name
    templates.tests["numeric"] = lambda value: _NUMBER.fullmatch(str(_shown(value)))
    templates.tests["sha256"] = lambda value: _SHA256.fullmatch(str(value))
    differing, common = _settings(runs)
    return templates.get_template(TEMPLATE).render(
        title=title, folder=folder, curve=curve, broken=broken, runs=runs, methods=_methods(runs),
        mixed_data=len({run.data["sha256"] for run in runs}) > 1, data_lists=_data_lists(runs),
        differing=differing, common=common, versions=versions(),
    )  # fmt: skip


def _shown(value: Any) -> Any:
    """The value as the page prints it; the template escapes it afterwards."""
    if value is None:
        return NONE
    return f"{value:.4f}" if isinstance(value, float) else value


def _read(folder: Path, name: str, pictured: set[str]) -> ReportedRun:
    with StateReader.open(folder) as state:
        settings = flatten_settings(state.settings())
        rows = curve_rows(state)
        method = str(_setting(settings, "method") or name)
        # One seed per method is pictured: more would make the page heavy and tell nothing new.
        details = run_section(state, folder, rows, _classes(settings), pictures=method not in pictured)
        data = data_section(state, _classes(settings), _setting(settings, "patients_in_several_splits"))
    seed = _setting(settings, "seed")
    return ReportedRun(name, method, None if seed is None else int(seed), rows, settings, details, data)


def _setting(settings: Mapping[str, Any], name: str) -> Any:
    """The setting of this name, at the top or, if not there, the least deep one."""
    found = sorted((key for key in settings if key.rpartition("#")[2] == name), key=lambda key: (key.count("#"), key))
    return settings[found[0]] if found else None


def _classes(settings: Mapping[str, Any]) -> list[str]:
    """Class names, which flattening left as ``classes#0``, ``classes#1``, ... at the top or deeper."""
    found = ((key.split("#"), value) for key, value in settings.items())
    numbered = {int(key[-1]): str(value) for key, value in found if key[-2:-1] == ["classes"] and key[-1].isdigit()}
    return [numbered[index] for index in sorted(numbered)]


def _curves(runs: Sequence[ReportedRun]) -> dict[str, list[list[Record]]]:
    """Rows by method; the Dice of the CAM stands in for a run of ``wsl`` where there is none."""
    curves: dict[str, list[list[Record]]] = {}
    for run in runs:
        if run.rows:
            curves.setdefault(run.method, []).append(run.rows)
    stage0 = [run.rows[-1] for run in runs if run.rows and run.rows[-1].get(Metric.WSL_DICE) is not None]
    if "wsl" not in curves and stage0:
        curves = {"wsl": [[{**stage0[0], Metric.DICE: stage0[0][Metric.WSL_DICE]}]], **curves}
    return curves


def _methods(runs: Sequence[ReportedRun]) -> list[list[Any]]:
    """A row per method of which a round was evaluated."""
    done = [run for run in runs if run.rows]
    methods = dict.fromkeys(run.method for run in done)
    return [_method_row(method, [run for run in done if run.method == method]) for method in methods]


def _method_row(method: str, runs: Sequence[ReportedRun]) -> list[Any]:
    counts = sorted({len(run.rows) for run in runs})
    first, last = (_spread([run.rows[at][Metric.DICE] for run in runs]) for at in (0, -1))
    areas = [area for run in runs if (area := curve_auc(run.rows)[Metric.DICE]) is not None]
    masks = sorted({run.rows[at][Metric.MASKS] for run in runs for at in (0, -1)})
    minutes, _ = mean_std([sum(row["seconds_total"] for row in run.rows) / 60 for run in runs])
    flat = method in FLAT
    return [
        method_name(method), len(runs), None if flat else _range(counts), _range(masks), None if flat else first, last,
        _spread(areas) if areas else None, f"{minutes:.1f}",
    ]  # fmt: skip


def _spread(values: Sequence[float]) -> str:
    mean, deviation = mean_std(values)
    return f"{mean:.4f} ± {deviation:.4f}" if len(values) > 1 else f"{mean:.4f}"


def _range(values: Sequence[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _data_lists(runs: Sequence[ReportedRun]) -> list[tuple[dict[str, Any], list[str]]]:
    """Each data list once, with the names of the runs that use it."""
    lists = [run.data for at, run in enumerate(runs) if all(run.data != before.data for before in runs[:at])]
    return [(data, [run.name for run in runs if run.data == data]) for data in lists]


def _settings(runs: Sequence[ReportedRun]) -> tuple[list[list[Any]], list[list[Any]]]:
    """Rows of the settings that differ, a value per run, and of those that all runs share, one value."""
    absent = object()
    differing, common = [], []
    for key in sorted({key for run in runs for key in run.settings}):
        values = [run.settings.get(key, absent) for run in runs]
        shown = [None if value in (None, absent) else str(value) for value in values]
        if all(value == values[0] for value in values):
            common.append([key, shown[0]])
        else:
            differing.append([key, *shown])
    return differing, common
