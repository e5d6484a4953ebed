"""The state of a run: what goes in comes out, whole phases only, and the rules that no caller can break."""

from __future__ import annotations

import math
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.core.errors import InputError, StateError
from scripts.core.run_names import START, Metric, Phase, Stage, weights_artifact
from scripts.state.reader import StateReader
from scripts.state.rows import ImageRow, LabelRow, PseudoRow, QueryRow
from scripts.state.run_state import RunState

SETTINGS = {"active": {"seed": 0, "rounds": 3}, "device": "cpu"}
TRAIN = [f"train_{i}" for i in range(8)]


def items() -> list[dict[str, Any]]:
    splits = [(image, "train") for image in TRAIN] + [("val_0", "val"), ("test_0", "test")]
    return [{"id": i, "sha256": f"sha of {i}", "label": 0, "split": split, "image": "/x"} for i, split in splits]


def register(state: RunState, settings: dict[str, Any] = SETTINGS, **changes: Any) -> None:
    state.register_run(settings, ["device"], changes.get("items", items()), changes.get("data_sha256", "data"))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[RunState]:
    with RunState.open(tmp_path / "run") as opened:
        register(opened)
        yield opened


def label(state: RunState, image: str, round: int = 0, mask: bytes = b"mask", **fields: Any) -> LabelRow:
    return LabelRow(image, round, state.put_blob(mask, ".png"), cost_px=12, boundary_px=4, seconds=1.5, **fields)


def pseudo(state: RunState, image: str, round: int = 1, stage: str = "final", donor: str = "train_0") -> PseudoRow:
    return PseudoRow(image, round, stage, donor, distance=0.25, threshold=0.5, blob=state.put_blob(b"p", ".png"))


def content(state: RunState) -> list[Any]:
    """All that a state tells, for comparison."""
    rounds = range(-1, 6)
    told: list[Any] = [state.settings(), state.data_sha256(), state.images(), state.queries(), state.labels()]
    told += [state.labelled(), state.metrics(), state.last()]
    told += [(state.phases(r), state.seconds(r), [state.rng(r, p) for p in state.phases(r)]) for r in rounds]
    return told + [state.pseudo(r, stage) for r in rounds for stage in ("cycle0", "final")]


def test_all_of_a_phase_comes_back_also_after_reopening(tmp_path: Path) -> None:
    with RunState.open(tmp_path) as state:
        register(state)
        drawn, paired, weights = label(state, "train_0"), pseudo(state, "train_1"), state.put_blob(b"w", ".pt")
        state.commit(0, "select", queries=[("train_0", 0.5), ("train_2", None)], seconds=1.0, rng={"draws": [1, 2]})
        state.commit(0, "label", labels=[drawn], metrics={"masks": 1})
        state.commit(1, "pair", pseudo=[paired], metrics={"dice": 0.75}, artifacts={"model": weights}, seconds=2.0)
        written = content(state)
    with RunState.open(tmp_path) as state:
        assert content(state) == written
        assert state.queries(0) == [QueryRow(0, 0, "train_0", 0.5), QueryRow(0, 1, "train_2", None)]
        assert state.labels() == [drawn]
        assert state.pseudo(1, "final") == [paired]
        assert state.pseudo(1, "cycle0") == []
        assert state.metrics() == {0: {"masks": 1.0}, 1: {"dice": 0.75}}
        assert state.metrics(1) == {1: {"dice": 0.75}}
        assert state.read_blob(state.artifact(1, "model")) == b"w"
        assert state.blob_path(weights).read_bytes() == b"w"
        assert state.phases(0) == ["select", "label"]
        assert state.is_done(1, "pair")
        assert not state.is_done(1, "label")
        assert state.last() == (1, "pair")
        assert state.rng(0, "select") == {"draws": [1, 2]}
        assert state.seconds(0) == {"select": 1.0, "label": 0.0}
        assert state.settings() == SETTINGS
        assert state.images()[0] == ImageRow("test_0", "sha of test_0", 0, "test")


def test_new_state_is_empty(tmp_path: Path) -> None:
    with RunState.open(tmp_path) as state:
        assert (state.last(), state.settings(), state.data_sha256(), state.images()) == (None, {}, None, [])
        with pytest.raises(KeyError):
            state.artifact(0, "model")
        with pytest.raises(KeyError):
            state.rng(0, "select")


def test_numpy_numbers_are_stored_as_numbers(state: RunState) -> None:
    half: Any = np.float32(0.5)  # SQLite would store NumPy's number types as bytes
    seven: Any = np.int64(7)
    drawn = replace(label(state, "train_0"), cost_px=seven, seconds=half)
    state.commit(0, "a", queries=[("train_1", half)], labels=[drawn], metrics={"dice": half})
    assert state.queries()[0].score == 0.5
    assert (state.labels()[0].cost_px, state.labels()[0].seconds) == (7, 0.5)
    assert state.metrics() == {0: {"dice": 0.5}}


# ---- rules -----------------------------------------------------------------------------------------------------------


def test_names_are_stored_as_plain_text(tmp_path: Path) -> None:
    with RunState.open(tmp_path) as state:
        register(state, {"stage": Stage.FINAL, "names": [Metric.DICE], Metric.MASKS: 1})
        weights = {weights_artifact(0): state.put_blob(b"w", ".pt")}
        rng = {Phase.QUERY: Phase.ORACLE}
        state.commit(START, Phase.STAGE_0, metrics={Metric.DICE: 0.5}, artifacts=weights, rng=rng)
        state.commit(0, Phase.PSEUDO_LABEL, pseudo=[pseudo(state, "train_1", 0, Stage.FINAL)])
    db = sqlite3.connect(tmp_path / "state.sqlite")
    expected = {
        ("phases", "phase"): ["stage0", "pseudo"],
        ("phases", "rng"): ['{"query": "oracle"}', "{}"],
        ("metrics", "name"): ["dice"],
        ("artifacts", "name"): ["weights_cycle0"],
        ("pseudo", "stage"): ["final"],
        ("run WHERE key = 'settings'", "value"): ['{"stage": "final", "names": ["dice"], "masks": 1}'],
    }
    for (table, column), values in expected.items():
        rows = db.execute(f"SELECT typeof({column}), {column} FROM {table}").fetchall()
        assert rows == [("text", value) for value in values]
    db.close()


def test_phase_is_committed_once(state: RunState) -> None:
    state.commit(0, "train", metrics={"dice": 0.5})
    with pytest.raises(StateError, match="round 0, train: phase was committed before"):
        state.commit(0, "train", metrics={"iou": 0.5})
    assert state.metrics() == {0: {"dice": 0.5}}


def test_refused_row_keeps_the_whole_phase_out(state: RunState) -> None:
    before = content(state)
    rows = [label(state, "train_0"), label(state, "test_0")]
    with pytest.raises(StateError, match=r"test_0: only training images.*found test"):
        state.commit(0, "label", queries=[("train_0", 1.0)], labels=rows, metrics={"masks": 2})
    assert content(state) == before


@pytest.mark.parametrize("image", ["val_0", "test_0", "unknown"])
def test_only_training_images_are_asked_for_labelled_or_paired(state: RunState, image: str) -> None:
    paired = pseudo(state, "train_1")
    for number, rows in enumerate(
        (
            {"queries": [(image, None)]},
            {"labels": [label(state, image)]},
            {"pseudo": [replace(paired, id=image)]},
            {"pseudo": [replace(paired, donor=image)]},
        )
    ):
        with pytest.raises(StateError, match=image):
            state.commit(0, str(number), **rows)  # type: ignore[arg-type]


def test_the_database_itself_refuses_a_label_of_a_test_image(state: RunState) -> None:
    row = "('test_0', 0, 'b', 1, 1, 0, 'u', 1, 'accepted'"
    columns = "id, round, blob, cost_px, boundary_px, seconds, user, version, status"
    with pytest.raises(StateError, match="FOREIGN KEY"), state._database.transaction() as db:
        db.execute(f"INSERT INTO labels ({columns}) VALUES {row})")
    with pytest.raises(StateError, match="CHECK"), state._database.transaction() as db:
        db.execute(f"INSERT INTO labels ({columns}, split) VALUES {row}, 'test')")


def test_drawn_mask_wins_over_a_pseudo_mask(state: RunState) -> None:
    state.commit(1, "label", labels=[label(state, "train_1", round=1)])
    state.commit(1, "late", labels=[label(state, "train_2", round=2)])
    with pytest.raises(StateError, match="round 1, train_1: pseudo-mask of an image that has a drawn mask"):
        state.commit(1, "pair", pseudo=[pseudo(state, "train_1")])
    state.commit(1, "pair", pseudo=[pseudo(state, "train_2")])


def test_second_mask_is_the_next_version_and_the_first_is_kept(state: RunState) -> None:
    first, other, second = (
        label(state, i, mask=m) for i, m in (("train_0", b"1"), ("train_1", b"2"), ("train_0", b"3"))
    )
    state.commit(0, "label", labels=[first, other])
    state.commit(1, "label", labels=[replace(second, round=1, user="anna")])
    assert [(row.id, row.version, row.user) for row in state.labels()] == [
        ("train_0", 1, "simulated"),
        ("train_1", 1, "simulated"),
        ("train_0", 2, "anna"),
    ]
    assert state.labelled()["train_0"].blob == second.blob
    assert state.labelled(up_to_round=0)["train_0"].blob == first.blob
    assert list(state.labelled()) == ["train_0", "train_1"]


def test_refused_mask_is_kept_but_not_trained_on(state: RunState) -> None:
    state.commit(0, "label", labels=[label(state, "train_0"), label(state, "train_1", status="refused")])
    assert len(state.labels()) == 2
    assert list(state.labelled()) == ["train_0"]


@pytest.mark.parametrize("bad", [math.nan, math.inf, np.float32("nan")])
def test_no_number_is_nan(state: RunState, bad: float) -> None:
    rows: list[dict[str, Any]] = [
        {"metrics": {"dice": bad}},
        {"seconds": bad},
        {"queries": [("train_0", bad)]},
        {"labels": [replace(label(state, "train_0"), seconds=bad), label(state, "train_0")]},
        {"pseudo": [replace(pseudo(state, "train_0"), distance=bad)]},
        {"pseudo": [replace(pseudo(state, "train_0"), threshold=bad)]},
    ]
    for number, row in enumerate(rows):
        with pytest.raises(StateError, match="not a finite number"):
            state.commit(0, str(number), **row)


def test_blob_that_is_not_there_is_not_named(state: RunState) -> None:
    with pytest.raises(StateError, match="file of the run is missing"):
        state.commit(0, "train", artifacts={"model": "a" * 64 + ".pt"})
    with pytest.raises(ValueError, match="not the name of a blob"):
        state.commit(0, "train", artifacts={"model": "../../model.pt"})
    assert state.last() is None


def test_metric_is_stored_once_per_round(state: RunState) -> None:
    state.commit(0, "a", metrics={"dice": 0.5})
    with pytest.raises(StateError, match=r"metrics\.name"):
        state.commit(0, "b", metrics={"dice": 0.6})
    assert state.phases(0) == ["a"]


# ---- going on --------------------------------------------------------------------------------------------------------


def test_same_run_registers_again_and_harmless_settings_are_updated(state: RunState) -> None:
    register(state)
    register(state, {**SETTINGS, "device": "cuda"})
    assert state.settings()["device"] == "cuda"


def test_changed_settings_and_images_are_refused_together(state: RunState) -> None:
    before = content(state)
    changed = items()
    changed[3]["sha256"] = "other"
    with pytest.raises(StateError, match=r"(?s)active#seed.*expected 0; found 1.*train_3: file.*sha of train_3.*other"):
        register(state, {"active": {"seed": 1, "rounds": 3}, "device": "cuda"}, items=changed)
    assert content(state) == before


def test_changed_data_list_is_refused(state: RunState) -> None:
    with pytest.raises(StateError, match="data list"):
        register(state, data_sha256="other")


def test_settings_that_cannot_be_stored_are_named(tmp_path: Path) -> None:
    with RunState.open(tmp_path) as state:
        with pytest.raises(InputError, match="lr"):
            register(state, {"lr": math.nan})
        assert state.settings() == {}


# ---- opening ---------------------------------------------------------------------------------------------------------


def test_second_writer_is_refused_at_once(state: RunState) -> None:
    with pytest.raises(StateError, match=f"in use by another process; found pid {os.getpid()} on host"):
        RunState.open(state.run_dir)


def test_reader_needs_no_lock_and_changes_nothing(state: RunState) -> None:
    state.commit(0, "train")
    state.put_blob(b"not named yet")
    with StateReader.open(state.run_dir) as reader:
        state.commit(1, "train")
        assert reader.last() == (0, "train")
        assert not [name for name in ("commit", "put_blob", "put_blobs", "gc", "register_run") if hasattr(reader, name)]
    assert len(list(state.run_dir.rglob("*/??/*"))) == 1


def test_reader_makes_no_run(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="holds no run"):
        StateReader.open(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_open_removes_what_nothing_names_and_keeps_the_rest(tmp_path: Path) -> None:
    with RunState.open(tmp_path) as state:
        register(state)
        kept = [label(state, "train_0", mask=b"l").blob, state.put_blob(b"a")]
        state.commit(0, "x", labels=[label(state, "train_0", mask=b"l")], artifacts={"a": kept[1]})
        row = pseudo(state, "train_1")
        state.commit(0, "y", pseudo=[row])
        lost = state.put_blobs([b"1", b"2"])
        half = state.blob_path(kept[0]).with_name(".write-0123456789abcdef.tmp")
        half.write_bytes(b"half")
    with RunState.open(tmp_path) as state:
        assert all(state.blob_path(name).exists() for name in [*kept, row.blob])
        assert not any(path.exists() for path in (half, *map(state.blob_path, lost)))


def test_lost_blob_is_named_before_the_work_begins(tmp_path: Path) -> None:
    with RunState.open(tmp_path) as state:
        name = state.put_blob(b"weights", ".pt")
        state.commit(0, "train", artifacts={"model": name})
        state.blob_path(name).unlink()
    with pytest.raises(StateError, match=name):
        RunState.open(tmp_path)


@pytest.mark.parametrize("spoiled", [b"", b"junk" * 2000, None])
def test_unreadable_or_lost_state_is_never_a_new_run(tmp_path: Path, spoiled: bytes | None) -> None:
    with RunState.open(tmp_path) as state:
        state.commit(0, "train", artifacts={"model": state.put_blob(b"w")})
    path = tmp_path / "state.sqlite"
    path.unlink() if spoiled is None else path.write_bytes(spoiled)
    for _ in range(2):
        with pytest.raises(StateError, match=f"{tmp_path}.*backup"):
            RunState.open(tmp_path)
    assert path.exists() == (spoiled is not None)


def test_failed_opening_gives_the_lock_back(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_bytes(b"junk" * 2000)
    with pytest.raises(StateError):
        RunState.open(tmp_path)
    (tmp_path / "state.sqlite").unlink()
    RunState.open(tmp_path).close()


def test_run_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateError, match="file"):
        RunState.open(tmp_path / "file")


# ---- many threads, many orders ---------------------------------------------------------------------------------------


def test_threads_lose_no_label(state: RunState) -> None:
    def submit(worker: int) -> None:
        for number in range(20):
            row = label(state, TRAIN[worker], mask=f"{worker} {number}".encode(), user=f"user {worker}")
            state.commit(0, f"label {worker} {number}", labels=[row, replace(row, id=TRAIN[0])])

    threads = [threading.Thread(target=submit, args=(worker,)) for worker in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = state.labels()
    assert len(rows) == 200
    assert [row.version for row in rows if row.id == TRAIN[0]] == list(range(1, 101))
    for worker in range(1, 6):
        masks = [state.read_blob(row.blob).decode() for row in rows if row.id == TRAIN[worker]]
        assert masks == [f"{worker} {number}" for number in range(20)]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*TRAIN, "val_0", "test_0", "unknown"]), st.integers(0, 3)), max_size=12))
def test_any_order_of_submissions_ends_in_a_valid_state(
    tmp_path_factory: pytest.TempPathFactory, submissions: list[tuple[str, int]]
) -> None:
    kept: list[tuple[str, int]] = []
    with RunState.open(tmp_path_factory.mktemp("run")) as state:
        register(state)
        for number, (image, round) in enumerate(submissions):
            try:
                state.commit(round, f"label {number}", labels=[label(state, image, round)])
                kept.append((image, round))
            except StateError:
                assert image not in TRAIN
        assert kept == [(image, round) for image, round in submissions if image in TRAIN]
        for limit in range(4):
            rows = state.labels(up_to_round=limit)
            assert [(row.id, row.round) for row in rows] == [pair for pair in kept if pair[1] <= limit]
            assert set(state.labelled(limit)) == {row.id for row in rows} <= set(TRAIN)
