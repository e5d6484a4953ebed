"""What comes from outside is data: nothing in it is executed, evaluated, or leads out of its folder."""

from __future__ import annotations

import gzip
import hashlib
import json
import pickle
import re
import tracemalloc
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from scripts.core.errors import UserError
from scripts.core.run_config import RunConfig
from scripts.data.datalist import read_datalist
from scripts.data.makers.cub import cub_items
from scripts.data.makers.folder import folder_items
from scripts.data.makers.glas import glas_items
from scripts.images.files import nifti
from scripts.images.masks import NONZERO, read_mask
from scripts.images.png import mask_to_png, png_to_mask
from scripts.images.reading import read_image
from scripts.networks.encoders.pretrained import load_weights
from scripts.networks.weights import unpack_weights
from scripts.report.page import write_report
from scripts.state.blob_store import BlobStore
from scripts.state.desk import Desk
from scripts.state.reader import StateReader
from scripts.state.rows import LabelRow, PseudoRow, RefusalRow
from scripts.state.run_state import RunState
from scripts.trained.source import load_model
from scripts.training.checkpoints import TrainingCheckpoint
from scripts.training.stage0 import stage0_settings, theta0
from tests.support.fuzz_cases import MODEL
from tests.support.payloads import payloads
from tests.support.small_runs import make_run
from tests.support.tiny_runs import CONFIGS, tiny_config

ROOT = CONFIGS.parents[1]

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


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def test_the_payload_does_touch_its_canary(canary: Path) -> None:
    pickle.loads(payloads(canary)[0])  # noqa: S301
    assert canary.exists()


@pytest.mark.parametrize("kind", range(3))
def test_pickles_are_refused_as_weights(canary: Path, tmp_path: Path, kind: int) -> None:
    data = payloads(canary)[kind]
    path = tmp_path / "weights.pt"
    path.write_bytes(data)
    with pytest.raises(UserError):
        unpack_weights(data)
    with pytest.raises(UserError):
        load_weights(path, hashlib.sha256(data).hexdigest())
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


@pytest.mark.parametrize("kind", range(3))
def test_pickles_are_refused_as_models_and_caches(canary: Path, tmp_path: Path, kind: int) -> None:
    data = payloads(canary)[kind]
    for name in ("model.pt", "model.safetensors"):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "model.json").write_text(MODEL.to_json())
    for name in ("model.pt", "model.safetensors"):
        with pytest.raises(UserError):
            load_model(tmp_path, ckpt=tmp_path / name)
    (tmp_path / "model.json").write_bytes(data)
    with pytest.raises(UserError):
        load_model(tmp_path, ckpt=tmp_path / "model.pt")
    head = {"training": "tag", "sha256": hashlib.sha256(data).hexdigest()}  # as if the program had written it
    for content in (data, json.dumps(head).encode() + b"\n" + data):
        (tmp_path / "training.ckpt").write_bytes(content)
        with pytest.raises(UserError):
            TrainingCheckpoint(tmp_path / "training.ckpt", "tag", 0.0)._read()
    assert not canary.exists()


@pytest.mark.parametrize("kind", range(3))
@pytest.mark.parametrize("spoiled", ["json", "pt"])
def test_pickles_are_refused_as_stage_0(
    canary: Path, tmp_path: Path, shapes_data: Any, spoiled: str, kind: int
) -> None:
    data = payloads(canary)[kind]
    config = tiny_config(Path("unused"), tmp_path)
    key = {"overrides": config["active#stage0#overrides"], "folder": tmp_path}
    settings = stage0_settings(config, shapes_data, key["overrides"], 0)
    record = tmp_path / f"{hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]}.json"
    found = {"sha256": hashlib.sha256(data).hexdigest(), "accuracy": 1.0, "seconds": 1.0}
    record.write_text(json.dumps(found))
    record.with_suffix(".pt").write_bytes(data)
    if spoiled == "json":
        record.write_bytes(data)
    with pytest.raises(UserError):
        theta0(config, shapes_data, **key)
    assert not canary.exists()


@pytest.mark.parametrize("kind", range(3))
def test_pickles_are_refused_as_states_and_in_their_place(canary: Path, tmp_path: Path, kind: int) -> None:
    data = payloads(canary)[kind]
    run = make_run(tmp_path / "run", "random", 0, [0.5])
    with RunState.open(run) as state:
        mask = state.labels()[0].blob
        state.blob_path(mask).write_bytes(data)
        with pytest.raises(UserError):
            state.read_blob(mask)
    (run / "overlays" / "round_00").mkdir(parents=True)
    (run / "overlays" / "round_00" / "a.png").write_bytes(data)
    assert "a.png cannot be read" in write_report(tmp_path).read_text()
    (run / "state.sqlite").write_bytes(data)
    for opening in (StateReader.open, RunState.open):
        with pytest.raises(UserError):
            opening(run)
    with pytest.raises(OSError):  # a mask is a blob of the run, whose hash was right
        png_to_mask(data)
    assert not canary.exists()


@pytest.mark.parametrize("kind", range(3))
def test_pickles_are_refused_by_the_makers_of_tables(canary: Path, tmp_path: Path, kind: int) -> None:
    for name in ("Grade.csv", "images.txt", "classes.txt", "labels.csv"):
        (tmp_path / name).write_bytes(payloads(canary)[kind])
    for make in (lambda: glas_items(tmp_path), lambda: cub_items(tmp_path)):
        with pytest.raises(UserError):
            make()
    with pytest.raises(UserError):
        folder_items(tmp_path, tmp_path / "labels.csv")
    assert not canary.exists()


def test_nothing_is_unpickled_or_unpacked_anywhere() -> None:
    """Every place that could is in the list above; a new one has to be added here and there."""
    forbidden = (
        r"pickle\.loads?\(|allow_pickle=True|weights_only=False|yaml\.|unpack_archive|extractall|\beval\(|\bexec\("
    )
    loaders = Counter()
    for path in sorted((ROOT / "scripts").rglob("*.py")):
        text = path.read_text()
        assert not re.search(forbidden, text.replace(".eval()", "")), path.name
        calls = re.findall(r"torch\.load\([^)]*\)?[^\n]*|np\.load\([^\n]*|Image\.open\([^\n]*", text)
        for call in calls:
            assert re.search(r"weights_only=True|allow_pickle=False|formats=", call), (path, call)
        loaders[path] += len(calls)
    assert sum(loaders.values()) >= 6


def test_versions_have_no_hole_that_is_known() -> None:
    """The first version of each package without the holes that docs/reliability.md names."""
    least = {"torch": "2.10.0", "monai": "1.6.0", "pillow": "12.3.0", "tqdm": "4.66.3"}
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    for name, version in least.items():
        assert [int(part) for part in pins[name].split(".")] >= [int(part) for part in version.split(".")], name


def test_nifti_unpacks_to_no_more_than_its_header_promises(tmp_path: Path) -> None:
    whole = nibabel.Nifti1Image(np.zeros((9, 9), np.uint8), np.eye(4)).to_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(whole + bytes(50_000_000)))
    tracemalloc.start()
    try:
        assert read_image(tmp_path / "a.nii.gz").shape == (9, 9, 3)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_nifti_whose_header_promises_more_than_an_image_may_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = nibabel.Nifti1Image(np.zeros((9, 9)), np.eye(4)).to_bytes()  # eight bytes a pixel
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(whole))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 41)
    monkeypatch.setattr(nifti, "_NIFTI_HEADER", 352)
    with pytest.raises(UserError, match="too many pixels"):
        read_image(tmp_path / "a.nii.gz")


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


class TestReport:
    MARKUP = "'\"><script>alert(1)<img src=x onerror=alert(1)>{{ 7777 * 7 }}&amp;"  # no slash: also names files

    def page(self, folder: Path, text: str) -> tuple[Counter[tuple[str, ...]], list[str]]:
        """Tags with their attributes' names, and the texts, of a report where all that others choose is ``text``."""
        ids = [f"{number}{text}" for number in range(4)]
        items = [{"id": key, "sha256": "0" * 64, "label": 0, "split": "train"} for key in ids]
        settings = {
            "active": {"method": text, "seed": 0},
            "classes": [text],
            "patients_in_several_splits": 1,
            text: text,
        }
        with RunState.open(folder / text) as state:
            state.register_run(settings, (), items, "d" * 64, {text: text})
            mask = state.put_blob(mask_to_png(np.ones((4, 4), np.uint8)), ".png")
            people = [LabelRow(ids[0], 0, mask, 1, 1, 1.0, user=user) for user in (text, f"2{text}")]
            state.commit(0, "query", queries=[(ids[0], 0.5), (ids[1], None)], labels=people, seconds=0.5)
            state.commit(0, "train", pseudo=[PseudoRow(ids[2], 0, "final", ids[0], 0.1, 0.4, mask)], seconds=1.0)
            metrics = {"dice": 0.5, "miou": 0.4, "pxap": 0.3, "accuracy": 1.0, "threshold": 0.4}
            state.commit(0, "evaluate", metrics=metrics, seconds=1.0)
        with Desk.open(folder / text) as desk:
            desk.skip(ids[3], text, text)
            desk.refuse(RefusalRow(ids[2], text, text, text, "0" * 64, text))
        overlays = folder / text / "overlays" / "round_00"
        overlays.mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(overlays / f"{text}.png")
        (overlays / f"0{text}.png").write_bytes(b"no picture")
        make_run(folder / f"other{text}", "random", 1, [0.5])
        make_run(folder / f"broken{text}", "random", 1, [])
        (folder / f"broken{text}" / "state.sqlite").write_bytes(b"no database")
        tags: Counter[tuple[str, ...]] = Counter()
        words: list[str] = []
        parser = HTMLParser()
        parser.handle_starttag = lambda tag, found: tags.update([(tag, *(name for name, _ in found))])
        parser.handle_data = words.append
        parser.feed(write_report(folder, text).read_text())
        return tags, words

    def test_markup_in_any_text_is_shown_and_not_obeyed(self, tmp_path: Path) -> None:
        harmless, plain = self.page(tmp_path / "harmless", "some words")
        tags, words = self.page(tmp_path / "markup", self.MARKUP)
        assert tags == harmless
        shown = sum(self.MARKUP in word for word in words)
        assert shown == sum("some words" in word for word in plain)
        assert shown >= 25
        assert "54439" not in " ".join(words)

    def test_no_way_around_the_escaping_is_used(self) -> None:
        templates = sorted((ROOT / "scripts").rglob("*.j2"))
        assert templates
        for path in templates:
            assert not re.search(r"\|\s*(safe|xmlattr|forceescape)|autoescape", path.read_text()), path.name
        for path in (ROOT / "scripts").rglob("*.py"):
            assert not re.search(r"Markup|autoescape=(?!True)", path.read_text()), path.name
