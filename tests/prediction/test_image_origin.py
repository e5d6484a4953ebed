from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.images.png import png_to_mask
from scripts.prediction.image_origin import origin_of
from scripts.state.reader import StateReader
from tests.support.tiny_runs import tiny_loop


@pytest.fixture(scope="module")
def run(shapes_data: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two rounds that paired images with donors."""
    folder = tmp_path_factory.mktemp("runs")
    tiny_loop(shapes_data, folder).run()
    return folder / "label_prop_seed0"


def rows(run: Path, round: int) -> tuple[dict[str, Any], dict[str, Any]]:
    with StateReader.open(run) as state:
        return {row.id: row for row in state.pseudo(round, "final")}, dict(state.labelled(round))


@pytest.mark.parametrize("round", [0, 1])
def test_names_the_donor_of_the_round(round: int, run: Path, shapes_folder: Path) -> None:
    pseudo, _ = rows(run, round)
    for key, row in pseudo.items():
        found = origin_of(shapes_folder / f"{key}.png", run, round)
        assert (found.id, found.round) == (key, round)
        assert found.pseudo is not None
        assert (found.pseudo.donor, found.pseudo.distance) == (row.donor, row.distance)
        assert found.pseudo.donor_path == shapes_folder / f"{row.donor}.png"
        assert row.donor in found.text and f"{row.distance:.4f}" in found.text


def test_masks_are_those_of_the_state(run: Path, shapes_folder: Path, shapes_data: Any) -> None:
    pseudo, labelled = rows(run, 1)
    key, row = next(iter(pseudo.items()))
    found = origin_of(shapes_folder / f"{key}.png", run, 1).pseudo
    assert found is not None and found.donor_mask is not None
    assert np.array_equal(found.donor_mask, shapes_data.store.true_mask(row.donor))
    with StateReader.open(run) as state:
        assert np.array_equal(found.mask, png_to_mask(state.read_blob(row.blob)))
    assert row.donor in labelled


def test_an_image_is_known_by_its_content(run: Path, shapes_folder: Path, tmp_path: Path) -> None:
    key, row = next(iter(rows(run, 1)[0].items()))
    renamed = tmp_path / "renamed.png"
    shutil.copyfile(shapes_folder / f"{key}.png", renamed)
    alone = origin_of(renamed, run, 1)
    assert alone.id == key and alone.pseudo is not None and alone.pseudo.donor_path is None
    told = origin_of(renamed, run, 1, shapes_folder).pseudo
    assert told is not None and told.donor_path == shapes_folder / f"{row.donor}.png"
    (tmp_path / "any").mkdir()
    shutil.copyfile(shapes_folder / f"{row.donor}.png", tmp_path / "any" / "other.png")
    (tmp_path / f"{row.donor}.png").write_bytes(b"of the same name, with other content")
    told = origin_of(renamed, run, 1).pseudo
    assert told is not None and told.donor_path == tmp_path / "any" / "other.png"


def test_images_without_a_donor(run: Path, shapes_folder: Path, tmp_path: Path) -> None:
    _, labelled = rows(run, 1)
    late = next(key for key in labelled if key not in rows(run, 0)[1])
    assert "oracle mask, since round 1" in origin_of(shapes_folder / f"{late}.png", run, 1).text
    assert origin_of(shapes_folder / f"{late}.png", run, 0).pseudo is not None
    assert "test image" in origin_of(shapes_folder / "test_00.png", run, 1).text
    (tmp_path / "new.png").write_bytes(b"x")
    assert "Not an image" in origin_of(tmp_path / "new.png", run, 1).text
    assert "file" in origin_of(tmp_path / "new.png", None, None).text
