"""Whole rounds over HTTP, played by a person with the true masks; kills, and leases that end."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.core.lock import holder_of
from scripts.data.run_data import RunData, open_data
from scripts.state.desk import Desk
from scripts.state.reader import StateReader
from scripts.state.run_state import RunState
from tests.conftest import SHARED
from tests.support.label_server import ROOT, Person, Server, as_png, encoded, require_monailabel, serving
from tests.support.load import Predictions, slowest
from tests.support.people import a_mask, asking_run
from tests.support.tiny_runs import make_images, open_tiny

requests = require_monailabel()
pytestmark = pytest.mark.label

SMALL: dict[str, Any] = {
    "device": "cpu", "batch_size": 2, "max_epochs": 1, "epoch_length": 4, "val_interval": 1, "variants": 1,
    "network_def#decoder_channels": [8, 8, 8, 8, 8], "active#rounds": 2, "active#initial_per_class": 1,
    "active#max_overlays": 0, "active#stage0#overrides#max_epochs": 1, "active#stage0#overrides#epoch_length": 4,
}  # fmt: skip
GLAS = SHARED / "data" / "glas"


def overlay(folder: Path, **more: Any) -> Path:
    path = folder / "small.json"
    path.write_text(json.dumps({**SMALL, **more}))
    return path


def simulate(files: list[str], output: Path, **options: Any) -> Path:
    """Run the same run with masks from disk, as a user would; return its folder."""
    words = [word for key, value in {"output_dir": output, **options}.items() for word in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", str(files), *words]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # as the server: sums round otherwise with another number
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=one_thread)
    assert found.returncode == 0, found.stdout + found.stderr
    (state,) = output.glob("*/state.sqlite")
    return state.parent


@contextmanager
def states(played: dict[str, Any]) -> Iterator[tuple[RunState, RunState]]:
    """The states of the run that was played and of the simulated one."""
    ours, its = (StateReader.open(played[name]) for name in ("run", "simulated"))
    with ours, its:
        yield ours, its


def few_of_glas(path: Path) -> Path:
    """A table of 32 images of GlaS, half of each class."""
    rows = list(csv.DictReader((GLAS / "splits.csv").open()))
    wanted = {"train": 10, "val": 3, "test": 3}
    chosen = [
        row for label in ("benign", "malignant") for split, count in wanted.items()
        for row in [r for r in rows if r["label"] == label and r["split_paper"] == split][:count]
    ]  # fmt: skip
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "mask", "label", "split"])
        writer.writerows([row["image"], row["mask"], row["label"], row["split_paper"]] for row in chosen)
    return path


class TestTwoRounds:
    """A person plays a run of entropy to its end; then everything is that of the simulated run with the same seed."""

    @pytest.fixture(scope="class")
    def studies(self, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
        """Data folder, overlay, and what the table needs: images of GlaS where it is present, else small pictures."""
        folder = tmp_path_factory.mktemp("rounds")
        if GLAS.is_dir():
            table = few_of_glas(folder / "few.csv")
            return GLAS, overlay(folder, image_size=[96, 128]), {"data#table": str(table)}
        data = make_images(folder / "data", {"train": 16, "val": 4, "test": 4})
        return data, overlay(folder, image_size=[64, 64]), {}

    @pytest.fixture(scope="class")
    def played(
        self, studies: tuple[Path, Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[dict[str, Any]]:
        """What was seen while a person played, and the folders of both runs."""
        folder, small, reading = studies
        base = tmp_path_factory.mktemp("played")
        data = open_data(str(folder), **{key.removeprefix("data#"): value for key, value in reading.items()})
        conf = {"method": "entropy", "seed": 3, "ckpt": "none", **reading}
        with serving(folder, base / "runs", [str(small)], conf) as server:
            seen = self._play(server, data)
            options = {"dataset_dir": folder, "active#method": "entropy", "active#seed": 3, **reading}
            simulated = simulate(["bundle/configs/train.json", str(small)], base / "simulated", **options)
            run = base / "runs" / "entropy_seed3"
            yield {"seen": seen, "run": run, "server": server, "simulated": simulated, "data": data}

    def _play(self, server: Server, data: RunData) -> dict[str, Any]:
        anna, ben = Person(server, "anna"), Person(server, "ben")
        seen: dict[str, Any] = {"new": anna.status()["state"], "asked": [], "models": [], "masks": []}
        seen["first"] = anna.train()
        for at in (0, 1):
            if at:
                seen["scored"] = anna.score("entropy")
                seen["scored again"] = anna.score("entropy")["result"]
                with Desk.open(server.run_folder("entropy_seed3")) as desk:
                    seen["scores"] = desk.scores("entropy")
            for place in range(10):
                person = (anna, ben)[place % 2]
                found = person.next()
                if "id" not in found:
                    break
                seen["asked"].append(found)
                told = person.infer(found["id"])
                seen["models"].append(told["model"])
                seen["masks"].append(person.infer(found["id"], "image"))
                truth = data.store.true_mask(found["id"])
                assert truth is not None
                answer = person.send(found["id"], as_png(truth), **{"class": found["class"], "seconds": 5})
                assert answer.status_code == 200, answer.text
            seen[f"message {at}"] = found["message"]
            seen[f"trained {at}"] = self._train(server, anna, data, seen) if at == 0 else anna.train()
        last = seen["asked"][-1]["id"]
        seen["models"].append(anna.infer(last)["model"])
        seen["after"] = requests.post(f"{server.url}/train/joint", timeout=60)
        seen["status"], seen["info"] = anna.status(), anna.get("/info/").json()
        return seen

    def _train(self, server: Server, anna: Person, data: RunData, seen: dict[str, Any]) -> dict[str, Any]:
        """Train the first round; while it trains, ask, order another training, and hand a mask in again."""
        assert requests.post(f"{server.url}/train/joint", timeout=60).status_code == 200
        seen["second order"] = requests.post(f"{server.url}/train/joint", timeout=60)
        with StateReader.open(server.run_folder("entropy_seed3")) as state:
            assert state.open_round() == 0
        deadline = time.monotonic() + 60
        with Desk.open(server.run_folder("entropy_seed3")) as desk:
            while desk.open_round() is not None and time.monotonic() < deadline:
                time.sleep(0.05)
            key = seen["asked"][0]["id"]
            truth = data.store.true_mask(key)
            assert truth is not None
            seen["meanwhile"] = anna.send(key, encoded(truth.astype(np.uint8), "PNG"))  # other bytes, the same mask
            seen["next meanwhile"] = anna.next()
            assert desk.open_round() is None
        return anna.finished("/train/")

    def test_queries_are_those_of_the_simulated_run(self, played: dict[str, Any]) -> None:
        with (
            StateReader.open(played["run"]) as ours,
            StateReader.open(played["simulated"]) as its,
        ):
            assert ours.queries() == its.queries()
            assert len({row.id for row in ours.queries()}) == len(ours.queries()) >= 4
            asked = [(found["round"], found["rank"], found["id"]) for found in played["seen"]["asked"]]
            assert asked == [(row.round, row.rank, row.id) for row in its.queries()]

    def test_so_are_masks_models_and_metrics(self, played: dict[str, Any]) -> None:
        with (
            StateReader.open(played["run"]) as ours,
            StateReader.open(played["simulated"]) as its,
        ):
            assert ours.metrics() == its.metrics()
            blobs = {(row.id, row.round): row.blob[:64] for row in its.labels()}
            first = {(row.id, row.round): row.blob[:64] for row in ours.labels() if row.version == 1}
            assert first == blobs
            for at in (0, 1):
                assert ours.artifact(at, "weights_cycle0") == its.artifact(at, "weights_cycle0")

    def test_scores_are_those_that_the_run_chose_by(self, played: dict[str, Any]) -> None:
        scores = played["seen"]["scores"]
        with StateReader.open(played["simulated"]) as its:
            drawn = {row.id for row in its.labels(0)}
            asked = its.queries(1)
            train = {row.id for row in its.images() if row.split == "train"}
        assert set(scores) == train - drawn
        for row in asked:
            assert row.score == pytest.approx(scores[row.id], abs=1e-6)
        again = played["seen"]["scored again"]
        assert played["seen"]["scored"]["result"] == {**again, "scored": len(scores), "kept": 0}
        assert (again["scored"], again["kept"]) == (0, len(scores))  # the model is the same

    def test_what_a_person_sees(self, played: dict[str, Any]) -> None:
        seen = played["seen"]
        assert seen["new"] == "new"
        assert "has all its masks. Start the training: POST /train/joint." in seen["message 0"]
        first, second = seen["asked"][0], seen["asked"][-1]
        assert (first["user"], first["score"]) == ("anna", None)
        assert first["why"].startswith("chosen by lot from class ")
        assert second["why"].startswith(
            f"chosen by its score of {second['score']:.4f}, the model is among the least sure"
        )
        assert "images wait for a mask" in seen["first"]["result"]["message"]
        assert seen["first"]["details"] == []  # the log is not for everybody
        assert all(set(np.unique(mask)) <= {0, 1} for mask in seen["masks"])

    def test_the_best_round_answers(self, played: dict[str, Any]) -> None:
        models = played["seen"]["models"]
        metrics = played["seen"]["info"]["train_stats"]["joint"]["rounds"]
        best = max((0, 1), key=lambda at: (metrics[f"round {at}"]["val_dice"], at))
        per_round = len(models) // 2
        assert {model["from"] for model in models[:per_round]} == {"stage 0"}
        assert {model["round"] for model in models[per_round:-1]} == {0}
        assert models[-1]["round"] == best == played["seen"]["status"]["best_round"]
        assert models[-1]["val_dice"] == metrics[f"round {best}"]["val_dice"]

    def test_a_mask_that_came_while_it_trained_is_of_the_next_round(self, played: dict[str, Any]) -> None:
        seen = played["seen"]
        assert seen["meanwhile"].status_code == 200
        assert (seen["meanwhile"].json()["version"], seen["meanwhile"].json()["round"]) == (2, None)
        with StateReader.open(played["run"]) as state:
            rows = [row for row in state.labels() if row.id == seen["asked"][0]["id"]]
        assert [(row.version, row.round) for row in rows] == [(1, 0), (2, 1)]

    def test_one_training_at_a_time(self, played: dict[str, Any]) -> None:
        seen = played["seen"]
        assert seen["second order"].status_code == 409
        assert "a training goes on" in seen["second order"].json()["detail"]
        assert "a training goes on" in seen["next meanwhile"]["message"]
        assert seen["after"].status_code == 409
        assert "all 2 rounds are done" in seen["after"].json()["detail"]
        assert seen["status"]["state"] == "complete"

    def test_predictions_of_many_images(self, played: dict[str, Any]) -> None:
        """MONAI Label's batch inference keeps nothing here: a prediction is no mask of a person."""
        person = Person(played["server"])
        images = [found["id"] for found in played["seen"]["asked"][:2]]
        url = f"{played['server'].url}/batch/infer/joint"
        answer = person.http.post(url, json={"images": images, "max_workers": 1})
        assert answer.status_code == 200, answer.text
        found = person.finished("/batch/infer")["result"]
        assert set(found) == set(images)
        assert all(one["classification"]["class"] for one in found.values())
        with StateReader.open(played["run"]) as state:
            assert {row.user for row in state.labels()} == {"anna", "ben"}

    def test_thirty_predictions_and_a_pool_score_leave_the_others_their_second(self, played: dict[str, Any]) -> None:
        server, key = played["server"], played["seen"]["asked"][0]["id"]
        person, work = Person(server, "dora"), Predictions(server).start()
        assert person.http.post(f"{server.url}/scoring/mc_dropout", timeout=10).status_code == 200
        found = slowest(person, key, lambda: work.goes_on, most_s=30)
        assert max(found.values()) < 1.0, found
        assert work.end() == [200] * 30
        assert person.finished("/scoring/")["result"]["scored"] > 0

    def test_other_settings_are_refused_at_the_start(
        self, played: dict[str, Any], studies: tuple[Path, Path, dict[str, Any]]
    ) -> None:
        folder, small, reading = studies
        conf = {"method": "entropy", "seed": 3, "ckpt": "none", **reading, "max_epochs": 7, "batch_size": 3}
        server = Server(folder, played["run"].parent, [str(small)], conf)
        with pytest.raises(AssertionError) as found:
            server.start()
        for text in ("max_epochs: setting differs", "batch_size: setting differs", "found 7"):
            assert text in str(found.value)

    def test_a_worse_model_does_not_answer(self, played: dict[str, Any]) -> None:
        """The state says that a later round is worse: the earlier one answers, without a restart."""
        person = Person(played["server"])
        key = played["seen"]["asked"][0]["id"]
        with RunState.open(played["run"]) as state:
            worse = {**state.metrics(1)[1], "val_dice": -0.5}
            better = {**worse, "val_dice": 0.999}
            weights = {"weights_cycle0": state.artifact(0, "weights_cycle0")}
            state.commit(2, "evaluate", metrics=worse, artifacts=weights)
            before = person.infer(key)["model"]["round"]
            assert before in (0, 1)
            state.commit(3, "evaluate", metrics=better, artifacts=weights)
            assert person.infer(key)["model"]["round"] == 3


class TestKilled:
    def test_between_next_sample_and_submit(self, tmp_path: Path) -> None:
        """Killed with anna's image in her hands: hers after the restart, with the time she took; then leases end."""
        studies = make_images(tmp_path / "studies")
        asking_run(tmp_path / "runs" / "label_prop_seed0", open_tiny(studies), ("train_00", "train_01", "train_02"))
        server = Server(studies, tmp_path / "runs", conf={"lease_seconds": 2})
        anna, ben, carl = (Person(server, name) for name in ("anna", "ben", "carl"))
        try:
            server.start()
            first = anna.next()
            assert carl.send("train_02", as_png(a_mask())).status_code == 200
            server.kill()
            server.start()
            (lease,) = anna.status()["leases"] or [None]
            assert lease is None or lease["user"] == "anna"
            answer = anna.send(first["id"], as_png(a_mask()))
            assert answer.status_code == 200, answer.text
            assert 0 < answer.json()["seconds"] <= 2.0  # what was left of the lease
            assert set(anna.status()["pending"]) == {first["id"], "train_02"}
            # one image is left: whose lease has ended gets company, and both answers are kept
            assert anna.next()["id"] == "train_01"
            assert "all in other hands: train_01 (anna)" in ben.next()["message"]
            time.sleep(2.1)
            assert ben.next()["id"] == "train_01"
            assert [ben.send("train_01", as_png(a_mask())).json()["version"],
                    anna.send("train_01", as_png(a_mask(left=12))).json()["version"]] == [1, 2]  # fmt: skip
            assert "round 0 has all its masks" in anna.next()["message"]
            # both answers count: who drew is kept
            assert [row["annotator"] for row in anna.label_info("train_01")["versions"]] == ["ben", "anna"]
            self._changed_data_are_refused(server, studies)
        finally:
            server.close()

    @staticmethod
    def _changed_data_are_refused(server: Server, studies: Path) -> None:
        server.kill()
        (studies / "train_05.png").write_bytes((studies / "train_06.png").read_bytes())
        with pytest.raises(AssertionError, match=r"error: .*the run began with other data"):
            server.start()

    def test_while_it_trains(self, tmp_path: Path) -> None:
        """The training ends with its server, and the next order goes on where it was."""
        studies = make_images(tmp_path / "studies")
        more = {"image_size": [64, 64], "active#stage0#overrides#max_epochs": 400, "network_def#pretrained": False}
        server = Server(studies, tmp_path / "runs", [str(overlay(tmp_path, **more))])
        person = Person(server)
        lock = tmp_path / "runs" / "label_prop_seed0" / "lock"
        try:
            server.start()
            assert person.http.post(f"{server.url}/train/joint", timeout=60).status_code == 200
            deadline = time.monotonic() + 60
            while "stage 0:" not in server.text() and time.monotonic() < deadline:
                time.sleep(0.1)
            server.kill()
            while holder_of(lock) is not None and time.monotonic() < deadline:
                time.sleep(0.1)
            assert holder_of(lock) is None, "the training outlives its server"
            server.start()
            assert person.status()["state"] == "stopped"
            assert person.http.post(f"{server.url}/train/joint", timeout=60).status_code == 200
            stopped = person.http.delete(f"{server.url}/train/", timeout=60).json()  # a person may stop it too
            assert (stopped["status"], stopped["error"]) == ("STOPPED", None)
            assert holder_of(lock) is None
            assert person.status()["training"] == {"status": "STOPPED", "error": None}
        finally:
            server.close()


def test_what_cannot_be_served_is_told_without_frames(tmp_path: Path) -> None:
    studies = make_images(tmp_path / "studies")
    (studies / "data.csv").write_text("image,label\nnothing.png,a\n")
    with pytest.raises(AssertionError) as found:
        Server(studies, tmp_path / "runs").start()
    text = str(found.value)
    assert "nothing.png: file is missing" in text or "nothing.png: file cannot be read" in text
    assert "\nerror: " in text
    assert "Traceback" not in text
