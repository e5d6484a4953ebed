"""What a command line says is known as it was typed, and every spelling that is advised arrives as it is meant."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import fire
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.bundle import ConfigParser

from scripts.core.config.words import as_kept, is_read_otherwise, monai_command_line, read_value, spelling

PROGRAM = "/site-packages/monai/bundle/__main__.py"
NAMES = [
    "Study #2", "Study#2", "#2", "a::b", "20241129", "2024_11_29", "[a]", "(a)", "{a}", "study,2", "a b", "a ", "'a'",
    '"a"', "$x", "@x", "%x", "@x #1", "$x@y#z", "~x", "None", "True", "0x10", "1e5", "...", "b'a'", "a\\b", "it's #1",
    "Stu\u0308ck", "Stu\u0308ck #1", "\u6838 #\U0001f52c", "-1", "a=b", "%#x", "a@#b",
]  # fmt: skip


def arrived(words: str) -> str:
    """What a config gives for an id ``x`` after words of a shell, Fire and MONAI."""
    given = fire.Fire(lambda **named: named, command=shlex.split(words), serialize=lambda _: None)
    parser = ConfigParser({"x": "", "use": "$@x"})
    for key, value in given.items():
        parser[key] = value
    return parser.get_parsed_content("use")


@pytest.mark.parametrize("text", NAMES)
def test_the_spelling_that_is_advised_arrives(text: str) -> None:
    assert arrived(spelling("x", text, path=False)) == text
    assert Path(arrived(spelling("x", text, path=True))) == Path(text)
    assert Path(arrived(spelling("x", f"/data/{text}", path=True))) == Path(f"/data/{text}")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_any_text_can_stand_in_a_config(text: str) -> None:
    kept = json.loads(json.dumps(as_kept(text)))
    assert ConfigParser({"x": kept, "use": ["@x"]}).get_parsed_content("use") == [text]


@pytest.mark.parametrize("text", ["Study #2", "Study#2", "(a)", "a ", "4 #8", "'a' #b", "Stu\u0308ck", "[1] # 2"])
def test_what_fire_loses_is_noticed(text: str) -> None:
    assert is_read_otherwise(text)


@pytest.mark.parametrize(
    "text", ["study", "a b", "./Study #2", "4", "'Study #2'", "['a #1','b']", "[1, 2]", "$None", "@x", "a-b", "/a #b"]
)
def test_what_fire_keeps_or_reads_as_python_passes(text: str) -> None:
    assert not is_read_otherwise(text)


def test_words_of_monais_command(tmp_path: Path) -> None:
    words = ["run", "explain", "--config_file", "a.json", "--image=x #1", "--model::run", "r", "--a-b", "2", "--flag"]
    found = monai_command_line([PROGRAM, *words])
    assert found.run_id == "explain"
    assert found.texts == {"image": "x #1", "model#run": "r", "a_b": "2", "flag": None}
    assert monai_command_line(["monai.bundle", "run", "--nowait", "--x", "1"]).texts == {"wait": "False", "x": "1"}
    assert monai_command_line([PROGRAM, "run", "--config_file", "a.json"]).run_id == "run"
    assert monai_command_line([PROGRAM, "run_workflow", "--run_id", "predict"]).run_id == "predict"


def test_ids_of_a_file_of_arguments(tmp_path: Path) -> None:
    file = tmp_path / "args.json"
    file.write_text(json.dumps({"run_id": "explain", "config_file": "a.json", "model::run": "r", "image": "i"}))
    found = monai_command_line([PROGRAM, "run", "--args_file", str(file), "--image", "x"])
    assert (found.run_id, found.ids) == ("explain", ["image", "model#run"])
    assert monai_command_line([PROGRAM, "run", "predict", "--args_file", str(file)]).run_id == "predict"


@pytest.mark.parametrize("words", [["pytest", "run", "x"], [PROGRAM], [PROGRAM, "download", "--x", "1"]])
def test_of_other_programs_nothing_is_known(words: list[str]) -> None:
    assert monai_command_line(words).ids == []
    assert monai_command_line(words).run_id == ""


def test_a_value_that_does_not_follow_counts_as_true() -> None:
    assert read_value(None) is True
    assert read_value("None") is None


@pytest.mark.parametrize("command", ["ckpt_export", "onnx_export", "trt_export", "verify_net_in_out"])
def test_an_export_sets_ids_beside_its_own_options(command: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"net_id": "mine", "meta_file": "m.json", "in_file": 1}')
    words = ["--args_file", str(tmp_path / "a.json"), "--config_file", "c.json", "--bundle_root", "b", "--net#x=3"]
    found = monai_command_line([PROGRAM, command, *words, "--_meta_#y", "1"])
    assert (found.run_id, found.is_export, found.ids) == ("mine", True, ["net#x", "in_file"])
    assert monai_command_line([PROGRAM, command, "first"]).run_id == "first"
    assert monai_command_line([PROGRAM, command]).run_id == "network_def"
