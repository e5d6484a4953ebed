"""Who may use the real server, and what it does not do for anybody."""

from __future__ import annotations

import importlib
import socket
import sys
import time

import pytest

from scripts.state.desk import Desk
from tests.support.label_server import APP, Person, as_png, require_monailabel
from tests.support.people import a_mask
from tests.support.served import Served, tree

requests = require_monailabel()
pytestmark = pytest.mark.label


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
        answer = anna.http.post(f"{served.server.url}/scoring/entropy")
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

    @pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://a]b", "http://[v1.x]:80:80"])
    def test_an_origin_that_is_none_is_anothers(self, served: Served, anna: Person, origin: str) -> None:
        answer = anna.http.get(f"{served.server.url}/annotation/status", headers={"Origin": origin})
        assert answer.status_code == 403
        assert "another web page may not use this server" in answer.json()["detail"]

    def test_it_listens_on_this_computer_only_and_says_that_authentication_is_off(self, served: Served) -> None:
        psutil = pytest.importorskip("psutil")
        assert served.server.process is not None
        found = psutil.Process(served.server.process.pid).net_connections()
        listening = [c.laddr for c in found if c.status == psutil.CONN_LISTEN]
        assert [(a.ip, a.port) for a in listening] == [("127.0.0.1", served.server.port)]
        assert "authentication is OFF: everybody who works on this computer" in served.server.text()


HOSTS = ["evil.example:8000", "evil.example", "127.0.0.1.evil.example", "10.1.2.3", "", "127.0.0.1@evil.example",
         "[::2]:80", "localhost.", "127.0.0.1/", "[", "a b"]  # fmt: skip


class TestHosts:
    @pytest.mark.parametrize("path", ["/annotation/status", "/datastore/image?image=train_02", "/logs/", "/", "/auth/"])
    @pytest.mark.parametrize("host", HOSTS)
    def test_under_another_name_nothing_answers(self, served: Served, anna: Person, host: str, path: str) -> None:
        """A page whose name points to this computer sends its own name as Host and Origin (DNS rebinding)."""
        origin = {"Origin": f"http://{host}"} if host else {}
        answer = anna.http.get(served.server.url + path, headers={"Host": host, **origin})
        assert answer.status_code in (400, 421), answer.text  # 400: not even a name
        assert "train_02" not in answer.text

    def test_nothing_is_handed_in_or_leased_under_another_name(self, served: Served, anna: Person, desk: Desk) -> None:
        headers = {"Host": "evil.example:8000", "Origin": "http://evil.example:8000"}
        url, files = served.server.url, {"label": ("m.png", as_png(a_mask()))}
        before = desk.labels(), desk.leases(time.time())
        answers = [
            anna.http.put(f"{url}/datastore/label?image=train_02", files=files, headers=headers),
            anna.http.post(f"{url}/activelearning/queue", json={}, headers=headers),
            anna.http.post(f"{url}/annotation/skip", json={"image": "train_02"}, headers=headers),
            anna.http.post(f"{url}/train/joint", headers=headers),
        ]
        assert [answer.status_code for answer in answers] == [421] * 4
        assert (desk.labels(), desk.leases(time.time())) == before

    def test_two_hosts_and_none(self, served: Served) -> None:
        for lines in (b"Host: 127.0.0.1\r\nHost: evil.example\r\n", b""):
            answer = raw(served, b"GET /annotation/status HTTP/1.1\r\n" + lines + b"Connection: close\r\n\r\n")
            assert answer.split(b" ")[1] in (b"400", b"421")
        answer = raw(served, b"GET /annotation/status HTTP/1.0\r\n\r\n")
        assert answer.split(b" ")[1] == b"421"

    @pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
    def test_names_of_this_computer(self, served: Served, anna: Person, name: str) -> None:
        host = {"Host": f"{name}:{served.server.port}"}
        assert anna.http.get(f"{served.server.url}/annotation/status", headers=host).status_code == 200

    @pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
    def test_pictures_and_forms_of_other_pages(self, served: Served, anna: Person, site: str) -> None:
        """A browser sends no Origin with <img src>; it tells where the page is from all the same."""
        url = f"{served.server.url}/datastore/image?image=train_02"
        assert anna.http.get(url, headers={"Sec-Fetch-Site": site}).status_code == 403
        for own in ("none", "same-origin"):
            assert anna.http.get(url, headers={"Sec-Fetch-Site": own}).status_code == 200

    def test_what_a_proxy_would_say_is_not_believed(self, served: Served, desk: Desk) -> None:
        nobody = Person(served.server, "")
        nobody.http.headers["X-Forwarded-For"] = "6.6.6.6"
        assert nobody.next()["user"] == "annotator"
        assert desk.give_back(next(iter(desk.leases(time.time()))), "annotator")

    def test_the_name_of_the_simulation_is_nobodys(self, served: Served) -> None:
        """Masks of ``simulated`` give way to those of people."""
        answer = Person(served.server, "simulated").send("train_02", as_png(a_mask()))
        assert answer.status_code == 422
        assert "annotator's name cannot be used" in answer.json()["detail"]

    def test_every_answer_is_sealed(self, served: Served, anna: Person) -> None:
        for path in ("/", "/annotation/status", "/nothing", "/datastore/image?image=train_02"):
            headers = anna.http.get(served.server.url + path).headers
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert "access-control-allow-origin" not in headers


def raw(served: Served, content: bytes) -> bytes:
    """What the server sends for some bytes."""
    with socket.create_connection(("127.0.0.1", served.server.port), timeout=30) as connection:
        connection.sendall(content)
        found = b""
        while chunk := connection.recv(65_536):
            found += chunk
    return found


class TestWhatIsTold:
    def test_no_path_and_no_process_to_who_is_not_the_lead(self, served: Served, anna: Person) -> None:
        url, base = served.server.url, str(served.studies.parent)
        bad = anna.http.post(f"{url}/infer/joint", files={"file": ("x.png", b"no image")})
        answers = [
            anna.get("/info/"), anna.get("/annotation/status"), anna.get("/datastore/", output="all"), bad,
            anna.get("/datastore/", output="train"), anna.get("/logs/"), anna.get("/openapi.json"),
            anna.http.post(f"{url}/activelearning/queue", json={"client_id": "told"}), anna.get("/train/"),
            anna.send("train_02", b"", "m.png"), anna.http.post(f"{url}/train/joint"),
            anna.http.post(f"{url}/scoring/entropy"), anna.get("/datastore/image/info", image="train_02"),
        ]  # fmt: skip
        assert served.server.process is not None
        for answer in answers:
            assert base not in answer.text, answer.url
            assert str(served.server.process.pid) not in answer.text.replace(str(served.server.port), "")
            assert sys.prefix not in answer.text

    def test_nor_where_a_model_file_lies_that_cannot_be_read(self, served: Served, anna: Person) -> None:
        keep = served.ckpt.read_bytes()
        served.ckpt.write_bytes(keep[:1000])
        try:
            answer = anna.http.post(f"{served.server.url}/infer/joint?image=train_02")
        finally:
            served.ckpt.write_bytes(keep)
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith("model.pt: not a checkpoint")

    def test_the_log_is_the_leads_alone_and_lies_with_the_run(self, served: Served, anna: Person) -> None:
        assert anna.get("/logs/").status_code == 403
        log, shared = served.run / "server.log", APP / "logs" / "app.log"
        assert "listening on 127.0.0.1" in log.read_text()
        before = log.stat().st_size, shared.read_text() if shared.exists() else ""
        anna.send("nobody", b"")
        assert log.stat().st_size > before[0]
        assert (shared.read_text() if shared.exists() else "") == before[1]  # where servers of other runs wrote, too

    @pytest.mark.parametrize("between", ["\n", "\r\n", "\x1b[2J", "\u2028"])
    def test_no_line_of_the_log_can_be_forged(self, served: Served, anna: Person, between: str) -> None:
        url, text = served.server.url, f"a{between}[2026] FORGED"
        anna.http.post(f"{url}/train/joint", json={text: 1})
        anna.http.post(f"{url}/annotation/skip", json={"image": text, "reason": text, "client_id": text})
        anna.send(text, as_png(a_mask()), **{"class": text, "annotator": text})
        anna.http.get(f"{url}/datastore/image", params={"image": text}, headers={"User-Agent": "x"})
        for content in ((served.run / "server.log").read_text(), served.server.text()):
            assert not [line for line in content.splitlines() if line.startswith("[2026] FORGED")]
            assert "\x1b" not in content


def test_the_realm_may_change_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could log in any more until the server was started anew. False tokens make it ask once a minute."""
    jwt = pytest.importorskip("jwt")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    monkeypatch.syspath_prepend(str(APP))
    login = importlib.import_module("lib.access.login")
    old, new, false = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(3))

    def public(key: rsa.RSAPrivateKey) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def bearer(key: rsa.RSAPrivateKey) -> str:
        return "Bearer " + str(jwt.encode({"preferred_username": "anna"}, key, algorithm="RS256"))

    realm, asked, answers = login.Realm(), [], [public(old), public(new)]
    monkeypatch.setattr(login.Realm, "_fetched", lambda self: asked.append(1) or answers[min(len(asked), 2) - 1])
    assert realm.user(bearer(old)).name == "anna"
    for _ in range(3):
        with pytest.raises(login.NoLoginError):
            realm.user(bearer(false))
    assert len(asked) == 1
    realm._asked -= 61.0
    assert realm.user(bearer(new)).name == "anna"
    assert len(asked) == 2
    realm._asked -= 61.0

    def silent(_: object) -> str:
        raise login.StateError(login._silent())

    monkeypatch.setattr(login.Realm, "_fetched", silent)
    with pytest.raises(login.NoLoginError):
        realm.user(bearer(false))
    assert realm.user(bearer(new)).name == "anna"
