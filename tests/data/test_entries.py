from __future__ import annotations

from pathlib import Path

import pytest

from scripts.core.errors import Problem
from scripts.data.entries import Entry, entries_of, image_ids
from scripts.data.tables import Row, Table


def read(root: Path, *rows: dict[str, str], columns=("image", "label"), folder: Path | None = None, **settings):
    problems: list[Problem] = []
    table = Table((folder or root) / "t.csv", columns, tuple(Row(f"line {i}", row) for i, row in enumerate(rows)))
    entries = entries_of(table, root, "split", settings.get("id_column"), problems)
    return entries, [problem.what for problem in problems]


def ids(entries: list[Entry]) -> list[str]:
    return [entry.id for entry in entries]


def test_ids_from_columns_or_names(tmp_path: Path) -> None:
    row = {"image": "x/a.png", "id": "one", "code": "two"}
    assert ids(read(tmp_path, row)[0]) == ["a"]
    assert ids(read(tmp_path, row, columns=("image", "id"))[0]) == ["one"]
    assert ids(read(tmp_path, row, columns=("image", "id", "code"), id_column="code")[0]) == ["two"]


def test_repeated_names_get_their_folders(tmp_path: Path) -> None:
    images = [tmp_path / "x" / "a.nii.gz", tmp_path / "y" / "a.png"]
    assert image_ids(images, tmp_path) == ["x/a", "y/a"]
    assert image_ids([images[0], tmp_path / "b.png"], tmp_path) == ["a", "b"]


@pytest.mark.parametrize("column", ["image", "mask"])
def test_no_path_leaves_the_data_set(tmp_path: Path, column: str) -> None:
    root, outside = tmp_path / "data", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "a.png").write_bytes(b"x")
    (root / "link.png").symlink_to(outside / "a.png")
    (root / "folder").symlink_to(outside)
    (root / "inner.png").symlink_to(root / "b.png")
    bad = ["../outside/a.png", str(outside / "a.png"), "..\\outside\\a.png", "link.png", "folder/a.png", "a\0.png"]
    for text in bad:
        entries, problems = read(root, {"image": "ok.png", column: text})
        assert (entries, problems) == ([], [f"{column} lies outside the data set"]), text
    for text in ("x/../ok2.png", str(root / "ok2.png"), "inner.png", "x\\ok2.png"):
        entries, problems = read(root, {"image": "ok.png", column: text})
        assert (len(entries), problems) == (1, []), text


def test_folders_are_followed_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").mkdir()
    followed: list[str] = []
    resolve = Path.resolve
    monkeypatch.setattr(Path, "resolve", lambda path: followed.append(str(path)) or resolve(path))
    entries, _ = read(tmp_path, *({"image": f"x/{i}.png", "mask": f"{i}.png"} for i in range(50)))
    assert (len(entries), sorted(followed)) == (50, [str(tmp_path), str(tmp_path / "x")])


def test_paths_start_at_the_tables_folder_if_it_is_inside(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "tables").mkdir(parents=True)
    inside, _ = read(root, {"image": "../a.png"}, folder=root / "tables")
    assert inside[0].image == root / "a.png"
    outside, _ = read(root, {"image": "a.png"}, folder=tmp_path / "elsewhere")
    assert outside[0].image == root / "a.png"


def test_absolute_paths_through_a_link_to_the_data_set(tmp_path: Path) -> None:
    (tmp_path / "real" / "x").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    rows = [{"image": str(tmp_path / "real/x/a.png")}, {"image": "a.png"}]
    entries, problems = read(tmp_path / "link", *rows)
    assert (ids(entries), problems) == (["x/a", "a"], [])


def test_each_image_and_id_once(tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    rows = [
        {"image": "a.png", "id": "1", "split": "train"},
        {"image": "b.png", "id": "1"},
        {"image": "./a.png", "id": "2", "split": "training"},
        {"image": "link.png", "id": "3", "split": "test"},
        {"id": "4"},
    ]
    entries, problems = read(tmp_path, *rows, columns=("image", "id", "split"))
    assert ids(entries) == ["1"]
    assert problems == ["no image named", "id is used twice", "image is listed twice", "image is in two splits"]


@pytest.mark.parametrize("key", ["", "..", "../a", "/a", "a//b", "a\\..\\b", "a\nb", "a\0", "x" * 201])
def test_ids_that_could_climb_out_of_a_folder(tmp_path: Path, key: str) -> None:
    assert read(tmp_path, {"image": "a.png", "id": key}, id_column="id") == ([], ["id cannot be used"])


@pytest.mark.parametrize("key", ["a", "a/b", "..a", "ä 1", "001.Albatross/x_1"])
def test_ids_that_are_fine(tmp_path: Path, key: str) -> None:
    assert ids(read(tmp_path, {"image": "a.png", "id": key}, id_column="id")[0]) == [key]


def problem_of(root: Path, text: str, **settings) -> Problem:
    problems: list[Problem] = []
    table = Table(root / "t.csv", ("image",), (Row("line 1", {"image": text}),))
    entries_of(table, root, "split", None, problems, **settings)
    (problem,) = problems
    return problem


def test_a_link_out_of_the_data_set_is_named_with_its_target(tmp_path: Path) -> None:
    root, outside = tmp_path / "data", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "a.png").symlink_to(outside / "a.png")
    (root / "folder").symlink_to(outside)
    (root / "again").symlink_to(root / "folder")
    for text, link, target in (
        ("a.png", "a.png", outside / "a.png"), ("folder/b.png", "folder", outside), ("again/b.png", "again", outside),
    ):  # fmt: skip
        found = problem_of(root, text).found
        assert found == f"{text!r}, where {root / link} is a link to {target}"
    assert problem_of(root, "../outside/a.png").found == "'../outside/a.png'"
    assert "link" not in problem_of(root, "../outside/a.png").cure


def test_the_cure_is_that_of_the_command(tmp_path: Path) -> None:
    assert "--data#table" in problem_of(tmp_path, "../a.png").cure
    assert problem_of(tmp_path, "../a.png", cure_outside="Move the table.").cure == "Move the table."


def test_masks_that_nobody_asks_for_are_not_looked_at(tmp_path: Path) -> None:
    table = Table(tmp_path / "t.csv", ("image", "mask"), (Row("line 1", {"image": "a.png", "mask": "/x/a.png"}),))
    problems: list[Problem] = []
    (entry,) = entries_of(table, tmp_path, "split", None, problems, with_masks=False)
    assert entry.mask is None and problems == []
