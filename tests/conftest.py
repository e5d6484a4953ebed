"""Shared fixtures: golden numbers of the published implementation, found in ``../shared`` where it is present."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared material; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("../shared is absent: golden numbers and GlaS are not part of the repository")
    return SHARED


@pytest.fixture(scope="session")
def golden(shared: Path) -> Callable[[str], Any]:
    """``golden("auc")`` reads ``../shared/golden/auc.json``."""
    return lambda name: json.loads((shared / "golden" / f"{name}.json").read_text())
