"""One server per module of tests, and people who talk to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scripts.state.desk import Desk
from tests.support.label_server import Person
from tests.support.served import Served, make_served


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    found = make_served(tmp_path_factory.mktemp("requests"))
    try:
        found.server.start()
        yield found
    finally:
        found.server.close()


@pytest.fixture()
def anna(served: Served) -> Person:
    return Person(served.server)


@pytest.fixture()
def desk(served: Served) -> Iterator[Desk]:
    with Desk.open(served.run) as opened:
        yield opened
