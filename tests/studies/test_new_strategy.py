"""A strategy that is added as docs/architecture.md tells takes part in a study under its name."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.study_runs import ENVIRONMENT, ROOT, study_command

TARGET = "scripts.active.strategies.by_score.most_different"


def example() -> tuple[str, str]:
    """The Python and the JSON of the page's example."""
    text = (ROOT / "docs" / "architecture.md").read_text().partition("**A strategy**")[2].partition("\n**")[0]
    (code,), (overlay,) = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in ("python", "json"))
    return code, overlay


@pytest.mark.slow
def test_the_strategy_of_the_docs_is_in_table_and_report(tmp_path: Path) -> None:
    code, overlay = example()
    assert len((code + overlay).splitlines()) <= 30 and TARGET in overlay
    (tmp_path / "my_strategies.py").write_text(code)
    preset = json.loads(overlay.replace(TARGET, "my_strategies.most_different"))
    changes = {**preset, "studies#methods": ["random", "diverse"]}
    done = subprocess.run(
        study_command(tmp_path, changes), cwd=ROOT, env={**ENVIRONMENT, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"^diverse +1 ", done.stderr + done.stdout, re.MULTILINE)
    with open(tmp_path / "out" / "rounds.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["round"]) for row in rows] == [
        ("diverse", "0"), ("diverse", "1"), ("random", "0"), ("random", "1"),
    ]  # fmt: skip
    page = (tmp_path / "out" / "report.html").read_text()
    assert re.search("diverse (below|over) random", page) and page.count("diverse") > 3
