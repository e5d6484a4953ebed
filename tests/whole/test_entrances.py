"""Every command of MONAI's bundle in the documents tells of an id that nothing reads, before it does anything."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.support.forked_commands import ROOT, Commands

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "bundle" / "label_app" / "README.md")
NOT_OF_CONFIGS = ("download_large_files",)
_LINE = re.compile(r"^(?:\w+=\S+ )*(?:.* && )?python -m monai\.bundle (.+)$", re.MULTILINE)


def documented() -> dict[str, list[str]]:
    """What is run and its configs -> words of the first such line, of those whose configs are in the repository."""
    found: dict[str, list[str]] = {}
    for line in _LINE.findall("\n".join(page.read_text() for page in PAGES)):
        words = shlex.split(line)
        if words[0] in NOT_OF_CONFIGS or "--config_file" not in words:
            continue
        configs = re.findall(r"[\w/]+\.json", words[words.index("--config_file") + 1])
        if all((ROOT / config).is_file() for config in configs):
            what = words[1] if words[0] == "run" and not words[1].startswith("-") else words[0]
            found.setdefault(" ".join([what, *(Path(config).name for config in configs)]), words)
    return found


EVERY = documented()


def test_all_that_can_be_run_is_among_them() -> None:
    assert {name.partition(" ")[0] for name in EVERY} >= {
        "training", "plan", "evaluate", "study", "run", "explain", "slide", "ckpt_export", "onnx_export", "trt_export",
    }  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_a_misspelt_id_is_told(commands: Commands, name: str, tmp_path: Path) -> None:
    words = [*EVERY[name], "--data_set_dir", "x"]
    if "--output_dir" in words:
        words[words.index("--output_dir") + 1] = str(tmp_path / "o")
    code, text = commands.run(tmp_path / "log.txt", *words)
    error = text[text.rindex("error: ") :]
    assert code == 2 and "Traceback" not in error
    assert "data_set_dir: nothing in the config reads this id" in error
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("name", [name for name in EVERY if "export" in name])
def test_an_export_tells_what_it_does_not_read(commands: Commands, name: str, tmp_path: Path) -> None:
    code, text = commands.run(tmp_path / "log.txt", *EVERY[name], "--model#threshold", "0.3", "--device=cpu")
    error = text[text.rindex("error: ") :]
    assert code == 2
    assert "model#threshold: network_def does not read this id" in error
    assert ("device: network_def does not read this id" in error) == (EVERY[name][0] != "trt_export")  # it has its own
