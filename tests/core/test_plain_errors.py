"""What MONAI says of a wrong config is told in one line; what may be a fault of the program is left alone."""

from __future__ import annotations

from typing import Any

import pytest
from monai.bundle import ConfigParser

from scripts.core.plain_errors import config_problem_of


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
