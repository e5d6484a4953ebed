"""Pictures and masks of the run, as they are stored."""

from __future__ import annotations

import mimetypes
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response

from lib.images import FINAL
from lib.infer import png
from lib.refusals import ForbiddenError, MalformedError, MissingError
from lib.routes.about import AsReader
from lib.service import Served
from scripts.core.errors import Problem
from scripts.images.files.names import is_region
from scripts.images.reading import read_image

router = APIRouter(prefix="/datastore", tags=["Images"])
Name = Annotated[str, Query(max_length=4096)]


@router.get("/")
def listed(served: Served, user: AsReader, output: Literal["stats", "all", "train"] = "stats") -> Any:
    """Count images and masks (``stats``), list them (``all``), or, for the lead, tell their files (``train``)."""
    if output == "train":
        if not user.is_lead:
            cure = "Masks as files: python -m scripts.annotation export."
            raise ForbiddenError(Problem("paths are told to the lead alone", "output", "stats or all", output, cure))
        return served.images.paths()
    return served.images.status() if output == "stats" else served.images.listed()


@router.get("/image")
def image(served: Served, user: AsReader, image: Name) -> Response:
    """Return the file of an image; of a region of a slide its pixels, as PNG."""
    path = served.run.image_path(served.images.key_of(image))
    if is_region(path):
        return Response(png(read_image(path)), media_type="image/png")
    kind = mimetypes.guess_type(path.name, strict=False)[0] or "application/octet-stream"
    return FileResponse(path, media_type=kind, filename=path.name)


@router.head("/image")
def has_image(served: Served, user: AsReader, image: Name, check_sum: Name = "") -> Response:
    """Tell whether there is an image, and whether a viewer's copy (``check_sum``: ``SHA256:...``) is the same."""
    key = served.images.key_of(image)
    served.run.image_path(key)
    kind, _, digest = check_sum.rpartition(":")
    if kind not in ("", "SHA256"):
        raise MalformedError(Problem("unknown kind of sum", "check_sum", "SHA256:...", ascii(kind[:40])))
    if digest and digest.lower() != served.run.data.datalist.image_sha256[key]:
        raise MissingError(Problem("another picture", key, "SHA-256 of the image", ascii(digest[:80])))
    return Response()


@router.get("/image/info")
def image_info(served: Served, user: AsReader, image: Name) -> dict[str, Any]:
    """Tell class, split and size of an image, and what was done with it."""
    return served.images.info(image)


@router.get("/label")
def mask(served: Served, user: AsReader, label: Name, tag: Name = FINAL) -> Response:
    """Return the mask that counts, as PNG: 0 background, 1 foreground, 255 ignore."""
    return Response(_mask(served, label, tag), media_type="image/png")


@router.head("/label")
def has_mask(served: Served, user: AsReader, image: Name, tag: Name = FINAL) -> Response:
    """Tell whether an image has a mask."""
    _mask(served, image, tag)
    return Response()


@router.get("/label/info")
def mask_info(served: Served, user: AsReader, label: Name, tag: Name = FINAL) -> dict[str, Any]:
    """Tell who drew a mask, when, how long it took, and which round learns from it; also of its earlier versions."""
    return served.images.mask_info(label, tag)


def _mask(served: Served, name: str, tag: str) -> bytes:
    return served.run.looking().read_blob(served.images.mask(name, tag).blob)
