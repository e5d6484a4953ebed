from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from scripts.core.errors import InputError
from scripts.core.optional import REQUIREMENTS, needed

ROOT = Path(__file__).resolve().parents[2]


def test_requirements_are_pinned() -> None:
    for name in set(REQUIREMENTS.values()):
        text = (ROOT / name.removesuffix(" --no-deps")).read_text()
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert lines and all("==" in line for line in lines)


@pytest.mark.parametrize("error", [ModuleNotFoundError("No module named 'tifffile'"), OSError("libopenslide.so.1")])
def test_names_the_command_that_installs(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> Any:
        raise error

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"tifffile: package is missing.*pip install -r requirements-slide.txt"):
        needed("tifffile")
