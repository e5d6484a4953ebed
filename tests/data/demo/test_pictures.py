"""Pictures to try the first steps on lie as people's do: the table is made of them, with a mask for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.core.errors import InputError
from scripts.data.demo.pictures import write_pictures
from scripts.data.makers.folder import folder_items


def test_the_folder_is_paired_without_a_doubt(tmp_path: Path) -> None:
    root = Path(write_pictures(str(tmp_path / "mine"), n=14))
    items, classes = folder_items(root, masks=root / "masks")
    assert len(items) == 14 and classes == ("benign", "malignant")
    assert all(Path(item["mask"]).name == f"{Path(item['image']).stem}_mask.png" for item in items)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "note.txt").touch()
    with pytest.raises(InputError, match="folder is not empty"):
        write_pictures(str(tmp_path))
    with pytest.raises(InputError, match="too few pictures"):
        write_pictures(str(tmp_path / "new"), n=3)
