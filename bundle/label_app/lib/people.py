"""Who asks, and what a file may be called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from monailabel.config import settings
from monailabel.endpoints.user.auth import User

from lib.refusals import MalformedError
from scripts.core.errors import InputError, Problem

_LONGEST = 120
_PATH_PARTS = re.compile(r"[/\\\0]|%2e|%2f|%5c|%00|(^|[^.])\.\.([^.]|$)", re.IGNORECASE)


def told_annotator(told: Mapping[str, Any], user: User) -> str:
    """Return the name that somebody proved, else gave (``annotator``, ``user``, ``client_id``), else ``""``."""
    if settings.MONAI_LABEL_AUTH_ENABLE:
        return user.username
    return next((str(told[key]).strip() for key in ("annotator", "user", "client_id") if told.get(key)), "")


def annotator(told: Mapping[str, Any], user: User, request: Request) -> str:
    """Return the name of who asks; who gives none is known by their computer.

    Raises:
        InputError: the name cannot be used.
    """
    name = told_annotator(told, user)
    if not name:
        host = request.client.host if request.client else ""
        return "annotator" if host in ("", "127.0.0.1", "::1") else f"annotator@{host}"
    if len(name) > _LONGEST or not name.isprintable():
        expected = f"1 to {_LONGEST} printable letters"
        raise InputError(Problem("annotator's name cannot be used", "annotator", expected, repr(name[:200])))
    return name


def plain_file_name(name: str) -> str:
    """Return the name of an uploaded file.

    Raises:
        MalformedError: it has parts of a path, also escaped ones.
    """
    if _PATH_PARTS.search(name):
        raise MalformedError(
            Problem("not the plain name of a file", "file name", "a name without folders", repr(name[:200]))
        )
    return name
