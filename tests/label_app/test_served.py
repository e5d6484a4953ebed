"""What answers is on a list; all of it takes garbage with a text; nothing of MONAI Label answers, or can be reached."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.label_server import APP, Person, require_monailabel
from tests.support.served import Served, tree

requests = require_monailabel()
pytestmark = pytest.mark.label

SERVED = {
    "GET /", "GET /openapi.json", "GET /info/", "GET /auth/", "POST /auth/token", "GET /auth/token/valid", "GET /logs/",
    "GET /datastore/", "GET /datastore/image", "HEAD /datastore/image", "GET /datastore/image/info",
    "GET /datastore/label", "HEAD /datastore/label", "GET /datastore/label/info", "PUT /datastore/label",
    "POST /activelearning/{strategy}", "GET /annotation/status", "GET /annotation/skip", "POST /annotation/skip",
    "DELETE /annotation/skip", "DELETE /annotation/lease",
    "POST /infer/{model}", "POST /infer/wsi/{model}", "POST /infer/wsi_v2/{model}",
    "POST /train/", "POST /train/{model}", "GET /train/", "DELETE /train/",
    "POST /scoring/{method}", "GET /scoring/", "DELETE /scoring/",
    "POST /batch/infer/{model}", "GET /batch/infer", "DELETE /batch/infer",
}  # fmt: skip
HIDDEN = {"GET /", "GET /openapi.json"}  # from the description


@pytest.fixture(scope="module")
def equipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """MONAI Label's application with our routes, in this process, and MONAI Label's routes as they were."""
    sys.path.insert(0, str(APP))
    try:
        from lib import server
        from lib.routes.everything import ROUTERS
        from lib.service import Service
        from lib.settings import Settings
        from monailabel.app import app

        from tests.support.tiny_runs import make_images

        base = tmp_path_factory.mktemp("equipped")
        conf = {"output_dir": str(base / "runs"), "device": "cpu"}
        studies = str(make_images(base / "studies"))
        former = list(app.router.routes)
        server.equip(app, ROUTERS, Service(Settings.of(APP, studies, conf), conf), "127.0.0.1")
        yield app, former
    finally:
        sys.path.remove(str(APP))


def flat(routes: list[Any]) -> list[Any]:
    """Routes, those of included routers among them."""
    found = []
    for route in routes:
        inner = getattr(route, "original_router", None)
        found += flat(list(inner.routes)) if inner is not None else [route]
    return found


def names_of(route: Any) -> set[str]:
    return {f"{method} {route.path}" for method in getattr(route, "methods", ())}


class TestList:
    def test_every_route_is_on_the_list_but_the_one_that_refuses(self, equipped: Any) -> None:
        app, _ = equipped
        *answering, last = flat(list(app.router.routes))
        assert {name for route in answering for name in names_of(route)} == SERVED
        assert (last.path, last.endpoint.__name__) == ("/{path:path}", "_refuse")

    def test_so_is_the_description(self, equipped: Any) -> None:
        app, _ = equipped
        paths = app.openapi()["paths"]
        assert {f"{method.upper()} {path}" for path, ways in paths.items() for method in ways} == SERVED - HIDDEN

    def test_all_that_monai_label_brings_is_refused_where_it_is_not_ours(
        self, equipped: Any, served: Served, anna: Person
    ) -> None:
        _, former = equipped
        brought = {name for route in flat(former) for name in names_of(route)} | {"GET /static/favicon.ico"}
        assert len(brought) > 50
        for name in sorted(brought - SERVED):
            method, path = name.split(" ")
            answer = anna.http.request(method, served.server.url + path, timeout=60)
            assert (name, answer.status_code) == (name, 405)
            assert method == "HEAD" or "this server does not do that" in answer.json()["detail"]

    def test_each_is_a_plain_function_with_typed_parameters_and_a_login(self, equipped: Any) -> None:
        app, _ = equipped
        open_to_all = set()
        for route in flat(list(app.router.routes))[:-1]:
            assert not inspect.iscoroutinefunction(route.endpoint), route.path
            parameters = inspect.signature(route.endpoint).parameters
            untyped = [p for p in parameters.values() if p.annotation in (inspect.Parameter.empty, "Any", "dict")]
            assert untyped == [], route.path
            if "user" not in parameters:
                open_to_all |= names_of(route)
        assert open_to_all == {"GET /", "GET /auth/", "POST /auth/token"}


DEEP = "[" * 5000 + "]" * 5000
TEXTS = ["", "\ud800", "null", "{", "[]", "7", '"x"', DEEP, '{"image": ' * 2000, '{"image": "\\ud800"}', '{"image": 5}',
         '{"image": {}}', '{"image": null}', '{"seconds": 1' + "0" * 400 + "}", '{"seconds": NaN}', '{"seconds": -1}',
         '{"class": "\\ud800"}', '{"class": 99}', '{"class": -1}', '{"class": true}', '{"location": 3}',
         '{"location": [1]}', '{"location": ["a", 2]}', '{"location": [NaN, 1]}', '{"size": [1e308, 1e308]}',
         '{"size": [1, 2, 3]}', '{"size": null, "location": Infinity}', '{"min_poly_area": "x"}',
         '{"min_poly_area": -1}', '{"images": 5}', '{"images": ["nobody"]}', '{"max_batch_size": "x"}', '{"model": {}}',
         '{"method": {}}', '{"client_id": "' + "x" * 5000 + '"}', '{"client_id": {}}', '{"client_id": "\\u0000"}',
         '{"client_id": "simulated"}', '{"gpus": "all", "bundle_path": "/tmp"}', '{"reason": 7}']  # fmt: skip
QUERIES = [{}, {"image": "\x00"}, {"image": "x" * 9000}, {"label": "..", "tag": "\x00"},
           {"image": "train_02", "tag": "?"}, {"image": "train_02", "check_sum": "FOO:x"},
           {"image": "train_02", "check_sum": "shake_256:x"},
           {"image": "train_02", "output": "x"}, {"lines": "1" + "0" * 20}, {"lines": "-1"}, {"lines": "x"},
           {"run_sync": "x"}, {"images": "some"}, {"all": "perhaps"}, {"output": "train"},
           {"client_id": "\ud800", "image": "train_02"}]  # fmt: skip


class TestGarbage:
    @pytest.mark.parametrize("name", sorted(SERVED))
    def test_is_refused_with_a_text(self, served: Served, anna: Person, name: str) -> None:
        """Or taken where it is none: ``{}`` asks for the next image. Never an answer without text, never 500."""
        method, path = name.split(" ")
        before = tree(served.studies)
        counts: dict[int, int] = {}
        for filled in ({"{strategy}": "queue", "{model}": "joint", "{method}": "entropy"},
                       {"{strategy}": "%00", "{model}": "..", "{method}": "%F0%9F"}):  # fmt: skip
            url = served.server.url + path
            for mark, text in filled.items():
                url = url.replace(mark, text)
            for answer in self._answers(anna, method, url):
                counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
                assert answer.status_code < 500, (name, answer.status_code, answer.text[:300])
                if answer.status_code >= 400 and method != "HEAD":
                    assert answer.json()["detail"], (name, answer.text[:300])
                assert "Traceback" not in answer.text
        for key in [row["id"] for row in anna.status()["leases"]]:
            for who in ("annotator", "anna"):
                query = {"image": key, "client_id": who}
                anna.http.delete(f"{served.server.url}/annotation/lease", params=query)
        assert sum(counts.values()) > 40
        assert tree(served.studies) == before

    @staticmethod
    def _answers(anna: Person, method: str, url: str) -> Iterator[Any]:
        for query in QUERIES:
            encoded = {key: value.encode("utf-8", "surrogatepass") for key, value in query.items()}
            yield anna.http.request(method, url, params=encoded, timeout=60)
        for text in TEXTS:
            content = text.encode("utf-8", "surrogatepass")
            yield anna.http.request(method, url, data=content, headers={"Content-Type": "application/json"}, timeout=60)
            for field in ("params", "wsi"):
                files = {field: (None, content), "label": ("m.png", b"x"), "file": ("m.png", b"x")}
                yield anna.http.request(method, f"{url}?image=train_02", files=files, timeout=60)

    def test_bodies_that_are_no_forms(self, served: Served, anna: Person) -> None:
        url = f"{served.server.url}/datastore/label?image=train_02"
        for kind, content in (("multipart/form-data", b"x"), ("multipart/form-data; boundary=B", b"--B\r\n\r\nx"),
                              ("text/plain", b"x"), ("application/x-www-form-urlencoded", b"label=1"),
                              ("multipart/form-data; boundary=B", b"")):  # fmt: skip
            answer = anna.http.put(url, data=content, headers={"Content-Type": kind}, timeout=60)
            assert 400 <= answer.status_code < 500
            assert answer.json()["detail"]


class TestNothingReachesMonaiLabel:
    @pytest.mark.parametrize("path", ["/scoring/entropy", "/batch/infer/joint", "/train/joint", "/infer/joint"])
    @pytest.mark.parametrize("key", ["bundle_path", "gpus", "multi_gpu", "model", "output", "PYTHONPATH"])
    def test_no_key_becomes_a_path_or_an_environment(
        self, served: Served, anna: Person, tmp_path: Path, path: str, key: str
    ) -> None:
        (tmp_path / "sitecustomize.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'w')")
        url = f"{served.server.url}{path}"
        answer = anna.http.post(url, json={key: str(tmp_path), "image": "train_02"}, timeout=60)
        anna.http.post(url, params={"image": "train_02", key: str(tmp_path)}, timeout=60)
        form = {"params": json.dumps({key: str(tmp_path)})}
        anna.http.post(url, params={"image": "train_02"}, data=form, timeout=60)
        if path.startswith("/batch") and answer.status_code == 200:
            anna.http.delete(f"{served.server.url}/batch/infer", timeout=60)
        assert not (tmp_path / "RAN").exists()

    def test_reload_changes_and_ends_nothing(self, served: Served, anna: Person) -> None:
        (served.studies / "one_more.png").write_bytes((served.studies / "train_02.png").read_bytes())
        try:
            for method in ("POST", "GET", "PUT"):
                assert anna.http.request(method, f"{served.server.url}/reload").status_code == 405
            assert anna.get("/info/").status_code == 200
        finally:
            (served.studies / "one_more.png").unlink()

    @pytest.mark.parametrize("path", ["/docs", "/ohif/", "/ohif/%2e%2e", "/static/favicon.ico", "/logs/gpu",
                                      "/proxy/dicom/x", "/session/", "/favicon.ico", "/model/joint",
                                      "/datastore/dataset"])  # fmt: skip
    def test_pages_and_viewers_of_monai_label(self, anna: Person, path: str) -> None:
        answer = anna.get(path)
        assert answer.status_code in (404, 405)
        assert "cdn" not in answer.text
        assert answer.json()["detail"]
