"""The walls of ``scripts/``: which folder may import from which, no circles, small folders that say their purpose."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
MOST_FILES = 12

DIRECTIONS: dict[str, tuple[str, ...]] = {
    "core": (),
    "images": ("core",),
    "state": ("core",),
    "networks": ("core",),
    "data": ("core", "images"),
    "trained": ("core", "state", "networks"),
    "slides": ("core", "images", "networks"),
    "evaluation": ("core", "images", "networks", "data"),
    "prediction": ("core", "images", "state", "networks", "data", "trained"),
    "training": ("core", "images", "networks", "data", "evaluation"),
    "annotation": ("core", "images", "state", "data", "evaluation"),
    "report": ("core", "images", "state", "evaluation"),
    "active": (
        "core", "images", "state", "networks", "data", "trained", "evaluation", "training", "annotation", "report",
    ),
    "studies": (
        "core", "images", "state", "networks", "data", "trained", "evaluation", "training", "annotation", "report",
        "active",
    ),
    "service": (
        "core", "images", "state", "networks", "data", "trained", "slides", "evaluation", "prediction", "training",
        "annotation", "report", "active", "studies",
    ),
}  # fmt: skip
"""Folder -> folders it may import from, itself besides. ``release`` may import from all."""


def modules(root: Path) -> dict[str, Path]:
    """Dotted name of every module below ``root/scripts`` -> its file."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((root / "scripts").rglob("*.py"))
    }


def imports_of(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of ``scripts`` that a file imports anywhere: in functions and for type checking too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "scripts")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            if module.partition(".")[0] == "scripts":
                for alias in node.names:
                    whole = f"{module}.{alias.name}"
                    yield whole if whole in known else module


def graph_of(root: Path) -> dict[str, set[str]]:
    """Module -> the modules it imports."""
    known = modules(root)
    return {name: set(imports_of(path, known)) - {name} for name, path in known.items()}


def folder_of(module: str) -> str:
    """Top folder of a module: ``"scripts.networks.encoders.lite0"`` -> ``"networks"``; "" for ``scripts`` itself."""
    return [*module.split("."), ""][1]


def wrong_directions(graph: dict[str, set[str]]) -> list[str]:
    """Imports that the table does not allow."""
    return [
        f"{name} imports {other}"
        for name, others in sorted(graph.items())
        for other in sorted(others)
        if folder_of(name) not in (folder_of(other), "release")
        and folder_of(other) not in DIRECTIONS.get(folder_of(name), ())
    ]


def circle_of(graph: dict[str, set[str]]) -> list[str]:
    """Modules of one circle of imports, empty where there is none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        for other in sorted(graph.get(name, ())):
            found = visit(other, [*path, name])
            if found:
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := visit(name, []))), [])


def loaded_with(graph: dict[str, set[str]], name: str) -> set[str]:
    """All modules that are imported when ``name`` is, itself and the empty files of folders not counted."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for other in graph[waiting.pop()] - found:
            found.add(other)
            waiting.append(other)
    return {other for other in found if modules(ROOT)[other].name != "__init__.py"} - {name}


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return graph_of(ROOT)


def test_imports_go_one_way(graph: dict[str, set[str]]) -> None:
    assert wrong_directions(graph) == []


def test_there_is_no_circle(graph: dict[str, set[str]]) -> None:
    assert circle_of(graph) == []


def crowded_folders(root: Path) -> list[str]:
    """Folders of ``scripts`` with more Python files than fit, ``__init__.py`` not counted."""
    folders = {path.parent for path in (root / "scripts").rglob("*.py")}
    counts = {folder: sum(path.name != "__init__.py" for path in folder.glob("*.py")) for folder in folders}
    return sorted(str(folder.relative_to(root)) for folder, count in counts.items() if count > MOST_FILES)


def silent_folders(root: Path) -> list[str]:
    """Folders whose ``__init__.py`` is missing, says nothing, or does more than say."""
    folders = {path.parent for path in (root / "scripts").rglob("*.py")}
    trees = {
        folder: ast.parse((folder / "__init__.py").read_text() if (folder / "__init__.py").is_file() else "")
        for folder in folders
    }
    told = {folder: len(ast.get_docstring(tree) or "") > 40 and len(tree.body) == 1 for folder, tree in trees.items()}
    return sorted(str(folder.relative_to(root)) for folder, good in told.items() if not good)


def longest_chain(graph: dict[str, set[str]]) -> int:
    """Most modules that import one another in a row."""
    length: dict[str, int] = {}

    def measure(name: str) -> int:
        if name not in length:
            length[name] = 1 + max((measure(other) for other in graph[name]), default=0)
        return length[name]

    return max(map(measure, graph))


def test_no_folder_is_crowded() -> None:
    assert crowded_folders(ROOT) == []


def test_every_folder_says_what_it_is_for_and_does_nothing_else() -> None:
    assert silent_folders(ROOT) == []


def test_every_file_stands_in_a_folder_of_the_table() -> None:
    assert [path.name for path in SCRIPTS.glob("*.py")] == ["__init__.py"]
    folders = {path.relative_to(SCRIPTS).parts[0] for path in SCRIPTS.rglob("*.py") if path.parent != SCRIPTS}
    assert folders - {"release"} <= set(DIRECTIONS)


def test_chains_are_short(graph: dict[str, set[str]]) -> None:
    assert longest_chain(graph) <= 15


LOADED = {
    "prediction.predict": 53, "slides.predict": 33, "evaluation.evaluate": 64, "prediction.explain": 56,
    "release.package": 8, "report.page": 23, "annotation.commands": 12, "annotation.export": 31,
    "slides.grid": 7,
}  # fmt: skip
"""Entry -> most files of ``scripts`` that may be loaded with it."""


@pytest.mark.parametrize("entry", LOADED)
def test_entries_load_few_files(graph: dict[str, set[str]], entry: str) -> None:
    assert len(loaded_with(graph, f"scripts.{entry}")) <= LOADED[entry]


def loaded_by(statement: str) -> set[str]:
    """Modules that a fresh Python has loaded after a statement."""
    code = f"import sys; {statement}; sys.stdout.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("entry", LOADED)
def test_what_python_loads_is_what_was_counted(graph: dict[str, set[str]], entry: str) -> None:
    name = f"scripts.{entry}"
    known = modules(ROOT)
    loaded = {module for module in loaded_by(f"import {name}") if module in known} - {name}
    assert {module for module in loaded if known[module].name != "__init__.py"} == loaded_with(graph, name)


@pytest.mark.parametrize(
    "entry", ["report.page", "report.tracking", "annotation.__main__", "data.__main__", "data.demo.data_set"]
)
def test_reports_status_and_lists_need_no_torch(entry: str) -> None:
    assert not loaded_by(f"import scripts.{entry}") & {"torch", "monai", "ignite"}


class TestWhatIsFound:
    """Each rule fails in a tree that breaks it."""

    def tree(self, root: Path, files: dict[str, str]) -> Path:
        told = '"""What this folder is for, and what it must not import."""\n'
        for name, text in {"core/errors.py": "", "active/rounds.py": "", **files}.items():
            path = root / "scripts" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            for folder in (path.parent, root / "scripts"):
                (folder / "__init__.py").write_text(told)
            path.write_text(text)
        return root

    @pytest.mark.parametrize(
        "text",
        [
            "from scripts.active.rounds import run_round",
            "import scripts.active.rounds",
            "from scripts.active import rounds",
            "def f():\n    from scripts.active.rounds import run_round",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from scripts.active.rounds import run_round",
        ],
    )
    def test_a_wrong_direction(self, tmp_path: Path, text: str) -> None:
        assert wrong_directions(graph_of(self.tree(tmp_path, {"core/a.py": ""}))) == []
        found = wrong_directions(graph_of(self.tree(tmp_path, {"core/a.py": text})))
        assert found == ["scripts.core.a imports scripts.active.rounds"]

    def test_a_folder_that_the_table_does_not_have(self, tmp_path: Path) -> None:
        found = wrong_directions(graph_of(self.tree(tmp_path, {"utils/a.py": "import scripts.core.errors"})))
        assert found == ["scripts.utils.a imports scripts.core.errors"]

    def test_a_circle(self, tmp_path: Path) -> None:
        files = {"core/a.py": "def f():\n    import scripts.core.b", "core/b.py": "from scripts.core.a import f"}
        assert sorted(circle_of(graph_of(self.tree(tmp_path, files)))) == ["scripts.core.a", "scripts.core.b"]

    def test_a_thirteenth_file(self, tmp_path: Path) -> None:
        self.tree(tmp_path, {f"data/f{number}.py": "" for number in range(MOST_FILES)})
        assert crowded_folders(tmp_path) == []
        assert crowded_folders(self.tree(tmp_path, {"data/one_more.py": ""})) == ["scripts/data"]

    def test_a_folder_that_says_nothing_or_does_something(self, tmp_path: Path) -> None:
        self.tree(tmp_path, {"data/a.py": ""})
        (tmp_path / "scripts" / "core" / "__init__.py").write_text("")
        assert silent_folders(tmp_path) == ["scripts/core"]
        (tmp_path / "scripts" / "data" / "__init__.py").unlink()
        with (tmp_path / "scripts" / "active" / "__init__.py").open("a") as file:
            file.write("import scripts.core.errors\n")
        assert silent_folders(tmp_path) == ["scripts/active", "scripts/core", "scripts/data"]
