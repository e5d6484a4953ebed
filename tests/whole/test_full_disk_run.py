"""A whole small run on a disk that becomes full: it is told, and the same command goes on to the same end."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from scripts.core.errors import StateError
from scripts.data.run_data import RunData
from tests.support.tiny_runs import tiny_loop, what_happened


@pytest.mark.slow
def test_run_goes_on_after_a_full_disk(shapes_data: RunData, tmp_path: Path) -> None:
    whole = tiny_loop(shapes_data, tmp_path / "reference")
    whole.run()
    reference = what_happened(whole.folder)
    largest = max(path.stat().st_size for path in (tmp_path / "reference").rglob("*") if path.is_file())
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores SIGXFSZ, so a file that would grow beyond the limit fails with EFBIG.
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, usual[1]))
    try:
        with pytest.raises(StateError, match="run the same command again"):
            tiny_loop(shapes_data, tmp_path / "full").run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    again = tiny_loop(shapes_data, tmp_path / "full")
    again.run()
    assert what_happened(again.folder) == reference
