"""Requests of viewers and of strangers to the real server, on a run whose round waits for masks. Nothing is trained."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from scripts.images.outlines import Outline, draw_outlines
from scripts.images.png import png_to_mask
from scripts.networks.model_file import ModelInfo, write_model
from scripts.prediction.transforms import mask_of
from scripts.state.desk import Desk
from scripts.trained.source import load_model
from tests.support.label_server import Person, Server, as_mask, as_png, encoded, require_monailabel, serving
from tests.support.people import a_mask, asking_run
from tests.support.tiny import tiny_net
from tests.support.tiny_runs import make_images, open_tiny

requests = require_monailabel()
pytestmark = pytest.mark.label

ASKED = tuple(f"train_{i:02d}" for i in range(16))
UNASKED = "train_23"


@dataclass
class Served:
    """The server of this module and what it serves."""

    server: Server
    studies: Path
    run: Path
    data: Any
    ckpt: Path


def make_studies(folder: Path) -> Path:
    """24 training images, some in BMP and TIFF, and things that are no images of the run."""
    make_images(folder, {"train": 24, "val": 4, "test": 4})
    lines = list(csv.reader((folder / "data.csv").open()))
    for line in lines[1:]:
        for name, suffix in (("train_00", "bmp"), ("train_01", "tif")):
            if line[0] == f"{name}.png":
                with Image.open(folder / line[0]) as picture:
                    picture.save(folder / f"{name}.{suffix}")
                (folder / line[0]).unlink()
                line[0] = f"{name}.{suffix}"
    with (folder / "data.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    (folder / "datastore_v2.json").write_text('{"name": "half a fi')
    (folder / "._train_02.png").write_bytes(b"left by a Mac")
    (folder / "secret.png").write_bytes((folder / "train_02.png").read_bytes())
    os.symlink("/etc/hostname", folder / "link.png")
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    base = tmp_path_factory.mktemp("requests")
    studies = make_studies(base / "studies")
    data = open_tiny(studies)
    run = asking_run(base / "runs" / "label_prop_seed0", data, ASKED, reserves=[("train_17", None), ("train_16", None)])
    net = tiny_net(2)
    arguments = {"_target_": "scripts.networks.joint_net.JointNet", "num_classes": 2, "decoder_channels": [8] * 5}
    info = ModelInfo({**arguments, "pretrained": False}, ("a", "b"), (64, 64), 0.5)
    write_model(base / "model.pt", dict(net.state_dict()), info)
    (base / "tmp").mkdir()
    server = Server(studies, base / "runs", conf={"ckpt": base / "model.pt", "device": "cpu"})
    server.env["TMPDIR"] = str(base / "tmp")
    try:
        yield Served(server.start(), studies, run, data, base / "model.pt")
    finally:
        server.close()


@pytest.fixture()
def anna(served: Served) -> Person:
    return Person(served.server)


@pytest.fixture()
def desk(served: Served) -> Iterator[Desk]:
    with Desk.open(served.run) as opened:
        yield opened


def true_mask(served: Served, key: str) -> np.ndarray:
    found = served.data.store.true_mask(key)
    assert found is not None
    return found


class TestImages:
    def test_only_training_images_are_listed(self, anna: Person) -> None:
        listed = anna.get("/datastore/", output="all").json()["objects"]
        assert list(listed) == [f"train_{i:02d}" for i in range(24)]
        counts = anna.get("/datastore/").json()
        assert counts["total"] == 24

    def test_bmp_and_tiff_are_served(self, served: Served, anna: Person) -> None:
        for key, suffix in (("train_00", "bmp"), ("train_01", "tif"), ("train_02", "png")):
            answer = anna.get("/datastore/image", image=key)
            assert answer.content == (served.studies / f"{key}.{suffix}").read_bytes()
            assert anna.http.head(f"{served.server.url}/datastore/image", params={"image": key}).status_code == 200

    def test_what_is_known_of_an_image(self, anna: Person) -> None:
        found = anna.get("/datastore/image/info", image="train_05").json()
        assert (found["class"], found["split"], found["height"], found["width"]) == ("b", "train", 64, 64)

    def test_info_names_model_strategies_and_scores(self, anna: Person) -> None:
        found = anna.get("/info/").json()
        assert found["models"]["joint"]["labels"] == {"foreground": 1}
        assert found["models"]["joint"]["pathology"] is True
        assert list(found["strategies"])[:2] == ["queue", "random"]
        assert set(found["strategies"]) == {"queue", "random", "entropy", "mc_dropout"}
        assert set(found["scoring"]) == {"entropy", "mc_dropout"}
        assert set(found["trainers"]) == {"joint"}


class TestPrediction:
    def test_mask_and_class_are_those_of_the_model(self, served: Served, anna: Person) -> None:
        from scripts.networks.inferer import JointInferer
        from scripts.networks.outputs import prediction

        model = load_model(".", ckpt=served.ckpt)
        image = served.data.store.image("train_04")[None].float() / 255.0
        with torch.no_grad():
            packed = JointInferer(flips=True)(image, model.network)
        found = prediction("train_04", packed, model.network, (64, 64))  # type: ignore[arg-type]
        expected = mask_of(found, model.info)
        assert 0 < expected.mean() < 1
        np.testing.assert_array_equal(anna.infer("train_04", "image"), expected)
        told = anna.infer("train_04")
        assert "prediction" not in told
        assert told["classification"]["class"] == "ab"[int(found.scores.argmax())]
        assert sum(told["classification"]["probabilities"].values()) == pytest.approx(1.0)
        assert (told["model"]["from"], told["model"]["round"]) == ("file", None)

    @pytest.mark.parametrize("how", ["wsi", "wsi_v2"])
    def test_polygons_for_qupath(self, served: Served, anna: Person, how: str) -> None:
        url = f"{served.server.url}/infer/{how}/joint"
        query = {"image": "train_04", "output": "asap"}
        wanted = json.dumps({"location": [0, 0], "size": [0, 0], "min_poly_area": 0, "params": {"max_workers": 1}})
        if how == "wsi":  # QuPath's extension sends JSON without a Content-Type
            answer = anna.http.post(url, params=query, data=wanted)
            assert "Content-Type" not in answer.request.headers
        else:
            answer = anna.http.post(url, params=query, files={"wsi": (None, wanted)})
        assert answer.status_code == 200, answer.text
        outlines = [
            Outline((np.array([(float(c.get("X") or 0), float(c.get("Y") or 0)) for c in a.iter("Coordinate")]),))
            for a in ElementTree.fromstring(answer.text).iter("Annotation")
        ]
        mask = anna.infer("train_04", "image")
        drawn = draw_outlines(outlines, (64, 64))
        assert 2 * (drawn & mask).sum() / (drawn.sum() + mask.sum()) > 0.97

    def test_polygons_for_dsa_and_in_a_region(self, served: Served, anna: Person) -> None:
        url = f"{served.server.url}/infer/wsi/joint"
        body = {"location": [10, 20], "size": [30, 25], "min_poly_area": 0}
        answer = anna.http.post(url, params={"image": "train_04", "output": "dsa"}, json=body)
        points = np.array([p for element in answer.json()["elements"] for p in element["points"]])
        assert len(points)
        assert points.min(axis=0)[:2].tolist() >= [10, 20]
        assert points.max(axis=0)[:2].tolist() <= [40, 45]
        told = anna.http.post(url, params={"image": "train_04", "output": "json"}, json={}).json()
        assert told["annotations"][0]["annotation"]["elements"][0]["label"] == "foreground"
        assert told["classification"]["class"] in ("a", "b")

    def test_an_image_that_is_sent(self, served: Served, anna: Person) -> None:
        content = (served.studies / "train_04.png").read_bytes()
        url = f"{served.server.url}/infer/joint"
        answer = anna.http.post(url, params={"output": "image"}, files={"file": ("any name.png", content)})
        np.testing.assert_array_equal(as_mask(answer.content), anna.infer("train_04", "image"))
        bad = anna.http.post(url, files={"file": ("x.png", b"no image")})
        assert bad.status_code == 422
        assert "image.png: the content is no image" in bad.json()["detail"]

    def test_validation_images_can_be_looked_at(self, anna: Person) -> None:
        assert anna.infer("val_00", "image").shape == (64, 64)


class TestNextSample:
    def test_in_order_of_the_run_with_the_reason(self, anna: Person, desk: Desk) -> None:
        started = time.perf_counter()
        found = anna.next()
        assert time.perf_counter() - started < 2.0  # measured closely below
        assert found["id"] == desk.waiting(0)[0]
        assert found["why"] == f"chosen by lot from class {found['class']}, for the first round"
        assert (found["round"], found["bbox"], found["user"]) == (0, [0, 0, 64, 64], "anna")
        assert 1700 < found["lease_seconds"] <= 1800
        assert Path(found["path"]).is_file()
        assert anna.next()["id"] == found["id"]

    def test_two_people_never_get_the_same_image(self, served: Served) -> None:
        people = [Person(served.server, f"p{i}") for i in range(5)]
        ids = [person.next()["id"] for person in people] + [person.next("random")["id"] for person in people[:1]]
        assert len(set(ids[:5])) == 5
        for person, key in zip(people, ids, strict=False):
            url = f"{served.server.url}/annotation/lease"
            query = {"image": key, "client_id": person.name}
            assert person.http.delete(url, params=query).json()["given_back"] is True
            assert person.http.delete(url, params=query).json()["given_back"] is False

    def test_qupath_asks_without_a_name_or_a_content_type(self, served: Served, anna: Person, desk: Desk) -> None:
        """It prefers the image that is open, where the run asks for it."""
        body = json.dumps({"image": "train_09", "patch_size": [1024, 1024], "image_size": [64, 64]})
        answer = anna.http.post(f"{served.server.url}/activelearning/queue", data=body)
        assert (answer.json()["id"], answer.json()["user"]) == ("train_09", "annotator")
        assert desk.give_back("train_09", "annotator")

    def test_scores_are_asked_for_where_there_are_none(self, anna: Person) -> None:
        found = anna.next("entropy")
        assert "id" not in found
        assert "POST /scoring/entropy" in found["message"]

    def test_highest_score_of_the_class_with_fewest_masks(self, served: Served, desk: Desk) -> None:
        desk.put_scores("mc_dropout", "m", {f"train_{i:02d}": i / 100 for i in range(24)})
        found = Person(served.server, "scorer").next("mc_dropout")
        drawn = [row.id for row in desk.labels()]
        count = [sum(int(key[-2:]) % 2 == label for key in drawn) for label in range(2)]
        expected = "train_22" if count[0] <= count[1] else "train_23"
        assert (found["id"], found["score"]) == (expected, int(expected[-2:]) / 100)
        assert found["scored_model"] == "m"
        desk.give_back(found["id"], "scorer")

    def test_unknown_strategy(self, served: Served, anna: Person) -> None:
        answer = anna.http.post(f"{served.server.url}/activelearning/best", json={})
        assert answer.status_code == 404
        assert "best: no strategy of this name; expected queue, random" in answer.json()["detail"]


class TestMasks:
    def test_png_with_class_and_seconds(self, served: Served, anna: Person, desk: Desk) -> None:
        answer = anna.send("train_00", as_png(true_mask(served, "train_00")), **{"class": "a", "seconds": 21.5})
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"image": "train_00", "label": "train_00", "version": 1, "annotator": "anna",
                                 "seconds": 21.5, "class": "a", "round": None}  # fmt: skip
        info = anna.label_info("train_00")
        assert (info["class"], info["annotator"], info["version"], info["seconds"]) == ("a", "anna", 1, 21.5)
        content = anna.get("/datastore/label", label="train_00", tag="final").content
        np.testing.assert_array_equal(as_mask(content), true_mask(served, "train_00"))
        assert "train_00" not in desk.waiting(0)
        listed = anna.get("/datastore/", output="train").json()
        assert [entry["class"] for entry in listed if "train_00" in entry["image"]] == ["a"]
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
        assert anna.send("train_08", as_png(a_mask(left=11)), **{"class": [1]}).status_code == 400


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
    "GeoJSON that is none": ("m.geojson", b"{", "not GeoJSON"),
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


NAMES = [
    "../studies/secret", "..", "/etc/hostname", "..\\secret.png", "train_02/../train_02", "train_02\0", "secret",
    "secret.png", "link", "link.png", "%2e%2e/secret", "%2e%2e%2fsecret", "._train_02", "train_02_mask", "", "x" * 5000,
]  # fmt: skip
FILE_NAMES = [
    b"../../evil.png", b"/etc/evil.png", b"..\\evil.png", b"evil\0.png", b"%2e%2e%2fevil.png", b"..", b"a/b.png",
]  # fmt: skip


def tree(*folders: Path) -> dict[str, int]:
    """Every file below some folders with its size, but for the state, which remembers refusals."""
    return {
        str(path): path.stat().st_size for folder in folders for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("state.sqlite")
    }  # fmt: skip


class TestNames:
    """Names lead to ids of the data list or to nothing: 4xx, and no file is made, changed or read."""

    @pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:20]))
    def test_of_images(self, served: Served, anna: Person, name: str) -> None:
        url, http = served.server.url, anna.http
        before = tree(served.studies, served.run, served.studies.parent / "tmp")
        asked = {"image": name}
        mask = {"label": ("m.png", as_png(a_mask()))}
        answers = [
            http.get(f"{url}/datastore/image", params=asked), http.head(f"{url}/datastore/image", params=asked),
            http.get(f"{url}/datastore/image/info", params=asked),
            http.get(f"{url}/datastore/label", params={"label": name, "tag": "final"}),
            http.head(f"{url}/datastore/label", params={**asked, "tag": "final"}),
            http.get(f"{url}/datastore/label/info", params={"label": name, "tag": "final"}),
            http.put(f"{url}/datastore/label", params=asked, files=mask),
            http.post(f"{url}/infer/joint", params=asked),
            http.post(f"{url}/infer/wsi/joint", params=asked, json={}),
            http.post(f"{url}/infer/wsi_v2/joint", params={**asked, "output": "asap"}),
            http.post(f"{url}/annotation/skip", json=asked), http.delete(f"{url}/annotation/skip", params=asked),
            http.delete(f"{url}/annotation/lease", params=asked),
        ]  # fmt: skip
        assert [answer.status_code for answer in answers if not 400 <= answer.status_code < 500] == []
        assert not any(b"localhost" in answer.content for answer in answers)
        assert tree(served.studies, served.run, served.studies.parent / "tmp") == before

    def test_in_parameters(self, served: Served, anna: Person) -> None:
        """MONAI Label takes whatever stands in the parameters for the image."""
        target = str(served.studies / "secret.png")
        form = {"params": json.dumps({"image": target, "label": target})}
        url = f"{served.server.url}/infer/joint"
        assert anna.http.post(url, params={"image": ""}, data=form).status_code == 400
        assert anna.http.post(url, params={"image": target}, data=form).status_code == 404

    @pytest.mark.parametrize("tag", ["../../evil", "/etc", "..\\evil", "final\0", "original", "%2e%2e", "x" * 3000])
    def test_of_tags(self, served: Served, anna: Person, tag: str) -> None:
        before = tree(served.studies, served.run)
        assert anna.send("train_12", as_png(a_mask()), tag=tag).status_code == 400
        for path in ("/datastore/label", "/datastore/label/info"):
            assert anna.get(path, label="train_00", tag=tag).status_code == 404
        assert tree(served.studies, served.run) == before

    @pytest.mark.parametrize("name", FILE_NAMES)
    def test_of_files(self, served: Served, anna: Person, name: bytes) -> None:
        before = tree(served.studies, served.run, served.studies.parent / "tmp")
        part = b'--B\r\nContent-Disposition: form-data; name="%s"; filename="' + name + b'"\r\n\r\n' + as_png(a_mask())
        for method, path, field in (("PUT", "/datastore/label", b"label"), ("POST", "/infer/joint", b"file")):
            answer = anna.http.request(
                method, f"{served.server.url}{path}?image=train_12",
                data=part.replace(b"%s", field, 1) + b"\r\n--B--\r\n",
                headers={"Content-Type": "multipart/form-data; boundary=B"},
            )  # fmt: skip
            assert 400 <= answer.status_code < 500, (method, answer.text)
        assert tree(served.studies, served.run, served.studies.parent / "tmp") == before

    def test_of_models_and_trainers(self, served: Served, anna: Person) -> None:
        url = served.server.url
        for path in ("/infer/other", "/infer/wsi/other", "/train/other", "/infer/..%2f", "/train/%2e%2e%2f"):
            assert anna.http.post(f"{url}{path}?image=train_02").status_code in (404, 405), path
        assert anna.get("/model/joint").status_code == 404

    def test_an_image_that_became_a_link_out_of_the_folder(self, served: Served, anna: Person) -> None:
        path = served.studies / "train_22.png"
        content = path.read_bytes()
        try:
            path.unlink()
            os.symlink("/etc/hostname", path)
            assert anna.get("/datastore/image", image="train_22").status_code == 404
            assert anna.http.post(f"{served.server.url}/infer/joint?image=train_22").status_code == 404
        finally:
            path.unlink()
            path.write_bytes(content)


class TestWhatARunDoesNotDo:
    def test_is_refused_before_an_upload_is_stored(self, served: Served, anna: Person) -> None:
        url, http = served.server.url, anna.http
        before = tree(served.studies, served.studies.parent / "tmp")
        picture = {"file": ("new.png", as_png(a_mask()))}
        answers = [
            http.put(f"{url}/datastore/image?image=new", files=picture), http.put(f"{url}/datastore/", files=picture),
            http.delete(f"{url}/datastore/image?id=train_02"), http.delete(f"{url}/datastore/?id=train_02"),
            http.delete(f"{url}/datastore/label?id=train_00&tag=final"),
            http.put(f"{url}/datastore/image/info?image=train_02", data={"info": "{}"}),
            http.put(f"{url}/datastore/label/info?label=train_00&tag=final", data={"info": "{}"}),
            http.put(f"{url}/session/", files={"files": ("x.zip", b"PK")}), http.get(f"{url}/session/abc"),
            http.delete(f"{url}/model/joint"), http.get(f"{url}/datastore/dataset"),
            http.get(f"{url}/proxy/dicom/wado/studies"),
        ]  # fmt: skip
        assert [answer.status_code for answer in answers] == [405] * len(answers)
        assert "The data of a run are fixed" not in answers[-1].text
        assert tree(served.studies, served.studies.parent / "tmp") == before

    def test_training_waits_for_the_masks_of_the_round(self, served: Served, anna: Person) -> None:
        answer = anna.http.post(f"{served.server.url}/train/joint", json={"max_epochs": 10})
        assert answer.status_code == 409
        assert "round 0 waits for masks; expected all masks" in answer.json()["detail"]

    def test_scores_need_a_round(self, served: Served, anna: Person) -> None:
        answer = anna.http.post(f"{served.server.url}/scoring/entropy?run_sync=true")
        assert answer.status_code == 409
        assert "no trained model to score with" in answer.json()["detail"]


class TestAccess:
    def test_pages_of_others_may_not_use_it(self, served: Served, anna: Person) -> None:
        url = f"{served.server.url}/annotation/status"
        host = served.server.url.removeprefix("http://")
        assert anna.http.get(url, headers={"Origin": f"http://{host}"}).status_code == 200
        for origin in ("https://evil.example", "null", f"http://{host}.evil.example"):
            answer = anna.http.get(url, headers={"Origin": origin})
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers

    def test_it_listens_on_this_computer_only_and_says_that_authentication_is_off(self, served: Served) -> None:
        psutil = pytest.importorskip("psutil")
        assert served.server.process is not None
        found = psutil.Process(served.server.process.pid).net_connections()
        listening = [c.laddr for c in found if c.status == psutil.CONN_LISTEN]
        assert [(a.ip, a.port) for a in listening] == [("127.0.0.1", served.server.port)]
        assert "authentication is OFF: everybody who works on this computer" in served.server.text()


def test_a_broken_datastore_file_is_left_alone(served: Served) -> None:
    assert (served.studies / "datastore_v2.json").read_text() == '{"name": "half a fi'
    assert not (served.studies / "labels").exists()


class TestSpeed:
    def test_answers_within_200_ms_on_500_images(self, tmp_path: Path) -> None:
        studies = make_images(tmp_path / "studies", {"train": 500, "val": 4, "test": 4}, side=16)
        ids = [f"train_{i:02d}" for i in range(500)]
        reserves = [(key, None) for key in ids[200:400]]
        run = asking_run(tmp_path / "runs" / "random_seed1", open_tiny(studies), tuple(ids[:200]), reserves=reserves)
        with Desk.open(run) as desk:
            for name in ("entropy", "mc_dropout"):
                desk.put_scores(name, "m", {key: i % 17 / 17 for i, key in enumerate(ids)})
        conf = {"method": "random", "seed": 1, "lease_seconds": 600}
        with serving(studies, tmp_path / "runs", conf=conf) as server:
            person = Person(server)
            person.status()
            taken: dict[str, list[float]] = {}
            for strategy in ("queue", "random", "entropy", "mc_dropout"):
                for i in range(15):
                    person.name = f"{strategy}{i}"
                    started = time.perf_counter()
                    assert "id" in person.next(strategy)
                    taken.setdefault(strategy, []).append(time.perf_counter() - started)
        # The median, since other programs may use the disk at the same time.
        assert {
            name: round(float(np.median(times)), 3) for name, times in taken.items() if np.median(times) > 0.2
        } == {}
