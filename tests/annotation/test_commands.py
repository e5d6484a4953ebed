"""The commands of the desk."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from scripts.annotation.__main__ import COMMANDS
from scripts.core.command_line import run as run_command
from scripts.state.desk import Desk
from scripts.state.rows import RefusalRow
from scripts.state.run_state import RunState
from tests.support.people import a_label, asking_run, png


def main(words: list[str]) -> None:
    run_command("python -m scripts.annotation", COMMANDS, words)


@pytest.fixture()
def run(tmp_path: Path, shapes_data: Any, caplog: pytest.LogCaptureFixture) -> str:
    caplog.set_level(logging.INFO)
    return str(asking_run(tmp_path / "run", shapes_data, reserves=[("train_02", None)]))


def test_status(run: str, caplog: pytest.LogCaptureFixture) -> None:
    with Desk.open(run) as desk:
        desk.hand_out("anna")
        desk.skip("train_01", "ben", "folded")
        desk.submit(a_label("train_05"), png())
        desk.refuse(RefusalRow("x", "ben", "", "x.png", "f", "mask is empty"))
    main(["status", run])
    for text in (
        "round 0: 1 of 1 images wait for a mask",
        "  train_00, in the hands of anna",
        "1 masks came",
        "cannot be drawn: train_01, says ben: folded",
        "not taken: x.png of ben: mask is empty",
    ):
        assert text in caplog.text


def test_status_while_it_trains(run: str, caplog: pytest.LogCaptureFixture) -> None:
    with RunState.open(run) as state:
        state.commit(0, "oracle", claim=True)
    main(["status", run])
    assert "no round is open" in caplog.text


def test_skip_and_unskip(run: str, caplog: pytest.LogCaptureFixture) -> None:
    main(["skip", run, "train_00", "--reason", "out of focus", "--user", "anna"])
    main(["skip", run, "train_00"])
    with Desk.open(run) as desk:
        assert desk.asked(0) == ["train_01", "train_02"]
        assert desk.skipped()["train_00"].user == "anna"
    main(["unskip", run, "train_00"])
    assert "asked for again; anna had said: out of focus" in caplog.text
    with Desk.open(run) as desk:
        assert desk.asked(0) == ["train_00", "train_01"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["unskip", "train_00"], "was not skipped"),
        (["skip", "test_00"], "only training images are asked for"),
        (["skip", "no"], "no image"),
    ],
)
def test_mistakes(run: str, arguments: list[str], message: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([arguments[0], run, arguments[1]])
    assert message in caplog.text


def test_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit, match="3"):
        main(["status", str(tmp_path)])
    assert "holds no run" in caplog.text
