"""A run whose models are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_runs import tiny_loop


@pytest.fixture(scope="session")
def finished(shapes_data: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run of two rounds."""
    folder = tmp_path_factory.mktemp("runs")
    tiny_loop(shapes_data, folder).run()
    return folder
