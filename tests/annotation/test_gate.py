"""What the gate lets through, and what it says of the rest: file or image, expected, found, cure."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from scripts.annotation.gate import Gate
from scripts.core.errors import InputError
from scripts.data.checks import MaskShape
from scripts.images.masks import MaskRule
from tests.support.people import a_mask, save
from tests.support.tiny_runs import make_images, open_tiny


def yes(key: str) -> bool:
    return True


def refusal(gate: Gate, key: str, path: Path, was_asked: Any = yes, said: str = "") -> str:
    with pytest.raises(InputError) as caught:
        gate.admit(key, path, was_asked, said)
    return str(caught.value)


@pytest.fixture()
def gate(shapes_data: Any) -> Gate:
    return Gate(shapes_data)


class TestImages:
    def test_unknown(self, gate: Gate, tmp_path: Path) -> None:
        text = refusal(gate, "other", save(tmp_path / "other.png", a_mask()))
        assert "other: no image of the run has this name" in text
        assert "Name the mask as its image was named" in text

    @pytest.mark.parametrize(("key", "split"), [("val_00", "val"), ("test_00", "test")])
    def test_validation_and_test_images_are_always_refused(
        self, shapes_data: Any, tmp_path: Path, key: str, split: str
    ) -> None:
        gate = Gate(shapes_data, accept_unasked=True)
        text = refusal(gate, key, save(tmp_path / "m.png", a_mask()))
        assert f"{key}: not an image that is annotated; expected a training image; found {split}" in text

    def test_not_asked_for(self, shapes_data: Any, tmp_path: Path) -> None:
        path = save(tmp_path / "m.png", a_mask())
        assert "nobody asked for this image" in refusal(Gate(shapes_data), "train_00", path, lambda key: False)
        Gate(shapes_data, accept_unasked=True).admit("train_00", path, lambda key: False)


class TestFiles:
    def test_png(self, gate: Gate, tmp_path: Path) -> None:
        passed = gate.admit("train_00", save(tmp_path / "m.png", a_mask()), yes)
        np.testing.assert_array_equal(passed.mask, a_mask())
        assert (passed.id, passed.said, passed.notes) == ("train_00", "", ())

    def test_nifti(self, gate: Gate, tmp_path: Path) -> None:
        nibabel.save(nibabel.Nifti1Image(a_mask().T, np.eye(4)), tmp_path / "m.nii.gz")  # type: ignore[attr-defined]
        np.testing.assert_array_equal(gate.admit("train_00", tmp_path / "m.nii.gz", yes).mask, a_mask())

    def test_geojson(self, gate: Gate, tmp_path: Path) -> None:
        ring = [[10, 10], [30, 10], [30, 30], [10, 30], [10, 10]]
        feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]},
                   "properties": {"classification": {"name": "A"}}}  # fmt: skip
        (tmp_path / "m.geojson").write_text(json.dumps(feature))
        passed = gate.admit("train_00", tmp_path / "m.geojson", yes)
        np.testing.assert_array_equal(passed.mask, a_mask())
        assert passed.said == "a"

    @pytest.mark.parametrize("at", [(500, 5), (5, 500), (-90, 5), (5, -90)])
    def test_a_shape_of_which_nothing_is_in_the_image(self, gate: Gate, tmp_path: Path, at: tuple[int, int]) -> None:
        """Its coordinates are of something else; it was left out without a word."""
        inside, (x, y) = [[2, 2], [12, 2], [12, 12]], at
        polygons = [[inside], [[[x, y], [x + 10, y], [x + 10, y + 10]]]]
        (tmp_path / "m.geojson").write_text(json.dumps({"type": "MultiPolygon", "coordinates": polygons}))
        text = refusal(gate, "train_00", tmp_path / "m.geojson")
        assert "m.geojson shape 2: 1 shape lies outside the picture" in text

    def test_each_form_of_outlines(self, gate: Gate, tmp_path: Path) -> None:
        """One rectangle, as each program writes it; of several images the one whose name the picture has."""
        other = {"id": 2, "width": 64, "height": 64, "file_name": "train_01.png"}
        ring = [10, 5, 30, 5, 30, 25, 10, 25]
        points = [list(point) for point in zip(ring[::2], ring[1::2], strict=True)]
        percent = [[x / 0.64, y / 0.64] for x, y in points]
        value = {"original_width": 64, "original_height": 64, "type": "polygonlabels", "value": {"points": percent}}
        vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in points)
        contents: list[Any] = [
            {"images": [{"id": 1, "file_name": "train_00.png"}, other],
             "annotations": [{"image_id": 1, "segmentation": [ring]}, {"image_id": 2, "segmentation": [[0, 0, 9, 9]]}]},
            {"shapes": [{"label": "a gland", "shape_type": "rectangle", "points": [[10, 5], [30, 25]]}]},
            [{"data": {"image": "train_00.png"}, "annotations": [{"result": [value]}]}],
            '<annotations><image name="train_01.png"/><image name="train_00.png" width="64" height="64">'
            '<box label="x" xtl="10" ytl="5" xbr="30" ybr="25"/></image></annotations>',
            "<Annotations><Annotation><Regions><Region><Vertices>"
            f"{vertices}</Vertices></Region></Regions></Annotation></Annotations>",
        ]  # fmt: skip
        expected = np.zeros((64, 64), np.uint8)
        expected[5:25, 10:30] = 1
        for content in contents:
            path = tmp_path / ("m.xml" if isinstance(content, str) else "m.json")
            path.write_text(content if isinstance(content, str) else json.dumps(content))
            np.testing.assert_array_equal(gate.admit("train_00", path, yes).mask, expected)
            boxed = Gate(gate.data, box_model=Frames(), rectangles="boxes", accept_boxes=True)
            assert boxed.admit("train_00", path, yes).objects == 1  # rectangles alone, in any form

    def test_shapes_outside_are_told_in_one_line(self, gate: Gate, tmp_path: Path) -> None:
        squares = [[[[x, 5], [x + 10, 5], [x + 10, 15]]] for x in (5010, 20, 5050)]
        path = tmp_path / "m.geojson"
        path.write_text(json.dumps({"type": "MultiPolygon", "coordinates": squares}))
        told = "m.geojson shape 1, 3: 2 shapes lie outside the picture"
        assert refusal(gate, "train_00", path).startswith(told)
        assert "found x 5010..5060, y 5..15" in refusal(gate, "train_00", path)

    def test_shapes_that_reach_out_are_cut_with_a_note(self, gate: Gate, tmp_path: Path) -> None:
        path = tmp_path / "m.geojson"
        notes = []
        for x in (40.0, 45.5):  # over the border by a part of a pixel, and by more
            square = [[x, 5], [x + 20.5, 5], [x + 20.5, 15], [x, 15]]
            path.write_text(json.dumps({"type": "Polygon", "coordinates": [square]}))
            notes.append(gate.admit("train_00", path, yes).notes)
        assert notes[0] == ()
        assert notes[1] == ("1 shape lies partly outside the picture (x 46..66, y 5..15), which is cut off",)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("m.png", b"", "file is empty"),
            ("m.png", b"not a png", "the content is no image"),
            ("m.png", None, "file is missing"),
            ("m.geojson", b"{", "outlines are not JSON"),
            ("m.xml", b"<a>", "not XML"),
            ("m.exe", b"MZ", "not a format of masks.*[.]png.*[.]geojson"),
        ],
    )
    def test_unreadable(self, gate: Gate, tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            gate.admit("train_00", tmp_path / name, yes)

    def test_cut_png(self, gate: Gate, tmp_path: Path) -> None:
        path = save(tmp_path / "m.png", a_mask())
        path.write_bytes(path.read_bytes()[:-30])
        assert "cannot be decoded" in refusal(gate, "train_00", path)

    def test_another_size(self, gate: Gate, tmp_path: Path) -> None:
        text = refusal(gate, "train_00", save(tmp_path / "m.png", a_mask((64, 50))))
        assert "m.png: mask has another size than its image" in text
        assert "expected 64 x 64 (width x height); found 50 x 64" in text
        assert "without resizing" in text

    def test_values_by_the_rule_of_the_data(self, shapes_data: Any, tmp_path: Path) -> None:
        mask = a_mask() * 3
        mask[40:50, 40:50] = 7
        Image.fromarray(mask).save(tmp_path / "m.png")
        assert Gate(shapes_data).admit("train_00", tmp_path / "m.png", yes).mask.sum() == 500
        rule = MaskRule(foreground=[3], ignore=7)
        found = Gate(shapes_data, rule).admit("train_00", tmp_path / "m.png", yes).mask
        assert ((found == 1).sum(), (found == 255).sum()) == (400, 100)


@pytest.mark.parametrize("by_content", [False, True])
def test_the_image_itself_is_refused_under_every_rule(
    shapes_data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_content: bool
) -> None:
    photo = np.random.default_rng(0).integers(60, 190, (64, 64, 3), dtype=np.uint8)
    monkeypatch.setattr(type(shapes_data.store), "original_image", lambda self, key: photo)
    path = tmp_path / "m.png"
    Image.fromarray(photo).save(path)
    gate = Gate(shapes_data, MaskRule("over:127.5"))
    with pytest.raises(InputError, match="mask is the image itself"):
        gate.admit("train_00", *((Path("m.png"), yes, "", path.read_bytes()) if by_content else (path, yes)))


class TestContent:
    def test_empty(self, gate: Gate, shapes_data: Any, tmp_path: Path) -> None:
        path = save(tmp_path / "m.png", a_mask() * 0)
        text = refusal(gate, "train_00", path)
        assert "mask is empty; expected foreground in an image of class a" in text
        assert "--active#gate#empty_classes \"['a']\"" in text
        passed = Gate(shapes_data, empty_classes=["a"]).admit("train_00", path, yes)
        assert (passed.mask.sum(), passed.notes) == (0, ("without foreground",))
        assert "mask is empty" in refusal(Gate(shapes_data, empty_classes=["a"]), "train_01", path)

    def test_full(self, gate: Gate, tmp_path: Path) -> None:
        passed = gate.admit("train_00", save(tmp_path / "m.png", np.ones((64, 64), np.uint8)), yes)
        assert passed.notes == ("without background",)

    def test_class_that_was_said(self, gate: Gate, tmp_path: Path) -> None:
        path = save(tmp_path / "m.png", a_mask())
        assert gate.admit("train_00", path, yes, "A").said == "a"
        assert gate.admit("train_00", path, yes, "b").notes == ("annotator says b, the data list says a",)
        assert "unknown class; expected one of a, b; found tumour" in refusal(gate, "train_00", path, said="tumour")


class TestInverted:
    def inverted(self, tmp_path: Path) -> Path:
        return save(tmp_path / "m.png", 1 - a_mask())

    def test_are_refused_with_a_way_out(self, gate: Gate, shapes_data: Any, tmp_path: Path) -> None:
        text = refusal(gate, "train_00", self.inverted(tmp_path))
        assert "m.png: mask may be inverted" in text
        assert "found 100% of the border as foreground" in text
        assert "--active#gate#accept_full_border True" in text
        Gate(shapes_data, accept_full_border=True).admit("train_00", self.inverted(tmp_path), yes)

    def test_are_taken_where_objects_reach_the_border(self, shapes_data: Any, tmp_path: Path) -> None:
        reaching = {**shapes_data.shapes, "val_00": MaskShape(True, True, 0.6)}
        Gate(replace(shapes_data, shapes=reaching)).admit("train_00", self.inverted(tmp_path), yes)

    def test_are_taken_where_no_mask_is_known(self, shapes_data: Any, tmp_path: Path) -> None:
        Gate(replace(shapes_data, shapes={})).admit("train_00", self.inverted(tmp_path), yes)


def test_classes_of_empty_masks_must_be_known(shapes_data: Any) -> None:
    with pytest.raises(InputError, match="unknown class; expected of a, b; found normal"):
        Gate(shapes_data, empty_classes=["normal"])


class Frames:
    """A model whose mask of a box is the box."""

    def require(self) -> None:
        pass

    def foreground(self, key: str, image: Any, boxes: np.ndarray) -> np.ndarray:
        found = np.zeros(image().shape[:2], np.float32)
        for x0, y0, x1, y1 in np.rint(boxes).astype(int):
            found[y0:y1, x0:x1] = 0.9
        return found


def json_file(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


class TestBoxes:
    BOXES = {"boxes": [[10, 10, 30, 30], [40, 5, 50, 9]]}  # noqa: RUF012 - not changed
    RECTANGLE = {  # noqa: RUF012
        "type": "Polygon", "coordinates": [[[10, 10], [30, 10], [30, 30], [10, 30], [10, 10]]],
    }  # fmt: skip

    def expected(self) -> np.ndarray:
        mask = np.zeros((64, 64), np.uint8)
        mask[10:30, 10:30] = mask[5:9, 40:50] = 1
        return mask

    def test_the_model_makes_the_mask(self, shapes_data: Any, tmp_path: Path) -> None:
        path = json_file(tmp_path / "a.json", self.BOXES)
        passed = Gate(shapes_data, box_model=Frames(), accept_boxes=True).admit("train_00", path, yes)
        np.testing.assert_array_equal(passed.mask, self.expected())
        assert passed.objects == 2

    def test_without_a_look_they_are_refused_unless_the_run_says_so(self, shapes_data: Any, tmp_path: Path) -> None:
        gate, path = Gate(shapes_data, box_model=Frames()), json_file(tmp_path / "a.json", self.BOXES)
        assert "nobody has looked at the mask of these boxes" in refusal(gate, "train_00", path)
        made = gate.made_of_boxes("train_00", path, yes)
        assert made is not None and made.objects == 2
        np.testing.assert_array_equal(made.mask, self.expected())

    def test_no_boxes_to_look_at_in_other_files(self, shapes_data: Any, tmp_path: Path) -> None:
        gate = Gate(shapes_data, box_model=Frames())
        for path in (save(tmp_path / "m.png", a_mask()), json_file(tmp_path / "b.json", self.RECTANGLE)):
            assert gate.made_of_boxes("train_00", path, yes) is None
        assert gate.made_of_boxes("nobody", json_file(tmp_path / "c.json", self.BOXES), yes) is None

    def test_rectangles_are_outlines_unless_they_are_said_to_be_boxes(self, shapes_data: Any, tmp_path: Path) -> None:
        path = json_file(tmp_path / "a.geojson", self.RECTANGLE)
        drawn = Gate(shapes_data).admit("train_00", path, yes)
        gate = Gate(shapes_data, box_model=Frames(), rectangles="boxes", accept_boxes=True)
        boxed = gate.admit("train_00", path, yes)
        assert (drawn.objects, boxed.objects) == (None, 1)
        np.testing.assert_array_equal(drawn.mask, boxed.mask)
        with pytest.raises(InputError, match="rectangles"):
            Gate(shapes_data, rectangles="both")

    def test_names_of_rectangles_mean_what_they_mean_of_outlines(self, shapes_data: Any, tmp_path: Path) -> None:
        gate = Gate(shapes_data, box_model=Frames(), rectangles="boxes", accept_boxes=True)

        def shape(x0: int, y0: int, x1: int, y1: int, name: str) -> dict[str, Any]:
            ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
            geometry = {"type": "Polygon", "coordinates": [ring]}
            return {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": name}}}

        around = json_file(tmp_path / "a.geojson", [shape(0, 0, 64, 64, "a"), shape(10, 10, 30, 30, "gland")])
        passed = gate.admit("train_00", around, yes)
        assert (passed.objects, passed.said, int(passed.mask.sum())) == (1, "a", 400)
        ignored = json_file(tmp_path / "b.geojson", [shape(0, 0, 9, 9, "Ignore*"), shape(10, 10, 30, 30, "gland")])
        passed = gate.admit("train_00", ignored, yes)
        assert passed.objects is None and int((passed.mask == 255).sum()) == 81

    def test_without_a_model_or_a_box_they_are_refused(self, shapes_data: Any, tmp_path: Path) -> None:
        path = json_file(tmp_path / "a.json", self.BOXES)
        assert "no model makes masks of boxes" in refusal(Gate(shapes_data, accept_boxes=True), "train_00", path)
        gate = Gate(shapes_data, box_model=Frames(), accept_boxes=True)
        assert "mask is empty" in refusal(gate, "train_00", json_file(tmp_path / "b.json", {"boxes": []}))
        outside = json_file(tmp_path / "c.json", {"boxes": [[100, 100, 120, 120]]})
        assert "c.json box 1, 1 in all: box lies outside the image" in refusal(gate, "train_00", outside)

    def test_validation_images_are_refused_whatever_comes(self, shapes_data: Any, tmp_path: Path) -> None:
        gate, path = Gate(shapes_data, box_model=Frames()), json_file(tmp_path / "a.json", self.BOXES)
        with pytest.raises(InputError, match="not an image that is annotated"):
            gate.made_of_boxes("val_00", path, yes)


def test_no_mask_is_taken_of_a_class_without_foreground(tmp_path: Path) -> None:
    data = open_tiny(make_images(tmp_path / "data", normal={"train": 1}), background_classes=["n"])
    gate = Gate(data, accept_unasked=True, empty_classes=["n"])
    text = refusal(gate, "train_n0", save(tmp_path / "m.png", a_mask()))
    assert "train_n0: class has no foreground; expected an image of another class; found n" in text
    gate.admit("train_00", tmp_path / "m.png", yes)
