"""Names of what a run stores are spelt out in one file."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.core import run_names
from scripts.core.run_names import Measure, Metric, OutputFile, Phase, RunFile, Stage, is_run, last_phase, run_folder

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for folder in ("scripts", "bundle/label_app")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path != Path(run_names.__file__)
]
ALL = {str(name) for names in (Phase, Stage, Metric, Measure, RunFile, OutputFile) for name in names}
UNMISTAKABLE = {name for name in ALL if re.search(r"[._]|cycle", name)}
ASKED_BY_NAME = {"is_done", "rng", "commit", "pseudo", "artifact"}
"""Methods of the state whose second argument is a name."""


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """Names that a file spells out: the unmistakable ones anywhere, the others where the state is asked by them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in UNMISTAKABLE:
            yield node.lineno, str(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ASKED_BY_NAME:
            asked = [*node.args[1:2], *(k.value for k in node.keywords if k.arg in ("phase", "stage", "name"))]
            yield from ((a.lineno, str(a.value)) for a in asked if isinstance(a, ast.Constant) and a.value in ALL)
        if (
            isinstance(node, ast.Subscript)
            and "metrics" in ast.unparse(node.value)
            and isinstance(node.slice, ast.Constant)
        ):
            yield from ((node.lineno, str(node.slice.value)) for _ in range(node.slice.value in ALL))


def test_no_other_file_spells_a_name() -> None:
    assert len(SOURCES) > 100
    found = [f"{path.relative_to(ROOT)}:{line}: {name}" for path in SOURCES for line, name in literals(path)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    ["x = folder / 'state.sqlite'", "state.is_done(0, 'evaluate')", "state.pseudo(1, stage='final')",
     "state.metrics(0)[0]['dice']"],
)  # fmt: skip
def test_a_name_that_is_spelt_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.py").write_text(line)
    assert len(list(literals(tmp_path / "a.py"))) == 1


def test_names_are_their_text() -> None:
    assert json.dumps({Metric.DICE: Phase.ORACLE}) == '{"dice": "oracle"}'
    assert f"{RunFile.STATE}" == "state.sqlite" and Path("a") / RunFile.STATE == Path("a/state.sqlite")


def test_folder_of_a_run(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "random", 3)
    assert folder == tmp_path / "random_seed3" and not is_run(folder)
    folder.mkdir()
    (folder / "state.sqlite").touch()
    assert is_run(folder)


def test_last_phase() -> None:
    assert (last_phase(True), last_phase(False)) == (Phase.REFRESH, Phase.EVALUATE)
