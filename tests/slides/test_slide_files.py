from __future__ import annotations

from pathlib import Path

import pytest

from scripts.core.errors import InputError
from scripts.slides.predict import find_slides


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.svs", "a.TIF", "deep/c.ndpi", "deep/.hidden.tif", ".cache/d.tif", "notes.txt", "out/a_mask.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_folders_are_searched_but_not_the_results(folder: Path) -> None:
    found = find_slides(str(folder), folder / "out")
    assert list(found) == ["a", "b", "deep/c"]
    assert found["deep/c"] == folder / "deep" / "c.ndpi"
    assert "out/a_mask" in find_slides(str(folder), folder / "elsewhere")


def test_results_in_a_folder_above_are_no_obstacle(folder: Path) -> None:
    assert list(find_slides(str(folder / "deep"), folder)) == ["c"]


def test_one_file_whatever_its_suffix(folder: Path) -> None:
    assert find_slides(str(folder / "notes.txt"), folder) == {"notes": folder / "notes.txt"}


def test_names_that_would_be_shared_keep_their_suffix(folder: Path) -> None:
    (folder / "b.tif").touch()
    assert list(find_slides(str(folder), folder / "out")) == ["a", "b.svs", "b.tif", "deep/c"]


@pytest.mark.parametrize(
    ("path", "text"), [(None, "--slides PATH"), ("none", "nothing there"), ("empty", "no slide in the folder")]
)
def test_nothing_to_predict(path: str | None, text: str, folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match=text):
        find_slides(path and str(folder / path), folder / "out")


def test_results_must_not_lie_among_the_slides(folder: Path) -> None:
    with pytest.raises(InputError, match=r"among the slides.*--output_dir"):
        find_slides(str(folder), folder / "deep" / "..")
