"""The picture is the one that is meant; a run that went away is no new one; clocks that jump keep no mask out."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.state.desk import Desk
from tests.support.label_server import Person, as_png, require_monailabel
from tests.support.people import a_mask
from tests.support.served import Served, make_served

requests = require_monailabel()
pytestmark = pytest.mark.label


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture()
def exchanged(served: Served) -> Iterator[tuple[str, str]]:
    """``train_03`` is another picture of the same size; both hashes."""
    path, other = served.studies / "train_03.png", served.studies / "train_05.png"
    keep, before = path.read_bytes(), digest(path)
    shutil.copy(other, path)
    yield before, digest(path)
    path.write_bytes(keep)


class TestExchangedPicture:
    def test_is_not_shown_predicted_or_drawn_on(
        self, served: Served, anna: Person, desk: Desk, exchanged: tuple[str, str]
    ) -> None:
        url = served.server.url
        answers = [
            anna.get("/datastore/image", image="train_03"), anna.get("/datastore/image/info", image="train_03"),
            anna.http.post(f"{url}/infer/joint?image=train_03"),
            anna.http.post(f"{url}/infer/wsi/joint?image=train_03", json={}),
            anna.http.post(f"{url}/annotation/skip", json={"image": "train_03"}),
            anna.send("train_03", as_png(a_mask())),
        ]  # fmt: skip
        for answer in answers:
            assert answer.status_code == 409, answer.text
            assert all(sha in answer.text for sha in exchanged), "both hashes are told"
        assert anna.http.head(f"{url}/datastore/image?image=train_03").status_code == 409
        assert not [row for row in desk.labels() if row.id == "train_03"]
        assert desk.refusals()[-1].id == "train_03"

    def test_that_it_was_refused_tells_no_path(self, served: Served, anna: Person, exchanged: tuple[str, str]) -> None:
        """The status shows refusals to everybody, also in the words in which the gate wrote them down."""
        assert anna.send("train_03", as_png(a_mask())).status_code == 409
        (last,) = [row["reason"] for row in anna.status()["refused"] if row["id"] == "train_03"][-1:]
        assert last.startswith("image of train_03 (train_03.png): file (SHA-256) changed")
        assert str(served.studies) not in anna.get("/annotation/status").text

    def test_is_not_handed_out(self, served: Served, desk: Desk, exchanged: tuple[str, str]) -> None:
        people = [Person(served.server, f"p{i}") for i in range(16)]
        found = [person.next() for person in people]
        handed = [one["id"] for one in found if "id" in one]
        assert "train_03" not in handed
        assert len(set(handed)) == len(handed) >= 10
        assert any("changed since the run read it" in str(one.get("passed_over")) for one in found)
        (last,) = [one for one in found if "id" not in one][:1] or [found[-1]]
        assert "train_03" in json.dumps(last)
        status = people[0].status()
        assert "changed since the run read it" in status["unusable"]["train_03"]
        for key, row in desk.leases(time.time()).items():
            desk.give_back(key, row.user)

    def test_brought_back_it_is_as_before(self, served: Served, anna: Person, desk: Desk) -> None:
        path = served.studies / "train_03.png"
        keep = path.read_bytes()
        shutil.copy(served.studies / "train_05.png", path)
        mask = as_png(a_mask(left=7))
        assert anna.send("train_03", mask).status_code == 409
        path.write_bytes(keep)  # with other times: the hash decides
        assert anna.send("train_03", mask).status_code == 200
        assert anna.infer("train_03", "image").shape == (64, 64)
        assert [row.id for row in desk.labels()][-1] == "train_03"

    def test_one_of_another_size_has_the_size_of_the_run_again_when_it_is_back(
        self, served: Served, anna: Person
    ) -> None:
        from PIL import Image

        path = served.studies / "train_14.png"
        keep = path.read_bytes()
        Image.new("RGB", (30, 20)).save(path)
        assert anna.get("/datastore/image/info", image="train_14").status_code == 409
        path.write_bytes(keep)
        found = anna.get("/datastore/image/info", image="train_14").json()
        assert (found["height"], found["width"]) == (64, 64)


class TestMissingPicture:
    @pytest.mark.parametrize("how", ["removed", "a folder", "a pipe", "a link out"])
    def test_is_passed_over_and_blocks_nobody(self, served: Served, desk: Desk, how: str) -> None:
        key = desk.waiting(0)[0]
        path = next(served.studies.glob(f"{key}.*"))
        keep = path.read_bytes()
        path.unlink()
        {"removed": lambda: None, "a folder": path.mkdir, "a pipe": lambda: os.mkfifo(path),
         "a link out": lambda: path.symlink_to("/etc/hostname")}[how]()  # fmt: skip
        carl = Person(served.server, f"carl {how}")
        try:
            found = carl.next()
            assert found["id"] != key
            assert "file of the image is gone" in found["passed_over"][key]
            assert str(served.studies) not in json.dumps(found)
            assert key not in desk.leases(time.time())
            assert "gone" in carl.status()["unusable"][key]
            assert carl.get("/datastore/image", image=key).status_code == 404
            assert carl.http.post(f"{served.server.url}/infer/joint?image={key}").status_code == 404
        finally:
            path.rmdir() if how == "a folder" else path.unlink(missing_ok=True)
            path.write_bytes(keep)
        desk.give_back(found["id"], carl.name)
        assert carl.next()["id"] == key
        desk.give_back(key, carl.name)


class TestClock:
    """The server's clock jumps, as seen in the leases that were given before."""

    @pytest.mark.parametrize("back", [5, 7200, 86_400])
    def test_back(self, served: Served, desk: Desk, back: float) -> None:
        key = desk.waiting(0)[0]
        desk.hand_out("clock", [key], now=time.time() + back)
        person = Person(served.server, "clock")
        answer = person.send(key, as_png(a_mask(left=int(back) % 37)))
        assert answer.status_code == 200, answer.text
        assert answer.json()["seconds"] == 0

    @pytest.mark.parametrize("back", [5, 7200, 86_400])
    def test_back_while_others_ask(self, served: Served, desk: Desk, back: float) -> None:
        key = desk.waiting(0)[0]
        desk.hand_out("ahead", [key], now=time.time() + back)
        found = Person(served.server, "other").next()
        assert found["id"] == key
        assert 1700 < found["lease_seconds"] <= 1800
        desk.give_back(key, "other")

    @pytest.mark.parametrize("ahead", [3600, 86_400])
    def test_a_lease_of_a_clock_that_was_ahead(self, served: Served, desk: Desk, ahead: float) -> None:
        key = desk.waiting(0)[0]
        desk.hand_out("ahead", [key], now=time.time() - 10)
        desk.hand_out("ahead", [key], now=time.time() + ahead)
        assert key not in [row["id"] for row in Person(served.server).status()["leases"]]
        assert Person(served.server, "other").next()["id"] == key
        desk.give_back(key, "other")


class TestRunThatWentAway:
    def test_is_an_error_and_never_a_new_run(self, tmp_path: Path) -> None:
        served = make_served(tmp_path)
        anna = Person(served.server)
        away = tmp_path / "elsewhere"
        try:
            served.server.start()
            assert anna.send("train_02", as_png(a_mask())).status_code == 200
            (tmp_path / "runs").rename(away)
            url = served.server.url
            answers = [
                anna.send("train_12", as_png(a_mask())), anna.http.post(f"{url}/train/joint"),
                anna.http.post(f"{url}/activelearning/queue", json={}), anna.get("/annotation/status"),
                anna.http.post(f"{url}/annotation/skip", json={"image": "train_12"}),
                anna.http.post(f"{url}/scoring/entropy"),
            ]  # fmt: skip
            for answer in answers:
                assert answer.status_code == 503, answer.text
                assert "the folder of the run is gone" in answer.json()["detail"]
            assert not (tmp_path / "runs" / "label_prop_seed0" / "state.sqlite").exists()
            shutil.rmtree(tmp_path / "runs", ignore_errors=True)
            away.rename(tmp_path / "runs")
            assert anna.send("train_12", as_png(a_mask())).status_code == 200
            assert anna.status()["pending"] == ["train_02", "train_12"]
        finally:
            served.server.close()

    def test_brought_back_from_an_older_copy_it_says_so(self, tmp_path: Path) -> None:
        served = make_served(tmp_path)
        anna, state = Person(served.server), served.run / "state.sqlite"
        try:
            served.server.start()
            shutil.copy(state, tmp_path / "copy")
            assert anna.send("train_02", as_png(a_mask())).status_code == 200
            for suffix in ("-wal", "-shm"):  # with the log it would be the newest again
                Path(f"{state}{suffix}").unlink(missing_ok=True)
            os.replace(tmp_path / "copy", state)
            answer = anna.send("train_12", as_png(a_mask()))
            assert answer.status_code == 503
            assert "state is older than its files" in answer.json()["detail"]
        finally:
            served.server.close()


class TestAllSkipped:
    def test_a_round_without_a_mask_is_told_and_asked_about(self, tmp_path: Path) -> None:
        served = make_served(tmp_path)
        anna, url = Person(served.server), served.server.url
        try:
            served.server.start()
            while waiting := anna.status()["waiting"]:  # for each that is skipped another may be asked for
                for key in waiting:
                    assert anna.http.post(f"{url}/annotation/skip", json={"image": key}).status_code == 200
            assert anna.status()["state"] == "undrawn"
            assert "round 0 has no mask: nobody drew one, all its images are skipped" in anna.next()["message"]
            answer = anna.http.post(f"{url}/train/joint")
            assert answer.status_code == 409
            assert "POST /train/joint?without_masks=true" in answer.json()["detail"]
        finally:
            served.server.close()


def test_a_training_that_failed_is_told(tmp_path: Path) -> None:
    served = make_served(tmp_path)
    served.server.command += ["--conf", "network_def#encoder", "no_such_encoder"]
    anna = Person(served.server)
    try:
        served.server.start()
        with Desk.open(served.run) as desk:
            for key in desk.waiting(0):
                anna.send(key, as_png(a_mask()))
        assert anna.http.post(f"{served.server.url}/train/joint").status_code == 200
        deadline = time.monotonic() + 60
        while anna.get("/train/").json()["status"] in ("SUBMITTED", "RUNNING") and time.monotonic() < deadline:
            time.sleep(0.2)
        task = anna.get("/train/").json()
        assert task["status"] == "ERROR"
        assert "exit code" in task["error"]
        told: dict[str, Any] = anna.status()["training"]
        assert (told["status"], told["error"]) == ("ERROR", task["error"])
        assert str(tmp_path) not in json.dumps([task, told])
        assert anna.http.post(f"{served.server.url}/train/joint").status_code == 200  # it can be tried again
    finally:
        served.server.close()
