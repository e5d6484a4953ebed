from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.core.errors import InputError
from scripts.data.tables import find_table, read_table


def table_of(tmp_path: Path, text: str, name: str = "data.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_table(tmp_path / name)


def test_csv_of_spreadsheets(tmp_path: Path) -> None:
    table = table_of(tmp_path, '\ufeffimage, label ,split\r\na.png, benign,\r\n\r\n"b,1.png",malignant,train\r\n')
    assert table.columns == ("image", "label", "split")
    assert [row.values for row in table.rows] == [
        {"image": "a.png", "label": "benign"},
        {"image": "b,1.png", "label": "malignant", "split": "train"},
    ]
    assert [row.where for row in table.rows] == ["data.csv line 2", "data.csv line 4"]
    assert table.rows[0].get("split") == table.rows[0].get(None) == ""


def test_monai_datalist(tmp_path: Path) -> None:
    content = {
        "name": "mine",
        "labels": {"0": "background"},
        "training": [{"image": "a.png", "label": 1, "mask": None}],
        "validation": [{"image": "b.png", "label": "x"}],
        "testing": [{"image": "c.png", "label": "x", "split": "train"}],
    }
    table = table_of(tmp_path, json.dumps(content), "datalist.json")
    assert [row.values for row in table.rows] == [
        {"image": "a.png", "label": "1", "split": "train"},
        {"image": "b.png", "label": "x", "split": "val"},
        {"image": "c.png", "label": "x", "split": "train"},
    ]
    assert set(table.columns) == {"split", "image", "label"}
    assert table.rows[1].where == "datalist.json validation[0]"


def test_flat_json_list(tmp_path: Path) -> None:
    table = table_of(tmp_path, '[{"image": "a.png", "label": "x"}]', "a.json")
    assert "split" not in table.columns
    assert table.rows[0].values == {"image": "a.png", "label": "x"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "image;label\na.png;x\n", "not separated by commas"),
        ("a.csv", "image,label\na.png,x,y\n", "a.csv line 2: too many values"),
        ("a.csv", "image,label\n", "no rows"),
        ("a.csv", "", "no rows"),
        ("a.json", "{", "not JSON"),
        ("a.json", '{"train": ["a.png"]}', r"train\[0\]: entry is not an object"),
        ("a.json", '{"fold0": [{"image": "a.png"}]}', "no rows"),
        ("a.json", "3", "no rows"),
    ],
)
def test_malformed_tables(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        table_of(tmp_path, text, name)


def test_all_malformed_rows_are_listed(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        table_of(tmp_path, "image,label\na,b,c\na,b\na,b,c,d\n")
    assert [problem.where for problem in caught.value.problems] == ["data.csv line 2", "data.csv line 4"]


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("image,label\nä.png,x\n".encode("latin-1"))
    with pytest.raises(InputError, match="UTF-8"):
        read_table(tmp_path / "a.csv")


def test_the_table_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no table of images"):
        find_table(tmp_path)
    for name in ("mine.csv", "._mine.csv"):
        (tmp_path / name).write_text("")
    assert find_table(tmp_path).name == "mine.csv"
    (tmp_path / "other.csv").write_text("")
    with pytest.raises(InputError, match=r"mine\.csv, other\.csv"):
        find_table(tmp_path)
    for name in ("datalist.csv", "data.csv", "datalist.json", "splits.csv"):  # each before the ones made earlier
        (tmp_path / name).write_text("")
        assert find_table(tmp_path).name == name
    assert find_table(tmp_path, "other.csv") == find_table(tmp_path, tmp_path / "other.csv") == tmp_path / "other.csv"
    with pytest.raises(InputError, match="table is missing"):
        find_table(tmp_path, "absent.csv")
    with pytest.raises(InputError, match="folder is missing"):
        find_table(tmp_path / "absent")
