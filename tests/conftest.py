"""Shared fixtures: golden numbers of the published implementation, found in ``../shared`` where it is present."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.data.run_data import RunData
from tests.support.tiny import write_tiny
from tests.support.tiny_runs import make_images, open_tiny

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


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of ten images (see :mod:`tests.support.tiny`), to be read only."""
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def shapes_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 20 images of 64 x 64 pixels and two classes, with masks and ``data.csv``."""
    return make_images(tmp_path_factory.mktemp("shapes") / "data")


@pytest.fixture(scope="session")
def shapes_data(shapes_folder: Path) -> RunData:
    """The images of ``shapes_folder``, decoded."""
    return open_tiny(shapes_folder)
