"""What people who draw do: take the next image, hand a mask in, skip an image, give it back."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Query, Request, UploadFile

from lib.access.login import ANNOTATOR, May, User
from lib.access.people import name_of, plain_file_name, told_annotator
from lib.bodies import AboutMask, NextWanted, Skipped, Who, parsed
from lib.images import FINAL
from lib.refusals import MalformedError
from lib.routes.about import AsReader
from lib.routes.images import Name
from lib.service import Served
from scripts.annotation.submission import Submission
from scripts.core.errors import Problem
from scripts.core.files import file_stem
from scripts.images.files.names import image_suffix

# QuPath's extension sends JSON without saying so.
router = APIRouter(tags=["Drawing"], strict_content_type=False)
AsAnnotator = Annotated[User, Depends(May(ANNOTATOR))]


@router.post("/activelearning/{strategy}")
def next_image(
    served: Served, user: AsReader, request: Request, strategy: str, wanted: NextWanted | None = None
) -> dict[str, Any]:
    """Lease the next image to who asks; without one, ``message`` says why and what to do."""
    wanted = wanted or NextWanted()
    found = served.next_image(strategy, name_of(wanted, user, request), wanted.image or "")
    if "passed_over" in found:
        found["passed_over"] = {key: served.plain(text) for key, text in found["passed_over"].items()}
    if "message" in found:
        found["message"] = served.plain(found["message"])
    if user.is_lead and "id" in found:
        found["path"] = str(served.run.image_path(found["id"]))
    return found


@router.put("/datastore/label")
def hand_in(
    served: Served,
    user: AsAnnotator,
    request: Request,
    image: Name,
    label: Annotated[UploadFile, File()],
    params: Annotated[str, Form()] = "{}",
    tag: Name = FINAL,
) -> dict[str, Any]:
    """Hand a mask in; the gate's refusal says what is wrong and how to mend it."""
    key, told = served.images.key_of(image), parsed(AboutMask, params, "params")
    if tag not in ("", FINAL):
        raise MalformedError(Problem("masks with this tag are not kept", "tag", FINAL, ascii(tag[:80])))
    name, certain = name_of(told, user, request), bool(told_annotator(told, user))
    path, said = Path(f"{file_stem(key)[:80]}{suffix_of(label)}"), served.images.said(told)
    with served.taking.turn():
        content = label.file.read()
        sent = Submission(key, path, name, f"server: {path.name}", told.seconds or 0.0, said, certain, content)
        row, notes = served.images.take(sent, hashlib.sha256(content).hexdigest())
    return {"image": key, "label": row.id, "version": row.version, "annotator": row.user, "seconds": row.seconds,
            "class": row.said or None, "round": row.round, "notes": notes}  # fmt: skip


@router.get("/annotation/status")
def status(served: Served, user: AsReader) -> dict[str, Any]:
    """Tell where the run stands: what waits, who holds what, what was skipped and refused, which model answers."""
    return served.status()


@router.get("/annotation/skip")
def skipped(served: Served, user: AsReader) -> dict[str, Any]:
    """Return the images that somebody could not draw."""
    return {"skipped": [vars(row) for row in served.run.looking().skipped().values()]}


@router.post("/annotation/skip")
def skip(
    served: Served, user: AsAnnotator, request: Request, told: Skipped | None = None, image: Name = ""
) -> dict[str, Any]:
    """Say that an image cannot be drawn (``image``, ``reason``); another of its class is asked for."""
    told = told or Skipped()
    key = served.images.key_of(told.image or image)
    desk = served.run.desk()
    served.run.gate.refuse_image(key, desk.was_asked)
    reason = "".join(c if c.isprintable() else " " for c in told.reason or "")[:500]
    name = name_of(told, user, request)
    with served.changing.turn():
        return {"image": key, "skipped": desk.skip(key, name, reason, "server") or key in desk.skipped()}


@router.delete("/annotation/skip")
def unskip(served: Served, user: AsAnnotator, image: Name) -> dict[str, Any]:
    """Ask for an image again."""
    key = served.images.key_of(image)
    with served.changing.turn():
        return {"image": key, "was_skipped": served.run.desk().unskip(key) is not None}


@router.delete("/annotation/lease")
def give_back(
    served: Served,
    user: AsAnnotator,
    request: Request,
    image: Name,
    annotator: Annotated[str, Query(max_length=4096)] = "",
    client_id: Annotated[str, Query(max_length=4096)] = "",
) -> dict[str, Any]:
    """Give an image back without a mask, so that somebody else gets it at once."""
    key = served.images.key_of(image)
    name = name_of(Who(annotator=annotator, client_id=client_id), user, request)
    with served.changing.turn():
        return {"image": key, "given_back": served.run.desk().give_back(key, name)}


def suffix_of(file: UploadFile) -> str:
    """Return the suffix of an upload in lower case; the rest of its name is not used."""
    name = plain_file_name(file.filename or "")
    return image_suffix(name) or "".join(c for c in Path(name).suffix.lower() if c.isalnum() or c == ".")[:16]
