"""What may change between two starts of one run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.active.run_record import HARMLESS
from scripts.core.errors import InputError
from scripts.state.rows import ImageRow
from scripts.state.settings_checks import changed_images, changed_masks, changed_settings, flatten_settings

SCALARS = st.sampled_from([None, False, True, 0, 1, 1.0, 0.5, -3, "", "0", "text"])
KEYS = st.sampled_from(["a", "b", "ab"])
LEAVES = SCALARS | st.lists(SCALARS, max_size=2)
VALUES = (
    LEAVES
    | st.dictionaries(KEYS, LEAVES, max_size=2)
    | st.lists(st.dictionaries(KEYS, SCALARS, max_size=2), max_size=2)
)
SETTINGS = st.dictionaries(KEYS, VALUES, max_size=4)


def test_nested_settings_get_the_keys_of_monai() -> None:
    settings = {"active": {"seed": 0, "steps": [1, {"n": 2}]}, "empty": {}, "none": []}
    flat = {"active#seed": 0, "active#steps#0": 1, "active#steps#1#n": 2, "empty": {}, "none": []}
    assert flatten_settings(settings) == flat


@given(SETTINGS)
def test_settings_equal_themselves_after_json(settings: dict[str, Any]) -> None:
    assert changed_settings(json.loads(json.dumps(settings)), settings, harmless=()) == []


def canonical(value: Any) -> Any:
    """Deep copy in which ``==`` means the same JSON value: truth values are told from numbers."""
    if isinstance(value, dict):
        return {key: canonical(child) for key, child in value.items()}
    if isinstance(value, list):
        return [canonical(child) for child in value]
    return f"bool {value}" if isinstance(value, bool) else value


@given(st.data())
def test_a_change_is_found_exactly_when_there_is_one(data: st.DataObject) -> None:
    old, new = data.draw(SETTINGS), data.draw(SETTINGS)
    new = data.draw(st.sampled_from([new, {**old, **new}, {**new, **old}]))
    assert (changed_settings(old, new, harmless=()) == []) == (canonical(old) == canonical(new))
    every = flatten_settings(old).keys() | flatten_settings(new).keys()
    assert changed_settings(old, new, harmless=every) == []


def test_change_names_key_old_and_new_value() -> None:
    (problem,) = changed_settings({"a": {"lr": 0.1}, "b": 1}, {"a": {"lr": 0.01}, "b": 1.0}, harmless=())
    assert (problem.where, problem.expected, problem.found) == ("a#lr", "0.1", "0.01")


@pytest.mark.parametrize(
    ("old", "new", "expected", "found"),
    [
        ({"a": 1}, {}, "1", "no such setting"),
        ({}, {"a": None}, "no such setting", "null"),
        ({"a": 1}, {"a": True}, "1", "true"),
    ],
)
def test_absent_and_truth_are_no_numbers(old: dict[str, Any], new: dict[str, Any], expected: str, found: str) -> None:
    (problem,) = changed_settings(old, new, harmless=())
    assert (problem.expected, problem.found) == (expected, found)


def test_a_run_keeps_its_engine_and_may_move_to_another_device() -> None:
    old = {"engine": "torch", "device": "cpu"}
    (problem,) = changed_settings(old, {"engine": "openvino", "device": "cuda"}, HARMLESS)
    assert (problem.where, problem.expected, problem.found) == ("engine", '"torch"', '"openvino"')


def test_harmless_covers_a_branch_but_not_a_longer_name() -> None:
    old = {"loader": {"workers": 0}, "loader2": 0}
    new = {"loader": {"workers": 4}, "loader2": 1}
    assert [p.where for p in changed_settings(old, new, harmless=["loader"])] == ["loader2"]


def test_all_values_that_json_cannot_hold_are_named() -> None:
    with pytest.raises(InputError, match=r"(?s)2 problems.*a#0.*nan.*b.*object") as caught:
        flatten_settings({"a": [float("nan")], "b": object(), "c": 1})
    assert [problem.where for problem in caught.value.problems] == ["a#0", "b"]


def test_each_changed_image_is_named_with_what_changed() -> None:
    def row(image: str, sha256: str = "s", label: int = 0, split: str = "train") -> ImageRow:
        return ImageRow(image, sha256, label, split)

    old = [row("a"), row("b"), row("c"), row("gone"), row("same")]
    new = [row("a", sha256="t"), row("b", label=1), row("c", split="test"), row("more"), row("same")]
    found = [(problem.where, problem.what) for problem in changed_images(old, new)]
    assert found == [
        ("a", "file (SHA-256) changed since the run began"),
        ("b", "class changed since the run began"),
        ("c", "split changed since the run began"),
        ("gone", "image of the run is missing from the data"),
        ("more", "image is not one of the run's"),
    ]


def test_long_lists_are_cut_and_counted() -> None:
    problems = changed_images([ImageRow(str(i), "s", 0, "train") for i in range(1000)], [])
    assert len(problems) == 21
    assert problems[-1].what == "980 more of this kind"


def test_masks_that_changed_came_or_went() -> None:
    found = changed_masks({"a": "1", "b": "1", "c": "1"}, {"a": "2", "c": "1", "d": "1"})
    assert [(problem.where, problem.expected, problem.found) for problem in found] == [
        ("a", "1", "2"),
        ("b", "1", "no mask"),
        ("d", "no mask", "1"),
    ]


def test_images_left_out_before_or_now() -> None:
    old = [ImageRow("a", "1", 0, "train"), ImageRow("b", "1", 0, "train")]
    new = [ImageRow("a", "1", 0, "train"), ImageRow("c", "1", 0, "train")]
    found = changed_images(old, new, left_out_before={"c", "x"}, left_out_now={"b": "empty", "y": "cut", "x": "cut"})
    assert [(problem.where, problem.found) for problem in found] == [("b", "empty"), ("c", "")]
    assert "any more" in found[0].what
    assert "left out when the run began" in found[1].what
