"""What tests of whole commands share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.forked_commands import Commands


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    """Runs commands in processes that have loaded the libraries already."""
    with Commands() as running:
        yield running
