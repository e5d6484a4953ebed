from __future__ import annotations

from collections import Counter
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.core.errors import InputError, Problem
from scripts.data.splits import (
    few_validation_masks,
    fraction_per_class,
    hold_out,
    make_split,
    make_split_of_patients,
    patients_in_several_splits,
    split_name,
)


def labels(**sizes: int) -> dict[str, str]:
    return {f"{name}{i}": name for name, size in sizes.items() for i in range(size)}


def counts(split: dict[str, str], class_of: dict[str, str]) -> dict[tuple[str, str], int]:
    return dict(Counter((class_of[key], name) for key, name in split.items()))


def test_validation_of_glas_has_the_published_counts() -> None:
    # The official training part of GlaS; Belharbi et al. 2021 train on 29/38 and validate on 8/10.
    class_of = labels(benign=37, malignant=48)
    split = make_split(class_of, test_fraction=0)
    assert counts(split, class_of) == {
        ("benign", "train"): 29, ("benign", "val"): 8, ("malignant", "train"): 38, ("malignant", "val"): 10,
    }  # fmt: skip


def test_fractions_are_rounded_up_exactly() -> None:
    assert fraction_per_class(labels(a=15, b=16, c=1), 0.2) == {"a": 3, "b": 4, "c": 1}
    assert fraction_per_class(labels(a=100), 0.07) == {"a": 7}  # math.ceil(0.07 * 100) would be 8


def test_rows_order_and_other_classes_do_not_matter_but_the_seed_does() -> None:
    class_of = labels(a=20, b=30)
    split = make_split(class_of, seed=1)
    assert make_split(dict(reversed(class_of.items())), seed=1) == split
    only_a = {key: name for key, name in class_of.items() if name == "a"}
    assert make_split(only_a, seed=1) == {key: split[key] for key in only_a}
    assert make_split(class_of, seed=2) != split
    assert list(split) == list(class_of)


def test_a_split_drawn_today_is_drawn_tomorrow() -> None:
    val = [key for key, name in make_split(labels(a=10), seed=0, test_fraction=0).items() if name == "val"]
    assert val == ["a0", "a9"]  # pinned: another draw would move images between the splits of everybody's runs


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), st.integers(1, 12), min_size=1), st.integers(0, 5))
def test_every_class_keeps_a_training_image(sizes: dict[str, int], seed: int) -> None:
    class_of = labels(**sizes)
    split = make_split(class_of, seed, 0.5, 0.5)
    assert split.keys() == class_of.keys()
    assert {class_of[key] for key, name in split.items() if name == "train"} == set(sizes)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["p", "q", "r", "s", None])), min_size=1, max_size=40))
def test_patients_stay_together(rows: list[tuple[str, str | None]]) -> None:
    class_of = {str(i): name for i, (name, _) in enumerate(rows)}
    patient_of = {str(i): patient for i, (_, patient) in enumerate(rows)}
    split = make_split(class_of, 0, 0.2, 0.2, patient_of)
    items = [{"patient_id": patient_of[key], "split": name} for key, name in split.items()]
    assert patients_in_several_splits(items) == {}
    assert {class_of[key] for key, name in split.items() if name == "train"} == set(class_of.values())


def test_patients_of_one_image_change_nothing() -> None:
    class_of = labels(a=20, b=30)
    by_patient = make_split(class_of, patient_of={key: f"patient {key}" for key in class_of})
    assert counts(by_patient, class_of) == counts(make_split(class_of), class_of)


def test_large_patients_still_fill_each_class() -> None:
    class_of = labels(a=30, b=30)
    patient_of = {key: f"{name}{int(key[1:]) // 10}" for key, name in class_of.items()}  # 3 patients of 10 per class
    split = make_split(class_of, test_fraction=0, patient_of=patient_of)
    assert counts(split, class_of) == {("a", "train"): 20, ("a", "val"): 10, ("b", "train"): 20, ("b", "val"): 10}


def test_hold_out_never_exceeds_what_can_be_spared() -> None:
    class_of = labels(a=4, b=9)
    assert Counter(class_of[key] for key in hold_out(class_of, {"a": 6, "b": 6}, 0, "val")) == {"a": 3, "b": 6}
    assert hold_out(class_of, {}, 0, "val") == set()


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_fractions_out_of_range_are_refused(fraction: float) -> None:
    with pytest.raises(InputError, match="val_fraction"):
        make_split(labels(a=3), val_fraction=fraction)


def test_spellings_of_splits() -> None:
    assert [split_name(text) for text in ("Training", "valid", " validation ", "testing", "val", "fold1", "")] == [
        "train", "val", "val", "test", "val", None, None,
    ]  # fmt: skip


def test_patients_in_several_splits_are_named_with_their_splits() -> None:
    rows = [("1", "test"), ("1", "train"), ("2", "val"), ("2", "val"), (None, "train"), (None, "test")]
    items = [{"patient_id": patient, "split": split} for patient, split in rows]
    assert patients_in_several_splits(items) == {"1": ("train", "test")}


class TestFewValidationMasks:
    ITEMS = [  # noqa: RUF012
        {"id": f"{split}{n}", "label": n % 2, "split": split, "mask": None if n == 4 else f"{n}.png"}
        for split in ("train", "val", "test")
        for n in range(10)
    ]

    @pytest.mark.parametrize("per_class", [1, 2, 4, 9])
    def test_so_many_of_each_class_keep_their_mask(self, per_class):
        found = few_validation_masks(self.ITEMS, per_class, 0)
        assert [{**item, "mask": 0} for item in found] == [{**item, "mask": 0} for item in self.ITEMS]
        left = Counter(item["label"] for item in found if item["split"] == "val" and item["mask"])
        assert left == {0: min(per_class, 4), 1: min(per_class, 5)}
        assert [i for i in found if i["split"] != "val"] == [i for i in self.ITEMS if i["split"] != "val"]

    def test_the_draw_is_a_function_of_the_seed_alone_and_grows(self):
        def kept(per_class, seed, items=self.ITEMS):
            return {i["id"] for i in few_validation_masks(items, per_class, seed) if i["split"] == "val" and i["mask"]}

        assert kept(2, 0) == kept(2, 0, self.ITEMS[::-1]) and kept(2, 0) < kept(3, 0)
        assert len({frozenset(kept(2, seed)) for seed in range(8)}) > 1

    def test_none_leaves_all_and_less_than_one_is_refused(self):
        assert few_validation_masks(self.ITEMS, None, 0) == self.ITEMS
        with pytest.raises(InputError, match="val_masks_per_class"):
            few_validation_masks(self.ITEMS, 0, 0)


class TestSplitOfPatients:
    class_of: ClassVar = {str(i): "xy"[i % 2] for i in range(24)}

    def refused(self, patient_of: dict[str, str | None], **settings) -> Problem:
        with pytest.raises(InputError) as caught:
            make_split_of_patients(self.class_of, patient_of, **settings)
        (problem,) = caught.value.problems
        return problem

    def test_one_patient_of_all_images_is_named_as_the_reason(self) -> None:
        problem = self.refused(dict.fromkeys(self.class_of, "P1"))
        assert problem.what == "grouping by patient leaves no image for val and test"
        assert problem.found == "1 patients with 24 images: P1"

    def test_two_patients_are_enough_for_two_parts(self) -> None:
        patient_of = {key: f"P{int(key) // 12}" for key in self.class_of}
        assert self.refused(patient_of).what == "grouping by patient leaves no image for val"
        split = make_split_of_patients(self.class_of, patient_of, test_fraction=0)
        assert set(split.values()) == {"train", "val"}

    def test_no_patient_at_all(self) -> None:
        assert self.refused(dict.fromkeys(self.class_of)).what == "no patient to group by"

    def test_enough_patients_are_split_as_ever(self) -> None:
        patient_of = {key: f"P{int(key) // 2}" for key in self.class_of}
        split = make_split_of_patients(self.class_of, patient_of, 3)
        assert split == make_split(self.class_of, 3, patient_of=patient_of)
        assert set(split.values()) == {"train", "val", "test"}
