"""What the server is, who asks, and its log."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import PlainTextResponse
from monailabel.config import settings

from lib.access.log import last_lines
from lib.access.login import LEAD, READER, May, User, token_of
from lib.refusals import ForbiddenError
from lib.service import Served
from scripts.core.errors import Problem

router = APIRouter(tags=["Server"])
AsReader = Annotated[User, Depends(May(READER))]
AsLead = Annotated[User, Depends(May(LEAD))]


@router.get("/", include_in_schema=False)
def welcome() -> PlainTextResponse:
    """Say what answers here, to somebody who opens the address in a browser."""
    return PlainTextResponse(
        "Annotation server of a run of active learning. It answers viewers and scripts; the requests are described in\n"
        "/openapi.json and in the README of bundle/label_app.\n"
    )


@router.get("/openapi.json", include_in_schema=False)
def description(request: Request, user: AsReader) -> dict[str, Any]:
    """Describe the requests."""
    found: dict[str, Any] = request.app.openapi()
    return found


@router.get("/info/")
def info(served: Served, user: AsReader) -> dict[str, Any]:
    """Tell labels, model, strategies, scores, and the metrics of the rounds."""
    return served.info()


@router.get("/auth/")
def about_login() -> dict[str, Any]:
    """Tell whether login is needed, and where viewers get it."""
    if not settings.MONAI_LABEL_AUTH_ENABLE:
        return {"enabled": False}
    realm = {"client_id": settings.MONAI_LABEL_AUTH_CLIENT_ID, "realm": settings.MONAI_LABEL_AUTH_REALM_URI}
    return {"enabled": True, **realm}


@router.post("/auth/token")
def token(
    username: Annotated[str, Form(max_length=1024)], password: Annotated[str, Form(max_length=1024)]
) -> dict[str, Any]:
    """Return the realm's token for a name and a password."""
    return token_of(username, password) if settings.MONAI_LABEL_AUTH_ENABLE else {"access_token": None}


@router.get("/auth/token/valid")
def valid(user: AsReader) -> dict[str, Any]:
    """Tell whose the token is."""
    return {"username": user.name, "roles": sorted(user.roles)}


@router.get("/logs/")
def log(served: Served, user: AsLead, lines: Annotated[int, Query(ge=0, le=100_000)] = 300) -> PlainTextResponse:
    """Return the end of the server's log; it tells paths, so it is the lead's alone."""
    if not user.is_lead:
        cure = f"Read it where the server runs: server.log in the folder of {served.run.folder.name}."
        raise ForbiddenError(Problem("the log is told to the lead alone", "/logs/", "a login", "none", cure))
    return PlainTextResponse(last_lines(served.run.folder, lines))
