"""The running config: found with overlays and command line, copied, and refused where an override names nothing."""

from __future__ import annotations

import json
from pathlib import Path

import monai.bundle
import pytest
from monai.bundle import ConfigParser

from scripts.core.errors import InputError
from scripts.core.run_config import APART, LATER, RunConfig, running_config
from tests.support.tiny import CONFIG
from tests.support.tiny_runs import CONFIGS

CONTENT = {
    "steps": 1,
    "part": {"_target_": "builtins.dict", "items": [1, 2, {"deep": 3}]},
    "plain": {"known": 1},
    "box": {"_target_": "builtins.list"},
    "boxes": ["@box", "@box"],
}


class Probe:
    """Keeps the config it was built from."""

    seen: RunConfig

    def __init__(self, value: int) -> None:
        self.value = value
        Probe.seen = running_config()

    def run(self) -> None:
        """What the bundle calls."""


def test_running_config_has_overlays_and_command_line(tmp_path: Path):
    base = {
        "section": {"value": 1, "other": 2, "list": [1, 2]},
        "section2": 1,
        "probe": {"_target_": "tests.core.test_run_config.Probe", "value": "@section#value"},
        "go": ["$@probe.run()"],
    }
    (tmp_path / "base.json").write_text(json.dumps(base))
    (tmp_path / "overlay.json").write_text(json.dumps({"section#other": 20, "section2": 5}))
    files = [str(tmp_path / "base.json"), str(tmp_path / "overlay.json")]
    monai.bundle.run(run_id="go", config_file=files, logging_file=False, **{"section#list#1": 7, "section2": 6})
    seen = Probe.seen
    assert seen["section#value"] == 1
    assert seen["section#other"] == 20
    assert seen["section#list#1"] == 7
    assert seen["section2"] == 6
    assert seen["probe"]["value"].replace("::", "#") == "@section#value"  # as written, not what it refers to
    assert seen.parser({"section#value": 9}).get_parsed_content("probe").value == 9


def test_running_config_needs_a_config():
    with pytest.raises(InputError, match="no bundle config is running"):
        running_config()


def test_values_are_copies():
    content = json.loads(json.dumps(CONTENT))
    config = RunConfig(content)
    config["part#items"].append(4)
    content["plain"]["known"] = 2
    assert config["part#items"] == [1, 2, {"deep": 3}]
    assert config["part"]["items"][2]["deep"] == config["part#items#2#deep"] == 3
    assert config["plain#known"] == 1


@pytest.mark.parametrize("key", ["nothing", "plain#nothing", "part#items#9", "part#items#word", "steps#below"])
def test_get_has_a_default(key: str):
    assert RunConfig(CONTENT).get(key, "default") == "default"


def test_parsers_share_nothing_but_the_objects_given():
    config, shared = RunConfig(CONTENT), object()
    parsers = [config.parser({"part#items#2#deep": n}, {"plain#known": shared}) for n in (4, 5)]
    boxes = [parser.get_parsed_content("boxes") for parser in parsers]
    assert boxes[0][0] is boxes[0][1]
    assert boxes[0][0] is not boxes[1][0]
    assert [parser.get_parsed_content("part")["items"][2]["deep"] for parser in parsers] == [4, 5]
    assert all(parser.get_parsed_content("plain#known") is shared for parser in parsers)
    assert config["part#items#2#deep"] == 3


def test_unknown_overrides_are_refused_all_at_once():
    unknown = ["step", "plain#knwon", "nowhere#at#all", "part#items#7", "steps#below"]
    with pytest.raises(InputError) as caught:
        RunConfig(CONTENT).parser({"steps": 3, **dict.fromkeys(unknown, 1)})
    assert [problem.where for problem in caught.value.problems] == unknown


def test_a_target_takes_arguments_that_the_config_leaves_out():
    assert RunConfig(CONTENT).parser({"part#extra": 8}).get_parsed_content("part")["extra"] == 8


def test_every_override_in_the_bundle_config_names_something():
    config = RunConfig(ConfigParser.load_config_file(str(CONFIG)))
    config.parser(config["active#stage0#overrides"])
    for name, method in config["active#methods"].items():
        config.parser(method.get("overrides", {})), name


def test_handlers_are_found_and_taken_out_of_a_copy() -> None:
    handlers = [{"_target_": "A"}, {"_target_": "B"}, "@train#other"]
    config = RunConfig({"train": {"handlers": handlers, "other": 1}, "validate": {"handlers": [{"_target_": "A"}]}})
    rest = config.without_handler("A")
    assert rest.content == {"train": {"handlers": handlers[1:], "other": 1}, "validate": {"handlers": []}}
    assert [config.uses_handler(name) for name in "ABC"] == [True, True, False]
    assert not rest.uses_handler("A")
    assert not RunConfig({"train": {"handlers": None}}).uses_handler("A")


class TestLater:
    """Settings that came later are recorded only where they differ from what leaves everything as it was."""

    def recorded(self, **changes: object) -> dict[str, object]:
        parser = ConfigParser(json.loads((CONFIGS / "train.json").read_text()))
        for key, value in changes.items():
            parser[key] = value
        return RunConfig(parser.get()).with_references(("loss", "train", "validate"), APART)

    def test_defaults_are_left_out(self) -> None:
        told = json.dumps(self.recorded())
        assert "scale_seg_u" in told
        assert not [name for name in ("scale_seg_b", "background") if name in told]

    @pytest.mark.parametrize(("name", "value"), [("scale_seg_b", 0.5), ("background_share", 0.25)])
    def test_other_values_are_recorded(self, name: str, value: float) -> None:
        found = self.recorded(**{name: value})
        assert found[name] == value
        assert found.keys() - self.recorded().keys() == {name}
        assert RunConfig({"loss": {"scale_seg_b": 2.0}}).with_references(["loss"]) == {"loss": {"scale_seg_b": 2.0}}

    def test_the_config_has_them_at_these_values(self) -> None:
        config = RunConfig(json.loads((CONFIGS / "train.json").read_text()))
        assert {key: config[key] for key in LATER} == LATER
