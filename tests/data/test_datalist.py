from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.core.errors import InputError
from scripts.data.datalist import DataList, read_datalist, write_table
from scripts.images.masks import MaskRule
from scripts.images.store import ImageStore

HEADER = "image,label,mask,split,patient_id"


def picture(path: Path, value: int = 0, size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels if "masks" not in path.parts else (pixels[..., 0] > 99).astype(np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight images of two classes: 4 train, 2 val, 2 test."""
    root = tmp_path / "data"
    rows = [HEADER]
    for i in range(8):
        picture(root / "images" / f"{i}.png", i)
        picture(root / "masks" / f"{i}.png", i)
        split = ("train", "train", "validation", "testing")[i // 2]
        rows.append(f"images/{i}.png,{('b', 'a')[i % 2]},masks/{i}.png,{split},p{i}")
    (root / "data.csv").write_text("\n".join(rows))
    return root


def read(where: Path, **settings) -> DataList:
    return read_datalist(where, progress=False, **settings)


def edit(folder: Path, old: str, new: str) -> None:
    text = (folder / "data.csv").read_text()
    assert old in text
    (folder / "data.csv").write_text(text.replace(old, new))


def faults(where: Path, **settings) -> list[str]:
    with pytest.raises(InputError) as caught:
        read(where, **settings)
    return [problem.what for problem in caught.value.problems]


def test_items_and_counts(folder: Path) -> None:
    data = read(folder)
    assert data.classes == ("a", "b")
    assert data.items[0] == {
        "id": "0", "image": str(folder / "images/0.png"), "label": 1, "mask": str(folder / "masks/0.png"),
        "split": "train", "patient_id": "p0",
    }  # fmt: skip
    assert data.counts() == {"train": {"a": 2, "b": 2}, "val": {"a": 1, "b": 1}, "test": {"a": 1, "b": 1}}
    assert [item["id"] for item in data.split("val")] == ["4", "5"]
    assert data.root == folder
    data.split("val")[0]["label"] = 9
    assert data.split("val")[0]["label"] == 1


def test_a_table_can_be_given_directly_or_lie_elsewhere(folder: Path, tmp_path: Path) -> None:
    expected = read(folder)
    assert read(folder / "data.csv") == expected
    (folder / "data.csv").rename(tmp_path / "mine.csv")
    assert read(folder, table=tmp_path / "mine.csv") == expected


def test_masks_patients_and_extra_columns_are_optional(folder: Path) -> None:
    (folder / "data.csv").write_text("image,label,split,width\nimages/0.png,a,train,6\nimages/1.png,a,val,6\n")
    assert [(item["mask"], item["patient_id"]) for item in read(folder).items] == [(None, None)] * 2


def test_json_datalist(folder: Path) -> None:
    expected = read(folder)
    names = {"train": "training", "val": "validation", "test": "test"}
    content: dict[str, list] = {name: [] for name in names.values()}
    for item in expected.items:
        entry = {"image": item["image"], "label": expected.classes[item["label"]], "mask": item["mask"]}
        content[names[item["split"]]].append({**entry, "patient_id": item["patient_id"]})
    (folder / "data.csv").unlink()
    (folder / "datalist.json").write_text(json.dumps(content))
    assert read(folder) == expected


def test_hash_follows_content_and_not_order(folder: Path) -> None:
    first = read(folder).sha256
    lines = (folder / "data.csv").read_text().splitlines()
    (folder / "data.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    assert read(folder).sha256 == first
    edit(folder, "images/0.png,b,masks/0.png,train", "images/0.png,b,masks/0.png,val")
    moved = read(folder).sha256
    edit(folder, "images/0.png,b,", "images/0.png,a,")
    relabelled = read(folder).sha256
    picture(folder / "masks/0.png", 99)
    redrawn = read(folder).sha256
    picture(folder / "images/0.png", 99)
    assert len({first, moved, relabelled, redrawn, read(folder).sha256}) == 5


def test_hash_of_each_image(folder: Path) -> None:
    before = read(folder).image_sha256
    picture(folder / "images/3.png", 99)
    after = read(folder).image_sha256
    assert [key for key in before if before[key] != after[key]] == ["3"]


def test_all_problems_of_table_images_and_masks_come_at_once(folder: Path) -> None:
    edit(folder, "images/0.png", "../secret.png")
    edit(folder, "testing,p7", "fold1,p7")
    edit(folder, "images/5.png,a", "images/5.png,")
    (folder / "images/1.png").write_bytes(b"")
    picture(folder / "masks/2.png", size=(4, 6))
    (folder / "masks/3.png").unlink()
    assert sorted(faults(folder)) == [
        "file is empty",
        "file is missing",
        "image lies outside the data set",
        "mask has another size than its image",
        "unknown label",
        "unknown split",
    ]
    with pytest.raises(InputError, match="6 problems"):
        read(folder)


def test_columns_that_are_needed(folder: Path) -> None:
    edit(folder, "image,label", "file,class")
    assert faults(folder) == ["column is missing"] * 2
    edit(folder, "file,class", "image,label")
    assert faults(folder, split_column="split_paper") == ["column is missing"]
    assert faults(folder, id_column="code") == ["column is missing"]


def test_classes_can_be_prescribed(folder: Path) -> None:
    assert faults(folder, classes=["a"]) == ["unknown label"] * 4
    assert faults(folder, classes=["a", "b", "c"]) == ["class without a training image"]
    assert read(folder, classes=["b", "a"]).classes == ("a", "b")


def test_an_image_in_two_splits(folder: Path) -> None:
    with (folder / "data.csv").open("a") as stream:
        stream.write("\nimages/0.png,b,masks/0.png,test,p0\n")
    assert faults(folder) == ["image is in two splits"]


def test_a_missing_file_is_told_even_without_checking(folder: Path) -> None:
    (folder / "images/1.png").write_bytes(b"junk")
    read(folder, check=False)
    (folder / "images/1.png").unlink()
    assert faults(folder, check=False) == faults(folder, check="hashes") == ["file cannot be read"]


def test_files_are_hashed_only_where_that_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, hashed = read(folder), read(folder, check="hashes")
    assert (hashed.sha256, hashed.image_sha256, hashed.watch.changed()) == (whole.sha256, whole.image_sha256, [])
    monkeypatch.setattr("scripts.data.datalist.file_sha256", None)
    named = read(folder, check=False)
    assert (named.items, named.sha256, named.image_sha256, named.mask_sha256) == (whole.items, "", {}, {})


def test_the_mask_rule_reaches_the_masks(folder: Path) -> None:
    seen = {}
    read(folder, mask_rule=MaskRule([5], ignore=1), on_read=lambda item, image, mask: seen.update({item["id"]: mask}))
    assert set(np.unique(seen["0"])) == {0, 255}


def test_checking_fills_a_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ImageStore(image_size=(4, 4))
    data = read(folder, on_read=store.keep)
    monkeypatch.setattr("scripts.images.store.read_image", None)
    store.preload()  # decodes nothing
    assert all(store.image(item["id"]).shape == (3, 4, 4) for item in data.items)


def test_splits_are_drawn_where_the_table_has_none(folder: Path, caplog) -> None:
    edit(folder, ",split,", ",split_paper,")
    with caplog.at_level(logging.INFO):
        drawn = read(folder, seed=3)
    assert "drawn with seed 3; it has split_paper" in caplog.text
    assert drawn.counts() == {"train": {"a": 2, "b": 2}, "val": {"a": 1, "b": 1}, "test": {"a": 1, "b": 1}}
    assert read(folder, seed=3).sha256 == drawn.sha256
    assert read(folder, split_column="split_paper").counts() == drawn.counts()
    draws = {tuple(item["split"] for item in read(folder, seed=seed).items) for seed in range(5)}
    assert len(draws) > 1


def test_drawn_splits_keep_patients_together_on_request(folder: Path, caplog) -> None:
    rows = [f"images/{i}.png,{'ba'[i % 2]},p{i // 2}" for i in range(8)]
    (folder / "data.csv").write_text("\n".join(["image,label,patient_id", *rows]))
    read(folder)
    assert "patients have images in several splits" in caplog.text
    caplog.clear()
    grouped = read(folder, group_by_patient=True)
    assert "several splits" not in caplog.text
    assert all(sum(sizes.values()) > 0 for sizes in grouped.counts().values())


def test_copies_of_an_image_across_splits_are_told(folder: Path, caplog) -> None:
    (folder / "images/7.png").write_bytes((folder / "images/0.png").read_bytes())
    read(folder)
    assert "same file content is in two splits: 0 (train) and 7 (test)" in caplog.text


def test_a_written_table_reads_back(folder: Path) -> None:
    data = read(folder)
    write_table(data.items, folder / "again.csv", data.classes)
    assert read(folder, table="again.csv") == data
    lines = (folder / "again.csv").read_text().splitlines()
    assert lines[:2] == ["id,image,label,mask,split,patient_id", "0,images/0.png,b,masks/0.png,train,p0"]


def test_a_table_written_elsewhere_reads_back(folder: Path, tmp_path: Path) -> None:
    data = read(folder)
    write_table(data.items, tmp_path / "out" / "again.csv", data.classes)
    assert read(folder, table=tmp_path / "out" / "again.csv") == data


def test_published_split_of_glas(shared: Path, caplog) -> None:
    data = read(shared / "data" / "glas", split_column="split_paper", check=False)
    assert data.counts() == {
        "train": {"benign": 29, "malignant": 38},
        "val": {"benign": 8, "malignant": 10},
        "test": {"benign": 37, "malignant": 43},
    }
    assert "13 patients have images in several splits" in caplog.text
    assert data.items[0]["id"] == "train_1"


class TestBadImages:
    """``on_bad_image``: what becomes of images whose files cannot be used."""

    @pytest.fixture
    def broken(self, folder: Path) -> Path:
        (folder / "images/1.png").write_bytes(b"")
        picture(folder / "masks/6.png", size=(4, 6))
        return folder

    def test_stop_names_all_of_them(self, broken: Path) -> None:
        assert faults(broken) == faults(broken, on_bad_image="stop")
        assert sorted(faults(broken)) == ["file is empty", "mask has another size than its image"]

    def test_skip_leaves_them_out_and_says_why(self, broken: Path, caplog) -> None:
        data = read(broken, on_bad_image="skip")
        assert [item["id"] for item in data.items] == ["0", "2", "3", "4", "5", "7"]
        assert list(data.quarantined) == ["1", "6"]
        assert "file is empty" in data.quarantined["1"]
        assert "4 x 6" in data.quarantined["6"]
        assert set(data.image_sha256) == {"0", "2", "3", "4", "5", "7"}
        assert "2 images are left out" in caplog.text
        assert "1: " in caplog.text

    def test_the_others_are_the_same_as_without_the_rows(self, broken: Path) -> None:
        skipped = read(broken, on_bad_image="skip")
        lines = (broken / "data.csv").read_text().splitlines()
        (broken / "data.csv").write_text("\n".join(line for line in lines if "/1.png" not in line and "/6" not in line))
        assert read(broken).items == skipped.items
        assert read(broken).sha256 == skipped.sha256

    def test_drawn_splits_do_not_depend_on_what_is_left_out(self, folder: Path) -> None:
        edit(folder, ",split,", ",other,")
        whole = {item["id"]: item["split"] for item in read(folder).items}
        (folder / "images/1.png").write_bytes(b"")
        assert {item["id"]: item["split"] for item in read(folder, on_bad_image="skip").items}.items() <= whole.items()

    def test_faults_of_the_table_stop_in_any_case(self, broken: Path) -> None:
        edit(broken, "images/3.png,a", "images/3.png,")
        assert faults(broken, on_bad_image="skip") == ["unknown label"]

    def test_a_class_must_keep_a_training_image(self, broken: Path) -> None:
        (broken / "images/3.png").unlink()  # the second training image of class a
        assert faults(broken, on_bad_image="skip") == ["class without a training image"]

    def test_only_two_words_are_known(self, folder: Path) -> None:
        assert faults(folder, on_bad_image="ignore") == ["unknown choice"]


def test_images_behind_a_wrong_label_are_checked_too(folder: Path) -> None:
    edit(folder, "images/5.png,a", "images/5.png,")
    (folder / "images/5.png").write_bytes(b"")
    assert sorted(faults(folder)) == ["file is empty", "unknown label"]


def test_small_classes_are_told(folder: Path, caplog) -> None:
    edit(folder, "images/1.png,a,masks/1.png,train", "images/1.png,a,masks/1.png,test")
    read(folder)
    assert "1 classes have a single training image: a" in caplog.text
    (folder / "data.csv").write_text("image,label,split\nimages/0.png,a,train\nimages/2.png,a,train\n")
    caplog.clear()
    read(folder)
    assert "all images are of one class, a" in caplog.text


def test_hash_of_each_mask(folder: Path) -> None:
    before = read(folder).mask_sha256
    picture(folder / "masks/3.png", 99)
    after = read(folder).mask_sha256
    assert [key for key in before if before[key] != after[key]] == ["3"]


def test_a_file_that_changes_while_it_is_read_is_refused(folder: Path) -> None:
    def meddle(item: dict, image: np.ndarray, mask: np.ndarray | None) -> None:
        if item["id"] == "3":
            picture(folder / "images/3.png", 99)

    assert faults(folder, on_read=meddle) == ["file changed while it was read"]


def test_files_that_change_later_are_named(folder: Path) -> None:
    data = read(folder)
    assert data.watch.changed() == []
    picture(folder / "images/3.png", 99)
    (folder / "masks/4.png").unlink()
    assert [problem.where.split(" (")[0] for problem in data.watch.changed()] == ["image of 3", "mask of 4"]


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[2J", "x" * 201])
def test_class_names_that_could_spoil_a_report(folder: Path, name: str) -> None:
    text = (folder / "data.csv").read_text().replace("0.png,b,", f'0.png,"{name}",')
    (folder / "data.csv").write_text(text)
    assert faults(folder) == ["class name cannot be used"]


def test_classes_that_differ_only_in_case_are_refused(folder: Path) -> None:
    edit(folder, "images/0.png,b", "images/0.png,B")
    with pytest.raises(InputError, match="classes differ only in case"):
        read(folder)


def test_a_split_of_no_known_name_is_one_problem(folder: Path) -> None:
    rows = [f"images/{i}.png,{'ab'[i % 2]},all" for i in range(2)]
    (folder / "data.csv").write_text("\n".join(["image,label,split", *rows]))
    with pytest.raises(InputError) as caught:
        read(folder)
    assert {problem.what for problem in caught.value.problems} == {"unknown split"}


def test_a_list_for_segmentation_is_read_where_it_has_classes(folder: Path) -> None:
    entries = [
        {"image": f"images/{i}.png", "label": f"masks/{i}.png", "class": "ab"[i % 2], "fold": 0} for i in range(2)
    ]
    (folder / "list.json").write_text(json.dumps({"training": entries, "testing": []}))
    items = read(folder, table="list.json").items
    assert [(Path(item["mask"]).name, item["label"]) for item in items] == [("0.png", 0), ("1.png", 1)]
    (folder / "list.json").write_text(json.dumps({"training": [{**entry, "class": None} for entry in entries]}))
    with pytest.raises(InputError, match="labels are files of masks, not classes"):
        read(folder, table="list.json")


def test_several_masks_of_an_image_are_one(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "masks/1.png").rename(folder / "masks/more.png")
    edit(folder, "masks/0.png", "masks/0.png|masks/more.png")
    edit(folder, "masks/1.png", "")
    with caplog.at_level(logging.INFO):
        data = read(folder)
    assert data.items[0]["mask"] == f"{folder / 'masks/0.png'}|{folder / 'masks/more.png'}"
    assert "1 images have several files of masks, which are joined: 0" in caplog.text
    store = ImageStore()
    store.add(data.items[0])
    parts = [np.asarray(Image.open(folder / f"masks/{name}.png")) for name in ("0", "more")]
    np.testing.assert_array_equal(store.true_mask("0"), np.maximum(*parts))
    write_table(data.items, folder / "again.csv", data.classes)
    again = read(folder, table="again.csv")
    assert (again.items, again.sha256) == (data.items, data.sha256)
    picture(folder / "masks/more.png", 99)
    assert read(folder).mask_sha256["0"] != data.mask_sha256["0"]
    (changed,) = data.watch.changed()
    assert changed.where.startswith("mask of 0") and "more.png" in changed.where


def test_each_of_several_masks_is_checked(folder: Path) -> None:
    edit(folder, "masks/0.png", "masks/0.png|masks/none.png|../masks/2.png")
    assert faults(folder) == ["mask lies outside the data set"]
    edit(folder, "|../masks/2.png", "")
    assert faults(folder) == ["file is missing"]
