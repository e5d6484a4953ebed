"""MONAI Label's datastore over a data list and a desk: nothing is listed by looking into a folder, nothing is lost.

Names that come in are looked up among the ids of the data list; no path is ever made of one. There is no
``datastore_v2.json``: what that file would hold is :meth:`RunDatastore.json`, made of the run's state.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from lib.refusals import ClosedError, MalformedError, MissingError, NotNowError, missing
from lib.run import ServedRun
from scripts.annotation.submission import Submission, take_in
from scripts.core.errors import Problem
from scripts.core.files import file_sha256
from scripts.images.reading import image_stem
from scripts.state.desk import Desk
from scripts.state.rows import LabelRow

FINAL = DefaultLabelTag.FINAL.value
_FIXED = "The data of a run are fixed. Change the table, and start the server on another output_dir for a new run."


class RunDatastore(Datastore):
    """Training images of a run, and the masks that people drew of them.

    Images of validation and test can be looked at and predicted, but they are not listed, and no mask of them is taken.

    Args:
        run: the run.
    """

    def __init__(self, run: ServedRun) -> None:
        self.run = run
        stems = [image_stem(item["image"]) for item in run.items.values()]
        # Viewers name an image after its file, even where the table gives it another id.
        self._by_stem = {
            stem: key for stem, key in zip(stems, run.items, strict=True)
            if stems.count(stem) == 1 and stem not in run.items
        }  # fmt: skip

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

    def _label(self, label_id: str, label_tag: str) -> LabelRow:
        """Return the mask that counts: the latest that was accepted of an image."""
        key = self.key_of(label_id)
        row = self._labelled().get(key) if str(label_tag or FINAL) == FINAL else None
        if row is None:
            raise MissingError(Problem("nobody has drawn a mask of this image", key, f"a mask, tag {FINAL}", "none"))
        return row

    def _labelled(self) -> dict[str, LabelRow]:
        desk = self._desk()
        return {} if desk is None else desk.labelled()

    def _desk(self) -> Desk | None:
        """Return the desk, None before the run has begun."""
        try:
            return self.run.desk()
        except NotNowError:
            return None

    # ---- about the store -----------------------------------------------------------------------------------------

    def name(self) -> str:
        """Return the name of the run."""
        return self.run.folder.name

    def set_name(self, name: str) -> None:
        """Refuse: the run has its name."""
        raise ClosedError(Problem("the name of a run is fixed", "name"))

    def description(self) -> str:
        """Return where the images lie."""
        return f"images of {self.run.data.datalist.root}"

    def set_description(self, description: str) -> None:
        """Refuse: it is made of the data."""
        raise ClosedError(Problem("the description of a run is fixed", "description"))

    def refresh(self) -> None:
        """Do nothing: the state is read anew each time."""

    def status(self) -> dict[str, Any]:
        """Return counts: training images, those with a mask."""
        done = len(self._labelled())
        return {"total": len(self.run.train_ids), "completed": done, "label_tags": {FINAL: done}}

    def json(self) -> dict[str, Any]:
        """Return what MONAI Label's own store keeps in ``datastore_v2.json``."""
        labelled = self._labelled()
        objects = {}
        for key in self.run.train_ids:
            path = Path(self.run.items[key]["image"])
            labels = {FINAL: {"ext": ".png", "info": _told(self.run, labelled[key])}} if key in labelled else {}
            objects[key] = {"image": {"ext": "".join(path.suffixes), "info": {}}, "labels": labels}
        return {"name": self.name(), "description": self.description(), "objects": objects}

    def datalist(self) -> list[dict[str, Any]]:
        """Return image, mask and class of every image with a mask."""
        desk = self._desk()
        return [] if desk is None else [
            {"image": self.get_image_uri(key), "label": str(desk.mask_path(row.blob)), "class": self.run.class_of(key)}
            for key, row in desk.labelled().items()
        ]  # fmt: skip

    # ---- images --------------------------------------------------------------------------------------------------

    def list_images(self) -> list[str]:
        """Return the ids of the training images."""
        return list(self.run.train_ids)

    def get_labeled_images(self, label_tag: str | None = None, labels: Sequence[str] | None = None) -> list[str]:
        """Return the ids of the training images with a mask."""
        done = self._labelled()
        return [key for key in self.run.train_ids if key in done]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: Sequence[str] | None = None) -> list[str]:
        """Return the ids of the training images without a mask."""
        done = self._labelled()
        return [key for key in self.run.train_ids if key not in done]

    def get_image(self, image_id: str, params: Any = None) -> Any:
        """Return the bytes of an image file."""
        return Path(self.get_image_uri(image_id)).read_bytes()

    def get_image_uri(self, image_id: str) -> str:
        """Return the path of an image file.

        Raises:
            MissingError: no such image, or its file is gone or has become a link out of the data folder.
        """
        key = self.key_of(image_id)
        path = Path(self.run.items[key]["image"])
        if not path.is_file() or not path.resolve().is_relative_to(self.run.data.datalist.root.resolve()):
            raise MissingError(
                Problem("file of the image is gone", key, "the file that the run read", "none, or a link")
            )
        return str(path)

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """Return class, split and size of an image, and what was done with it."""
        key = self.key_of(image_id)
        item, desk = self.run.items[key], self._desk()
        height, width = self.run.data.store.original_size(key)
        found = {"class": self.run.class_of(key), "split": item["split"], "height": height, "width": width}
        if desk is not None:
            found["masks"] = sum(row.id == key for row in desk.labels())
            skip = desk.skipped().get(key)
            found["skipped"] = None if skip is None else {"by": skip.user, "reason": skip.reason, "at": skip.at}
        return found

    # ---- masks ---------------------------------------------------------------------------------------------------

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """Return tag -> label id of an image."""
        key = self.key_of(image_id)
        return {FINAL: key} if key in self._labelled() else {}

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        """Return the label id of an image, which is its own id; ``""`` where there is no mask."""
        return self.get_labels_by_image_id(image_id).get(tag, "")

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> Any:
        """Return the PNG of the mask that counts."""
        return self.run.desk().read_blob(self._label(label_id, label_tag).blob)

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Return the path of the PNG of the mask that counts."""
        return str(self.run.desk().mask_path(self._label(label_id, label_tag).blob))

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """Return who drew the mask that counts, when, how long it took and which round learns from it."""
        row = self._label(label_id, label_tag)
        rows = [other for other in self.run.desk().labels() if other.id == row.id]
        return {**_told(self.run, row), "versions": [_told(self.run, other) for other in rows]}

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Hand a mask in, see :meth:`take`; return the label id."""
        return self.take(image_id, label_filename, label_tag, label_info).id

    def take(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> LabelRow:
        """Pass a mask through the gate and keep it for the next round.

        The same file from the same annotator again is answered as the first time: a lost answer makes no new version.

        Args:
            image_id: id, or the name of the image's file.
            label_filename: PNG, BMP, TIFF, NIfTI, GeoJSON or ASAP XML, by its suffix.
            label_tag: ``"final"``; predictions are not kept.
            label_info: ``class`` (name or index), ``annotator``, ``seconds``, each optional, and ``certain``, whether
                the annotator's name is sure.

        Returns:
            the row as stored.

        Raises:
            MissingError, MalformedError, NotNowError: no such image, another tag, a class that is no name, no run yet.
            InputError: the gate refuses the mask, which is remembered.
        """
        key = self.key_of(image_id)
        if str(label_tag or FINAL) != FINAL:
            raise MalformedError(Problem("masks with this tag are not kept", "tag", FINAL, repr(str(label_tag)[:80])))
        path = Path(label_filename)
        said, seconds = self._said(label_info.get("class")), _seconds(label_info.get("seconds"))
        user = str(label_info.get("annotator") or "annotator")
        desk = self.run.desk()
        before = [row for row in desk.labels() if row.id == key and row.user == user]
        if before and before[-1].origin_sha256 == file_sha256(path) and said in ("", before[-1].said):
            return before[-1]
        origin = f"server: {path.name} of {user}"
        certain = bool(label_info.get("certain"))
        return take_in(desk, self.run.gate, Submission(key, path, user, origin, seconds, said, certain))

    def _said(self, told: Any) -> str:
        """Return the class that a client named, by name or index."""
        classes = self.run.data.classes
        if isinstance(told, int) and not isinstance(told, bool) and 0 <= told < len(classes):
            return classes[told]
        if told is None or isinstance(told, str):
            return told or ""
        expected = f"a name or an index: {', '.join(f'{i} {name}' for i, name in enumerate(classes))}"
        raise MalformedError(Problem("class cannot be understood", "class", expected, repr(told)[:80]))

    # ---- what a run does not do ----------------------------------------------------------------------------------

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Refuse: the data of a run are fixed."""
        raise ClosedError(Problem("images cannot be added to a run", image_id[:120], cure=_FIXED))

    def remove_image(self, image_id: str) -> None:
        """Refuse: the data of a run are fixed."""
        raise ClosedError(Problem("images cannot be taken from a run", image_id[:120], cure=_FIXED))

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Refuse: every mask is kept."""
        raise ClosedError(
            Problem("masks are not removed", label_id[:120], cure="Hand in a better one, which then counts.")
        )

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Refuse: what is known of an image is the table's."""
        raise ClosedError(Problem("what is known of an image is fixed", image_id[:120], cure=_FIXED))

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Refuse: what came with a mask is kept as it came."""
        raise ClosedError(
            Problem("what came with a mask is kept", label_id[:120], cure="Hand the mask in again with it.")
        )

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """Refuse: the folder is at hand where the server runs."""
        cure = "Take images from the data folder, masks with python -m scripts.annotation export."
        raise ClosedError(Problem("no archive is made of a run", "dataset", cure=cure))


def _told(run: ServedRun, row: LabelRow) -> dict[str, Any]:
    """Return what is told of a mask: its class is the annotator's word, else the table's."""
    return {
        "class": row.said or run.class_of(row.id), "said": row.said, "annotator": row.user, "version": row.version,
        "seconds": row.seconds, "round": row.round, "at": row.at, "pixels": row.cost_px,
    }  # fmt: skip


def _seconds(told: Any) -> float:
    try:
        return float(told or 0.0)
    except (TypeError, ValueError):
        return 0.0
