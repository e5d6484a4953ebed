"""Routes that stand before MONAI Label's own, and those for what it has none: skips, leases, the state of the run.

MONAI Label's handlers of these routes write uploads to the disk before anything is checked, take any path on the
server for an image, answer one request at a time, and keep the user's name to themselves. Ours check names first, run
in threads, and know who asks. What a run does not do is refused here too, before an upload is stored.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, File, Form, Request, UploadFile
from fastapi.background import BackgroundTasks
from fastapi.responses import Response
from monailabel.config import settings
from monailabel.endpoints import infer as stock_infer
from monailabel.endpoints import wsi_infer as stock_wsi
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.utils.app import app_instance

from lib import training
from lib.people import annotator, plain_file_name, told_annotator
from lib.refusals import ClosedError, MalformedError, missing
from scripts.core.errors import InputError, Problem
from scripts.core.files import file_stem
from scripts.images.reading import image_suffix

logger = logging.getLogger(__name__)

# QuPath's extension sends JSON without saying so.
router = APIRouter(tags=["Annotation"], strict_content_type=False)

AsUser = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))]
AsAnnotator = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))]
AsAdmin = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))]
Json = Annotated[dict[str, Any] | None, Body()]


# ---- next sample, mask ---------------------------------------------------------------------------------------------


@router.post("/activelearning/{strategy}")
def next_sample(strategy: str, request: Request, user: AsUser, params: Json = None) -> dict[str, Any]:
    """Lease the next image to who asks; without one, ``message`` says why and what to do."""
    told = dict(params or {})
    name = annotator(told, user, request)
    return app_instance().next_sample({**told, "strategy": strategy, "user": name})


@router.put("/datastore/label")
def save_label(
    request: Request,
    user: AsAnnotator,
    image: str,
    label: Annotated[UploadFile, File()],
    params: Annotated[str, Form()] = "{}",
    tag: str = "final",
) -> dict[str, Any]:
    """Hand a mask in; the gate's refusal says what is wrong and how to mend it."""
    store = app_instance().datastore()
    key = store.key_of(image)
    suffix = _suffix(label)
    told = _object(params)
    info = {**told, "annotator": annotator(told, user, request), "certain": bool(told_annotator(told, user))}
    with _kept(label, f"{file_stem(key)[:80]}{suffix}") as path:
        row = store.take(key, str(path), tag, info)
    app_instance().on_save_label(key, row.id)
    return {"image": key, "label": row.id, "version": row.version, "annotator": row.user, "seconds": row.seconds,
            "class": row.said or None, "round": row.round}  # fmt: skip


# ---- prediction ----------------------------------------------------------------------------------------------------


@router.post("/infer/{model}")
def infer(
    model: str,
    tasks: BackgroundTasks,
    user: AsUser,
    image: str = "",
    params: Annotated[str, Form()] = "{}",
    file: Annotated[UploadFile | None, File()] = None,
    output: stock_infer.ResultType | None = None,
) -> Any:
    """Predict an image of the run, or one that is sent: mask (PNG) and JSON, or one of them."""
    if output == stock_infer.ResultType.dicom_seg:
        raise MalformedError(Problem("masks are no DICOM here", "output", "image, json or all", "dicom_seg"))
    result = _predicted({**_object(params), "model": model}, image, file)
    return stock_infer.send_response(app_instance().datastore(), result, output, tasks)


@router.post("/infer/wsi/{model}")
def infer_wsi(
    model: str,
    tasks: BackgroundTasks,
    user: AsUser,
    image: str = "",
    wsi: Json = None,
    output: stock_wsi.ResultType | None = None,
) -> Any:
    """Predict an image of the run: polygons for ASAP and QuPath (``asap``), for DSA (``dsa``), or JSON."""
    result = _predicted({**(wsi or {}), "model": model, "output": output and output.value}, image, None)
    return stock_wsi.send_response(app_instance().datastore(), result, output or "json", tasks)


@router.post("/infer/wsi_v2/{model}")
def infer_wsi_v2(
    model: str,
    tasks: BackgroundTasks,
    user: AsUser,
    image: str = "",
    file: Annotated[UploadFile | None, File()] = None,
    wsi: Annotated[str, Form()] = "{}",
    output: stock_wsi.ResultType | None = None,
) -> Any:
    """As ``/infer/wsi``, also of an image that is sent."""
    result = _predicted({**_object(wsi), "model": model, "output": output and output.value}, image, file)
    return stock_wsi.send_response(app_instance().datastore(), result, output or "json", tasks)


def _predicted(request: dict[str, Any], image: str, file: UploadFile | None) -> dict[str, Any]:
    """Return MONAI Label's result for an image of the run or an uploaded one."""
    app = app_instance()
    if not image and file is None:
        raise MalformedError(Problem("no image is named", "image", "the id of an image, or a file", "none"))
    if file is None:
        return app.infer({**request, "image": image})
    with _kept(file, f"image{_suffix(file)}") as path:
        return app.infer({**request, "image": path})


# ---- training ------------------------------------------------------------------------------------------------------


@router.post("/train/")
@router.post("/train/{model}")
def train(user: AsAdmin, model: str = "", params: Json = None, run_sync: bool = False) -> dict[str, Any]:
    """Do the next round of the run; its settings are those of the run, whatever a client sends."""
    app = app_instance()
    name = model or next(iter(app.trainers))
    if name not in app.trainers:
        raise missing("no trainer of this name", name, ", ".join(app.trainers))
    if params:
        logger.info("training: ignored %s, the settings of a run do not change", ", ".join(map(str, params)))
    return training.order(app.run, name, run_sync)


# ---- skips, leases, state ------------------------------------------------------------------------------------------


@router.get("/annotation/status")
def status(user: AsUser) -> dict[str, Any]:
    """Tell where the run stands: what waits, who holds what, what was skipped and refused, which model answers."""
    return app_instance().people_status()


@router.get("/annotation/skip")
def skipped(user: AsUser) -> dict[str, Any]:
    """Return the images that somebody could not draw."""
    return {"skipped": [vars(row) for row in app_instance().run.desk().skipped().values()]}


@router.post("/annotation/skip")
def skip(request: Request, user: AsAnnotator, params: Json = None, image: str = "") -> dict[str, Any]:
    """Say that an image cannot be drawn (``image``, ``reason``); another of its class is asked for."""
    app, told = app_instance(), dict(params or {})
    key = app.datastore().key_of(str(told.get("image") or image))
    desk = app.run.desk()
    app.run.gate.refuse_image(key, desk.was_asked)
    reason = "".join(c if c.isprintable() else " " for c in str(told.get("reason") or ""))[:500]
    name = annotator(told, user, request)
    return {"image": key, "skipped": desk.skip(key, name, reason, "server") or key in desk.skipped()}


@router.delete("/annotation/skip")
def unskip(user: AsAnnotator, image: str) -> dict[str, Any]:
    """Ask for an image again."""
    app = app_instance()
    key = app.datastore().key_of(image)
    return {"image": key, "was_skipped": app.run.desk().unskip(key) is not None}


@router.delete("/annotation/lease")
def give_back(request: Request, user: AsAnnotator, image: str, client_id: str = "") -> dict[str, Any]:
    """Give an image back without a mask, so that somebody else gets it at once."""
    app = app_instance()
    key = app.datastore().key_of(image)
    name = annotator({"client_id": client_id}, user, request)
    return {"image": key, "given_back": app.run.desk().give_back(key, name)}


# ---- what a run does not do ----------------------------------------------------------------------------------------

_CLOSED = {
    "images cannot be added to a run or taken from it": [("PUT", "/datastore/"), ("PUT", "/datastore/image"),
                                                         ("DELETE", "/datastore/"), ("DELETE", "/datastore/image")],
    "masks are not removed": [("DELETE", "/datastore/label")],
    "what is known of images and masks is kept as it came": [("PUT", "/datastore/image/info"),
                                                             ("PUT", "/datastore/label/info"),
                                                             ("PUT", "/datastore/updatelabelinfo")],
    "models come from the rounds of the run": [("PUT", "/model/{name}"), ("DELETE", "/model/{name}")],
    "there are no sessions": [("PUT", "/session/"), ("GET", "/session/{name}"), ("DELETE", "/session/{name}")],
    "there is no DICOM server behind": [("GET", "/proxy/{path:path}"), ("POST", "/proxy/{path:path}")],
}  # fmt: skip


def _close(what: str, method: str, path: str) -> None:
    def refuse(user: AsUser) -> Response:
        raise ClosedError(Problem(what, path, "another request", f"{method} {path}"))

    router.add_api_route(path, refuse, methods=[method], include_in_schema=False)


for _what, _routes in _CLOSED.items():
    for _method, _path in _routes:
        _close(_what, _method, _path)


# ---- inside --------------------------------------------------------------------------------------------------------


@contextmanager
def _kept(upload: UploadFile, name: str) -> Iterator[Path]:
    """Keep an upload as a file for a while; errors speak of it without the folder that it lies in.

    Args:
        upload: what was sent.
        name: made here, never by a client.
    """
    with tempfile.TemporaryDirectory(prefix="upload-") as folder:
        path = Path(folder) / name
        with path.open("wb") as file:
            shutil.copyfileobj(upload.file, file)
        try:
            yield path
        except InputError as error:
            inside = f"{folder}{os.sep}"
            error.problems = tuple(replace(p, where=p.where.replace(inside, "")) for p in error.problems)
            error.args = (str(type(error)(error.problems)),)
            raise


def _object(text: str) -> dict[str, Any]:
    """Return the JSON object in a form field."""
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise MalformedError(Problem("not JSON", "params", "an object", str(error)[:200])) from error
    if not isinstance(found, Mapping):
        raise MalformedError(Problem("not a JSON object", "params", "{...}", type(found).__name__))
    return dict(found)


def _suffix(file: UploadFile) -> str:
    """Return the suffix of an upload in lower case; the rest of its name is not used."""
    name = plain_file_name(file.filename or "")
    return image_suffix(name) or "".join(c for c in Path(name).suffix.lower() if c.isalnum() or c == ".")[:16]
