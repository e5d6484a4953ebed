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


class TestEqualProblems:
    def lines(self, problems: list[Problem]) -> list[str]:
        return str(InputError(problems)).splitlines()

    def test_many_of_one_kind_are_one_line_with_their_number_and_places(self) -> None:
        rows = [Problem("unknown split", f"line {n}", "train or test", "'all'", "Fill it.") for n in range(2, 150)]
        assert self.lines(rows) == [
            "148 problems:",
            "  - line 2, line 3, line 4 and 145 more: unknown split (148 times); expected train or test; found 'all'. "
            "Fill it.",
        ]
        assert len(InputError(rows).problems) == 148  # for programs they stay apart

    def test_what_differs_among_them_is_shown(self) -> None:
        rows = [Problem("unknown split", f"line {n}", "train", "'all'", "Fill it.") for n in range(2, 50)]
        rows[40] = Problem("unknown split", "line 42", "train", "'tset'", "Fill it.")
        assert self.lines(rows)[1].startswith("  - line 2, line 42, line 3 and 45 more: unknown split (48 times)")
        assert self.lines(rows)[1].endswith("found 'all', 'tset'. Fill it.")

    def test_more_differences_than_are_shown_are_hinted_at(self) -> None:
        sizes = [Problem("another size", f"m{n}.png", "9 x 9", f"{n} x {n}", "Replace it.") for n in range(5)]
        (line,) = self.lines(sizes)[1:]
        assert line.endswith(
            "another size (5 times); expected 9 x 9; found 0 x 0, 1 x 1, 2 x 2 and others. Replace it."
        )

    def test_few_of_a_kind_and_other_kinds_keep_their_lines(self) -> None:
        few = [Problem("file is missing", f"{n}.png") for n in range(3)]
        many = [Problem("file is empty", f"{n}.png") for n in range(4)]
        mixed = [few[0], many[0], few[1], *many[1:], few[2]]
        assert self.lines(mixed) == [
            "7 problems:",
            "  - 0.png: file is missing",
            "  - 0.png, 1.png, 2.png and 1 more: file is empty (4 times)",
            "  - 1.png: file is missing",
            "  - 2.png: file is missing",
        ]
