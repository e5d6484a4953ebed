"""A short form of :mod:`tests.support.fuzz`, what its long form has found, and that it finds what it looks for."""

from __future__ import annotations

import gzip
import json
import os
import signal
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from scripts.core.errors import InputError
from scripts.data.datalist import read_datalist
from scripts.images.reading import image_size, read_image
from tests.support import fuzz, fuzz_forms, fuzz_gate
from tests.support.fuzz import FILES, GATE, Fuzzer, summary
from tests.support.fuzz_archives import whole_archive
from tests.support.fuzz_cases import IMAGES, MODELS, TABLES, Case, make_case, whole_files
from tests.support.fuzz_geojson import whole_geojson
from tests.support.fuzz_masks import SUFFIXES, whole_masks
from tests.support.fuzz_xml import whole_xml


def test_short_form() -> None:
    done = Fuzzer(seed=7, limit=20.0).run(range(400), progress=False)
    assert [outcome for outcome in done if outcome.result not in ("read", "refused")] == []
    assert sum(outcome.result == "read" for outcome in done) > 40
    assert "| **all** | 400 |" in summary(done)


def test_cases_depend_on_seed_and_number_alone() -> None:
    assert make_case(3, 14) == make_case(3, 14)
    assert len({make_case(seed, number).data for seed in (3, 4) for number in (14, 15)}) == 4
    assert {make_case(0, number).suffix for number in range(200)} >= {*IMAGES, *TABLES, *MODELS}


class TestGate:
    """What people hand in, by way of the folder of a run."""

    def test_short_form(self) -> None:
        done = Fuzzer(7, 20.0, GATE).run(range(250), progress=False)
        assert [outcome for outcome in done if outcome.result not in ("read", "refused")] == []
        outlines = {number for number in range(250) if GATE.make(7, number).kind == "outlines"}
        assert sum(outcome.result == "read" for outcome in done if outcome.number in outlines) > len(outlines) / 4
        assert "| outlines, geojson | " in summary(done)

    def test_cases_depend_on_seed_and_number_alone(self) -> None:
        assert GATE.make(3, 14) == GATE.make(3, 14)
        assert len({GATE.make(seed, number).data for seed in (3, 4) for number in (14, 15)}) == 4
        assert {GATE.make(0, number).suffix for number in range(200)} >= {"geojson", "json", "xml", "zip", *SUFFIXES}

    def test_files_that_are_spoiled_are_whole_before(self, tmp_path: Path) -> None:
        fuzz_gate.prepare(tmp_path)
        whole = [("geojson", json.dumps(content).encode()) for content in whole_geojson()]
        whole += [("json", json.dumps(content).encode()) for content in fuzz_forms.whole_json()]
        whole += [("xml", text.encode()) for text in (*whole_xml(), *fuzz_forms.whole_xml())]
        whole += [(suffix, data) for suffix in SUFFIXES for _, data in whole_masks(suffix)]
        whole += [("zip", whole_archive(fuzz_gate.IDS[0], data)) for _, data in whole_masks("png")]
        for number, (suffix, data) in enumerate(whole):
            case = Case("", suffix, data, "", f"anna/{fuzz_gate.IDS[0]}.{suffix}")
            assert fuzz_gate.read_case(case, tmp_path, number) == "read", (suffix, number)

    def test_a_mask_that_is_taken_in_silence_or_lost_is_found(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fuzz_gate.prepare(tmp_path)
        case = Case("mask", "png", whole_masks("png")[0][1], "", f"{fuzz_gate.IDS[0]}.png")
        monkeypatch.setattr("scripts.annotation.folder_oracle.found_files", lambda *_: [])
        with pytest.raises(AssertionError, match="neither taken nor refused"):
            fuzz_gate.read_case(case, tmp_path, 1)

    def test_a_case_that_takes_too_much_memory_is_found(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fuzz_gate.prepare(tmp_path)
        case = Case("mask", "png", whole_masks("png")[0][1], "", f"{fuzz_gate.IDS[0]}.png")
        monkeypatch.setattr(fuzz_gate, "MOST_BYTES", -1)
        with pytest.raises(AssertionError, match=r"took .* MiB"):
            fuzz_gate.read_case(case, tmp_path, 1)

    def test_a_refusal_because_memory_ran_out_is_found(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def hungry(*_: Any, **__: Any) -> None:
            raise MemoryError

        fuzz_gate.prepare(tmp_path)
        case = Case("mask", "png", whole_masks("png")[0][1], "", f"{fuzz_gate.IDS[0]}.png")
        monkeypatch.setattr(Image, "open", hungry)
        with pytest.raises(AssertionError, match="memory"):
            fuzz_gate.read_case(case, tmp_path, 1)


@pytest.mark.parametrize("suffix", [*IMAGES, *TABLES, *MODELS])
def test_files_that_are_spoiled_are_whole_before(suffix: str, tmp_path: Path) -> None:
    fuzz.prepare(tmp_path)
    kind = suffix if suffix in TABLES else "model" if suffix in MODELS else "image"
    for number, (name, data) in enumerate(whole_files(suffix)):
        case = fuzz.Case(kind, suffix, data, name)
        expected = "refused" if name == "pages" and suffix in ("png", "tif") else "read"
        assert fuzz.read_case(case, tmp_path, number) == expected, name


class TestItFinds:
    @pytest.mark.parametrize(
        ("fault", "result", "text"),
        [
            (lambda: {}["x"], "error", "KeyError"),
            (lambda: os._exit(7), "crash", "ended with 7"),
            (lambda: os.kill(os.getpid(), signal.SIGKILL), "crash", "ended with -9"),
            (lambda: time.sleep(60), "hang", "more than 1 s"),
            (lambda: bytearray(2**33), "error", "MemoryError"),
        ],
    )
    def test_each_kind_of_fault_and_goes_on(self, fault: Callable[[], Any], result: str, text: str) -> None:
        def reading(case: fuzz.Case, folder: Path, number: int) -> str:
            if number == 2:
                fault()
            return "read"

        done = Fuzzer(0, 1.0, replace(FILES, read=reading)).run(range(5), progress=False)
        assert [outcome.number for outcome in done] == list(range(5))
        assert [outcome.result for outcome in done] == ["read", "read", result, "read", "read"]
        assert text in done[2].text

    def test_a_loader_that_breaks_its_promise(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(fuzz, "read_image", lambda _: np.zeros((3, 4, 3)))
        with pytest.raises(AssertionError, match="float64"):
            fuzz.read_case(fuzz.Case("image", "png", whole_files("png")[0][1], ""), tmp_path, 0)


# ---- what the long form has found ---------------------------------------------------------------------------------


def png(chunks: list[tuple[bytes, bytes]], lengths: dict[int, int] | None = None) -> bytes:
    parts = []
    for number, (name, content) in enumerate(chunks):
        size = (lengths or {}).get(number, len(content))
        parts.append(struct.pack(">I", size) + name + content + struct.pack(">I", zlib.crc32(name + content)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def turned_to(orientation: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.new("RGB", (6, 4), "pink").save(path, exif=exif)

    return write


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("size", [0, 1, 3, 100, 347, 351, 360])
def test_nifti_that_ends_in_its_header(suffix: str, size: int, tmp_path: Path) -> None:
    whole = nibabel.Nifti1Image(np.ones((4, 5), np.uint8), np.eye(4)).to_bytes()[:size]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(whole) if suffix == ".nii.gz" else whole)
    with pytest.raises(InputError):
        read_image(path)


@pytest.mark.parametrize("offset", [1e30, float("inf"), float("nan"), -1.0, 1e9])
@pytest.mark.parametrize("at", [76, 108, 112])  # size of a pixel, offset of the data, slope
def test_nifti_with_numbers_beyond_all_bounds(offset: float, at: int, tmp_path: Path) -> None:
    whole = bytearray(nibabel.Nifti1Image(np.ones((4, 5), np.uint8), np.eye(4)).to_bytes())
    whole[at : at + 4] = struct.pack("<f", offset)
    (tmp_path / "a.nii").write_bytes(whole)
    case = fuzz.Case("image", "nii", bytes(whole), "")
    assert fuzz.read_case(case, tmp_path, 0) in ("read", "refused")


@pytest.mark.parametrize("orientation", [0, 9, 255, 65535])
def test_orientations_that_do_not_exist_turn_nothing(orientation: int, tmp_path: Path) -> None:
    turned_to(orientation)(tmp_path / "a.jpg")
    assert image_size(tmp_path / "a.jpg") == read_image(tmp_path / "a.jpg").shape[:2] == (4, 6)


def test_a_chunk_that_asks_for_more_memory_than_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(*_: Any, **__: Any) -> None:
        raise MemoryError

    header = (b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(png([header, (b"tEXt", b"x"), (b"IEND", b"")], {1: 2**31 - 1}))
    with pytest.raises(InputError):
        read_image(tmp_path / "a.png")
    Image.new("L", (4, 4)).save(tmp_path / "b.png")
    monkeypatch.setattr(Image, "open", hungry)
    with pytest.raises(InputError, match="not enough memory"):
        read_image(tmp_path / "b.png")


def table(folder: Path, name: str, data: bytes) -> Path:
    fuzz.prepare(folder)
    (folder / name).write_bytes(data)
    return folder / name


@pytest.mark.parametrize("column", ["image", "mask", "label", "split", "id", "patient_id"])
def test_halves_of_characters(column: str, tmp_path: Path) -> None:
    entry = {"image": "a.png", "label": "x", column: "\ud800"}
    path = table(tmp_path, "t.json", json.dumps([entry]).encode())
    with pytest.raises(InputError, match="half of a character") as caught:
        read_datalist(path, progress=False)
    assert str(caught.value).encode()


def test_halves_of_characters_in_an_entry_that_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "t.json", json.dumps([{"image": ["\ud800"]}]).encode())
    with pytest.raises(InputError) as caught:
        read_datalist(path, progress=False)
    assert str(caught.value).encode()


@pytest.mark.parametrize("name", ["a" * 300 + ".png", "a/" * 3000 + "a.png"])
def test_names_that_are_too_long_for_a_file(name: str, tmp_path: Path) -> None:
    path = table(tmp_path, "t.csv", f"image,label\n{name},x".encode())
    with pytest.raises(InputError):
        read_datalist(path, progress=False)
    with pytest.raises(InputError, match="table is missing"):
        read_datalist(tmp_path, table=name, progress=False)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"training": ' * 50_000, "9" * 10_000, '[{"image": ' + "[" * 99_999])
def test_json_that_is_nested_too_deep_or_a_huge_number(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read_datalist(table(tmp_path, "t.json", text.encode()), progress=False)
