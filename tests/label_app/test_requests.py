"""What viewers ask the real server for: images, predictions, the next image. Nothing is trained."""

from __future__ import annotations

import json
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from scripts.images.drawn.outline_drawing import draw_outlines
from scripts.images.drawn.outlines import Outline
from scripts.prediction.transforms import mask_of
from scripts.state.desk import Desk
from scripts.trained.source import load_model
from tests.support.label_server import Person, as_mask, require_monailabel, serving
from tests.support.people import asking_run
from tests.support.served import Served
from tests.support.tiny_runs import make_images, open_tiny

requests = require_monailabel()
pytestmark = pytest.mark.label


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
        scored = {"entropy", "margin", "bald", "mc_dropout", "disagreement"}
        assert set(found["strategies"]) == {"queue", "random", *scored}
        assert set(found["scoring"]) == scored
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
        assert "path" not in found  # nobody has proved to be the lead
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

    def test_given_back_under_any_of_the_names(self, served: Served, desk: Desk) -> None:
        for word in ("annotator", "client_id"):
            found = Person(served.server, "vera").next()
            query = {"image": found["id"], word: "vera"}
            url = f"{served.server.url}/annotation/lease"
            assert Person(served.server).http.delete(url, params=query).json()["given_back"] is True

    def test_wrong_requests_are_told_how(self, served: Served, anna: Person) -> None:
        url = served.server.url
        form = anna.http.post(f"{url}/activelearning/queue", data={"annotator": "anna"})
        assert form.status_code == 400
        assert "Content-Type: application/json" in form.json()["detail"]
        mask = anna.http.put(f"{url}/datastore/label?image=train_02", files={"file": ("m.png", b"x")})
        assert "-F label=@FILE" in mask.json()["detail"]
        assert "Ask for /info/." in anna.get("/info").json()["detail"]

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
