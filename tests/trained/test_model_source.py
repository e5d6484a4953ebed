from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts.core.errors import InputError, StateError
from scripts.networks.model_file import write_model
from scripts.trained.source import ModelSource
from tests.support.colour_net import INFO, ColourNet, colour_source, write_colour_model
from tests.support.tiny_runs import tiny_loop


class TestFiles:
    def test_is_described_without_its_weights(self, tmp_path: Path) -> None:
        path = write_colour_model(tmp_path)
        path.write_bytes(b"no weights")
        assert ModelSource(ColourNet(), ckpt=path).info.classes == ("blue", "red")

    def test_description_follows_the_file_until_it_is_loaded(self, tmp_path: Path) -> None:
        source = colour_source(tmp_path)
        assert source.info.threshold == 0.5
        write_colour_model(tmp_path, threshold=0.7)
        os.utime(tmp_path / "model.json", ns=(1, 1))
        assert source.info.threshold == 0.7
        source.load()
        write_colour_model(tmp_path, threshold=0.9)
        assert source.info.threshold == 0.7
        assert source.load() is source.load()

    def test_values_of_the_command_replace_stored_ones(self, tmp_path: Path) -> None:
        path = write_colour_model(tmp_path)
        source = ModelSource(ColourNet(), ckpt=path, threshold=0.3, native_size=[10, 20])
        assert (source.info.threshold, source.info.native_size) == (0.3, (10, 20))
        found = source.load().info
        assert (found.threshold, found.native_size) == (0.3, (10, 20))

    def test_network_is_that_of_the_config_until_it_is_loaded(self, tmp_path: Path) -> None:
        default = ColourNet()
        source = ModelSource(default, ckpt=write_colour_model(tmp_path))
        assert source.network is default
        assert source.load().network is source.network and source.network is not default

    def test_released_model_is_taken_where_nothing_is_named(self, tmp_path: Path) -> None:
        released = write_colour_model(tmp_path)
        (tmp_path / "other").mkdir()
        named = write_colour_model(tmp_path / "other", threshold=0.9)
        assert ModelSource(ColourNet(), released=released).info.threshold == 0.5
        assert ModelSource(ColourNet(), released=released, ckpt=named).info.threshold == 0.9

    def test_safetensors_too(self, tmp_path: Path) -> None:
        write_model(tmp_path / "m.safetensors", ColourNet().state_dict(), INFO)
        assert ModelSource(ColourNet(), ckpt=tmp_path / "m.safetensors").info == INFO

    def test_another_network_and_a_pickle_are_refused(self, tmp_path: Path) -> None:
        path = write_colour_model(tmp_path)
        torch.save({"weight": torch.zeros(3)}, path)
        with pytest.raises(InputError, match="does not fit"):
            ModelSource(ColourNet(), ckpt=path).load()
        torch.save({"x": Path("canary")}, path)
        with pytest.raises(StateError):
            ModelSource(ColourNet(), ckpt=path).load()


class TestRuns:
    def test_of_a_run(self, shapes_data: Any, tmp_path: Path) -> None:
        tiny_loop(shapes_data, tmp_path, "random", **{"active#rounds": 1}).run()
        source = ModelSource(ColourNet(), released="unused", output_dir=tmp_path)
        assert source.info.provenance["run"] == "random_seed0"
        assert source.run_folder == tmp_path / "random_seed0"
        assert source.info.native_size == (64, 64)
        assert colour_source(tmp_path).run_folder is None

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({}, "no model is named"),
            ({"ckpt": "a.pt", "output_dir": "runs"}, "a file and a run"),
            ({"released": "a.pt", "run": "x"}, "run without its folder"),
            ({"released": "a.pt", "round": 0}, "run without its folder"),
        ],
    )
    def test_what_is_not_clear_is_refused(self, arguments: dict[str, Any], text: str) -> None:
        with pytest.raises(InputError, match=text):
            ModelSource(ColourNet(), **arguments)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    source = ModelSource(ColourNet(), released=tmp_path / "model.pt")
    with pytest.raises(InputError, match="model is missing"):
        source.load()
    with pytest.raises(InputError, match="--ckpt"):
        _ = source.info


def test_descriptions_of_older_files_are_read() -> None:
    text = INFO.to_json().replace(', "native_size": [64, 96]', "")
    assert "native_size" not in text
    assert type(INFO).from_json(text, "x") == replace(INFO, native_size=None)
    with pytest.raises(InputError, match="native_size"):
        replace(INFO, native_size=(0, 3))
