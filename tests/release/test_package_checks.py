from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from scripts.release.package import ROOT, contents
from scripts.release.package_checks import LARGEST, listed_as_large, problems_of

Content = dict[str, bytes]


@pytest.fixture(scope="module")
def content() -> Content:
    """The package of this repository."""
    return contents(ROOT)


def without(*names: str) -> Callable[[Content], Content]:
    return lambda content: {name: data for name, data in content.items() if name not in names}


def edited(file: str, **changes: Any) -> Callable[[Content], Content]:
    return lambda content: {**content, file: json.dumps({**json.loads(content[file]), **changes}).encode()}


def replaced(file: str, data: bytes) -> Callable[[Content], Content]:
    return lambda content: {**content, file: data}


METADATA, LARGE = "configs/metadata.json", "large_files.yml"
FAULTS = {
    "missing file": (without("LICENSE"), ["LICENSE: file is missing"]),
    "missing files are all told": (
        without("LICENSE", "docs/data.md", "requirements.txt"),
        ["LICENSE: file", "requirements.txt: file", "link leads nowhere in the package; expected docs/data.md"],
    ),
    "module of a config": (
        without("scripts/training/losses.py"),
        ["configs/train.json: config names a module that is not there; expected scripts/training/losses.py"],
    ),
    "no JSON": (replaced("configs/glas.json", b"{"), ["configs/glas.json: config is not JSON"]),
    "changelog": (edited(METADATA, version="9.9"), ["version is not in the changelog; expected an entry 9.9"]),
    "pins": (edited(METADATA, monai_version="1.5.0"), ["differ from requirements.txt", "found monai"]),
    "metadata": (edited(METADATA, intended_use="", task=""), ["not complete; expected task, intended_use"]),
    "size": (replaced("docs/big.bin", bytes(LARGEST + 1)), ["docs/big.bin: file is too large", "in large_files.yml"]),
    "no tensors": (replaced("models/model.pt", b"pickle"), ["models/model.pt: not a checkpoint of plain tensors"]),
    "other weights": (
        edited("models/model.json", provenance={"weights_sha256": "0" * 64}),
        ["models/model.pt: weights are not those of their description"],
    ),
    "other network": (edited("models/model.json", network={"_target_": "os.mkdir"}), ["network of the model is not"]),
    "large files": (replaced(LARGE, b"large_files: []"), ["list of large files cannot be read"]),
    "large file": (replaced(LARGE, b'{"large_files": [{"path": "a.bin"}]}'), ["large file is not described"]),
}  # fmt: skip


def test_the_package_of_this_repository_has_no_problems(content: Content) -> None:
    assert problems_of(content) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(fault: str, content: Content) -> None:
    change, expected = FAULTS[fault]
    text = "\n".join(map(str, problems_of(change(content))))
    assert all(part in text for part in expected), text


def test_nothing_at_all_is_told_too() -> None:
    assert all(problem.what == "file is missing" for problem in problems_of({}))


def test_listed_as_large() -> None:
    assert listed_as_large({LARGE: b'{"large_files": [{"path": "a.bin"}, {}]}'}) == ["a.bin"]
    assert listed_as_large({LARGE: b"?"}) == listed_as_large({}) == []
