from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts.core.command_line import run
from scripts.core.errors import InputError
from scripts.release import slide_benchmark
from scripts.release.__main__ import COMMANDS
from scripts.release.benchmark_report import BEGIN, END, MIB, insert_section
from scripts.release.slide_benchmark import MARKERS, Measured, section, written_command

ROW = {"tiles": "10", "background_tiles": "4", "seconds": "50.0", "polygons": "1234"}


def measured(**changes: Any) -> Measured:
    values: dict[str, Any] = {"side": 10000, "file": 200 * MIB, "seconds": 54.0, "peak": 900 * MIB, "row": ROW,
                              "predicted": 50_000_000, "results": 3 * MIB}  # fmt: skip
    return Measured(**{**values, **changes})


def test_numbers_of_the_section() -> None:
    text = section([measured(), measured(side=5000, seconds=53.0)], "python -m x", 1)
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(("| 1", "| 5"))]
    assert rows[0] == ["10,000 x 10,000", "200", "6 of 10", "50", "0.50", "1.00", "900", "1,234", "3.0"]
    assert rows[1][4] == "2.00"
    assert "`python -m x`" in text and "about 3 s" in text and "1 torch thread |" in text


def test_sections_stand_side_by_side() -> None:
    text = insert_section(insert_section("", "first"), "slides", MARKERS)
    text = insert_section(insert_section(text, "second"), "other slides", MARKERS)
    assert "first" not in text and text.count("second") == 1 and text.count("other slides") == 1
    assert all(text.count(marker) == 1 for marker in (*MARKERS, BEGIN, END))


def test_command_is_written_down() -> None:
    assert written_command({}) == "python -m scripts.release slide_benchmark --model runs/demo --out docs/benchmarks.md"
    assert written_command({"sides": [1000]}).endswith("--sides 1000")


def test_bad_arguments_end_without_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("python -m scripts.release", COMMANDS, ["slide_benchmark", "--sides", "10"])


def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    slide = tmp_path / "a.tif"
    slide.write_text("no slide")
    with pytest.raises(InputError, match="cannot be predicted"):
        slide_benchmark.measure(slide, 100, str(tmp_path / "none"), (64, 64), 1, tmp_path / "out")
