from __future__ import annotations

import pytest

from scripts.core.command_line import run
from scripts.core.errors import InputError
from scripts.release.__main__ import COMMANDS
from scripts.release.benchmarks.start import Start, imported, section, until


def test_a_command_is_stopped_at_its_line() -> None:
    code = "import time; print('start', flush=True); print('work', flush=True); time.sleep(60)"
    seconds, text = until(["-c", code], b"work")
    assert seconds < 50 and b"start" in text


def test_a_command_without_a_line_runs_to_its_end() -> None:
    assert until(["-c", "print('whole')"], None)[1].strip() == b"whole"


@pytest.mark.parametrize(("code", "line"), [("print('no')", b"work"), ("raise SystemExit('no')", None)])
def test_a_command_that_fails_is_told(code: str, line: bytes | None) -> None:
    with pytest.raises(InputError, match="no"):
        until(["-c", code], line)


def test_imports_are_counted_without_those_inside_them() -> None:
    text = until(["-X", "importtime", "-c", "import scripts.core.seeds"], None)[1]
    every, own = imported(text)
    assert len(own) == 3 and 0 < sum(own) < sum(every) and len(every) > 10  # scripts, scripts.core, scripts.core.seeds


def test_numbers_of_the_section() -> None:
    text = section([Start("predict", (3.0, 1.0, 2.0), 1.5, 3800, 0.25, 70)], 3, {"CPU": "a"})
    (row,) = [line for line in text.splitlines() if line.startswith("| predict")]
    assert row == "| predict | 2.0 | 1.0 | 1.5 | 3,800 | 0.25 | 70 |"


def test_bad_arguments_end_without_a_traceback() -> None:
    with pytest.raises(SystemExit, match="2"):
        run("python -m scripts.release", COMMANDS, ["benchmark_start", "--repetitions", "0"])
