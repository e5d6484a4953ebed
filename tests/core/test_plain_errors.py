"""A program ends with one message and no traceback; what may be a fault of the program is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from monai.bundle import ConfigParser

from scripts.core.plain_errors import config_problem_of

IMPORTS = "from scripts.core.errors import *\nfrom scripts.core.plain_errors import *\n"


def typed(value: int) -> int:
    return value


def problem(content: dict[str, Any], name: str = "run") -> Any:
    with pytest.raises(Exception) as caught:
        ConfigParser(content).get_parsed_content(name)
    return config_problem_of(caught.value)


class Strict:
    """Stands for a class of this project that does not take every value."""

    def __init__(self, value: int) -> None:
        self.value = value + 1


@pytest.mark.parametrize(
    ("value", "where", "found"),
    [
        ({"_target_": "tests.core.test_plain_errors.Strict", "value": "x"}, "Strict", "TypeError"),
        ({"_target_": "tests.core.test_plain_errors.typed", "vlaue": 1}, "tests.core.test_plain_errors.typed", "vlaue"),
        ({"_target_": "tests.core.test_plain_errors.typed"}, "tests.core.test_plain_errors.typed", "missing"),
        ({"_target_": "torch.nn.Linear", "in_features": -1, "out_features": 2}, "torch.nn.Linear", "RuntimeError"),
        ({"_target_": "scripts.training.losses.Nope"}, "_target_", "scripts.training.losses.Nope"),
        ("$@missing + 1", "@missing", ""),
        ("$1 / 0", "1 / 0", "ZeroDivisionError"),
        ("$undefined_name", "undefined_name", "NameError"),
    ],
)
def test_mistakes_of_a_config(value: Any, where: str, found: str) -> None:
    told = problem({"run": value})
    assert told is not None
    assert where in told.where
    assert found in told.found
    assert told.cure


def test_the_innermost_mistake_counts() -> None:
    inner = {"_target_": "torch.nn.Linear", "in_features": 2, "out": 3}
    told = problem({"inner": inner, "outer": "$[@inner]", "run": "$str(@outer)"})
    assert told.where == "torch.nn.Linear"


def test_faults_of_the_program_keep_their_traceback() -> None:
    def failing() -> None:
        raise KeyError("fault")

    assert problem({"run": "$@f()", "f": failing}) is None


def test_faults_inside_our_own_components_are_not_explained_away() -> None:
    for name, cause in (
        ("scripts.data.run_data.open_data", TypeError("x")),
        ("scripts.active.methods.Method", KeyError("fault")),
    ):
        error = RuntimeError(f"Failed to instantiate component '{name}' with keywords: x")
        error.__cause__ = cause
        assert config_problem_of(error) is None
    assert config_problem_of(KeyError("fault")) is None


def test_a_class_of_ours_that_refuses_a_value_says_where() -> None:
    error = RuntimeError("Failed to instantiate component 'scripts.active.methods.Method' with keywords: x")
    error.__cause__ = TypeError("no")
    told = config_problem_of(error)
    assert told is not None
    assert "python -X dev" in told.cure


def test_run_ids() -> None:
    told = config_problem_of(ValueError("run ID 'trainng' doesn't exist in the config file."))
    assert told is not None
    assert told.where == "trainng"


@pytest.mark.parametrize(
    ("error", "code"),
    [("InputError(Problem('empty', 'a.png'))", 2), ("StateError(Problem('empty', 'a.png'))", 3), ("KeyError('x')", 1)],
)
def test_only_other_errors_show_a_traceback(error: str, code: int) -> None:
    program = (
        f"{IMPORTS}show_user_errors_plainly()\n"
        f"try:\n    raise {error}\nexcept Exception as e:\n    raise RuntimeError('wrapped') from e\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert ("Traceback" in done.stderr) is (code == 1)
    assert ("error: a.png: empty" in done.stderr) is (code != 1)


@pytest.mark.parametrize("raised", ["'\\xe4'.encode('ascii')", "open('\\xe4')", "b'\\xc3'.decode('ascii')"])
def test_names_that_the_locale_does_not_have(raised: str) -> None:
    handled = f"try:\n    {raised}\nexcept Exception as e:\n    raise RuntimeError('x') from e"
    program = f"{IMPORTS}show_user_errors_plainly()\n{handled}"
    for locale, code, words in (({"LC_ALL": "C", "PYTHONUTF8": "0"}, 2, "PYTHONUTF8=1"), ({"PYTHONUTF8": "1"}, 1, "x")):
        environment = {**os.environ, "PYTHONCOERCECLOCALE": "0", **locale}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (code, True, code == 1)


def test_developers_see_every_traceback() -> None:
    program = f"{IMPORTS}show_user_errors_plainly()\nraise InputError(Problem('empty', 'a.png'))\n"
    done = subprocess.run([sys.executable, "-X", "dev", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.index("Traceback") < done.stderr.index("error: a.png: empty")


def test_an_interrupted_program_says_so() -> None:
    program = f"{IMPORTS}show_user_errors_plainly()\nraise KeyboardInterrupt\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert "same command goes on" in done.stderr
