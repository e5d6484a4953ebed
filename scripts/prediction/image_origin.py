"""Which labelled image lent an image of a run its pseudo-mask, read from the run's state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.core.errors import InputError
from scripts.core.files import file_sha256
from scripts.core.run_names import Stage
from scripts.images.files.names import image_stem, is_image_file
from scripts.images.png import png_to_mask
from scripts.images.targets import target_of_png
from scripts.state.reader import StateReader
from scripts.state.rows import PseudoRow


@dataclass(frozen=True)
class Pseudo:
    """A pseudo-mask and its donor.

    Attributes:
        donor: id of the labelled image.
        distance: Jensen-Shannon distance of the colour histograms, see :mod:`scripts.active.neighbours`.
        threshold: that cut the pseudo-mask.
        mask: (H, W) uint8 in {0, 1}, the pseudo-mask.
        donor_mask: the donor's oracle mask, uint8 in {0, 1, 255}; None where the state has none.
        donor_path: the donor's file; None where it was not found.
    """

    donor: str
    distance: float
    threshold: float
    mask: np.ndarray
    donor_mask: np.ndarray | None
    donor_path: Path | None


@dataclass(frozen=True)
class Origin:
    """What an image was to the model.

    Attributes:
        text: one sentence.
        id: of the image in the run, None where it is not one of its images.
        round: of the model, None for a file.
        pseudo: its pseudo-mask in that round, None where it had none.
    """

    text: str
    id: str | None = None
    round: int | None = None
    pseudo: Pseudo | None = None


def origin_of(image: Path, run_folder: Path | None, round: int | None, dataset_dir: Path | None = None) -> Origin:
    """Return what an image was in the training of a model.

    Args:
        image: its file, recognised by its content.
        run_folder: of the model's run; None for a model file, which does not list its images.
        round: of the model.
        dataset_dir: folder in which the donor's file is looked for, by its content; None for the folder of ``image``.

    Raises:
        InputError: the file cannot be read.
        StateError: the state cannot be read.
    """
    if run_folder is None or round is None:
        return Origin("The model is a file, which does not list the images it was trained on.")
    sha256 = file_sha256(image)
    with StateReader.open(run_folder) as state:
        images = {row.id: row for row in state.images()}
        found = next((row for row in images.values() if row.sha256 == sha256), None)
        if found is None:
            return Origin("Not an image of the model's run.", round=round)
        if found.split != "train":
            return Origin(f"A {found.split} image of the run: it has no pseudo-mask.", found.id, round)
        labelled = state.labelled(round)
        if found.id in labelled:
            since = min(row.round for row in state.labels(round) if row.id == found.id and row.round is not None)
            return Origin(f"The model was trained on its oracle mask, since round {since}.", found.id, round)
        row = next(
            (r for stage in (Stage.FINAL, Stage.CYCLE_0) for r in state.pseudo(round, stage) if r.id == found.id), None
        )
        if row is None:
            return Origin(f"A training image without a mask in round {round}.", found.id, round)
        path = _file_of(row.donor, images[row.donor].sha256, dataset_dir or image.parent)
        pseudo = _pseudo(state, row, labelled[row.donor].blob if row.donor in labelled else None, path)
    text = (
        f"Pseudo-mask of round {round}, lent by {row.donor}: Jensen-Shannon distance of the colours {row.distance:.4f}."
    )
    return Origin(text, found.id, round, pseudo)


def _pseudo(state: StateReader, row: PseudoRow, donor_blob: str | None, path: Path | None) -> Pseudo:
    donor_mask = None if donor_blob is None else png_to_mask(state.read_blob(donor_blob))
    mask = target_of_png(state.read_blob(row.blob)).hard()
    return Pseudo(row.donor, row.distance, row.threshold, mask, donor_mask, path)


def _file_of(key: str, sha256: str, folder: Path) -> Path | None:
    """Return the image with that content below ``folder``; files named as the id are looked at first."""
    for path in _candidates(key.rpartition("/")[2], folder):
        try:
            if file_sha256(path) == sha256:
                return path
        except InputError:  # unreadable, so not the one
            continue
    return None


def _candidates(stem: str, folder: Path) -> Iterator[Path]:
    others = []
    for path in sorted(folder.rglob("*")):
        if is_image_file(path) and path.is_file():
            if image_stem(path) == stem:
                yield path
            else:
                others.append(path)
    yield from others
