"""Messages for users: every problem with its cure."""

from __future__ import annotations

import pytest

from scripts.core.errors import InputError, Problem, user_error_of


def test_one_problem_is_one_line_with_all_its_parts() -> None:
    text = str(InputError(Problem("mask has another size", "a.png", "10 x 20", "10 x 21", "Replace it.")))
    assert text == "a.png: mask has another size; expected 10 x 20; found 10 x 21. Replace it."


def test_all_problems_are_listed() -> None:
    error = InputError([Problem("empty", "a.png"), Problem("missing", "b.png")])
    assert len(error.problems) == 2
    assert str(error).splitlines() == ["2 problems:", "  - a.png: empty", "  - b.png: missing"]


def test_found_in_a_chain() -> None:
    with pytest.raises(RuntimeError) as caught:
        try:
            raise InputError(Problem("empty", "a.png"))
        except InputError as error:
            raise RuntimeError("Failed to instantiate component") from error
    found = user_error_of(caught.value)
    assert found is not None
    assert found.problems[0].where == "a.png"
    assert user_error_of(ValueError("other")) is None


def test_names_cannot_speak_to_the_terminal() -> None:
    shown = str(InputError(Problem("no such file", "\x1b[2Ja\u202e\ud800.png", "ä 1")))
    assert shown == "\\x1b[2Ja\\u202e\\ud800.png: no such file; expected ä 1"
    assert shown.encode()
