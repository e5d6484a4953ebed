"""Does a plan help? Runs with the plan of a data set against runs with the settings of ``train.json``, mask for mask.

``python -m tests.support.plan_against_defaults --sets lesions cells --seeds 0 1 2 --out FILE.json`` makes each set with
each seed, plans it, trains ``label_prop`` with the plan and without, and writes ``FILE.json`` and ``FILE.md``: test
Dice at the numbers of masks that both reach. Settings of ``train.json`` begin with fewer masks; they get more rounds,
to end at as many masks. Set ``glas`` (``../shared/data/glas``) is planned alone and compared with ``glas.json``; set
``demo`` is that of the first run. Runs lie beside ``FILE.json``; given again, the command goes on where it stopped, and
runs that have ended are read from their files.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import ConfigParser

from scripts.core.files import write_atomic
from scripts.data.demo.data_set import make_demo
from tests.support.generated_sets import COUNTS, SETS, make_set

logger = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "bundle" / "configs"
GLAS = ROOT.parent / "shared" / "data" / "glas"
GLAS_WORDS = ("--data#table", "splits.csv", "--data#split_column", "split_paper")
NO_FOREGROUND = ("--data#background_classes", "['normal']")
PLAN, DEFAULTS = "plan", "defaults"
Points = dict[int, float]
"""Masks -> test Dice."""


@dataclass(frozen=True)
class Case:
    """A data set with a seed: where it lies, what its commands have to say by hand, and the files that are compared."""

    name: str
    seed: int
    data: Path
    words: tuple[str, ...]
    against: tuple[Path, ...] = ()


def case_of(name: str, seed: int, work: Path, counts: Sequence[int]) -> Case:
    """Make a data set where there is none yet."""
    data = work / f"{name}_seed{seed}" / "data"
    if name == "glas":
        return Case(name, seed, GLAS, GLAS_WORDS, (CONFIGS / "glas.json",))
    if name == "demo":
        make_demo(data, seed)
        return Case(name, seed, data, ())
    done = data / "counts.json"
    if not done.is_file() or json.loads(done.read_text()) != list(counts):
        make_set(name, data, seed, counts)
        write_atomic(done, json.dumps(list(counts)).encode())
    return Case(name, seed, data, NO_FOREGROUND if name == "lesions" else ())


def compare(case: Case, work: Path, rounds: int | None, also: Sequence[str]) -> dict[str, Any]:
    """Plan, train with both settings, and return what both reached."""
    folder = work / f"{case.name}_seed{case.seed}"
    base = json.loads((CONFIGS / "train.json").read_text())
    plan_file = folder / "plan.json"
    shared = ("--dataset_dir", str(case.data), *case.words)
    if not plan_file.is_file():
        _bundle("plan", [CONFIGS / "train.json"], (*shared, "--output_dir", str(folder)), folder)
    plan = json.loads(plan_file.read_text())
    # Written out, since a run of train.json alone may plan by itself.
    old = {key: ConfigParser(base)[key] for key in plan if not key.startswith("_")} | {
        "num_classes": plan["num_classes"]
    }
    defaults_file = folder / "defaults.json"
    write_atomic(defaults_file, json.dumps(old, indent=2).encode())
    files = {PLAN: [plan_file], DEFAULTS: [defaults_file, *case.against]}
    values = {PLAN: plan, DEFAULTS: old}
    for path in case.against:
        values[DEFAULTS] = values[DEFAULTS] | json.loads(path.read_text())
    asked = {arm: rounds or value["active#rounds"] for arm, value in values.items()}
    if not case.against:
        asked[DEFAULTS] = asked[PLAN] + max(0, _first(plan) - _first(old))
    found: dict[str, Any] = {"set": case.name, "seed": case.seed, "plan": plan, "rounds": asked}
    for arm in (PLAN, DEFAULTS):
        seeds = ("--active#seed", str(case.seed), "--active#rounds", str(asked[arm]))
        words = (*shared, *seeds, *also)
        found[arm] = _trained(folder / arm, [CONFIGS / "train.json", *files[arm]], words, case.seed, asked[arm])
    return found


def _first(settings: Mapping[str, Any]) -> int:
    return int(settings["active#initial_per_class"])


def _trained(out: Path, files: Sequence[Path], words: Sequence[str], seed: int, rounds: int) -> dict[str, Any]:
    """Train, or go on, unless the run has ended already; return its curve and the seconds of its phases."""
    curve = out / f"label_prop_seed{seed}" / "curve.csv"
    if len(_rows(curve)) < rounds:
        began = time.perf_counter()
        _bundle("training", files, (*words, "--output_dir", str(out)), out)
        logger.info("%s: %.0f s", out, time.perf_counter() - began)
    rows = _rows(curve)
    points = {row["masks"]: float(row["dice"]) for row in rows}
    accuracy = float(rows[-1]["accuracy"]) if rows[-1]["accuracy"] else None
    seconds = sum(float(row["seconds_total"]) for row in rows)
    return {"dice": points, "accuracy": accuracy, "seconds_of_rounds": round(seconds, 1)}


def _rows(curve: Path) -> list[dict[str, str]]:
    if not curve.is_file():
        return []
    with open(curve, newline="") as stream:
        return list(csv.DictReader(stream))


def _bundle(run_id: str, files: Sequence[Path], words: Sequence[str], log: Path) -> None:
    """Run a command of the bundle; its words go to ``<run_id>.log``."""
    log.mkdir(parents=True, exist_ok=True)
    named = "[" + ",".join(f"'{path}'" for path in files) + "]"
    command = [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", named, *words]
    with open(log / f"{run_id}.log", "ab") as stream:
        code = subprocess.run(command, cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT, check=False).returncode
    if code:
        raise SystemExit(f"{run_id} ended with {code}: see {log / f'{run_id}.log'}")


def table_of(results: Sequence[Mapping[str, Any]]) -> str:
    """Return Markdown: for each set, Dice with both settings at equal masks, and the difference over the seeds."""
    lines = [
        "| set | masks | with the plan | without | difference | least to greatest | seeds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in dict.fromkeys(result["set"] for result in results):
        pairs: dict[int, list[tuple[float, float]]] = {}
        for result in (result for result in results if result["set"] == name):
            with_plan, without = (
                {int(masks): dice for masks, dice in result[arm]["dice"].items()} for arm in (PLAN, DEFAULTS)
            )
            for masks in sorted(with_plan.keys() & without.keys()):
                pairs.setdefault(masks, []).append((with_plan[masks], without[masks]))
        for masks, both in sorted(pairs.items()):
            ours, others = np.array(both).T
            gain = ours - others
            spread = f"{gain.min():+.3f} to {gain.max():+.3f}"
            means = f"{ours.mean():.3f} | {others.mean():.3f} | {gain.mean():+.3f}"
            lines.append(f"| {name} | {masks} | {means} | {spread} | {len(both)} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Runs with plans against runs with the settings of train.json.")
    parser.add_argument("--sets", nargs="+", choices=[*sorted(SETS), "glas", "demo"], default=sorted(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--out", type=Path, required=True, help="a file that ends in .json")
    parser.add_argument("--rounds", type=int, help="of the plan; without, as planned (glas: until 28 masks)")
    parser.add_argument("--counts", type=int, nargs=3, default=COUNTS, metavar=("TRAIN", "VAL", "TEST"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--also", nargs=argparse.REMAINDER, default=[], help="what all trainings get, last of all")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    out = given.out.absolute()
    work = out.with_suffix("")
    results = []
    for seed in given.seeds:  # all sets once, before any a second time
        for name in given.sets:
            case = case_of(name, seed, work, given.counts)
            results.append(compare(case, work, given.rounds, ("--threads", str(given.threads), *given.also)))
            results.sort(key=lambda result: (given.sets.index(result["set"]), result["seed"]))
            write_atomic(out, json.dumps(results, indent=1).encode())
            write_atomic(out.with_suffix(".md"), table_of(results).encode())
    logger.info("%s", table_of(results))


if __name__ == "__main__":
    main()
