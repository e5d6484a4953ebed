"""Properties of whole runs over random data: splits never meet, drawn masks win, the budget is what was accepted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from scripts.active.handlers import OracleHandler, QueryHandler
from scripts.active.methods import Method
from scripts.active.propagation import Donor, NearestNeighbours, pseudo_pool
from scripts.active.round_context import RoundContext, Run
from scripts.core.errors import InputError, StateError
from scripts.data.datalist import read_datalist
from scripts.data.splits import make_split
from scripts.images.png import png_to_mask
from scripts.state.rows import LabelRow, PseudoRow
from scripts.state.run_state import RunState
from scripts.training.losses import LABELLED, PSEUDO
from tests.active.test_handlers import fire
from tests.active.test_round_context import ONES, label, open_run, pseudo

SPLITS = ["train"] * 5 + ["val", "test"]
IDS = [f"{split}_{number}" for number, split in enumerate(SPLITS)]
TRAIN = IDS[:5]
ROUNDS = 3
LABEL_ROWS = st.tuples(
    st.just("label"), st.sampled_from(IDS), st.integers(0, ROUNDS - 1), st.sampled_from(["accepted", "rejected"])
)
PSEUDO_ROWS = st.tuples(st.just("pseudo"), st.sampled_from(IDS), st.integers(0, ROUNDS - 1), st.sampled_from(TRAIN))
QUICK = settings(max_examples=40, deadline=None)
RUNS = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PATHS = ("0.png", "1.png", "2.png", "3.png", "./0.png", "sub/../1.png", "link.png", "sub/0.png")
SPELLINGS = ("train", "Training", "val", "validation", "test", "testing", "TEST")
ROWS = st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from(SPELLINGS)), max_size=5)


@contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder that costs no disk."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@QUICK
@given(
    st.dictionaries(st.text(min_size=1, max_size=4), st.tuples(st.sampled_from("ab"), st.sampled_from("pqrst"))),
    st.integers(0, 99),
    st.floats(0, 0.9),
    st.floats(0, 0.9),
)
def test_train_validation_and_test_never_meet(
    images: dict[str, tuple[str, str]], seed: int, val: float, test: float
) -> None:
    class_of = {key: kind for key, (kind, _) in images.items()}
    patient_of = {key: patient for key, (_, patient) in images.items()}
    assert set(make_split(class_of, seed, val, test)) == set(images)
    split = make_split(class_of, seed, val, test, patient_of)
    assert set(split) == set(images)
    for patient in set(patient_of.values()):
        assert len({split[key] for key in images if patient_of[key] == patient}) == 1


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images under several names, one of them a link."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "sub").mkdir()
    for number in range(4):
        Image.new("RGB", (4, 3), (number, 0, 0)).save(folder / f"{number}.png")
    Image.new("RGB", (4, 3), (9, 9, 9)).save(folder / "sub" / "0.png")
    (folder / "link.png").symlink_to(folder / "2.png")
    return folder


@settings(QUICK, max_examples=100)
@given(ROWS, st.booleans(), st.booleans())
def test_no_table_puts_an_image_into_two_splits(
    pictures: Path, rows: list[tuple[str, str]], with_ids: bool, twice: bool
) -> None:
    rows = [("3.png", "train"), *rows]
    ids = ["first" if twice and number == 1 else f"{number}" for number in range(1, len(rows))]
    lines = [f"{path},x,{split},{key}" for (path, split), key in zip(rows, ["first", *ids], strict=True)]
    lines = ["image,label,split,id", *lines] if with_ids else [line.rpartition(",")[0] for line in lines]
    (pictures / "t.csv").write_text("\n".join(lines if with_ids else ["image,label,split", *lines]))
    files = [(pictures / path).resolve() for path, _ in rows]
    unique = len(set(files)) == len(files) and not (with_ids and twice and ids)
    try:
        data = read_datalist(pictures / "t.csv", progress=False)
    except InputError:
        assert not unique
        return
    assert unique
    splits = [{Path(item["image"]).resolve() for item in data.split(name)} for name in ("train", "val", "test")]
    assert not (splits[0] & splits[1] or splits[0] & splits[2] or splits[1] & splits[2])
    assert sum(map(len, splits)) == len(rows)


@QUICK
@given(st.lists(st.one_of(LABEL_ROWS, PSEUDO_ROWS), max_size=12))
def test_submissions_in_any_order_end_in_a_valid_state(submissions: list[tuple[str, str, int, str]]) -> None:
    with memory_folder() as folder:
        accepted: set[tuple[str, int]] = set()
        paired: set[tuple[str, int]] = set()
        with RunState.open(folder) as state:
            items = [{"id": i, "sha256": "s", "label": 0, "split": s} for i, s in zip(IDS, SPLITS, strict=True)]
            state.register_run({}, [], items, "d")
            mask = state.put_blob(b"mask")
            for number, (kind, image, at, other) in enumerate(submissions):
                phase = f"{kind} {number}"
                try:
                    if kind == "label":
                        state.commit(at, phase, labels=[LabelRow(image, at, mask, 1, 1, 0.0, status=other)])
                    else:
                        row = PseudoRow(image, at, "final", other, 0.1, 0.5, mask)
                        state.commit(at, phase, pseudo=[row])
                except StateError:
                    drawn = any(image == known and first <= at for known, first in accepted)
                    assert image not in TRAIN or (kind == "pseudo" and (drawn or (image, at) in paired))
                else:
                    assert image in TRAIN
                    # A drawn mask always wins: its image takes no pseudo-mask in that round or later.
                    assert kind == "label" or not any(image == known and first <= at for known, first in accepted)
                    if kind == "label" and other == "accepted":
                        accepted.add((image, at))
                    if kind == "pseudo":
                        paired.add((image, at))
        with RunState.open(folder) as state:
            for limit in range(ROUNDS):
                expected = {image for image, at in accepted if at <= limit}
                assert set(state.labelled(limit)) == expected  # the budget is the accepted masks, each image once
                assert len(list(state.labelled(limit))) == len(expected)
            assert all(row.id in TRAIN for row in state.labels())


def in_a_run(data: Any, method: Method, **changes: Any) -> Any:
    """Return a context that gives a run on an empty state."""

    @contextmanager
    def opened() -> Iterator[Run]:
        with memory_folder() as folder, RunState.open(folder) as state:
            yield open_run(state, data, method, **changes)

    return opened()


SUBSETS = st.sets(st.sampled_from([f"train_{number:02d}" for number in range(12)]))


@RUNS
@given(st.tuples(SUBSETS, SUBSETS), st.tuples(SUBSETS, SUBSETS), st.booleans())
def test_drawn_masks_win_over_pseudo_masks_in_every_training(
    shapes_data: Any, drawn: tuple[set[str], set[str]], paired: tuple[set[str], set[str]], late: bool
) -> None:
    with in_a_run(shapes_data, Method(cycles=2, propagation=NearestNeighbours(40))) as run:
        known: set[str] = set()
        for index in (0, 1):
            if not late:  # else people draw after the pseudo-masks of the round were made
                label(run.state, index, *sorted(drawn[index]))
                known |= drawn[index]
            pseudo(run.state, index, "final", dict.fromkeys(sorted(paired[index] - known), "train_00"))
            if late:
                label(run.state, index, *sorted(drawn[index]))
                known |= drawn[index]
            items = {item["id"]: item for item in RoundContext(run, index).training_items(index, "final")}
            assert {key for key, item in items.items() if item["kind"] == LABELLED} == known
            assert {key for key, item in items.items() if item["kind"] == PSEUDO} == paired[index] - known
            assert all(np.array_equal(items[key]["mask"], ONES) for key in known)  # pseudo-masks are zeros here
            assert not known & set(RoundContext(run, index).donors())


@QUICK
@given(SUBSETS, SUBSETS, SUBSETS)
def test_no_drawn_image_is_in_the_pool_of_pseudo_masks(before: set[str], now: set[str], drawn: set[str]) -> None:
    old, new = ({key: Donor(name, 0.0, 1) for key in keys} for keys, name in ((before, "old"), (now, "new")))
    pool = pseudo_pool(old, new, drawn)
    assert set(pool) == (before | now) - drawn
    assert all(donor.id == ("new" if key in now else "old") for key, donor in pool.items())


@RUNS
@given(st.integers(1, 4), st.integers(1, 4), st.none() | st.integers(1, 14), st.integers(1, 5), st.booleans())
def test_the_budget_is_the_number_of_accepted_masks(
    shapes_data: Any, first: int, later: int, budget: int | None, rounds: int, label_all: bool
) -> None:
    numbers = {"initial_per_class": first, "query_per_class": later, "budget": budget}
    with in_a_run(shapes_data, Method(label_all=label_all), **numbers) as run:
        for index in range(rounds):
            fire(QueryHandler(), run, index)
            if index == 0 or run.state.queries(index):
                fire(OracleHandler(), run, index)
        accepted = run.state.labelled()
        wanted = 12 if label_all else min(2 * first + 2 * later * (rounds - 1), 12, 12 if budget is None else budget)
        assert len(accepted) == len(run.state.labels()) == wanted
        assert sorted(accepted) == sorted(row.id for row in run.state.queries())
        assert all(row.status == "accepted" for row in accepted.values())
        for key, row in accepted.items():
            assert np.array_equal(png_to_mask(run.state.read_blob(row.blob)), shapes_data.store.true_mask(key))
