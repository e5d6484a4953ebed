"""A round goes out to a labelling program and comes back, to the pixel."""

from __future__ import annotations

import csv
import json
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
from scripts.state.reader import StateReader
from scripts.state.run_state import RunState
from tests.support.people import a_label, png


def main(words: list[str]) -> None:
    run_command("python -m scripts.annotation", COMMANDS, words)


@pytest.fixture()
def run(tmp_path: Path, shapes_data: Any, caplog: pytest.LogCaptureFixture) -> str:
    caplog.set_level(logging.INFO)
    folder = tmp_path / "run"
    items = [{**item, "sha256": shapes_data.datalist.image_sha256[item["id"]]} for item in shapes_data.datalist.items]
    with RunState.open(folder) as state:
        state.register_run({"classes": ["a", "b"]}, (), items, shapes_data.datalist.sha256)
        state.commit(0, "query", queries=[("train_00", None), ("train_01", 0.25)])
    return str(folder)


class TestQueue:
    @pytest.fixture()
    def given_out(self, run: str) -> str:
        """The run with the folder of its open round; the proposals are squares, one with a hole."""
        folder = Path(run) / "to_annotate" / "round_00"
        with StateReader.open(run) as state:
            asked = state.asked(0)
        for name in ("images", "start", "masks"):
            (folder / name).mkdir(parents=True)
        for at, key in enumerate(asked):
            Image.fromarray(proposed(at) * 255).save(folder / "start" / f"{key}.png")
        return run

    @pytest.mark.parametrize(("form", "file"), [("label_studio", "label_studio.json"), ("cvat", "cvat.xml")])
    def test_comes_back_as_it_went_out(self, given_out: str, form: str, file: str) -> None:
        main(["queue", given_out, "--form", form])
        folder = Path(given_out) / "to_annotate" / "round_00"
        rows = list(csv.DictReader((folder / "queue.csv").open()))
        with StateReader.open(given_out) as state:
            asked = state.asked(0)
        assert [row["picture"] for row in rows] == [f"{key}.png" for key in asked]
        assert [row["order"] for row in rows] == [str(at + 1) for at in range(len(asked))]
        assert all(row["class"] in ("a", "b") and row["why"] for row in rows)
        content = answered((folder / file).read_text()) if form == "label_studio" else (folder / file).read_text()
        for at, key in enumerate(asked):
            outlines = read_outlines(folder / file, Picture((64, 64), (key,)), content.encode())
            np.testing.assert_array_equal(draw_outlines(outlines, (64, 64)), proposed(at))

    def test_tasks_say_where_pictures_are_and_why_they_are_asked(self, given_out: str) -> None:
        main(["queue", given_out, "--form", "label_studio", "--place", "https://example.org/"])
        (first, *_) = json.loads((Path(given_out) / "to_annotate/round_00/label_studio.json").read_text())
        assert first["data"]["image"].startswith("https://example.org/train_")
        assert first["data"]["order"] == 1 and first["data"]["why"]
        assert "round 0" in first["predictions"][0]["model_version"]
        assert "annotations" not in first

    def test_what_is_drawn_is_not_asked_again(self, given_out: str) -> None:
        with StateReader.open(given_out) as state:
            done, *rest = state.asked(0)
        with Desk.open(given_out) as desk:
            desk.submit(a_label(done, "anna"), png(10))
        main(["queue", given_out, "--form", "cvat"])
        text = (Path(given_out) / "to_annotate/round_00/cvat.xml").read_text()
        assert f"{done}.png" not in text
        assert all(f"{key}.png" in text for key in rest)

    @pytest.mark.parametrize(
        ("words", "told"), [(["--form", "yolo"], "one of label_studio, cvat"), (["--form", "cvat"], "--oracle folder")]
    )
    def test_refusals(self, run: str, words: list[str], told: str, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(SystemExit, match="2"):
            main(["queue", run, *words])
        assert told in caplog.text


def proposed(at: int) -> np.ndarray:
    mask = np.zeros((64, 64), np.uint8)
    mask[5 + at : 30, 8:40] = 1
    if at % 2:
        mask[12:20, 15:25] = 0
    return mask


def answered(tasks: str) -> str:
    """What Label Studio exports where people hand in the proposals as they are."""
    return json.dumps([
        {"id": at, "data": task["data"], "annotations": [{"id": at, "result": task["predictions"][0]["result"]}]}
        for at, task in enumerate(json.loads(tasks))
    ])  # fmt: skip
