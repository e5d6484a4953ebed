"""``report.html`` of a study, one self-contained page, from results alone; with the pool of a run if that is given.

The page needs no network. Its one script shows the image under the pointer on the map of the pool; the page's own
policy lets no other script run. The same results and pool give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from scripts.core.errors import listed
from scripts.core.files import write_atomic
from scripts.core.run_names import OutputFile
from scripts.studies.report.cost_order import swaps
from scripts.studies.report.figures import differing_costs, draw_curves, draw_each, draw_pareto
from scripts.studies.report.findings import findings
from scripts.studies.report.method_curves import COSTS, StudyCurves, common_range, study_curves
from scripts.studies.report.pool import PoolView
from scripts.studies.report.pool_map import HEIGHT, WIDTH, class_colours, map_points, shade
from scripts.studies.report.tables import TARGET, dice_table, methods_table, penalties

TEMPLATE, SCRIPT = "page.html.j2", "map.js"
NONE = "\N{EN DASH}"
_SHADES = 5


def write_study_report(
    folder: Path | str,
    results: Sequence[Mapping[str, Any]],
    pool: PoolView | None = None,
    failed: Sequence[tuple[str, str]] = (),
    title: str | None = None,
) -> Path:
    """Write ``report.html`` of a study and return its path.

    Args:
        folder: of the study, or any other that the page is to lie in.
        results: records of :func:`scripts.studies.results.read_results`, of one study.
        pool: of one of its runs; None leaves that part out.
        failed: name of each run that has no result, and why.
        title: heading; None for the name of the study.

    Raises:
        StateError: the page cannot be written.
    """
    target = Path(folder) / OutputFile.REPORT
    write_atomic(target, study_page(results, pool, failed, title).encode())
    return target


def study_page(
    results: Sequence[Mapping[str, Any]],
    pool: PoolView | None = None,
    failed: Sequence[tuple[str, str]] = (),
    title: str | None = None,
) -> str:
    """Return the page; see :func:`write_study_report`."""
    study = study_curves(results)
    costs = study.costs()
    first = results[0] if results else {}
    script = (Path(__file__).parent / SCRIPT).read_text() if pool is not None else ""
    return _templates().get_template(TEMPLATE).render(
        title=title or f"Study {first.get('study', '')}".strip(),
        about={name: first.get(name) for name in ("study", "data", "split")},
        runs=len(results), failed=failed, study=study, several=study.last > 0, target=TARGET,
        mixed_data=len({result.get("data_sha256") for result in results}) > 1,
        mixed_machines=len({str(result.get("machine")) for result in results}) > 1,
        mixed_sums=_mixed_sums(results),
        unequal=sorted(m.name for m in study.curves if m.dice.shape[1] - 1 > study.last),
        families=findings(study), methods=methods_table(study), dice=dice_table(study), penalties=penalties(study),
        within=common_range(study.curves, next(iter(COSTS))), costs=[COSTS[cost] for cost in costs],
        same=[COSTS[cost] for cost in costs if cost not in differing_costs(study, costs)],
        without=[COSTS[cost] for cost in COSTS if cost not in costs], pictures=_pictures(study, costs),
        orders=_orders(study, costs), pool=None if pool is None else _pool_section(pool),
        script_hash=_script_hash(script),
        provenance=_provenance(results),
    )  # fmt: skip


def _templates() -> Environment:
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, finalize=_shown,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    found.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    return found


def _shown(value: Any) -> Any:
    if value is None:
        return NONE
    return f"{value:.4f}" if isinstance(value, float) else value


def _pictures(study: StudyCurves, costs: Sequence[str]) -> dict[str, Any]:
    if study.last == 0 or not costs:
        return {}
    differing = differing_costs(study, costs)
    return {
        "all": draw_curves(study, costs),
        "each": [(COSTS[cost], draw_each(study, cost)) for cost in costs],
        "pareto": draw_pareto(study, differing) if differing else None,
    }


def _orders(study: StudyCurves, costs: Sequence[str]) -> list[tuple[str, Any, int]]:
    """Return name of the cost, swaps and number of pairs compared, for each cost but images."""
    return [(COSTS[cost], *swaps(study.curves, cost)) for cost in costs if cost != next(iter(COSTS))]


def _pool_section(pool: PoolView) -> dict[str, Any]:
    points, shares = map_points(pool)
    rounds = sorted({one.round for one in pool.asked})
    scores = [one.score for one in pool.asked if one.score is not None]
    class_of = dict(zip(pool.ids, pool.classes, strict=True))
    ramp = [shade(at / (_SHADES - 1)) for at in range(_SHADES)]
    return {
        "run": pool.run, "points": points, "shares": shares, "images": pool.images, "drawn": len(pool.ids),
        "width": WIDTH, "height": HEIGHT, "classes": class_colours(pool.classes), "class_of": class_of, "ramp": ramp,
        "round_ends": (rounds[0], rounds[-1]) if rounds else None,
        "score_ends": (min(scores), max(scores)) if scores else None,
        "thumbnails": pool.thumbnails, "contradictions": pool.contradictions,
        "montage": [(at, [one for one in pool.asked if one.round == at]) for at in rounds],
    }  # fmt: skip


def _script_hash(script: str) -> str:
    """Return what the page's policy allows: the SHA-256 of the script's text, base64."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii") if script else ""


def _mixed_sums(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the ways in which sums were computed, with their methods; empty where it was one."""
    ways: dict[tuple[Any, Any], set[str]] = {}
    for result in results:
        machine = result.get("machine") or {}
        ways.setdefault((machine.get("precision"), machine.get("threads")), set()).add(str(result["method"]))
    if len(ways) < 2:
        return []
    return [
        f"{precision or 'precision not told'}, threads {threads or 'not told'}: {listed(sorted(methods))}"
        for (precision, threads), methods in sorted(ways.items(), key=str)
    ]


def _provenance(results: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return what the results were made on and with, each once."""
    found: dict[str, list[str]] = {
        "data, SHA-256": [], "processor": [], "threads per run": [], "precision": [], "versions": [],
    }  # fmt: skip
    for result in results:
        machine = result.get("machine") or {}
        versions = ", ".join(f"{name} {version}" for name, version in (result.get("versions") or {}).items())
        texts = (
            result.get("data_sha256"),
            machine.get("cpu"),
            machine.get("threads"),
            machine.get("precision"),
            versions,
        )
        for name, text in zip(found, texts, strict=True):
            if text and str(text) not in found[name]:
                found[name].append(str(text))
    seconds, outside = (_sum(results, name) for name in ("seconds", "seconds_outside_training"))
    peak = max((float(result.get("peak_gb") or 0) for result in results), default=0.0)
    return [
        *((name, "; ".join(texts)) for name, texts in found.items() if texts),
        ("hours of all runs", f"{seconds / 3600:.2f}"),
        ("of it outside trainings", f"{outside / seconds:.0%}" if seconds else NONE),
        ("most memory of a run, GiB", f"{peak:.2f}" if peak else NONE),
    ]


def _sum(results: Sequence[Mapping[str, Any]], name: str) -> float:
    return sum(float(result.get(name) or 0) for result in results)
