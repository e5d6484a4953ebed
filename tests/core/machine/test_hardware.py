"""What the machine is: its processor, its cores, its free memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.core.machine import hardware
from scripts.core.machine.hardware import GIB, cores, cpu_model, free_memory


def machine(folder: Path, monkeypatch: pytest.MonkeyPatch, gib: float, **group: str) -> None:
    """A machine with so much free memory, and the files of its control group."""
    (folder / "meminfo").write_text(f"MemTotal: 999 kB\nMemAvailable:   {int(gib * 2**20)} kB\n")
    for name, text in group.items():
        (folder / f"memory.{name}").write_text(text)
    monkeypatch.setattr(hardware, "_MEMORY", folder / "meminfo")
    monkeypatch.setattr(hardware, "_GROUP", folder)


def test_of_this_machine() -> None:
    assert cores() >= 1 and cpu_model()
    free = free_memory()
    assert free is None or 0 <= free < 2**20


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ({}, 8.0),
        ({"max": "max\n", "current": "1"}, 8.0),
        ({"max": f"{4 * GIB}\n", "current": f"{GIB}\n"}, 8.0),  # without memory.stat: not told, not guessed
        ({"max": f"{4 * GIB}", "current": f"{GIB}", "stat": "anon 1\ninactive_file 0\n"}, 3.0),
        ({"max": f"{4 * GIB}", "current": f"{4 * GIB}", "stat": f"inactive_file {3 * GIB}\n"}, 3.0),
        ({"max": f"{GIB}", "current": f"{2 * GIB}", "stat": ""}, 0.0),
        ({"max": f"{100 * GIB}", "current": "0", "stat": ""}, 8.0),
        ({"max": "?", "current": "0", "stat": ""}, 8.0),
    ],
)
def test_a_limit_of_the_control_group_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: dict[str, str], expected: float
) -> None:
    machine(tmp_path, monkeypatch, 8.0, **group)
    assert free_memory() == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "MemTotal: 3 kB\n", "MemAvailable: many kB\n"])
def test_where_the_system_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    machine(tmp_path, monkeypatch, 8.0)
    (tmp_path / "meminfo").write_text(text)
    assert free_memory() is None
    (tmp_path / "meminfo").unlink()
    assert free_memory() is None
