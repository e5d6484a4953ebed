"""Properties of whole runs over random data: splits never meet, drawn masks win, the budget is what was accepted."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.errors import StateError
from scripts.splits import make_split
from scripts.state import LabelRow, PseudoRow, RunState

SPLITS = ["train"] * 5 + ["val", "test"]
IDS = [f"{split}_{number}" for number, split in enumerate(SPLITS)]
TRAIN = IDS[:5]
ROUNDS = 3
LABELS = st.tuples(
    st.just("label"), st.sampled_from(IDS), st.integers(0, ROUNDS - 1), st.sampled_from(["accepted", "rejected"])
)
PSEUDO = st.tuples(st.just("pseudo"), st.sampled_from(IDS), st.integers(0, ROUNDS - 1), st.sampled_from(TRAIN))
QUICK = settings(max_examples=40, deadline=None)


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


@QUICK
@given(st.lists(st.one_of(LABELS, PSEUDO), max_size=12))
def test_submissions_in_any_order_end_in_a_valid_state(submissions: list[tuple[str, str, int, str]]) -> None:
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
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
