from __future__ import annotations

import logging
from pathlib import Path

import pytest

from scripts.core.errors import InputError
from scripts.prediction.listing import MARK, image_names, list_images


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def names(folder: Path, output: Path | None = None) -> list[str]:
    return [image.name for image in list_images(folder, output)]


class TestFolder:
    def test_every_format_at_any_depth_in_order(self, tmp_path: Path) -> None:
        touch(tmp_path, "b.PNG", "a.nii.gz", "sub/c.tiff", "sub/deep/d.jpg", "e.txt", "f", "sub/.g.png", "._b.png")
        assert names(tmp_path) == ["a.nii.gz", "b.PNG", "sub/c.tiff", "sub/deep/d.jpg"]
        assert [i.id for i in list_images(tmp_path)] == ["a", "b", "sub/c", "sub/deep/d"]
        assert all(image.path.is_absolute() for image in list_images(tmp_path))

    def test_masks_are_no_images(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        touch(
            tmp_path, "a.png", "a_mask.png", "b_anno.bmp", "C_SEG.png", "x/masks/a.png", "Annotations/a.png", "mask.png"
        )
        with caplog.at_level(logging.INFO):
            assert names(tmp_path) == ["a.png", "mask.png"]
        assert "left out as masks: 5, such as folder Annotations" in caplog.text

    def test_files_that_look_like_masks_of_others_are_none(self, tmp_path: Path, caplog) -> None:
        touch(tmp_path, "x.png", "x_mask_1.png", "mask_x.png", "X-Labels.tif", "labels/x.png")
        touch(tmp_path, "x_2.png", "mask_of_what.png")
        with caplog.at_level(logging.INFO):
            assert names(tmp_path) == ["mask_of_what.png", "x.png", "x_2.png"]
        assert "left out as masks: 4" in caplog.text

    def test_files_of_other_forms_are_counted_and_named(self, tmp_path: Path, caplog) -> None:
        touch(tmp_path, "a.png", "b.heic", "c/d.avif", "c/e.jxl", "f.psd", "g.dds", "h.dds", "notes.txt", "t.csv")
        assert names(tmp_path) == ["a.png"]
        told = "1 *.heic (b.heic), 1 *.jxl (e.jxl), 1 *.psd (f.psd)"
        assert f"no form that can be read: 1 *.avif (d.avif), 2 *.dds (g.dds, h.dds), {told}" in caplog.text
        for name in ("a.png", "b.heic", "c/d.avif"):
            (tmp_path / name).unlink()
        with pytest.raises(InputError, match=r"no image in the folder.*found 2 \*\.dds"):
            list_images(tmp_path)

    def test_results_are_no_images(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.png", "out/overlays/a.png", "old/overlays/a.png", f"old/{MARK}", ".cache/a.png")
        assert names(tmp_path, tmp_path / "out") == ["a.png"]
        assert names(tmp_path, tmp_path / "elsewhere") == ["a.png", "out/overlays/a.png"]

    def test_a_table_of_a_data_set_lists_its_images(self, tmp_path: Path) -> None:
        touch(tmp_path, "images/a.png", "images/b.png", "images/c.png")
        (tmp_path / "data.csv").write_text("image,label,mask\nimages/b.png,x,m/b.png\nimages/a.png,y,\n")
        assert names(tmp_path) == ["images/b.png", "images/a.png"]

    def test_other_tables_do_not_count(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.png")
        (tmp_path / "notes.csv").write_text("image\nnowhere.png\n")
        assert names(tmp_path) == ["a.png"]

    def test_no_image(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.txt", "a_mask.png")
        with pytest.raises(InputError, match="no image in the folder"):
            list_images(tmp_path)

    @pytest.mark.parametrize("below", [".", "overlays", "masks"])
    def test_images_and_results_do_not_mix(self, below: str, tmp_path: Path) -> None:
        touch(tmp_path, "a.png", "overlays/a.png", "masks/a.png", "in/a.png")
        with pytest.raises(InputError, match="in one folder"):
            list_images(tmp_path / below, tmp_path)
        touch(tmp_path, MARK)
        with pytest.raises(InputError, match="results"):
            list_images(tmp_path / below, tmp_path / "elsewhere")
        assert names(tmp_path / "in", tmp_path) == ["a.png"]


class TestTable:
    def test_ids_of_the_table(self, tmp_path: Path) -> None:
        touch(tmp_path, "x/a.png", "y/a.png")
        (tmp_path / "list.csv").write_text("image,id\nx/a.png,first\ny/a.png,second/one\n")
        assert [(i.id, i.name) for i in list_images(tmp_path / "list.csv")] == [
            ("first", "x/a.png"),
            ("second/one", "y/a.png"),
        ]

    def test_json(self, tmp_path: Path) -> None:
        (tmp_path / "list.json").write_text('[{"image": "a.png"}]')
        assert names(tmp_path / "list.json") == ["a.png"]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("picture\na.png\n", "column is missing"),
            ("image\n../a.png\n", "outside"),
            ("image\na.png\na.png\n", "listed twice"),
            ("image,id\na.png,../../x\n", "id cannot be used"),
            ("image,id\na.png,x\nb.png,x\n", "id is used twice"),
        ],
    )
    def test_faults(self, text: str, expected: str, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "list.csv").write_text(text)
        with pytest.raises(InputError, match=expected):
            list_images(tmp_path / "sub" / "list.csv")


class TestFile:
    def test_one_image(self, tmp_path: Path) -> None:
        touch(tmp_path, "a_mask.png")
        (found,) = list_images(tmp_path / "a_mask.png")
        assert (found.id, found.name) == ("a_mask", "a_mask.png")

    @pytest.mark.parametrize("name", ["none.png", "a.txt", "none"])
    def test_none(self, name: str, tmp_path: Path) -> None:
        touch(tmp_path, "a.txt")
        with pytest.raises(InputError, match="no images there"):
            list_images(tmp_path / name)


class TestNames:
    @pytest.mark.parametrize(
        ("files", "expected"),
        [
            (["a.png", "s/a.png"], ["a", "s/a"]),
            (["a.png", "a.jpg", "b.png"], ["a.png", "a.jpg", "b"]),
            (["A.png", "a.tif"], ["A.png", "a.tif"]),
            (["a.png", "a.jpg", "a.png.tif"], ["a.png", "a.jpg", "a.png.tif"]),
            (["a.nii.gz", "a.nii"], ["a.nii.gz", "a.nii"]),
        ],
    )
    def test_never_collide(self, files: list[str], expected: list[str]) -> None:
        root = Path("/data")
        assert image_names([root / name for name in files], root) == expected


class TestTableElsewhere:
    def test_masks_are_not_looked_at(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.png")
        (tmp_path / "data.csv").write_text("image,mask\na.png,/elsewhere/m.png\n")
        assert names(tmp_path) == ["a.png"]

    def test_the_cure_is_one_that_predictions_have(self, tmp_path: Path) -> None:
        touch(tmp_path, "images/a.png", "tables/t.csv")
        (tmp_path / "tables/t.csv").write_text(f"image\n{tmp_path / 'images/a.png'}\n")
        with pytest.raises(InputError, match="Put the table into the folder that holds all images") as caught:
            list_images(tmp_path / "tables/t.csv")
        assert "data#table" not in str(caught.value)
        (tmp_path / "tables/t.csv").rename(tmp_path / "t.tsv")
        assert names(tmp_path / "t.tsv") == ["images/a.png"]


def test_whole_slides_are_sent_to_their_own_command(tmp_path: Path) -> None:
    touch(tmp_path, "a.svs", "b.NDPI")
    for named in (tmp_path, tmp_path / "b.NDPI"):
        with pytest.raises(InputError) as caught:
            list_images(named)
        assert f"slide.json --slides {named}." in str(caught.value)
