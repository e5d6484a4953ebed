"""What people hand in, spoiled, by the way that it comes: a folder of masks, the gate, the desk of a run.

Each case is one file in the folder of a run that asks for all its training images. It must end as a mask in the state
or as a refusal. Anything else is a finding, and so is a gigabyte in memory, whether the file is taken or refused. A run
is copied for each case, so that no case depends on those before it.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

from scripts.annotation.folder_oracle import FolderOracle
from scripts.annotation.gate import Gate
from scripts.core.run_names import RunFile
from scripts.images.png import png_to_mask
from scripts.state.reader import StateReader
from tests.support import fuzz_forms
from tests.support.fuzz_archives import spoiled_archive
from tests.support.fuzz_cases import Case, spoiled_bytes
from tests.support.fuzz_geojson import spoiled_geojson
from tests.support.fuzz_masks import SIDE, SUFFIXES, spoiled_mask
from tests.support.fuzz_xml import spoiled_xml
from tests.support.people import asking_run
from tests.support.tiny_runs import make_images, open_tiny

MOST_BYTES = 2**30
"""What a case may take in memory."""
KINDS = {"geojson": 4, "json": 4, "xml": 6, "zip": 6, "skip": 1, "mask": 4}
"""Kind -> how often it comes."""
IDS = tuple(f"train_{number:02d}" for number in range(4))
IN_NIFTI = IDS[3]
"""The one image that is a NIfTI file, so that headers of masks tell where they lie."""
PEOPLE = (
    "anna", "Dr. Ä", "x" * 120, "x" * 200, "a/b/c", " ", "-rf", "train_00.png", "\u202eanna", "\x1b[2J", "a\nb",
    "\udcff", "\U0001f600", "%00", "'; DROP TABLE labels", "round_00", "nul", "a..", "\u0301",
)  # fmt: skip
NAMES = (
    "nobody", "test_00", "TRAIN_00", "train%5F00", "train_00%00", "%ED%A0%80", "train_00.png", "train_00 ", "\udcff",
    "\u202etrain_00", "x" * 240, "%2E%2E%2Ftrain_00", "train_00\n", "\u0661", "%", "train_00.",
)  # fmt: skip
_REASONS = (b"", b"folded tissue", "gefaltet: \u202e Ä".encode(), b"x" * 3000, b"\xff\xfe\0\0", b"a\0b\x1b[2J\n" * 9)


def make_case(seed: int, number: int) -> Case:
    """Return the case of this number."""
    rng = random.Random(f"gate:{seed}:{number}")
    suffix = rng.choices(tuple(KINDS), tuple(KINDS.values()))[0]
    kind = {"zip": "archive", "skip": "skip", "mask": "mask"}.get(suffix, "outlines")
    if suffix == "mask":
        suffix = rng.choice(SUFFIXES)
    data, how = spoiled_file(suffix, rng)
    if rng.random() < 0.02:  # a suffix that does not tell what is inside
        kind, suffix = "misnamed", rng.choice((*SUFFIXES, "geojson", "xml", "zip", "skip", "GeoJSON", "jpg", "nii.GZ"))
    # Only NIfTI may have another size than its image, where that is NIfTI too.
    name = rng.choice(IDS) if suffix.startswith("nii") else rng.choice(IDS[:3])
    name = rng.choice(NAMES) if rng.random() < 0.03 else name
    person = f"{rng.choice(PEOPLE)}/" if rng.random() < 0.15 else ""
    return Case(kind, suffix, data, how, f"{person}{name}.{suffix}")


def spoiled_file(suffix: str, rng: random.Random) -> tuple[bytes, str]:
    """Return the bytes of a spoiled file, and what was done to it."""
    if suffix in ("geojson", "json"):
        return spoiled_geojson(rng, fuzz_forms.whole_json() if suffix == "json" else ())
    if suffix == "xml":
        return spoiled_xml(rng, fuzz_forms.whole_xml() if rng.random() < 0.5 else ())
    if suffix == "zip":
        return spoiled_archive(rng, IDS[:3], spoiled_file)
    if suffix == "skip":
        data = rng.choice(_REASONS)
        return (spoiled_bytes(data, rng), "reason, spoiled") if rng.random() < 0.5 else (data, "reason")
    return spoiled_mask(suffix, rng)


def prepare(folder: Path) -> None:
    """Put the images and the run in place that cases are copied from."""
    data = make_images(folder / "data", {"train": len(IDS), "val": 2, "test": 2}, side=SIDE)
    with Image.open(data / f"{IN_NIFTI}.png") as picture:
        pixels = np.asarray(picture.convert("L")).T.copy()
    nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), data / f"{IN_NIFTI}.nii")
    table = (data / "data.csv").read_text().replace(f"{IN_NIFTI}.png", f"{IN_NIFTI}.nii")
    (data / "data.csv").write_text(table)
    with _without_waiting_for_the_disk():
        asking_run(folder / "run", gate_of(folder).data, IDS)


@cache
def gate_of(folder: Path) -> Gate:
    """The gate to the run of :func:`prepare`."""
    return Gate(open_tiny(folder / "data"))


def read_case(case: Case, folder: Path, number: int) -> str:
    """Hand a case in; return ``"read"`` or ``"refused"``, raise anything that is a finding.

    Raises:
        AssertionError: neither of the two, or the state has what it must not have.
    """
    run, gate, before = folder / f"case{number % 100}", gate_of(folder), _peak()
    shutil.copytree(folder / "run", run)
    path = run / RunFile.TO_ANNOTATE / "round_00" / "masks" / case.place
    path.parent.mkdir(parents=True)
    path.write_bytes(case.data)
    try:
        with _without_waiting_for_the_disk():
            oracle = FolderOracle(gate)
            oracle.collect(run)
            taken = _taken(run, gate)
            if number % 8 == 0:
                oracle.collect(run)
                assert _taken(run, gate) == taken, "a second look takes something again"
        told = [text for _, text in oracle._told]
    finally:
        shutil.rmtree(run)
    assert _peak() - before < MOST_BYTES, f"took {(_peak() - before) // 2**20} MiB"
    for text in told:
        assert text.encode()
        assert "memory" not in text, text
    assert taken or told, "neither taken nor refused"
    return "read" if taken else "refused"


def _peak() -> int:
    """Most bytes that this process has had in memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _taken(run: Path, gate: Gate) -> list[str]:
    """Return what the state has got, after a look at all of it."""
    with StateReader.open(run) as state:
        labels, skips, refusals = state.labels(), list(state.skipped().values()), state.refusals()
        for row in (*labels, *skips, *refusals):
            assert json.dumps(asdict(row), ensure_ascii=False, allow_nan=False).encode(), row
        for row in labels:
            mask = png_to_mask(state.read_blob(row.blob))
            assert mask.dtype == np.uint8, mask.dtype
            assert mask.shape == gate.data.store.original_size(row.id), mask.shape
            assert set(np.unique(mask)) <= {0, 1, 255}, np.unique(mask)
            assert 0 <= row.seconds <= 86_400, row
            assert row.user.isprintable() and row.user, row
    return [repr(row) for row in (*labels, *skips)]


@contextmanager
def _without_waiting_for_the_disk() -> Iterator[None]:
    real, os.fsync = os.fsync, lambda _: None
    try:
        yield
    finally:
        os.fsync = real
