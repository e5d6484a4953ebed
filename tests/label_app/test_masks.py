"""Masks and skips that people send to the real server: taken, or refused with a reason."""

from __future__ import annotations

import io
import json
import os
import pickle
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from scripts.images.png import png_to_mask
from scripts.state.desk import Desk
from tests.support.label_server import Person, as_mask, as_png, encoded, require_monailabel
from tests.support.people import a_mask
from tests.support.served import UNASKED, Served, true_mask

requests = require_monailabel()
pytestmark = pytest.mark.label


class TestMasks:
    def test_png_with_class_and_seconds(self, served: Served, anna: Person, desk: Desk) -> None:
        answer = anna.send("train_00", as_png(true_mask(served, "train_00")), **{"class": "a", "seconds": 21.5})
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"image": "train_00", "label": "train_00", "version": 1, "annotator": "anna",
                                 "seconds": 21.5, "class": "a", "round": None, "notes": []}  # fmt: skip
        info = anna.label_info("train_00")
        assert (info["class"], info["annotator"], info["version"], info["seconds"]) == ("a", "anna", 1, 21.5)
        content = anna.get("/datastore/label", label="train_00", tag="final").content
        np.testing.assert_array_equal(as_mask(content), true_mask(served, "train_00"))
        assert "train_00" not in desk.waiting(0)
        listed = anna.get("/datastore/", output="all").json()["objects"]
        assert listed["train_00"]["labels"]["final"]["info"]["class"] == "a"
        assert anna.get("/datastore/", output="train").status_code == 403
        assert anna.get("/datastore/").json()["label_tags"]["final"] >= 1

    def test_a_second_mask_is_version_2_and_the_same_one_is_not(self, served: Served, anna: Person, desk: Desk) -> None:
        first, second = as_png(a_mask()), as_png(a_mask(left=12))
        assert anna.send("train_01", first).json()["version"] == 1
        assert anna.send("train_01", first).json()["version"] == 1  # its answer was lost, say
        assert anna.send("train_01", second).json()["version"] == 2
        assert Person(served.server, "ben").send("train_01", first).json()["version"] == 3
        versions = anna.label_info("train_01")["versions"]
        assert [(row["version"], row["annotator"]) for row in versions] == [(1, "anna"), (2, "anna"), (3, "ben")]
        blobs = [row.blob for row in desk.labels() if row.id == "train_01"]
        np.testing.assert_array_equal(png_to_mask(desk.read_blob(blobs[0])), a_mask())
        np.testing.assert_array_equal(png_to_mask(desk.read_blob(blobs[1])), a_mask(left=12))

    def test_time_since_the_lease_counts_where_none_is_told(self, served: Served) -> None:
        carl = Person(served.server, "carl")
        key = carl.next()["id"]
        time.sleep(0.4)
        seconds = carl.send(key, as_png(a_mask())).json()["seconds"]
        assert 0.3 < seconds < 30
        assert not [row for row in carl.status()["leases"] if row["user"] == "carl"]

    def test_asap_xml_of_qupath_names_the_class(self, served: Served, anna: Person) -> None:
        """Its parameters are always {}; integers; the class is a rectangle around the image; others are drawn."""

        def shape(name: str, kind: str, points: list[tuple[int, int]]) -> str:
            inner = "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(points))
            return (f'<Annotation Name="{name}" Type="{kind}" PartOfGroup="{name}" Color="#00aa00"><Coordinates>{inner}'
                    "</Coordinates></Annotation>")  # fmt: skip

        whole = shape("b", "Rectangle", [(0, 0), (64, 0), (64, 64), (0, 64)])
        square = shape("foreground", "Polygon", [(10, 10), (30, 10), (30, 30), (10, 30)])
        shapes = f'<Annotations Name="" X="0" Y="0" W="0" H="0">{whole}{square}</Annotations>'
        xml = f'<?xml version="1.0"?><ASAP_Annotations>{shapes}</ASAP_Annotations>'
        answer = Person(served.server, "").send("train_05", xml.encode(), "train_051234567.xml")
        assert answer.status_code == 200, answer.text
        assert (answer.json()["class"], answer.json()["annotator"]) == ("b", "annotator")
        content = anna.get("/datastore/label", label="train_05", tag="final").content
        np.testing.assert_array_equal(as_mask(content), a_mask())

    def test_geojson_nifti_bmp_and_tiff(self, anna: Person, tmp_path: Path) -> None:
        ring = [[10, 10], [30, 10], [30, 30], [10, 30], [10, 10]]
        feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}}
        nibabel.save(nibabel.Nifti1Image(a_mask().T, np.eye(4)), tmp_path / "m.nii.gz")  # type: ignore[attr-defined]
        files = {
            "m.geojson": json.dumps(feature).encode(), "m.nii.gz": (tmp_path / "m.nii.gz").read_bytes(),
            "m.bmp": encoded(a_mask() * 255, "BMP"), "m.tiff": encoded(a_mask() * 255, "TIFF"),
        }  # fmt: skip
        for name, content in files.items():
            assert anna.send("train_06", content, name).status_code == 200, name
            found = anna.get("/datastore/label", label="train_06", tag="final").content
            np.testing.assert_array_equal(as_mask(found), a_mask())

    def test_what_was_predicted_can_be_handed_in(self, anna: Person) -> None:
        mask = anna.infer("train_07", "image")
        assert anna.send("train_07", encoded(mask, "PNG")).status_code == 200

    def test_class_by_index_and_a_class_that_differs(self, anna: Person) -> None:
        assert anna.send("train_08", as_png(a_mask()), **{"class": 1}).json()["class"] == "b"
        assert anna.label_info("train_08")["class"] == "b"
        other = anna.send("train_08", as_png(a_mask(left=3)), **{"class": 1}).json()
        assert other["notes"] == ["annotator says b, the data list says a"]
        assert anna.send("train_08", as_png(a_mask(left=11)), **{"class": [1]}).status_code == 400

    @pytest.mark.parametrize("told", [{"class": True}, {"class": 1.0}, {"annotator": True}, {"client_id": 1.0}])
    def test_what_is_no_whole_number_is_not_taken_for_one(self, anna: Person, told: dict[str, Any]) -> None:
        """``true`` was class 1, and somebody called 1."""
        assert anna.send("train_08", as_png(a_mask(left=12)), **told).status_code == 400


def nifti(values: np.ndarray, folder: Path) -> bytes:
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / "x.nii")  # type: ignore[attr-defined]
    return (folder / "x.nii").read_bytes()


def soft() -> np.ndarray:
    y, x = np.mgrid[:64, :64]
    return np.clip(400 - ((y - 32) ** 2 + (x - 32) ** 2), 0, 255).astype(np.uint8)


def two_pages() -> bytes:
    buffer = io.BytesIO()
    page = Image.fromarray(a_mask() * 255)
    page.save(buffer, format="TIFF", save_all=True, append_images=[page])
    return buffer.getvalue()


LINE = b'{"type": "LineString", "coordinates": [[1, 1], [9, 9]]}'
TWO = json.dumps([
    {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[1, 1], [20, 1], [20, 20]]]},
     "properties": {"classification": {"name": name}}} for name in "ab"
]).encode()  # fmt: skip
ENTITY = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'
REFUSED: dict[str, tuple[str, bytes, str]] = {
    "no bytes": ("m.png", b"", "file is empty"),
    "bytes that are no image": ("m.png", b"not a png", "the content is no image that can be read; expected PNG"),
    "cut PNG": ("m.png", as_png(a_mask())[:-30], "cannot be decoded; expected an intact file"),
    "other content than its suffix": ("m.png", encoded(a_mask() * 255, "BMP"), "not what the suffix says"),
    "no format of masks": ("m.pkl", pickle.dumps([1]), "not a format of masks; expected .png"),
    "no suffix": ("mask", as_png(a_mask()), "not a format of masks"),
    "another size": ("m.png", as_png(a_mask((64, 50))), "another size than its image; expected 64 x 64"),
    "empty": ("m.png", as_png(a_mask() * 0), "mask is empty; expected foreground in an image of class"),
    "soft edges": ("m.png", encoded(soft(), "PNG"), "mask has soft edges; expected a sharp edge"),
    "JPEG": ("m.jpg", encoded(a_mask() * 255, "JPEG"), "a JPEG mask has no exact values"),
    "two pages": ("m.tif", two_pages(), "animated or multi-page file; expected one picture; found several pages"),
    "XML that is none": ("m.xml", b"<a>", "not XML"),
    "XML with entities": ("m.xml", ENTITY, "XML defines entities"),
    "a line": ("m.geojson", LINE, "not a polygon; expected Polygon or MultiPolygon; found LineString"),
    "two classes": ("m.geojson", TWO, "outlines name several classes of the image; expected one; found a, b"),
    "GeoJSON that is none": ("m.geojson", b"{", "outlines are not JSON"),
}


class TestRefusals:
    @pytest.mark.parametrize("name", REFUSED)
    def test_gate_over_http(self, anna: Person, desk: Desk, name: str) -> None:
        """The answer says what is wrong; it is remembered once, costs nothing, and the image still waits."""
        file, content, text = REFUSED[name]
        before, waiting, labels = len(desk.refusals()), desk.waiting(0), desk.labels()
        for _ in range(2):
            answer = anna.send("train_10", content, file)
            assert answer.status_code == 422, answer.text
            assert text in answer.json()["detail"]
            assert "/upload-" not in answer.text
            assert answer.json()["problems"][0]["what"]
        (row,) = desk.refusals()[before:]
        assert (row.id, row.user) == ("train_10", "anna")
        assert text in row.reason
        assert (desk.waiting(0), desk.labels()) == (waiting, labels)
        assert anna.status()["refused"][-1]["reason"] == row.reason

    def test_nifti_with_nan_or_three_axes(self, anna: Person, tmp_path: Path) -> None:
        values = a_mask().astype(np.float32)
        values[0, 0] = np.nan
        assert "not all finite" in anna.send("train_10", nifti(values, tmp_path), "m.nii").json()["detail"]
        cube = nifti(np.zeros((64, 64, 7), np.uint8), tmp_path)
        assert "not a 2-D image" in anna.send("train_10", cube, "m.nii").json()["detail"]

    @pytest.mark.parametrize("key", ["val_00", "test_00"])
    def test_validation_and_test_images(self, anna: Person, desk: Desk, key: str) -> None:
        answer = anna.send(key, as_png(a_mask()))
        assert answer.status_code == 422
        assert f"{key}: not an image that is annotated; expected a training image" in answer.json()["detail"]
        assert desk.refusals()[-1].id == key

    def test_an_image_that_nobody_asked_for(self, anna: Person) -> None:
        answer = anna.send("train_19", as_png(a_mask()))
        assert answer.status_code == 422
        assert "nobody asked for this image" in answer.json()["detail"]

    def test_class_that_the_data_do_not_have(self, anna: Person) -> None:
        answer = anna.send("train_10", as_png(a_mask()), **{"class": "tumour"})
        assert answer.status_code == 422
        assert "unknown class; expected one of a, b; found tumour" in answer.json()["detail"]

    def test_annotators_name_that_cannot_be_used(self, served: Served) -> None:
        for name in ("x" * 121, "a\nb", "\x00"):
            person = Person(served.server, name)
            assert person.send("train_10", as_png(a_mask())).status_code == 422
            url = f"{served.server.url}/activelearning/queue"
            assert person.http.post(url, json={"client_id": name}).status_code == 422

    def test_parameters_that_are_no_object(self, served: Served, anna: Person) -> None:
        url = f"{served.server.url}/datastore/label"
        for params in ("{", "[1]", "7"):
            files = {"label": ("m.png", as_png(a_mask()))}
            answer = anna.http.put(url, params={"image": "train_10"}, data={"params": params}, files=files)
            assert answer.status_code == 400, params

    def test_malicious_pickle(self, served: Served, anna: Person, tmp_path: Path) -> None:
        canary = tmp_path / "canary"

        class Evil:
            def __reduce__(self) -> Any:
                return os.system, (f"touch {canary}",)

        harm = pickle.dumps(Evil())
        buffer = io.BytesIO()
        np.save(buffer, np.array([Evil()], dtype=object), allow_pickle=True)
        torch_file = io.BytesIO()
        torch.save(Evil(), torch_file)
        for name in ("m.png", "m.pt", "m.npy", "m.nii", "m.nii.gz", "m.tif", "m.json", "m.xml"):
            for content in (harm, buffer.getvalue(), torch_file.getvalue()):
                assert anna.send("train_10", content, name).status_code == 422
                files = {"file": (name, content)}
                assert anna.http.post(f"{served.server.url}/infer/joint", files=files).status_code == 422
        put = anna.http.put(f"{served.server.url}/model/joint", files={"file": ("model.pt", torch_file.getvalue())})
        assert put.status_code == 405
        assert not canary.exists()
        assert not [row for row in anna.status()["pending"] if row == "train_10"]


class TestSkip:
    def test_skip_brings_another_and_can_be_undone(self, served: Served, anna: Person, desk: Desk) -> None:
        url = f"{served.server.url}/annotation/skip"
        body = {"image": "train_11", "reason": "out of focus", "client_id": "anna"}
        assert anna.http.post(url, json=body).json() == {"image": "train_11", "skipped": True}
        waiting = desk.waiting(0)
        assert "train_11" not in waiting
        assert waiting[-1] == "train_17"  # the reserve of its class
        (row,) = anna.http.get(url).json()["skipped"]
        assert (row["id"], row["user"], row["reason"]) == ("train_11", "anna", "out of focus")
        info = anna.get("/datastore/image/info", image="train_11").json()
        assert info["skipped"]["reason"] == "out of focus"
        assert anna.http.delete(url, params={"image": "train_11"}).json()["was_skipped"] is True
        assert anna.http.delete(url, params={"image": "train_11"}).json()["was_skipped"] is False
        assert "train_11" in desk.waiting(0)
        assert "train_17" not in desk.waiting(0)

    def test_what_cannot_be_skipped(self, served: Served, anna: Person) -> None:
        url = f"{served.server.url}/annotation/skip"
        assert anna.send("train_13", as_png(a_mask())).status_code == 200
        for key, status in (("train_13", 422), ("val_00", 422), ("nobody", 404), (UNASKED, 422)):
            assert anna.http.post(url, json={"image": key}).status_code == status, key


def test_a_broken_datastore_file_is_left_alone(served: Served) -> None:
    assert (served.studies / "datastore_v2.json").read_text() == '{"name": "half a fi'
    assert not (served.studies / "labels").exists()
