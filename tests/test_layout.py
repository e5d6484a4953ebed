"""The walls of ``scripts/``: which folder may import from which, no circles, small folders that say their purpose."""

from __future__ import annotations

import ast
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
