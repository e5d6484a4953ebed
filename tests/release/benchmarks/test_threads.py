from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.core.command_line import run
from scripts.core.errors import InputError
from scripts.release.__main__ import COMMANDS
from scripts.release.benchmarks import threads
from scripts.release.benchmarks.threads import Timed, busy_program, run_case, section


def times(case: str, place: str, **seconds: list[float]) -> list[Timed]:
    return [Timed(case, place, name, each, 1) for name, found in seconds.items() for each in found]


def rows_of(text: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]


def test_numbers_of_the_section() -> None:
    found = times("predict", "alone", one=[2.0, 4.0, 3.0], default=[2.0, 1.0, 9.0], torch=[30.0])
    found += times("round", "busy", one=[10.0], default=[11.0]) + times("demo", "alone", default=[1.0])
    first, second = rows_of(section(found, "python -m x", {"CPU": "a"}))
    assert first[1:] == ["alone", "3.0", "2.0", "1", "0.67", "0.50", "10.00"]
    assert second[1:] == ["beside one busy program", "10.0", "11.0", "1", "1.10", "1.10", "not measured"]
    assert "`python -m x`" in section(found, "python -m x", {})


def test_variants_take_turns_alone_and_beside_a_busy_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []

    def case(name: str, variant: str, folder: Path) -> tuple[float, int]:
        called.append(variant)
        return 1.0, 2

    monkeypatch.setattr(threads, "run_case", case)
    monkeypatch.setattr(threads, "make_demo", lambda folder: folder)
    out, data = tmp_path / "a.md", tmp_path / "a.json"
    threads.benchmark_threads(str(out), str(data), "predict", 2)
    assert called == ["one", "default"] * 2 + ["default", "one"] * 2
    assert [row[1] for row in rows_of(out.read_text())] == ["alone", "beside one busy program"]
    assert data.read_text().count('"place": "busy"') == 4


def test_a_command_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the command says what it was given; the environment of the user does not reach it."""
    stand_in = tmp_path / "python"
    stand_in.write_text(
        '#!/bin/sh\necho "threads: 3 (as set) ${OMP_NUM_THREADS-none} $*" | tee ' + str(tmp_path / "told")
    )
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    seconds, threads = run_case("demo", "one", tmp_path)
    assert seconds > 0 and threads == 3
    told = (tmp_path / "told").read_text()
    assert " none " in told and told.strip().endswith("--threads 1")
    stand_in.write_text("#!/bin/sh\necho it broke; exit 1")
    with pytest.raises(InputError, match="it broke"):
        run_case("demo", "default", tmp_path)


def test_the_busy_program_runs_until_the_end() -> None:
    with busy_program() as process:
        assert process.poll() is None
    assert process.poll() is not None


@pytest.mark.parametrize("words", [["--cases", "none"], ["--repetitions", "0"]])
def test_bad_arguments_end_without_a_traceback(words: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("python -m scripts.release", COMMANDS, ["benchmark_threads", *words])
