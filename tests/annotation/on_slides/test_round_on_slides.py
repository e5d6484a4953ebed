"""Rounds over regions of slides: what goes out as GeoJSON, what comes back drawn on the slide."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scripts.active.rounds
from scripts.annotation.found_files import Found
from scripts.annotation.gate import Gate
from scripts.annotation.on_slides.coming_back import on_regions
from scripts.annotation.on_slides.going_out import places_of
from scripts.core.errors import InputError
from scripts.data.run_data import RunData, open_data
from scripts.images.drawn.pixel_borders import objects
from scripts.images.png import png_to_mask
from scripts.images.slide_files.box import Box
from scripts.state.desk import Desk
from scripts.state.reader import StateReader
from tests.support.regions import SIDE, make_pool
from tests.support.tiny_runs import FakeLearner, fake_theta0, tiny_loop, what_happened


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    return open_data(str(make_pool(tmp_path_factory.mktemp("slides"))), image_size=(SIDE, SIDE))


@pytest.fixture(autouse=True)
def learners(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(scripts.active.rounds, "Learner", FakeLearner)
    monkeypatch.setattr(scripts.active.rounds, "theta0", fake_theta0)
    yield


def person(data: RunData, output: Path, **changes: Any) -> Any:
    return tiny_loop(data, output, **{"oracle": "folder", "active#rounds": 2, **changes})


def asked(loop: Any) -> tuple[int, list[str]]:
    with StateReader.open(loop.folder) as state:
        at = state.open_round()
        assert at is not None
        return at, state.waiting(at)


def round_of(loop: Any, index: int) -> Path:
    return loop.folder / "to_annotate" / f"round_{index:02d}"


def slide_files(loop: Any, index: int) -> dict[str, list[dict[str, Any]]]:
    files = (round_of(loop, index) / "slides").glob("*.geojson")
    return {path.stem: json.loads(path.read_text())["features"] for path in files}


def is_rectangle(feature: dict[str, Any]) -> bool:
    return "name" in feature["properties"]


def polygon(ring: np.ndarray, kind: str = "gland", **properties: Any) -> dict[str, Any]:
    closed = np.concatenate([ring, ring[:1]]).tolist()
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [closed]},
            "properties": {"classification": {"name": kind}, **properties}}  # fmt: skip


def square(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=float)


def hand_in(folder: Path, name: str, features: list[dict[str, Any]]) -> None:
    path = folder / "masks" / f"{name}.geojson"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def true_polygons(data: RunData, key: str) -> list[dict[str, Any]]:
    mask, area = data.store.true_mask(key), places_of(data.datalist)[key].region.area
    assert mask is not None
    found = []
    for rings in objects(mask == 1):
        moved = [np.add(ring, (area.left, area.top)) for ring in rings]
        closed = [np.concatenate([ring, ring[:1]]).tolist() for ring in moved]
        found.append({"type": "Feature", "geometry": {"type": "Polygon", "coordinates": closed}, "properties": {}})
    return found


class TestARound:
    def test_rectangles_go_out_with_the_proposals_inside(
        self, pool: RunData, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        loop = person(pool, tmp_path)
        loop.run()
        _, ids = asked(loop)
        files, places = slide_files(loop, 0), places_of(pool.datalist)
        assert {place.slide.stem for key, place in places.items() if key in ids} == set(files)
        for slide, features in files.items():
            for feature in filter(is_rectangle, features):
                key, ring = feature["properties"]["name"], np.array(feature["geometry"]["coordinates"][0])
                assert key in ids and key.startswith(slide)
                area = places[key].region.area
                assert ring.min(axis=0).tolist() == [area.left, area.top]
                assert ring.max(axis=0).tolist() == [area.right, area.bottom]
        assert sum(map(is_rectangle, [f for features in files.values() for f in features])) == len(ids)
        assert "import the files in" in caplog.text and "QuPath" in caplog.text
        assert "is background" in (round_of(loop, 0) / "slides" / "README.txt").read_text()

    def test_what_goes_out_can_be_handed_in_as_it_is(self, pool: RunData, tmp_path: Path) -> None:
        loop = person(pool, tmp_path)
        loop.run()
        _, ids = asked(loop)
        for slide, features in slide_files(loop, 0).items():
            hand_in(round_of(loop, 0), slide, features)
        person(pool, tmp_path).run()
        with Desk.open(loop.folder) as desk:
            for row in desk.labels():
                start = png_to_mask((round_of(loop, 0) / "start" / f"{row.id}.png").read_bytes())
                np.testing.assert_array_equal(png_to_mask(desk.read_blob(row.blob)), start > 0)
            assert {row.id for row in desk.labels()} == set(ids)

    def test_true_outlines_on_the_slides_give_the_simulated_run(self, pool: RunData, tmp_path: Path) -> None:
        simulated = tiny_loop(pool, tmp_path / "s", **{"active#rounds": 2})
        simulated.run()
        earlier: dict[str, list[dict[str, Any]]] = {}
        for index in range(2):
            loop = person(pool, tmp_path / "p")
            loop.run()
            assert asked(loop)[0] == index
            for slide, features in slide_files(loop, index).items():
                kept = [each for each in features if is_rectangle(each)]
                drawn = [each for f in kept for each in true_polygons(pool, f["properties"]["name"])]
                earlier.setdefault(slide, []).extend([*kept, *drawn])  # QuPath keeps what was drawn before
                hand_in(round_of(loop, index), f"{slide} (1)", earlier[slide])
        loop = person(pool, tmp_path / "p")
        loop.run()
        ours, theirs = what_happened(loop.folder), what_happened(simulated.folder)
        for part in ("queries", "pseudo", "metrics"):
            assert ours[part] == theirs[part]
        assert all(row.version == 1 for row in ours["labels"]) and len(ours["labels"]) == len(theirs["labels"])

    def test_a_rectangle_that_was_deleted_is_asked_for_again(self, pool: RunData, tmp_path: Path) -> None:
        loop = person(pool, tmp_path)
        loop.run()
        _, ids = asked(loop)
        for slide, features in slide_files(loop, 0).items():
            hand_in(round_of(loop, 0), slide, [f for f in features if f["properties"].get("name") != ids[0]])
        person(pool, tmp_path).run()
        assert asked(loop) == (0, [ids[0]])


class TestWhatComesBack:
    @pytest.fixture
    def gate(self, pool: RunData) -> Gate:
        return Gate(pool)

    def masks(self, gate: Gate, tmp_path: Path, features: list[dict[str, Any]], name: str = "any") -> dict[str, Any]:
        hand_in(tmp_path, name, features)
        path = tmp_path / "masks" / f"{name}.geojson"
        found = on_regions(Found(path, path.name, ""), places_of(gate.data.datalist), gate.knows(name))
        return {each.key: gate.admit(each.key, each.path, lambda _: True).mask for each in found}

    def region(self, pool: RunData) -> tuple[str, Box]:
        key = next(item["id"] for item in pool.datalist.items if item["split"] == "train")
        return key, places_of(pool.datalist)[key].region.area

    def test_a_smaller_rectangle_limits_what_was_judged(self, pool: RunData, gate: Gate, tmp_path: Path) -> None:
        key, area = self.region(pool)
        left, top = area.left, area.top
        whole = polygon(square(left, top, area.right, area.bottom), "Region*", name=key)
        part = polygon(square(left + 10, top + 20, left + 40, top + 50), "", name=key)
        gland = polygon(square(left + 12, top + 22, left + 20, top + 30))
        mask = self.masks(gate, tmp_path, [whole, gland, part])[key]
        assert (mask[22:30, 12:20] == 1).all() and (mask[20:50, 10:40] != 255).all()
        assert (mask == 1).sum() == 64 and (mask == 255).sum() == SIDE * SIDE - 900

    def test_a_rectangle_with_nothing_in_it_is_background(self, pool: RunData, gate: Gate, tmp_path: Path) -> None:
        key, area = self.region(pool)
        mask = self.masks(gate, tmp_path, [polygon(square(area.left, area.top, area.right, area.bottom), name=key)])
        assert mask[key].shape == (SIDE, SIDE) and not mask[key].any()

    def test_shapes_are_cut_at_the_border_and_left_out_beyond(
        self, pool: RunData, gate: Gate, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        key, area = self.region(pool)
        around = polygon(square(area.left, area.top, area.right, area.bottom), name=key)
        half = polygon(square(area.left - 500, area.top - 500, area.left + 32, area.bottom + 500))
        far = polygon(square(area.right + 500, 0, area.right + 600, 10))
        mask = self.masks(gate, tmp_path, [around, half, far])[key]
        assert mask[:, :32].all() and not mask[:, 32:].any()
        assert "1 shapes lie in no rectangle and are left out: 2" in caplog.text
        assert "partly outside" not in caplog.text

    def test_refused(self, pool: RunData, gate: Gate, tmp_path: Path) -> None:
        key, area = self.region(pool)
        slide = places_of(pool.datalist)[key].slide.stem
        gland = polygon(square(area.left, area.top, area.left + 9, area.top + 9))
        away = polygon(square(area.right + 1, area.top, area.right + 9, area.bottom), name=key)
        triangle = polygon(square(area.left, area.top, area.right, area.bottom)[:3], name=key)
        for features, message in (
            ([gland], "no rectangle of a region in the file.*Export all objects"),
            ([away], "rectangle does not lie on its region"),
            ([triangle], "region's shape is no rectangle"),
        ):
            with pytest.raises(InputError, match=message):
                self.masks(gate, tmp_path, features, slide)

    def test_other_files_pass_as_they_are(self, pool: RunData, gate: Gate, tmp_path: Path) -> None:
        key, _ = self.region(pool)
        assert list(self.masks(gate, tmp_path, [polygon(square(3, 3, 9, 9))], key)) == [key]
        path = tmp_path / "a.png"
        (found,) = on_regions(Found(path, "a.png", "ann"), places_of(pool.datalist), False)
        assert (found.path, found.user) == (path, "ann")

    def test_a_region_is_no_mask(self, pool: RunData, gate: Gate) -> None:
        key, _ = self.region(pool)
        path = Path(next(item["image"] for item in pool.datalist.items if item["id"] == key))
        with pytest.raises(InputError, match="not a format of masks"):
            gate.admit(key, path, lambda _: True)
