"""Functions as commands: arguments reach them, faults end them with one message and the promised code."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.annotation import __main__ as annotation
from scripts.core.command_line import run
from scripts.core.errors import InputError, Problem, StateError
from scripts.data import __main__ as data
from scripts.data.demo import __main__ as demo
from scripts.release import __main__ as release
from scripts.studies import __main__ as studies

ROOT = Path(__file__).resolve().parents[2]
LINES = {
    "scripts.annotation": annotation.COMMANDS,
    "scripts.data": data.COMMANDS,
    "scripts.data.demo": demo.COMMANDS,
    "scripts.release": release.COMMANDS,
    "scripts.studies": studies.COMMANDS,
}
EVERY = [
    (package, command, function if isinstance(function, str) else f"{function.__module__}.{function.__qualname__}")
    for package, commands in LINES.items()
    for command, function in commands.items()
]


def test_every_folder_with_commands_is_known() -> None:
    found = {".".join(path.relative_to(ROOT).parent.parts) for path in (ROOT / "scripts").rglob("__main__.py")}
    assert found == set(LINES)


@pytest.mark.parametrize(("package", "command", "_"), EVERY)
def test_an_unknown_option_is_told_before_the_command_does_anything(
    package: str, command: str, _: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(package, LINES[package], [command, "--no_such_option", "1"])
    assert ended.value.code == 2
    assert "--no_such_option: no such option; expected --" in caplog.text


def test_an_option_that_is_near_is_named(caplog: pytest.LogCaptureFixture) -> None:
    def measure(folder: str, val_fraction: float = 0.2) -> None:
        raise AssertionError("it was called")

    with pytest.raises(SystemExit):
        run("program", {"measure": measure}, ["measure", "x", "--valfraction", "1"])
    assert "Write --val_fraction, or leave it out." in caplog.text


class TestRun:
    def test_arguments_reach_the_function(self) -> None:
        given: list[tuple[Any, ...]] = []
        commands = {
            "first": lambda *_: given.append(("first",)),
            "second": lambda a, b=0, c="": given.append((a, b, c)),
        }
        run("program", commands, ["second", "x", "--b", "3", "--c=y z"])
        assert given == [("x", 3, "y z")]

    def test_words_of_the_process_by_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given: list[str] = []
        monkeypatch.setattr(sys, "argv", ["program", "only", "x"])
        run("program", {"only": given.append})
        assert given == ["x"]

    def test_what_is_returned_is_not_printed(self, capsys: pytest.CaptureFixture[str]) -> None:
        run("program", {"count": lambda: {"a": 1}}, ["count"])
        assert capsys.readouterr().out == ""

    def test_another_command_is_not_imported(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "wanted_command.py").write_text("given = []\n")
        (tmp_path / "other_command.py").write_text("raise RuntimeError('was imported')\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        commands = {"wanted": "wanted_command.given.append", "other": "other_command.work"}
        run("program", commands, ["wanted", "7"])
        assert sys.modules.pop("wanted_command").given == [7]
        assert "other_command" not in sys.modules

    def test_without_a_command_all_are_listed(self, capsys: pytest.CaptureFixture[str]) -> None:
        def measure() -> None:
            """Measure all of it."""

        run("program", {"measure": measure, "rest": print}, [])
        shown = capsys.readouterr().out
        assert "measure" in shown and "Measure all of it." in shown and "rest" in shown

    @pytest.mark.parametrize("words", [["nowhere"], ["only"], ["only", "x", "y"]])
    def test_other_words_are_refused(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            run("program", {"only": lambda name: name}, words)
        assert ended.value.code == 2
        shown = capsys.readouterr().err
        assert "ERROR" in shown and "only" in shown and "Traceback" not in shown


@pytest.mark.parametrize(("package", "command", "target"), EVERY)
@pytest.mark.parametrize(("error", "code"), [(InputError, 2), (StateError, 3)])
def test_every_command_ends_with_the_promised_code(
    package: str, command: str, target: str, error: type[Exception], code: int,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def failing() -> None:
        raise error(Problem("is missing", "a.png", cure="Bring it."))

    monkeypatch.setattr(target, failing)
    monkeypatch.setattr(sys, "argv", ["program", command])
    monkeypatch.delitem(sys.modules, f"{package}.__main__")
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(package, run_name="__main__")
    assert ended.value.code == code
    assert caplog.messages[-1] == "a.png: is missing. Bring it."
    assert "Traceback" not in caplog.text + capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ("scripts.annotation status {}/absent", 3, "holds no run"),
        ("scripts.data glas {}/absent", 2, "folder is missing"),
        ("scripts.data.demo slide {}/slide.tif --fields 0", 2, "at least"),
        ("scripts.release model --ckpt {}/m.txt", 2, "not the name of a model"),
    ],
)
def test_as_a_process(words: str, code: int, text: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", *words.format(tmp_path).split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert text in done.stderr and "Traceback" not in done.stderr


class TestTexts:
    """Paths and names arrive as they were typed, numbers as numbers."""

    @pytest.mark.parametrize("text", ["2024_11_29", "Study #2", "(a)", "[a]", "a,2", "None", "0x10", "$x", "'a'"])
    def test_as_typed(self, text: str) -> None:
        given: list[tuple[Any, ...]] = []

        def command(images: str, out: str | None = None, seed: int = 0) -> None:
            given.append((images, out, seed))

        run("program", {"command": command}, ["command", text, "--out", text, "--seed", "3"])
        run("program", {"command": command}, ["command", f"--images={text}"])
        assert given == [(text, text, 3), (text, None, 0)]

    def test_a_text_without_a_value_is_refused(self, caplog: pytest.LogCaptureFixture) -> None:
        def command(images: str, out: str = "", fast: bool = False) -> None:
            raise AssertionError

        with pytest.raises(SystemExit) as caught:
            run("program", {"command": command}, ["command", "a", "--out", "--fast"])
        assert caught.value.code == 2
        assert "--out: no value follows" in caplog.text
