"""Masks of a run as files: every version, the one that counts, and outlines for drawing programs."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts.annotation.__main__ import COMMANDS
from scripts.core.command_line import run as run_command
from scripts.images.drawn.outline_drawing import draw_outlines
from scripts.images.drawn.outline_files import read_outlines
from scripts.images.drawn.outlines import Picture
from scripts.state.desk import Desk
from scripts.state.run_state import RunState
from tests.support.people import a_label, a_mask, asking_run, png


def main(words: list[str]) -> None:
    run_command("python -m scripts.annotation", COMMANDS, words)


@pytest.fixture()
def run(tmp_path: Path, shapes_data: Any, caplog: pytest.LogCaptureFixture) -> str:
    caplog.set_level(logging.INFO)
    return str(asking_run(tmp_path / "run", shapes_data))


def test_export(run: str, tmp_path: Path) -> None:
    with Desk.open(run) as desk:
        for user, left in (("anna", 10), ("anna", 20), ("ben", 30)):
            desk.submit(a_label("train_00", user, said="a"), png(left))
    with RunState.open(run) as state:
        state.commit(0, "oracle", claim=True)
    main(["export", run, str(tmp_path / "out")])
    rows = list(csv.DictReader((tmp_path / "out" / "annotations.csv").open()))
    assert [(row["image"], row["version"], row["annotator"], row["round"]) for row in rows] == [
        ("train_00", "1", "anna", "0"), ("train_00", "2", "anna", "0"), ("train_00", "3", "ben", "0"),
    ]  # fmt: skip
    first = np.asarray(Image.open(tmp_path / "out" / rows[0]["file"]))
    np.testing.assert_array_equal(first, a_mask() * 255)
    both = np.asarray(Image.open(tmp_path / "out" / "masks" / "train_00.png"))
    assert {int(value): int((both == value).sum()) for value in np.unique(both)} == {
        0: 64 * 64 - 600,
        128: 400,
        255: 200,
    }


@pytest.mark.parametrize(("form", "file"), [("geojson", "train_00.geojson"), ("coco", "coco.json")])
def test_export_of_outlines(run: str, tmp_path: Path, form: str, file: str) -> None:
    with Desk.open(run) as desk:
        desk.submit(a_label("train_00", "anna"), png(10))
    with RunState.open(run) as state:
        state.commit(0, "oracle", claim=True)
    main(["export", run, str(tmp_path / "out"), "--form", form])
    assert [path.name for path in (tmp_path / "out" / "outlines").iterdir()] == [file]
    picture = Picture((64, 64), ("train_00",))
    outlines = read_outlines(tmp_path / "out" / "outlines" / file, picture)
    mask = np.asarray(Image.open(tmp_path / "out" / "masks" / "train_00.png"))
    np.testing.assert_array_equal(draw_outlines(outlines, (64, 64)) * 255, mask)


def test_export_of_an_unknown_form_writes_nothing(run: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["export", run, str(tmp_path / "out"), "--form", "yolo"])
    assert "unknown form of outlines; expected one of geojson, coco" in caplog.text
    assert not (tmp_path / "out").exists()
