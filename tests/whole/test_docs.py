"""The documentation against the repository: links, commands, settings, modules. Nothing is trained here."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
from pathlib import Path
from pydoc import locate
from typing import Any

import pytest
from monai.bundle import ConfigParser

from scripts.annotation import __main__ as annotation
from scripts.data import __main__ as data
from scripts.data.demo import __main__ as demo
from scripts.release import __main__ as release
from scripts.studies import __main__ as studies
from tests.test_layout import DIRECTIONS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS: dict[str, Any] = {
    "scripts.data": data.COMMANDS, "scripts.data.demo": demo.COMMANDS, "scripts.annotation": annotation.COMMANDS,
    "scripts.release": {name: locate(path) for name, path in release.COMMANDS.items()},
    "scripts.studies": {name: locate(path) for name, path in studies.COMMANDS.items()},
}  # fmt: skip
TRAIN = json.loads((ROOT / "bundle" / "configs" / "train.json").read_text())
FENCES = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
BUILDS = ("_target_", "_mode_", "_disabled_", "_requires_", "_desc_")


def named_in(page: str) -> set[str]:
    """Return what stands between backticks in a page, code blocks left out."""
    return set(re.findall(r"`([^`\n]+)`", FENCES.sub("", page)))


def settings_to_document() -> list[str]:
    """Return the ids that docs/configuration.md must name."""
    names = list(TRAIN)
    for section in ("active", "active#stage0", "active#methods", "data", "network_def", "loss"):
        keys = ConfigParser(TRAIN)[section]
        names += [key if section == "active#methods" else f"{section}#{key}" for key in keys if key not in BUILDS]
    return names


def documented_defaults() -> list[tuple[str, Any]]:
    """Return (id, default) of the table rows of docs/configuration.md whose default is a literal."""
    rows = re.findall(r"^\| `([\w#]+)` \| `([^`]+)` \|", (ROOT / "docs" / "configuration.md").read_text(), re.MULTILINE)
    found = []
    for name, text in rows:
        try:
            found.append((name, json.loads(text)))
        except ValueError:  # a reference (@...) or a path in words
            continue
    return found


def commands_in(page: Path) -> list[list[str]]:
    """Return the words of every ``python -m`` command in the shell blocks of a page."""
    lines = [line for kind, block in FENCES.findall(page.read_text()) if kind == "bash" for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [shlex.split(part) for part in parts if part.startswith("python -m ")]


def options_of(words: list[str]) -> dict[str, str]:
    """Return ``{"key": "value"}`` of ``--key value`` and ``--key`` (empty value)."""
    found: dict[str, str] = {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("--"):
            found[word[2:]] = "" if following.startswith("--") else following
    return found


def merged_config(value: str) -> ConfigParser:
    """Return the config of a ``--config_file`` value, one file or a list; every file must exist."""
    names = ast.literal_eval(value) if value.startswith("[") else [value]
    for name in names:
        assert (ROOT / name).is_file(), name
    return ConfigParser(ConfigParser.load_config_files([str(ROOT / name) for name in names]))


@pytest.mark.parametrize("name", settings_to_document())
def test_configuration_names_every_setting(name: str) -> None:
    assert name in named_in((ROOT / "docs" / "configuration.md").read_text())


def test_configuration_names_every_overlay() -> None:
    overlays = {path.name for path in (ROOT / "bundle" / "configs").glob("*.json")} - {"train.json", "metadata.json"}
    assert overlays <= named_in((ROOT / "docs" / "configuration.md").read_text())


def test_configuration_states_the_defaults_of_the_config() -> None:
    defaults = documented_defaults()
    assert len(defaults) > 30  # else the tables were not understood
    config = ConfigParser(TRAIN)
    wrong = {name: (text, config[name]) for name, text in defaults if config[name] != text}
    assert not wrong, "id: (documented, in train.json)"


def test_architecture_draws_the_tree() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    tree = text.partition("## The tree")[2].partition("\n## ")[0]
    drawn = dict(re.findall(r"^ {6,}(\w+)/ +(.+)$", tree, re.MULTILINE))
    folders = {path.parent.name for path in (ROOT / "scripts").rglob("*") if path.suffix in (".py", ".js")} - {
        "scripts"
    }
    assert drawn.keys() == folders and all(len(told) > 10 for told in drawn.values())


def test_architecture_has_the_directions_that_are_tested() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(
        r"^\| `(\w+)`[^|]*\| (.+) \|$", text.partition("may import from |")[2].partition("\n\n")[0], re.MULTILINE
    )
    told = {folder: tuple(re.findall(r"`(\w+)`", allowed)) for folder, allowed in rows if folder != "release"}
    assert told == {folder: allowed or ("scripts",) for folder, allowed in DIRECTIONS.items()}


def test_where_to_change_what_names_what_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text().partition("| change | file |")[2].partition("\n\n")[0]
    names = re.findall(r"`([\w/]+(?:\.py|/))`", text)
    assert len(names) > 18
    assert not [name for name in names if not (ROOT / "scripts" / name).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_files_and_definitions_that_exist(page: Path) -> None:
    text = page.read_text()
    files = {name.removeprefix("scripts/") for name in re.findall(r"(?<![\w/])(?:\w+/)+\w+\.py\b", text)}
    wrong = [n for n in files if not n.startswith("networks/encoders/small") and not is_file_of_the_project(n)]
    assert wrong == []
    text = FENCES.sub("", text).partition("Each change of code below")[0]  # whose examples add what they name
    dotted = {name.rstrip(".") for name in re.findall(r"\bscripts\.[a-z][\w.]*", text)}
    assert [name for name in dotted if locate(name) is None] == []


def is_file_of_the_project(name: str) -> bool:
    """Paths in pages begin at the repository, or at ``scripts/`` or ``bundle/label_app/``."""
    return any((root / name).is_file() for root in (ROOT, ROOT / "scripts", ROOT / "bundle" / "label_app"))


def test_drawing_names_files_that_exist() -> None:
    lines = re.findall(r'<text class="file"[^>]*>([^<]*)', (ROOT / "docs" / "images" / "architecture.svg").read_text())
    folder, found = "", 0
    for word in " ".join(lines).replace(":", "").split():
        folder = word if re.fullmatch(r"(\w+/)+", word) else folder
        if word.endswith(".py"):
            found += 1
            assert (ROOT / "scripts" / folder / word).is_file(), folder + word
    assert found > 25


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_exist(page: Path) -> None:
    targets = [link.split("#")[0] for link in LINK.findall(FENCES.sub("", page.read_text())) if "://" not in link]
    missing = [target for target in targets if target and not (page.parent / target).exists()]
    assert not missing


def test_readme_has_the_commands_of_the_project() -> None:
    modules = [words[2] for words in commands_in(ROOT / "README.md")]
    assert modules.count("monai.bundle") >= 4 and "pytest" in modules and "scripts.data" in modules


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "README.md"], ids=["README", "model card"])
def test_bundle_commands_name_files_and_ids_that_exist(page: Path) -> None:
    commands = [words[3:] for words in commands_in(page) if words[2] == "monai.bundle"]
    assert commands
    made = [f",'{options_of(words)['output_dir']}/plan.json'" for words in commands if words[:2] == ["run", "plan"]]
    for words in commands:
        options = options_of(words)
        files = options.pop("config_file")
        for overlay in made:
            files = files.replace(overlay, "")  # it is there when the commands before were run
        config = merged_config(files)
        if words[0] == "ckpt_export":
            continue
        assert words[0] == "run"
        run_id = words[1] if not words[1].startswith("--") else "run"
        for key in (run_id, *options):
            assert key in config, f"{key} in: {shlex.join(words)}"
        assert options.get("active#method") in (None, *config.get().get("active", {}).get("methods", ()))


def test_slides_page_names_the_settings_of_its_config() -> None:
    page = (ROOT / "docs" / "slides.md").read_text()
    config = ConfigParser(json.loads((ROOT / "bundle" / "configs" / "slide.json").read_text()))
    nested = [f"{name}#{key}" for name in ("background", "polygons", "outputs") for key in config[name]]
    names = {name for name in (*config.get(), *nested) if name.split("#")[-1] not in BUILDS}
    assert names - named_in(page) <= {"bundle_root", "initialize"}
    for words in commands_in(ROOT / "docs" / "slides.md"):
        if words[2] == "monai.bundle":
            assert words[4] == "slide" and all(key == "config_file" or key in config for key in options_of(words))
    documented = {}
    for row in re.findall(r"^\| (`.*)$", page.partition("## Settings")[2].partition("\n## ")[0], re.MULTILINE):
        keys, defaults = (re.findall(r"`([^`]+)`", cell) for cell in row.split(" | ")[:2])
        if len(keys) == len(defaults):
            documented |= dict(zip(keys, defaults, strict=True))
    found = {key: json.dumps(config[key]) for key in documented if not str(config[key]).startswith("$")}
    assert len(found) > 20
    assert found == {key: documented[key] for key in found}


def test_studies_page_states_the_keys_of_its_config_and_their_defaults() -> None:
    page = (ROOT / "docs" / "studies.md").read_text()
    config = ConfigParser(json.loads((ROOT / "bundle" / "configs" / "study.json").read_text()))
    runners = [f"runners#{name}" for name in config["studies#runners"]]
    nested = [f"studies#{name}" for name in ("", *runners)]
    ids = [f"{part}#{key}".replace("##", "#") for part in nested for key in config[part.removesuffix("#")]]
    ids = [key for key in ids if key.split("#")[-1] not in (*BUILDS, "loop", "runners", *config["studies#runners"])]
    rows = dict(re.findall(r"^\| `([\w#]+)` \| `([^`]+)` ", page, re.MULTILINE))
    assert {"runner", *ids} == rows.keys()
    wrong = [key for key, told in rows.items() if told != "output_dir" and json.loads(told) != config[key]]
    assert not wrong


def test_commands_of_scripts_name_arguments_that_exist() -> None:
    words_of = [words for page in PAGES for words in commands_in(page) if words[2].startswith("scripts.")]
    assert words_of
    for words in words_of:
        function = COMMANDS[words[2]][words[3]]
        options = {word.strip("[]").lstrip("-") for word in words if word.strip("[").startswith("--")}
        assert options <= inspect.signature(function).parameters.keys(), words


def test_switches_to_the_published_behaviour_exist() -> None:
    card = (ROOT / "docs" / "README.md").read_text()
    config = ConfigParser(TRAIN)
    keys = set(re.findall(r"--([A-Za-z_]\w*(?:#\w+)*)", card)) - {"config_file", "bundle_root", "ckpt"}
    assert len(keys) > 10
    assert not [key for key in keys if key not in config]


def test_pages_hold_no_path_of_a_machine() -> None:
    for page in PAGES:
        found = re.findall(r"(?<![\w/.])/(?:work|tmp|home|root|usr)\b\S*", page.read_text())
        assert not found, page.name
