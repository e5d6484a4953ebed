"""The file of theta0: read as it was written, found by its hash, and refused when it was changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from scripts.core.errors import StateError
from scripts.networks.theta0 import Theta0, find_theta0, read_theta0, write_theta0

WEIGHTS = {"w": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(7)}


@pytest.fixture
def stored(tmp_path: Path) -> Theta0:
    """Two of them in one folder; the one of key ``"a"``."""
    write_theta0(tmp_path, "b", {"w": torch.ones(2)}, 0.5, 1.0, {})
    return write_theta0(tmp_path, "a", WEIGHTS, 0.75, 12.5, {"epoch": 3, "settings": {"lr": 0.1}})


def test_what_was_written_is_read(stored: Theta0, tmp_path: Path) -> None:
    found = read_theta0(tmp_path, "a")
    assert found is not None
    assert (found.sha256, found.accuracy, found.seconds) == (stored.sha256, 0.75, 12.5)
    assert found.weights.keys() == WEIGHTS.keys()
    assert all(torch.equal(value, WEIGHTS[name]) for name, value in found.weights.items())
    assert stored.sha256 == hashlib.sha256((tmp_path / "a.pt").read_bytes()).hexdigest()
    record = json.loads((tmp_path / "a.json").read_bytes())
    assert (record["epoch"], record["settings"]) == (3, {"lr": 0.1})


def test_other_settings_have_none_yet(stored: Theta0, tmp_path: Path) -> None:
    assert read_theta0(tmp_path, "c") is None
    assert read_theta0(tmp_path / "absent", "a") is None


def test_is_found_by_its_hash(stored: Theta0, tmp_path: Path) -> None:
    found = find_theta0(tmp_path, stored.sha256)
    assert torch.equal(found["w"], WEIGHTS["w"])
    for folder, sha256 in ((tmp_path, "0" * 64), (tmp_path / "absent", stored.sha256)):
        with pytest.raises(StateError, match="stage 0 of the run is missing"):
            find_theta0(folder, sha256)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "theta0 is damaged"),
        (lambda path: path.write_bytes(b""), "theta0 is damaged"),
        (lambda path: path.unlink(), "theta0 cannot be read"),
    ],
)
def test_weights_that_were_changed_or_lost(
    spoil: Callable[[Path], object], message: str, stored: Theta0, tmp_path: Path
) -> None:
    spoil(tmp_path / "a.pt")
    with pytest.raises(StateError, match=message):
        read_theta0(tmp_path, "a")
    with pytest.raises(StateError, match=message):
        find_theta0(tmp_path, stored.sha256)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "{}", '{"sha256": "x", "accuracy": "high", "seconds": 1}'])
def test_records_that_were_changed(text: str, stored: Theta0, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(StateError, match=r"a\.json: theta0 cannot be read.*Remove"):
        read_theta0(tmp_path, "a")
    with pytest.raises(StateError, match="stage 0"):
        find_theta0(tmp_path, stored.sha256)


def test_a_file_with_the_right_hash_and_other_content_is_not_unpickled(tmp_path: Path) -> None:
    content = b"no checkpoint"
    (tmp_path / "a.pt").write_bytes(content)
    record = {"sha256": hashlib.sha256(content).hexdigest(), "accuracy": 1.0, "seconds": 1.0}
    (tmp_path / "a.json").write_text(json.dumps(record))
    with pytest.raises(StateError, match="not a checkpoint"):
        read_theta0(tmp_path, "a")
