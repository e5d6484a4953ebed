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


def test_images_that_are_named_alone(tmp_path: Path) -> None:
    table = table_of(tmp_path, '{"training": [{"image": "a.png", "label": "x"}], "test": ["b.png"]}', "dataset.json")
    assert [row.values for row in table.rows] == [
        {"image": "a.png", "label": "x", "split": "train"},
        {"image": "b.png", "split": "test"},
    ]


def test_flat_json_list(tmp_path: Path) -> None:
    table = table_of(tmp_path, '[{"image": "a.png", "label": "x"}]', "a.json")
    assert "split" not in table.columns
    assert table.rows[0].values == {"image": "a.png", "label": "x"}


def test_lists_of_masks_are_one_cell(tmp_path: Path) -> None:
    rows = [
        {"image": "a.png", "label": "x", "mask": ["m/a.png", "m/a_1.geojson"]},
        {"image": "b.png", "class": "x", "label": ["m/b.nii.gz", "m/b_1.nii.gz"]},
        {"image": "c.png", "label": "x", "Mask": []},
    ]
    table = table_of(tmp_path, json.dumps(rows), "a.json")
    assert table.rows[0].values["mask"] == "m/a.png|m/a_1.geojson"
    assert table.rows[1].values["label"] == "m/b.nii.gz|m/b_1.nii.gz"
    assert table.rows[2].values == {"image": "c.png", "label": "x"}


@pytest.mark.parametrize("entry", [{"label": ["x", "y"]}, {"mask": ["a.png", 3]}, {"mask": ["a|b.png"]}, {"id": ["a"]}])
def test_other_lists_are_refused(tmp_path: Path, entry: dict) -> None:
    with pytest.raises(InputError, match="entry is not an object of plain values"):
        table_of(tmp_path, json.dumps([{"image": "a.png", **entry}]), "a.json")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "image,label,Label,mask,mask\na.png,x,y,m,n\n", "column is there twice.*found mask"),
        ("a.csv", "image;label\na.png;x;y\n", "a.csv line 2: too many values"),
        ("a.csv", "image,label\na.png,x,y\n", "a.csv line 2: too many values"),
        ("a.csv", "image,label\n", "no rows"),
        ("a.csv", "", "no rows"),
        ("a.json", "{", "not JSON"),
        ("a.json", '{"train": [["a.png"]]}', r"train\[0\]: entry is not an object"),
        ("a.json", '{"train": [{"image": ["a.png", "b.png"]}]}', r"train\[0\]: entry is not an object"),
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


PLAIN = "image,label,mask\na.png,x,m.png\nb.png,y,\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", "\t").encode(),
        PLAIN.replace(",", " | ").encode(),
        b"sep=,\n" + PLAIN.encode(),
        b'"sep=;"\r\n' + PLAIN.replace(",", ";").replace("\n", "\r\n").encode(),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-8-sig"),
        PLAIN.replace("image,label,mask", "Image,LABEL,Mask").encode(),
        PLAIN.replace("\n", ",,\n").encode(),  # empty columns behind
        b"image,label,mask\na.png,x,m.png,,\nb.png,y,,,\n",  # empty cells behind the columns
        PLAIN.replace(",\n", ",nan\n").encode(),
        PLAIN.replace(",\n", ",NA\n").encode(),
        PLAIN.replace(",\n", ",None\n").encode(),
        PLAIN.replace(",\n", ",N/A\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
    ],
)
def test_what_spreadsheets_make_of_a_table(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.csv").write_bytes(content)
    table = read_table(tmp_path / "data.csv")
    assert table.columns == ("image", "label", "mask")
    assert [row.values for row in table.rows] == [
        {"image": "a.png", "label": "x", "mask": "m.png"},
        {"image": "b.png", "label": "y"},
    ]


def test_lines_are_counted_from_the_first_of_the_file(tmp_path: Path) -> None:
    table = table_of(tmp_path, "sep=;\nimage;label\na.png;x\n")
    assert table.rows[0].where == "data.csv line 3"


def test_a_separator_in_a_name_separates_nothing(tmp_path: Path) -> None:
    table = table_of(tmp_path, "image,label,a;b;c;d\n1;2.png,x|y,\n")
    assert table.columns == ("image", "label", "a;b;c;d")
    assert table.rows[0].values == {"image": "1;2.png", "label": "x|y"}


def test_none_may_be_a_class_but_nan_is_none(tmp_path: Path) -> None:
    table = table_of(tmp_path, "image,label,split\na.png,None,NULL\nb.png,NA,\nc.png,nan,\n")
    assert [row.values for row in table.rows] == [
        {"image": "a.png", "label": "None"}, {"image": "b.png", "label": "NA"}, {"image": "c.png"},
    ]  # fmt: skip
    listed = table_of(tmp_path, '[{"Image": "a.png", "label": NaN, "mask": "none"}]', "a.json")
    assert listed.rows[0].values == {"image": "a.png"}


def test_own_columns_keep_their_capitals(tmp_path: Path) -> None:
    table = table_of(tmp_path, "image,Image,Fold,patient ID\na.png,b.png,train,7\n")
    assert table.columns == ("image", "Image", "Fold", "patient ID")
    assert table.rows[0].get("image") == "a.png"


def test_a_workbook_is_named_for_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"PK\x03\x04rest")
    with pytest.raises(InputError, match=r"found a workbook\. Save the sheet as CSV"):
        read_table(tmp_path / "a.csv")


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
    (tmp_path / "dataset.json").write_text("")
    assert find_table(tmp_path).name == "mine.csv"
    (tmp_path / "other.tsv").write_text("")
    with pytest.raises(InputError, match=r"mine\.csv, other\.tsv"):
        find_table(tmp_path)
    (tmp_path / "other.tsv").rename(tmp_path / "other.csv")
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
    (tmp_path / "decathlon").mkdir()
    (tmp_path / "decathlon/dataset.json").write_text("")
    assert find_table(tmp_path / "decathlon").name == "dataset.json"
