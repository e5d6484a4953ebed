"""Every command of README.md, executed in its order in a folder like a fresh checkout; trainings are cut down."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.forked_commands import ROOT, Commands
from tests.support.tiny_runs import SMALL
from tests.whole.test_data_examples import write_glas_archive, write_my_data
from tests.whole.test_docs import commands_in, options_of

TOP = ("bundle", "scripts", "models", "docs", "requirements.txt", "requirements-dev.txt", "LICENSE", "pyproject.toml")
CUT = {
    key: value for key, value in SMALL.items() if key not in ("demo", "active#rounds", "active#initial_per_class")
} | {"demo#n_train": 8, "demo#n_val": 2, "demo#n_test": 2}
README = [words[2:] for words in commands_in(ROOT / "README.md")]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's folders by links, and data as the README names them; what commands write stays here."""
    root = tmp_path_factory.mktemp("readme")
    folder = root / "repository"
    folder.mkdir()
    for name in TOP:
        if name == "models":
            shutil.copytree(ROOT / name, folder / name)
        else:
            (folder / name).symlink_to(ROOT / name)
    if (ROOT.parent / "shared").is_dir():
        (root / "shared").symlink_to((ROOT.parent / "shared").resolve())
    write_my_data(folder / "my_data")
    write_glas_archive(folder / "Warwick_QU_Dataset")
    return folder


def cut(words: list[str]) -> list[str]:
    """The command with small sizes; what it sets itself stays."""
    if words[:3] not in (["monai.bundle", "run", "training"], ["monai.bundle", "run", "study"]):
        return words
    given = options_of(words)
    changes = dict(CUT)
    if "my_data" in words:
        del changes["auto_plan"]  # own data begin with a plan
    if words[2] == "study":
        changes |= {"studies#methods": "['random']", "studies#seeds": "[0]"}
        del changes["active#max_overlays"]
    if "glas.json" in given["config_file"]:
        changes |= {"active#methods#label_prop#cycles": 1, "active#methods#label_prop#carry": True}
    if "active#rounds" not in given:
        changes["active#rounds"] = 1
    return [*words, *(f"--{key}={value}" for key, value in changes.items() if key not in given)]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(README)))
def test_every_command_runs(number: int, checkout: Path, commands: Commands, tmp_path: Path) -> None:
    words = README[number]
    if words[0] == "pytest":
        return  # this run is it
    if "../shared/data/glas" in words and not (checkout.parent / "shared").is_dir():
        pytest.skip("../shared is absent: GlaS is not part of the repository")
    module, *arguments = cut(words)
    code, text = commands.run(tmp_path / "log.txt", *arguments, folder=checkout, module=module)
    assert code == 0, text[-3000:]
    for name in ("output_dir", "out"):
        if name in options_of(words):
            assert (checkout / options_of(words)[name]).exists()


def test_the_tests_are_run_as_the_readme_says() -> None:
    text = (ROOT / "README.md").read_text()
    install, test = text.split("python -m pytest")[0].rsplit("```bash\n", 1)[1].strip(" &"), "python -m pytest"
    checks = (ROOT / ".ci" / "run").read_text()
    assert install in checks.replace("-q ", "")
    assert test in checks
    for name in install.split():
        if name.endswith(".txt"):
            assert (ROOT / name).is_file()


def test_one_page() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) < 130
    assert json.dumps(README).count("monai.bundle") > 8
