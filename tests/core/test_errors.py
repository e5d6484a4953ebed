"""Messages for users: every problem with its cure, and no traceback around it."""

from __future__ import annotations

import subprocess
import sys

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


@pytest.mark.parametrize(
    ("error", "code"),
    [("InputError(Problem('empty', 'a.png'))", 2), ("StateError(Problem('empty', 'a.png'))", 3), ("KeyError('x')", 1)],
)
def test_only_other_errors_show_a_traceback(error: str, code: int) -> None:
    program = (
        "from scripts.core.errors import *\nfrom scripts.core.plain_errors import *\nshow_user_errors_plainly()\n"
        f"try:\n    raise {error}\nexcept Exception as e:\n    raise RuntimeError('wrapped') from e\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert ("Traceback" in done.stderr) is (code == 1)
    assert ("error: a.png: empty" in done.stderr) is (code != 1)


def test_developers_see_every_traceback() -> None:
    program = (
        "from scripts.core.errors import *\nfrom scripts.core.plain_errors import *\nshow_user_errors_plainly()\n"
        + "raise InputError(Problem('empty', 'a.png'))\n"
    )
    done = subprocess.run([sys.executable, "-X", "dev", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.index("Traceback") < done.stderr.index("error: a.png: empty")


def test_an_interrupted_program_says_so() -> None:
    program = "from scripts.core.plain_errors import *\nshow_user_errors_plainly()\nraise KeyboardInterrupt\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert "same command goes on" in done.stderr
