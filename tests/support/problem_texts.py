"""The texts of a package's source.

``python -m tests.support.problem_texts`` lists the problems that docs/troubleshooting.md does not.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
VALUE = "…"
"""Stands for what a program puts into a text."""


def texts_of(folder: Path) -> set[str]:
    """Return every string in the Python files of a folder, values of f-strings as :data:`VALUE`."""
    trees = [ast.parse(path.read_text()) for path in folder.rglob("*.py")]
    return {text for tree in trees for node in ast.walk(tree) if (text := _text(node))}


def problem_texts() -> set[str]:
    """Return what every ``Problem("what", ...)`` of the project says, where it is written there in full."""
    found = set()
    for path in (ROOT / "scripts").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Problem" and node.args:
                found.add(_text(node.args[0]))
    return found - {""}


def listed_texts() -> dict[str, list[str]]:
    """Return {heading: texts in the first column of its table} of the page."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(), flags=re.MULTILINE)[1:]
    tables = zip(parts[::2], parts[1::2], strict=True)
    return {name: list(_first_column(table)) for name, table in tables}


def _first_column(table: str) -> Iterator[str]:
    for line in table.splitlines():
        if line.startswith("| `"):
            yield from re.findall(r"`([^`]+)`", line.split(" | ")[0])


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or VALUE for part in node.values)
    return ""


if __name__ == "__main__":
    known = {text for texts in listed_texts().values() for text in texts}
    sys.stdout.write("\n".join(sorted(problem_texts() - known)) + "\n")
