"""The desk: who gets which image, what comes in, and that nothing is lost beside a run that works."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripts.core.errors import InputError, StateError
from scripts.state.desk import Desk
from scripts.state.rows import RefusalRow
from scripts.state.run_state import RunState
from tests.support.people import TRAIN, a_label, asking_run, png

ASKED = ("train_00", "train_01", "train_02")


@pytest.fixture()
def folder(tmp_path: Path, shapes_data: Any) -> Path:
    reserves = [("train_04", None), ("train_03", None)]
    return asking_run(tmp_path / "run", shapes_data, ASKED, reserves=reserves)


@pytest.fixture()
def desk(folder: Path) -> Iterator[Desk]:
    with Desk.open(folder) as opened:
        yield opened


class TestLeases:
    def test_two_people_never_get_the_same_image(self, desk: Desk) -> None:
        users = [f"u{i}" for i in range(4)]
        found = [desk.hand_out(user) for user in users]
        assert [lease and lease.id for lease in found] == [*ASKED, None]

    def test_who_asks_again_gets_the_same_image_for_longer(self, desk: Desk) -> None:
        first = desk.hand_out("a", seconds=10, now=100.0)
        again = desk.hand_out("a", seconds=10, now=105.0)
        assert first and again and (again.id, again.since, again.until) == (first.id, 100.0, 115.0)

    def test_an_expired_lease_is_served_again_in_the_same_order(self, desk: Desk) -> None:
        desk.hand_out("a", seconds=10, now=100.0)
        desk.hand_out("b", seconds=99, now=100.0)
        lease = desk.hand_out("c", seconds=10, now=110.0)
        assert lease and lease.id == "train_00"
        assert list(desk.leases(110.0)) == ["train_01", "train_00"]

    def test_given_back(self, desk: Desk) -> None:
        desk.hand_out("a")
        assert not desk.give_back("train_00", "b")
        assert desk.give_back("train_00", "a")
        lease = desk.hand_out("b")
        assert lease and lease.id == "train_00"

    def test_any_order_of_ones_own(self, desk: Desk) -> None:
        desk.submit(a_label("train_05"), png())
        desk.skip("train_06", "a")
        lease = desk.hand_out("a", order=["train_05", "train_06", "train_07"])
        assert lease and lease.id == "train_07"
        with pytest.raises(StateError, match="test_00: only training images"):
            desk.hand_out("a", order=["test_00"])

    def test_both_answers_are_kept_when_two_come(self, desk: Desk) -> None:
        desk.hand_out("a", seconds=10, now=100.0)
        desk.hand_out("b", seconds=10, now=200.0)
        rows = [desk.submit(a_label("train_00", user), png(left)) for user, left in (("a", 10), ("b", 12))]
        assert [row.version for row in rows] == [1, 2]
        assert [row.user for row in desk.pending()] == ["a", "b"]
        assert desk.leases(201.0) == {}

    @pytest.mark.parametrize("back", [5, 7200, 86_400])
    def test_the_clock_goes_back_and_who_asks_gets_an_image(self, desk: Desk, back: float) -> None:
        desk.hand_out("a", seconds=1800, now=200_000.0)
        assert desk.leases(200_000.0 - back) == {}  # it begins in the future
        again = desk.hand_out("b", seconds=1800, now=200_000.0 - back)
        assert again and (again.id, again.since) == ("train_00", 200_000.0 - back)
        first = desk.hand_out("a", seconds=1800, now=200_001.0 - back)
        assert first and first.id == "train_01"

    def test_a_lease_outlives_small_corrections_of_the_clock(self, desk: Desk) -> None:
        desk.hand_out("a", seconds=1800, now=200_000.0)
        lease = desk.hand_out("a", seconds=1800, now=199_999.2)
        assert lease and (lease.id, lease.since, lease.until) == ("train_00", 199_999.2, 201_799.2)
        other = desk.hand_out("b", seconds=1800, now=199_999.2)
        assert other and other.id == "train_01"

    @pytest.mark.parametrize("ahead", [7200, 86_400])
    def test_a_clock_that_was_ahead_holds_no_image_when_it_is_right_again(self, desk: Desk, ahead: float) -> None:
        desk.hand_out("a", seconds=1800, now=1000.0)
        desk.hand_out("a", seconds=1800, now=1000.0 + ahead)  # taken anew, or for longer
        desk.hand_out("c", seconds=1800, now=1001.0 + ahead)
        found = desk.hand_out("b", seconds=1800, now=1010.0)
        assert found and found.id == "train_00"

    def test_a_lease_that_was_made_longer_by_a_clock_ahead(self, desk: Desk) -> None:
        desk.hand_out("a", seconds=1800, now=1000.0)
        longer = desk.hand_out("a", seconds=1800, now=2700.0)
        assert longer and longer.since == 1000.0
        assert desk.leases(1010.0, 1800) == {}  # it would last 3490 s
        assert list(desk.leases(2710.0, 1800)) == ["train_00"]

    def test_threads_get_different_images(self, folder: Path) -> None:
        found: list[Any] = []

        def ask(user: str) -> None:
            with Desk.open(folder) as own:
                found.append(own.hand_out(user, order=TRAIN))

        threads = [threading.Thread(target=ask, args=(f"u{i}",)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(lease.id for lease in found) == TRAIN

    def test_nothing_is_asked_while_the_round_trains(self, folder: Path, desk: Desk) -> None:
        with RunState.open(folder) as state:
            state.commit(0, "oracle", claim=True)
        assert desk.open_round() is None
        assert desk.hand_out("a") is None


class TestSubmit:
    def test_who_when_how_long_and_how_much(self, desk: Desk) -> None:
        row = desk.submit(a_label("train_00", said="a", origin="x.png", origin_sha256="f"), png(), now=1000.0)
        (found,) = desk.pending()
        assert found == row == replace(row, round=None, version=1, at="1970-01-01T00:16:40+00:00")
        assert desk.read_blob(found.blob) == desk.mask_path(found.blob).read_bytes() == png()
        assert desk.was_taken("x.png", "f")
        assert not desk.was_taken("x.png", "e")

    def test_a_file_that_is_again_what_it_was_before_counts_again(self, desk: Desk) -> None:
        """Who puts an earlier mask back over a later one was not heard: the run learned from the later one."""
        for digest in ("first", "second"):
            desk.submit(a_label("train_00", origin="x.png", origin_sha256=digest), png())
        assert not desk.was_taken("x.png", "first")
        assert desk.was_taken("x.png", "second")

    def test_time_since_the_lease_is_taken_where_none_is_told(self, desk: Desk) -> None:
        desk.hand_out("a", seconds=50, now=100.0)
        assert desk.submit(a_label("train_00", "a", seconds=0.0), png(), now=142.0).seconds == 42.0
        desk.hand_out("a", seconds=50, now=200.0)
        assert desk.submit(a_label("train_01", "a", seconds=0.0), png(), now=900.0).seconds == 50.0
        assert desk.submit(a_label("train_02", "a", seconds=0.0), png()).seconds == 0.0

    @pytest.mark.parametrize("back", [0.5, 5, 7200, 86_400])
    def test_the_clock_goes_back_while_somebody_draws(self, desk: Desk, back: float) -> None:
        desk.hand_out("a", seconds=1800, now=200_000.0)
        row = desk.submit(a_label("train_00", "a", seconds=0.0), png(), now=200_000.0 - back)
        assert (row.seconds, row.version) == (0.0, 1)
        assert desk.leases(200_000.0) == {}

    def test_only_training_images(self, desk: Desk) -> None:
        with pytest.raises(StateError, match="val_00: only training images"):
            desk.submit(a_label("val_00"), png())
        with pytest.raises(StateError, match="not a finite number"):
            desk.submit(a_label("train_00", seconds=float("nan")), png())
        assert desk.pending() == []

    def test_a_mask_gives_a_skipped_image_back(self, desk: Desk) -> None:
        desk.skip("train_00", "a", "blurred")
        desk.submit(a_label("train_00"), png())
        assert desk.skipped() == {}

    def test_refusals_are_kept_once(self, desk: Desk) -> None:
        row = RefusalRow("train_00", "a", "", "x.png", "f", "mask is empty")
        desk.refuse(row)
        desk.refuse(row)
        desk.refuse(replace(row, origin_sha256="e"))
        assert [found.origin_sha256 for found in desk.refusals()] == ["f", "e"]
        assert [found.origin_sha256 for found in desk.refusals(1)] == ["e"]  # the last, for who asks often
        assert desk.waiting(0) == list(ASKED)  # it costs nothing, and the image is still asked for


class TestBesideARun:
    def test_a_mask_waits_for_the_next_round(self, folder: Path, desk: Desk) -> None:
        desk.submit(a_label("train_00"), png())
        with RunState.open(folder) as state:
            state.commit(0, "oracle", claim=True)
            desk.submit(a_label("train_00", "second"), png(12))  # while the round trains
            assert [row.user for row in state.drawn(0)["train_00"]] == ["ann"]
            assert [row.user for row in state.pending()] == ["second"]
            state.commit(1, "oracle", claim=True)
            assert [row.user for row in state.drawn(1)["train_00"]] == ["ann", "second"]
            assert [row.user for row in state.drawn(0)["train_00"]] == ["ann"]

    def test_the_start_of_a_run_removes_nothing_of_the_desk(self, folder: Path, desk: Desk) -> None:
        stop = threading.Event()
        sent = []

        def send() -> None:
            while not stop.is_set():
                sent.append(desk.submit(a_label("train_00"), png(len(sent) % 30)).blob)

        thread = threading.Thread(target=send)
        thread.start()
        for _ in range(20):
            RunState.open(folder).close()
        stop.set()
        thread.join()
        with RunState.open(folder) as state:
            assert [row.blob for row in state.labels()] == sent
            assert all(state.read_blob(name) for name in sent)

    def test_needs_a_run(self, tmp_path: Path) -> None:
        with pytest.raises(StateError, match=r"holds no run.*start the run first"):
            Desk.open(tmp_path)
        assert list(tmp_path.iterdir()) == []


class TestSkips:
    def test_a_reserve_of_the_class_stands_in(self, desk: Desk) -> None:
        assert desk.skip("train_01", "a", "out of focus", "x.skip")
        assert not desk.skip("train_01", "b")
        assert desk.asked(0) == ["train_00", "train_02", "train_03"]
        assert desk.skipped()["train_01"].reason == "out of focus"

    def test_undone(self, desk: Desk) -> None:
        desk.skip("train_01", "a", "", "x.skip")
        row = desk.unskip("train_01")
        assert row and row.user == "a"
        assert desk.unskip("train_01") is None
        assert desk.asked(0) == list(ASKED)
        assert desk.was_given_back("x.skip")

    def test_undone_and_forgotten(self, desk: Desk) -> None:
        desk.skip("train_01", "a", "", "x.skip")
        desk.unskip("train_01", forget=True)
        assert not desk.was_given_back("x.skip")

    def test_remembered_over_a_restart(self, folder: Path, desk: Desk) -> None:
        desk.skip("train_01", "a")
        with RunState.open(folder) as state:
            assert list(state.skipped()) == ["train_01"]

    def test_an_image_with_a_mask_is_not_skipped(self, desk: Desk) -> None:
        desk.submit(a_label("train_00"), png())
        with pytest.raises(InputError, match="has a mask already"):
            desk.skip("train_00", "a")

    def test_a_lease_ends(self, desk: Desk) -> None:
        desk.hand_out("a")
        desk.skip("train_00", "a")
        lease = desk.hand_out("a")
        assert lease and lease.id == "train_01"


class TestScores:
    def test_the_last_ones_stay(self, desk: Desk) -> None:
        desk.put_scores("entropy", "m1", {"train_00": 0.5, "train_01": 0.25})
        desk.put_scores("entropy", "m2", {"train_02": 0.75})
        assert (desk.scores("entropy"), desk.scored_model("entropy")) == ({"train_02": 0.75}, "m2")
        assert (desk.scores("none"), desk.scored_model("none")) == ({}, None)

    def test_of_other_images_or_no_numbers(self, desk: Desk) -> None:
        with pytest.raises(StateError, match="only training images"):
            desk.put_scores("entropy", "m", {"test_00": 0.5})
        with pytest.raises(StateError, match="entropy of train_00: is not a finite"):
            desk.put_scores("entropy", "m", {"train_00": float("nan")})


class TestKindsOfAnswers:
    def test_boxes_are_told_from_outlines_by_the_desk_the_run_and_after_a_restore(self, folder: Path) -> None:
        with Desk.open(folder) as desk:
            desk.submit(replace(a_label("train_00"), kind="box", objects=7), png())
            desk.submit(a_label("train_00"), png(1))
            desk.submit(a_label("train_01"), png(2))
            found = [(row.id, row.version, row.kind, row.objects) for row in desk.labels()]
        expected = [("train_00", 1, "box", 7), ("train_00", 2, "outline", 0), ("train_01", 1, "outline", 0)]
        assert found == expected
        with RunState.open(folder) as state:
            state.commit(0, "oracle", claim=True)
            assert [(row.id, row.version, row.kind, row.objects) for row in state.labels()] == expected

    def test_a_state_of_before_has_outlines_until_a_box_comes_in(self, folder: Path) -> None:
        with sqlite3.connect(folder / "state.sqlite") as db:
            db.execute("DROP TABLE answers")
        db.close()
        with Desk.open(folder) as desk:
            desk.submit(a_label("train_00"), png())
            assert [(row.kind, row.objects) for row in desk.labels()] == [("outline", 0)]
            desk.submit(replace(a_label("train_01"), kind="box", objects=2), png(1))
            assert [(row.kind, row.objects) for row in desk.labels()] == [("outline", 0), ("box", 2)]
