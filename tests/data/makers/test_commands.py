from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.core.command_line import run
from scripts.data.__main__ import COMMANDS
from scripts.data.datalist import read_datalist
from tests.data.makers.test_cub import cub_tree
from tests.data.makers.test_glas import glas_tree


def main(words: list[str]) -> None:
    run("python -m scripts.data", COMMANDS, words)


ROOT = Path(__file__).resolve().parents[3]


def fill(root: Path) -> None:
    """Put pixels into the empty files of a tree, so that its list can be read with all checks."""
    for n, path in enumerate(sorted(root.rglob("*"))):
        if path.suffix in (".bmp", ".png"):
            pixels = np.full((4, 6), 200 + n % 50, np.uint8)
            pixels[:2] = 0 if "_anno" in path.name or "segmentations" in path.parts else 90  # masks differ from images
            Image.fromarray(pixels).save(path)
        elif path.suffix == ".jpg":
            Image.fromarray(np.full((4, 6, 3), n * 5 % 256, np.uint8)).save(path)


@pytest.mark.parametrize(("command", "tree", "sizes"), [("glas", glas_tree, (8, 2, 2)), ("cub", cub_tree, (2, 6, 4))])
def test_makers_write_what_the_reader_reads(tmp_path: Path, command: str, tree, sizes: tuple) -> None:
    fill(tree(tmp_path))
    main([command, str(tmp_path), *(["--val-per-class", "3"] if command == "cub" else [])])
    data = read_datalist(tmp_path, progress=False)
    assert tuple(len(data.split(name)) for name in ("train", "val", "test")) == sizes
    assert all(item["mask"] for item in data.items)


def test_folder_command(tmp_path: Path) -> None:
    for name in ("images/a.png", "masks/a.png", "images/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (6, 4), len(name)).save(tmp_path / name)
    (tmp_path / "l.csv").write_text("image,label,split\na,x,train\nb,x,val\n")
    images, labels, masks, out = (str(tmp_path / name) for name in ("images", "l.csv", "masks", "data.csv"))
    main(["folder", images, "--labels", labels, "--masks", masks, "--out", out])
    data = read_datalist(tmp_path, progress=False)
    assert [(item["id"], item["split"], item["mask"] is None) for item in data.items] == [
        ("a", "train", False), ("b", "val", True),
    ]  # fmt: skip


def test_errors_end_the_command_without_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.data", "glas", str(tmp_path / "absent")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "folder is missing" in done.stderr
    assert "Traceback" not in done.stderr
