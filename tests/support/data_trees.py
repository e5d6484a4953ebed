"""Folders of empty files, as data sets are shipped, and what becomes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.core.errors import InputError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def faults(make, *arguments, **settings) -> list[str]:
    with pytest.raises(InputError) as caught:
        make(*arguments, **settings)
    return [problem.what for problem in caught.value.problems]


def by_id(items: list[dict], root: Path) -> dict[str, tuple]:
    def short(path):
        return None if path is None else Path(path).relative_to(root).as_posix()

    return {item["id"]: (short(item["image"]), short(item["mask"]), item["label"], item["split"]) for item in items}
