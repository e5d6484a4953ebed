"""Every command of docs/first-data.md, in its order, on the pictures that its first one writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.forked_commands import ROOT, Commands
from tests.whole.test_docs import commands_in, options_of
from tests.whole.test_readme import CUT

PAGE = [words[2:] for words in commands_in(ROOT / "docs" / "first-data.md")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first") / "here"
    folder.mkdir()
    for name in ("bundle", "scripts", "models"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def cut(words: list[str]) -> list[str]:
    """The command with small sizes; the plan gives the rest."""
    if words[0] == "scripts.data.demo":
        return [*words, "--n=14"]
    if words[:2] != ["monai.bundle", "run"] or words[2] not in ("training", "plan"):
        return words
    changes = {**CUT, "active#rounds": 1} if words[2] == "training" else {"network_def#pretrained": False}
    changes.pop("auto_plan", None)
    return [*words, *(f"--{key}={value}" for key, value in changes.items() if "demo#" not in key)]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(PAGE)))
def test_every_command_runs(number: int, folder: Path, commands: Commands, tmp_path: Path) -> None:
    module, *arguments = cut(PAGE[number])
    code, text = commands.run(tmp_path / "log.txt", *arguments, folder=folder, module=module)
    assert code == 0, text[-3000:]
    for name in ("output_dir", "out"):
        if name in options_of(PAGE[number]):
            assert (folder / options_of(PAGE[number])[name]).exists()
