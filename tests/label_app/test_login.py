"""Logins at the real server: who proved their name, what their role may do, and a realm that does not answer."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.state.desk import Desk
from tests.support.label_server import Person, Server, as_mask, as_png, require_monailabel
from tests.support.people import a_mask, asking_run
from tests.support.tiny_runs import make_images, open_tiny

requests = require_monailabel()
pytestmark = pytest.mark.label


@pytest.fixture()
def realm() -> Iterator[tuple[str, Any]]:
    """A Keycloak realm as far as MONAI Label asks it: its public key. And a maker of tokens."""
    jwt = pytest.importorskip("jwt")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()  # fmt: skip
    body = json.dumps(
        {"public_key": "".join(public.strip().splitlines()[1:-1]), "token_endpoint": "http://x/"}
    ).encode()

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    def token(name: str, *roles: str, **how: Any) -> str:
        claims = {"preferred_username": name, "realm_access": {"roles": [f"monailabel-{role}" for role in roles]}}
        return str(jwt.encode(claims, how.get("key", key), algorithm=how.get("algorithm", "RS256")))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/realm", token
        server.shutdown()


def test_authentication(tmp_path: Path, realm: tuple[str, Any]) -> None:
    """Who has proved their name is known by it, whatever they or a PNG say; without a role nothing is done."""
    uri, token = realm
    studies = make_images(tmp_path / "studies")
    asking_run(tmp_path / "runs" / "label_prop_seed0", open_tiny(studies), ("train_00", "train_01"))
    server = Server(studies, tmp_path / "runs", words=["--host", "0.0.0.0"])
    server.env |= {"MONAI_LABEL_AUTH_ENABLE": "true", "MONAI_LABEL_AUTH_REALM_URI": uri}
    try:
        server.start()
        assert "listening on 0.0.0.0; authentication is on" in server.text()
        assert Person(server).get("/annotation/status").status_code == 401
        forged = Person(server, token=token("eve", "admin", key="x" * 32, algorithm="HS256"))
        assert forged.get("/annotation/status").status_code == 401
        reader = Person(server, token=token("rita", "user"))
        assert reader.get("/annotation/status").status_code == 200
        assert reader.send("train_00", as_png(a_mask())).status_code == 403
        for how in ({}, {"algorithm": "none", "key": None}):
            odd = Person(server, token=token("", "admin", **how))
            assert odd.get("/annotation/status").status_code == 401
        assert reader.http.post(f"{server.url}/scoring/entropy").status_code == 403
        for path in ("/logs/", "/datastore/?output=train"):
            assert reader.get(path).status_code == 403
        lead = Person(server, token=token("leo", "admin"))
        assert "listening on 0.0.0.0" in lead.get("/logs/").text
        assert Path(lead.next()["path"]).is_file()
        assert lead.http.delete(f"{server.url}/annotation/lease?image=train_00").json()["given_back"] is True
        assert "path" not in reader.next()
        assert reader.http.delete(f"{server.url}/annotation/lease?image=train_00").status_code == 403
        with Desk.open(server.run_folder("label_prop_seed0")) as desk:
            desk.give_back("train_00", "rita")
        assert Person(server).get("/auth/").json()["enabled"] is True
        for path in ("/openapi.json", "/info/", "/auth/token/valid", "/datastore/image?image=train_00"):
            assert Person(server).get(path).status_code == 401
        drawer = Person(server, "somebody else", token=token("dr-dee", "user", "annotator"))
        assert drawer.next()["user"] == "dr-dee"
        assert drawer.send("train_00", as_png(a_mask())).json()["annotator"] == "dr-dee"
        assert drawer.http.post(f"{server.url}/train/joint", timeout=60).status_code == 403
        content = drawer.get("/datastore/label", label="train_00", tag="final").content
        np.testing.assert_array_equal(as_mask(content), a_mask())
    finally:
        server.close()


def test_a_realm_that_does_not_answer_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    """Requests with any token were answered one after the other, each after ten seconds."""
    studies = make_images(tmp_path / "studies")
    asking_run(tmp_path / "runs" / "label_prop_seed0", open_tiny(studies), ("train_00", "train_01"))
    jwt = pytest.importorskip("jwt")
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    token = jwt.encode({"preferred_username": "eve"}, key, algorithm="RS256")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        server = Server(studies, tmp_path / "runs")
        server.env |= {"MONAI_LABEL_AUTH_ENABLE": "true", "MONAI_LABEL_AUTH_TIMEOUT": "3"}
        server.env["MONAI_LABEL_AUTH_REALM_URI"] = f"http://127.0.0.1:{silent.getsockname()[1]}/realm"
        try:
            server.start()
            status: list[int] = []
            eve = [
                threading.Thread(target=lambda: status.append(Person(server, token=token).get("/info/").status_code))
                for _ in range(20)
            ]
            for thread in eve:
                thread.start()
            time.sleep(0.3)
            began = time.perf_counter()
            assert Person(server).get("/auth/").status_code == 200
            assert Person(server, token="x").get("/info/").status_code == 401
            assert time.perf_counter() - began < 1.0
            for thread in eve:
                thread.join()
            assert set(status) <= {429, 503}
            began = time.perf_counter()
            assert Person(server, token=token).get("/info/").status_code == 503
            assert time.perf_counter() - began < 1.0  # it is not asked again at once
        finally:
            server.close()
