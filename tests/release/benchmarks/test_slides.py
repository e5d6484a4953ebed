from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.core.command_line import run
from scripts.core.errors import InputError
from scripts.release.__main__ import COMMANDS
from scripts.release.benchmarks import slides
from scripts.release.benchmarks.report import BEGIN, END, MIB, insert_section
from scripts.release.benchmarks.slides import MARKERS, Measured, Peer, section, written_command

ROW = {"tiles": "10", "background_tiles": "4", "seconds": "50.0", "polygons": "1234"}


def measured(**changes: Any) -> Measured:
    values: dict[str, Any] = {"side": 10000, "engine": "torch", "file": 200 * MIB, "seconds": 54.0, "peak": 900 * MIB,
                              "row": ROW, "predicted": 50_000_000, "results": 3 * MIB}  # fmt: skip
    return Measured(**{**values, **changes})


def test_numbers_of_the_section() -> None:
    text = section([measured(), measured(side=5000, seconds=53.0)], "python -m x", 1)
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(("| 1", "| 5"))]
    assert rows[0] == ["10,000 x 10,000", "torch", "200", "6 of 10", "50", "0.50", "1.00", "900", "1,234", "3.0"]
    assert rows[1][5] == "2.00"
    assert "`python -m x`" in text and "about 3 s" in text and "1 torch thread |" in text


def test_other_programs_have_a_table_of_their_own() -> None:
    peers = [Peer("MONAI", 5000, 20.0, 10.0, 700 * MIB), Peer("TIAToolbox", 5000)]
    lines = section([measured()], "python -m x", 2, peers).splitlines()
    assert "| MONAI | 5,000 x 5,000 | 20 | 2.00 | 700 |" in lines
    assert "| TIAToolbox | 5,000 x 5,000 | not measured | not measured | not measured |" in lines
    assert "Other programs" not in section([measured()], "python -m x", 2)


def test_memory_of_processes_together() -> None:
    code = "import subprocess, sys; x = b'1' * {0}; y = {1}; print(flush=True); sys.stdin.read()"
    child = code.format(30 * MIB, "0").replace("'", "\\'")
    start = f"subprocess.Popen([sys.executable, '-c', '{child}'], stdout=subprocess.PIPE).stdout.readline()"
    command = [sys.executable, "-c", code.format(50 * MIB, start)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdout.readline()
        found = slides.memory_of(process.pid)
        process.stdin.close()
    assert 80 * MIB < found < 200 * MIB


def test_results_are_written_as_markdown_and_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def told(slide: Path, side: int, *_: Any) -> Measured:
        asked.append((side, _[-1]))
        return measured(side=side, engine=_[-1])

    monkeypatch.setattr(slides, "measure", told)
    monkeypatch.setattr(slides, "measure_peers", lambda _, side, *__: [Peer("TIAToolbox", side)])
    out = tmp_path / "b.md"
    slides.slide_benchmark("m", out=str(out), sides=(128, 64), levels=1, folder=str(tmp_path))
    assert asked == [(128, "torch"), (128, "openvino"), (64, "torch"), (64, "openvino")]
    assert "128 x 128" in out.read_text() and "| TIAToolbox | 64 x 64" in out.read_text()
    found = json.loads((tmp_path / "b_slides.json").read_text())
    assert [one["engine"] for one in found["slides"]] == ["torch", "openvino"] * 2
    assert found["slides"][0]["predicted"] == 50_000_000 and found["peers"][0]["seconds"] is None


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
        slides.measure(slide, 100, str(tmp_path / "none"), (64, 64), 1, tmp_path / "out")
