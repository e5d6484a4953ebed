"""Images of a run and the masks that people drew of them, as clients of MONAI Label ask for them.

Names that come in are looked up among the ids of the data list; no path is ever made of one. There is no
``datastore_v2.json``: what that file would hold is made of the run's state.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.bodies import AboutMask
from lib.refusals import MalformedError, MissingError, NotNowError, missing
from lib.run import ServedRun
from scripts.annotation.submission import Submission, take_in
from scripts.core.errors import Problem
from scripts.images.files.names import image_stem
from scripts.state.desk import Desk
from scripts.state.rows import LabelRow

FINAL = "final"
"""Tag of the masks that people drew; no other is kept."""


class ServedImages:
    """Training images of a run, and the masks that people drew of them.

    Images of validation and test can be looked at and predicted, but they are not listed, and no mask of them is taken.

    Args:
        run: the run.
    """

    def __init__(self, run: ServedRun) -> None:
        self.run = run
        stems: dict[str, list[str]] = {}
        for key, item in run.items.items():
            stems.setdefault(image_stem(item["image"]), []).append(key)
        # Viewers name an image after its file, even where the table gives it another id.
        self._by_stem = {stem: keys[0] for stem, keys in stems.items() if len(keys) == 1 and stem not in run.items}

    # ---- names ---------------------------------------------------------------------------------------------------

    def key_of(self, name: str) -> str:
        """Return the id of an image by its id, or by the name of its file where that is its alone.

        Raises:
            MissingError: no image of the run has this name.
        """
        key = self._by_stem.get(name, name)
        if key not in self.run.items:
            cure = "Name the image as it was named when it was given out."
            raise missing("no image of the run has this name", name, "the id of an image", cure)
        return key

    def drawn(self) -> Mapping[str, LabelRow]:
        """Return the mask that counts of each image that has one."""
        desk = self._desk()
        return {} if desk is None else desk.labelled()

    def mask(self, name: str, tag: str) -> LabelRow:
        """Return the mask that counts: the latest that was accepted of an image.

        Raises:
            MissingError: no such image, or it has none with this tag.
        """
        key = self.key_of(name)
        row = self.drawn().get(key) if tag in ("", FINAL) else None
        if row is None:
            raise MissingError(Problem("nobody has drawn a mask of this image", key, f"a mask, tag {FINAL}", "none"))
        return row

    def _desk(self) -> Desk | None:
        """Return the desk, None before the run has begun."""
        try:
            return self.run.looking()
        except NotNowError:
            return None

    # ---- what is told --------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return counts: training images, those with a mask."""
        done = len(self.drawn())
        return {"total": len(self.run.train_ids), "completed": done, "label_tags": {FINAL: done}}

    def listed(self) -> dict[str, Any]:
        """Return what MONAI Label's own store keeps in ``datastore_v2.json``."""
        drawn, objects = self.drawn(), {}
        for key in self.run.train_ids:
            suffix = "".join(Path(self.run.items[key]["image"]).suffixes)
            labels = {FINAL: {"ext": ".png", "info": told_of(self.run, drawn[key])}} if key in drawn else {}
            objects[key] = {"image": {"ext": suffix, "info": {}}, "labels": labels}
        where = f"images of {self.run.data.datalist.root.name}"
        return {"name": self.run.folder.name, "description": where, "objects": objects}

    def paths(self) -> list[dict[str, str]]:
        """Return files of image and mask, and the class, of every image with a mask; for the lead alone."""
        desk = self._desk()
        return [] if desk is None else [
            {"image": self.run.items[key]["image"], "label": str(desk.mask_path(row.blob)),
             "class": self.run.class_of(key)}
            for key, row in self.drawn().items()
        ]  # fmt: skip

    def info(self, name: str) -> dict[str, Any]:
        """Return class, split and size of an image, and what was done with it."""
        key = self.key_of(name)
        self.run.image_path(key)  # the size is that of the picture which is meant
        item, desk = self.run.items[key], self._desk()
        height, width = self.run.data.store.original_size(key)
        found = {"class": self.run.class_of(key), "split": item["split"], "height": height, "width": width}
        if desk is not None:
            found["masks"] = sum(row.id == key for row in desk.labels())
            skip = desk.skipped().get(key)
            found["skipped"] = None if skip is None else {"by": skip.user, "reason": skip.reason, "at": skip.at}
        return found

    def mask_info(self, name: str, tag: str) -> dict[str, Any]:
        """Return who drew the mask that counts, when, how long it took and which round learns from it."""
        row = self.mask(name, tag)
        rows = [other for other in self.run.looking().labels() if other.id == row.id]
        return {**told_of(self.run, row), "versions": [told_of(self.run, other) for other in rows]}

    # ---- what is taken -------------------------------------------------------------------------------------------

    def take(self, submission: Submission, digest: str) -> tuple[LabelRow, list[str]]:
        """Pass a mask through the gate and keep it for the next round.

        The same file from the same annotator again is answered as the first time: a lost answer makes no new version.

        Args:
            submission: the mask; its ``id`` is one of the run.
            digest: SHA-256 of its file.

        Returns:
            the row as stored, and what may surprise though the mask is taken.

        Raises:
            NotNowError: no run yet.
            InputError: the gate refuses the mask, which is remembered.
        """
        desk = self.run.desk()
        before = [row for row in self.run.looking().labels() if (row.id, row.user) == (submission.id, submission.user)]
        if before and before[-1].origin_sha256 == digest and submission.said in ("", before[-1].said):
            desk.confirm(before[-1])
            return before[-1], []
        notes: list[str] = []
        return take_in(desk, self.run.gate, submission, notes), notes

    def said(self, told: AboutMask) -> str:
        """Return the class that a client named, by name or index; ``""`` for none. Raises MalformedError."""
        classes = self.run.data.classes
        if isinstance(told.said, int):
            if told.said < len(classes):
                return classes[told.said]
            expected = f"a name or an index: {', '.join(f'{i} {name}' for i, name in enumerate(classes))}"
            raise MalformedError(Problem("class cannot be understood", "class", expected, str(told.said)))
        return told.said or ""


def told_of(run: ServedRun, row: LabelRow) -> dict[str, Any]:
    """Return what is told of a mask: its class is the annotator's word, else the table's."""
    return {
        "class": row.said or run.class_of(row.id), "said": row.said, "annotator": row.user, "version": row.version,
        "seconds": row.seconds, "round": row.round, "at": row.at, "pixels": row.cost_px,
    }  # fmt: skip
