"""Mask, class and polygons of an image of the run, or of one that is sent."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, UploadFile
from fastapi.responses import JSONResponse, Response
from requests_toolbelt import MultipartEncoder

from lib.bodies import Region, parsed
from lib.infer import Predicted, png, polygons
from lib.refusals import MalformedError
from lib.routes.about import AsReader
from lib.routes.drawing import suffix_of
from lib.routes.images import Name
from lib.service import Served, Service
from scripts.core.errors import Problem
from scripts.core.files import temporary_folder, writing

router = APIRouter(prefix="/infer", tags=["Prediction"], strict_content_type=False)
Upload = Annotated[UploadFile | None, File()]
Polygons = Literal["asap", "dsa", "json"]
_KINDS = {"asap": "text/xml", "dsa": "application/json"}


@router.post("/{model}")
def infer(
    served: Served, user: AsReader, model: str, image: Name = "", params: Annotated[str, Form()] = "{}",
    file: Upload = None, output: Literal["image", "json", "all"] = "all",
) -> Response:  # fmt: skip
    """Predict an image of the run, or one that is sent: mask (PNG) and JSON, or one of them."""
    found = _predicted(served, model, image, file, parsed(Region, params, "params"))
    if output == "json":
        return JSONResponse(found.told)
    if output == "image":
        return Response(png(found.mask), media_type="image/png")
    parts = {"params": (None, json.dumps(found.told), "application/json"),
             "image": ("mask.png", png(found.mask), "image/png")}  # fmt: skip
    form = MultipartEncoder(fields=parts)
    return Response(form.to_string(), media_type=form.content_type)


@router.post("/wsi/{model}")
def infer_wsi(
    served: Served, user: AsReader, model: str, image: Name = "", wsi: Region | None = None, output: Polygons = "json"
) -> Response:
    """Predict an image of the run: polygons for ASAP and QuPath (``asap``), for DSA (``dsa``), or JSON."""
    return _outlined(served, model, image, None, wsi or Region(), output)


@router.post("/wsi_v2/{model}")
def infer_wsi_v2(
    served: Served, user: AsReader, model: str, image: Name = "", file: Upload = None,
    wsi: Annotated[str, Form()] = "{}", output: Polygons = "json",
) -> Response:  # fmt: skip
    """As ``/infer/wsi``, also of an image that is sent."""
    return _outlined(served, model, image, file, parsed(Region, wsi, "wsi"), output)


def _outlined(
    served: Service, model: str, image: str, file: UploadFile | None, region: Region, output: str
) -> Response:
    found = _predicted(served, model, image, file, region)
    if output == "json":
        return JSONResponse(found.told)
    return Response(polygons(output, model, region, found.told), media_type=_KINDS[output])


def _predicted(served: Service, model: str, image: str, file: UploadFile | None, region: Region) -> Predicted:
    served.require_model(model)
    if file is None:
        if not image:
            raise MalformedError(Problem("no image is named", "image", "the id of an image, or a file", "none"))
        path = served.run.image_path(served.images.key_of(image))
        with served.predicting.turn():
            return served.infer(path, region)
    name = f"image{suffix_of(file)}"
    with temporary_folder("upload-") as folder, served.predicting.turn():
        with writing(folder / name):
            (folder / name).write_bytes(file.file.read())
        return served.infer(folder / name, region)
