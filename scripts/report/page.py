"""One picture and one self-contained page for all runs in an output folder.

``write_report`` only reads the states, so it may be called at any time, also while a run is writing. The page needs no
network and no script, and is the same bytes as long as the runs are the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.core.errors import Problem, StateError
from scripts.core.files import remove_leftovers, write_atomic
from scripts.core.result_files import Record as Row
from scripts.core.result_files import versions
from scripts.core.run_names import OutputFile, RunFile
from scripts.evaluation.metrics import mean_std
from scripts.report.curve import curve_auc, curve_rows
from scripts.report.curve_plot import FLAT, NAMES, draw_curves, method_name
from scripts.report.html import NONE, folded, page, picture, table, text
from scripts.report.run_section import data_section, run_section
from scripts.state.reader import StateReader
from scripts.state.settings_checks import flatten_settings

logger = logging.getLogger(__name__)

HOW_TO_READ = """
<p><b>Dice</b> is 2|A∩B| / (|A|+|B|) of the foreground, per image, then the mean over the test images, compared at the
original resolution; an image without foreground scores 0. <b>mIoU</b> is the mean of foreground and background IoU
(+1 smoothing). <b>PxAP</b> is the average precision over pixels of the class-activation map (CAM), which needs no
threshold. <b>acc.</b> is the classification accuracy. All are fractions from 0 to 1.</p>
<p><b>Masks</b> counts images whose mask the oracle drew; <b>Mpixels</b> and <b>border px</b> are the same budget in
foreground pixels drawn and in pixels along their borders. Masks of the validation images choose the model and the
threshold, and are not counted, as in the published protocol. <b>AUC</b> is the area under the curve of Dice
over unit-spaced rounds (trapezoid rule), that is, the mean over the rounds with half weight on both ends.</p>
<p>The <b>threshold</b> turns probabilities into a mask; it is the one with the best mIoU on the validation images. A
<b>pseudo-mask</b> is the network's own mask of an image that the oracle has not seen, used for training because a
labelled image of its class (its <b>donor</b>) is near in colour; <b>its Dice</b> compares it with the true mask, which
the training never sees. ± is one standard deviation over seeds (ddof 0).</p>
<p>In the pictures the true border is blue, the prediction's yellow, the pseudo-mask's orange; colour scales run from
violet (low) to yellow (high).</p>
"""


@dataclass(frozen=True)
class Run:
    """What the report needs of one run, read once.

    Attributes:
        name: its folder, relative to the output folder.
        method: strategy, e.g. ``"label_prop"``.
        seed: seed of the run, ``None`` where the settings name none.
        rows: its learning curve.
        settings: flattened settings.
        details: HTML of rounds, times, pseudo-masks and overlays.
        data: HTML about its images.
        data_sha256: hash of its data list.
    """

    name: str
    method: str
    seed: int | None
    rows: list[Row]
    settings: dict[str, Any]
    details: str
    data: str
    data_sha256: str | None


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
    runs.sort(key=lambda run: (_place(run.method), run.seed or 0, run.name))
    curve = draw_curves(_curves(runs), title)
    remove_leftovers(output_dir, deep=False)
    write_atomic(output_dir / OutputFile.LEARNING_CURVE, curve)
    sections = [
        ("Result", _result(runs, curve, broken)),
        ("How to read this", HOW_TO_READ),
        ("Runs", "\n".join(folded(_summary(run), run.details, opened=len(runs) == 1) for run in runs)),
        ("Data", _data(runs)),
        ("Settings", _settings(runs)),
    ]
    target = output_dir / OutputFile.REPORT
    write_atomic(target, page(title, sections, f"{len(runs)} runs in {output_dir.name}").encode())
    return target


def _read(folder: Path, name: str, pictured: set[str]) -> Run:
    with StateReader.open(folder) as state:
        settings = flatten_settings(state.settings())
        rows = curve_rows(state)
        method = str(_setting(settings, "method") or name)
        # One seed per method is pictured: more would make the page heavy and tell nothing new.
        details = run_section(state, folder, rows, _classes(settings), pictures=method not in pictured)
        data = data_section(state, _classes(settings), _setting(settings, "patients_in_several_splits"))
        digest = state.data_sha256()
    seed = _setting(settings, "seed")
    return Run(name, method, None if seed is None else int(seed), rows, settings, details, data, digest)


def _setting(settings: Mapping[str, Any], name: str) -> Any:
    """The setting of this name, at the top or, if not there, the least deep one."""
    found = sorted((key for key in settings if key.rpartition("#")[2] == name), key=lambda key: (key.count("#"), key))
    return settings[found[0]] if found else None


def _classes(settings: Mapping[str, Any]) -> list[str]:
    """Class names, which flattening left as ``classes#0``, ``classes#1``, ... at the top or deeper."""
    found = ((key.split("#"), value) for key, value in settings.items())
    numbered = {int(key[-1]): str(value) for key, value in found if key[-2:-1] == ["classes"] and key[-1].isdigit()}
    return [numbered[index] for index in sorted(numbered)]


def _place(method: str) -> int:
    order = list(NAMES)
    return order.index(method) if method in order else len(order)


def _curves(runs: Sequence[Run]) -> dict[str, list[list[Row]]]:
    """Rows by method; the Dice of the CAM stands in for a run of ``wsl`` where there is none."""
    curves: dict[str, list[list[Row]]] = {}
    for run in runs:
        if run.rows:
            curves.setdefault(run.method, []).append(run.rows)
    stage0 = [run.rows[-1] for run in runs if run.rows and run.rows[-1].get("wsl_dice") is not None]
    if "wsl" not in curves and stage0:
        curves = {"wsl": [[{**stage0[0], "dice": stage0[0]["wsl_dice"]}]], **curves}
    return curves


def _result(runs: Sequence[Run], curve: bytes, broken: Sequence[tuple[str, str]]) -> str:
    rows = []
    for method in dict.fromkeys(run.method for run in runs):
        done = [run for run in runs if run.method == method and run.rows]
        if done:
            rows.append(_method_row(method, done))
    columns = ["method", "seeds", "rounds", "masks", "Dice, first", "Dice, last", "AUC of Dice", "minutes per run"]
    parts = [table(columns, rows) if rows else "<p>No round has been evaluated yet.</p>"]
    parts.append(picture(curve, "test Dice against the number of oracle masks, one line per method"))
    parts += [f"<p class='warn'>{text(name)} could not be read: {text(why)}</p>" for name, why in broken]
    if len({run.data_sha256 for run in runs}) > 1:
        parts.append("<p class='warn'>The runs were made on different data; their figures do not compare.</p>")
    return "\n".join(parts)


def _method_row(method: str, runs: Sequence[Run]) -> list[Any]:
    counts = sorted({len(run.rows) for run in runs})
    first, last = (_spread([run.rows[at]["dice"] for run in runs]) for at in (0, -1))
    areas = [area for run in runs if (area := curve_auc(run.rows)["dice"]) is not None]
    masks = sorted({run.rows[at]["masks"] for run in runs for at in (0, -1)})
    minutes, _ = mean_std([sum(row["seconds_total"] for row in run.rows) / 60 for run in runs])
    return [
        method_name(method),
        len(runs),
        NONE if method in FLAT else _range(counts),
        _range(masks),
        NONE if method in FLAT else first,
        last,
        _spread(areas),
        f"{minutes:.1f}",
    ]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return NONE
    mean, deviation = mean_std(values)
    return f"{mean:.4f} ± {deviation:.4f}" if len(values) > 1 else f"{mean:.4f}"


def _range(values: Sequence[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _summary(run: Run) -> str:
    seed = "" if run.seed is None else f", seed {run.seed}"
    if not run.rows:
        return f"{method_name(run.method)}{seed} ({run.name}): not evaluated yet"
    last = run.rows[-1]
    return f"{method_name(run.method)}{seed} ({run.name}): Dice {last['dice']:.4f} with {last['masks']} masks"


def _data(runs: Sequence[Run]) -> str:
    """Each data list once, with the runs that use it where there are several."""
    lists = dict.fromkeys(run.data for run in runs)
    if len(lists) <= 1:
        return "".join(lists)
    used = {data: ", ".join(run.name for run in runs if run.data == data) for data in lists}
    return "\n".join(f"<h3>{text(names)}</h3>{data}" for data, names in used.items())


def _settings(runs: Sequence[Run]) -> str:
    """Settings that all runs share once, the others as a column per run."""
    keys = sorted({key for run in runs for key in run.settings})
    absent = object()
    common = [key for key in keys if all(run.settings.get(key, absent) == runs[0].settings.get(key) for run in runs)]
    parts = []
    if len(common) < len(keys):
        differing = [[key, *(_shown(run.settings.get(key)) for run in runs)] for key in keys if key not in common]
        parts.append(table(["setting", *(run.name for run in runs)], differing, "What tells the runs apart"))
    shared = table(["setting", "value"], [[key, _shown(runs[0].settings[key])] for key in common])
    parts.append(folded("Settings of every run" if len(runs) > 1 else "Settings of the run", shared))
    parts.append(table(["software", "version"], list(versions().items()), "Versions at the time of this report"))
    return "\n".join(parts)


def _shown(value: Any) -> str:
    return NONE if value is None else str(value)
