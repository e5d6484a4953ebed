"""What comes from outside is data: nothing in it is executed, evaluated, or leads out of its folder."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scripts.blobs import BlobStore
from scripts.config import RunConfig
from scripts.datalist import read_datalist
from scripts.errors import UserError
from scripts.images import read_image
from scripts.masks import NONZERO, read_mask
from scripts.pretrained import load_weights
from scripts.report_html import folded, page, picture, table
from scripts.similarity import NeighbourGraph
from scripts.training import unpack_weights

HOSTILE = [
    "$__import__('os').system('touch canary')",
    "@train#dataset",
    "%train#dataset",
    "../../x",
    "a\0b",
    "x" * 5000,
    "two\nlines",
    "<script>alert(1)</script>",
]


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.canary),)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def payloads(canary: Path) -> list[bytes]:
    """The pickle by itself, and inside a file of PyTorch and of NumPy."""
    saved, array = io.BytesIO(), io.BytesIO()
    torch.save({"w": Touch(canary)}, saved)
    np.savez(array, ids=np.array([Touch(canary)], dtype=object))
    return [pickle.dumps(Touch(canary)), saved.getvalue(), array.getvalue()]


def test_the_payload_does_touch_its_canary(canary: Path) -> None:
    pickle.loads(payloads(canary)[0])  # noqa: S301
    assert canary.exists()


@pytest.mark.parametrize("kind", range(3))
def test_pickles_are_refused_as_weights_and_graphs(canary: Path, tmp_path: Path, kind: int) -> None:
    data = payloads(canary)[kind]
    path = tmp_path / "weights.pt"
    path.write_bytes(data)
    with pytest.raises(UserError):
        unpack_weights(data)
    with pytest.raises(UserError):
        load_weights(path, hashlib.sha256(data).hexdigest())
    with pytest.raises(UserError):
        NeighbourGraph.from_bytes(data)
    assert not canary.exists()


@pytest.mark.parametrize("kind", range(3))
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.nii", "a.nii.gz", "a.npy", "data.json", "data.csv"])
def test_pickles_are_refused_as_images_masks_and_data_lists(canary: Path, tmp_path: Path, name: str, kind: int) -> None:
    path = tmp_path / name
    path.write_bytes(payloads(canary)[kind])
    if name.startswith("data"):
        with pytest.raises(UserError):
            read_datalist(str(path))
    else:
        with pytest.raises(UserError):
            read_image(path)
        with pytest.raises(UserError):
            read_mask(path, NONZERO)
    assert not canary.exists()


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_a_data_list_is_not_evaluated(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = RunConfig({"train": {"dataset": {"_target_": "builtins.dict", "data": None}}})
    items = [{"id": text, "label": text, "image": text}]
    parser = config.parser(objects={"train#dataset#data": items})
    assert list(parser.get_parsed_content("train#dataset")["data"]) == items
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_from_outside_is_the_path_of_a_blob(text: str, tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    with pytest.raises(ValueError, match="name of a blob"):
        store.path(text)
    with pytest.raises(ValueError, match="suffix"):
        store.put(b"", text)
    assert list(tmp_path.iterdir()) == []


def test_text_is_escaped_in_the_report() -> None:
    text = "<script>alert(1)</script>'\"><img src=x onerror=alert(1)>"
    shown = page(text, [(text, table([text], [[text]], text) + folded(text, "") + picture(b"", text))], text)
    assert "<script" not in shown
    assert "<img src=x" not in shown
