"""Which slides a command means, and what the files of each are called."""

from __future__ import annotations

from pathlib import Path

from scripts.errors import InputError, Problem
from scripts.slide_reader import SUFFIXES


def find_slides(slides: str | None, output_dir: str | Path) -> dict[str, Path]:
    """Return the slides of a path by their names, in the order of the names.

    A name is the path from the folder without the suffix, ``"case1"`` or ``"a/case1"``; slides that would share one
    keep their suffix. Folders are searched with all in them, but for ``output_dir`` and for names that begin with a
    dot. A file is taken whatever its suffix.

    Args:
        slides: a file or a folder.
        output_dir: where the results go; it may lie inside the folder, but not be it.

    Raises:
        InputError: nothing there, or no slide in the folder, or the results would lie among the slides.
    """
    if not slides:
        raise InputError(Problem("no slide is named", "slides", "a file or a folder", cure="Add --slides PATH."))
    root, out = Path(slides), Path(output_dir).resolve()
    if root.is_file():
        return {root.stem: root}
    if not root.is_dir():
        raise InputError(Problem("slides are missing", str(root), "a file or a folder", "nothing there"))
    if root.resolve() == out:
        cure = "Name another --output_dir; it may be a folder inside this one."
        raise InputError(Problem("results would lie among the slides", str(root), "another folder", cure=cure))
    inside = root.resolve() in out.parents
    paths = [path for path in sorted(root.rglob("*"))
             if _is_slide(path, root) and not (inside and out in path.resolve().parents)]  # fmt: skip
    if not paths:
        raise InputError(Problem("no slide in the folder", str(root), "files ending in " + ", ".join(SUFFIXES), "none"))
    short = [path.relative_to(root).with_suffix("").as_posix() for path in paths]
    return {
        name if short.count(name) == 1 else path.relative_to(root).as_posix(): path
        for name, path in zip(short, paths, strict=True)
    }


def _is_slide(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in SUFFIXES and not hidden and path.is_file()
