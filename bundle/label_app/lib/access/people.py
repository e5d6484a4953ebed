"""What somebody is called whose mask comes in, and what a file may be called."""

from __future__ import annotations

import re

from fastapi import Request

from lib.access.login import User
from lib.bodies import Who
from lib.refusals import MalformedError
from scripts.annotation.submission import LONGEST_NAME, is_name
from scripts.core.errors import InputError, Problem

_PATH_PARTS = re.compile(r"[/\\\0]|%2e|%2f|%5c|%00|(^|[^.])\.\.([^.]|$)", re.IGNORECASE)


def told_annotator(told: Who, user: User) -> str:
    """Return the name that somebody proved, else gave (``annotator``, ``user``, ``client_id``), else ``""``."""
    return user.name or next((str(name).strip() for name in (told.annotator, told.user, told.client_id) if name), "")


def name_of(told: Who, user: User, request: Request) -> str:
    """Return the name of who asks; who gives none is known by their computer.

    Raises:
        InputError: the name cannot be used.
    """
    name = told_annotator(told, user)
    if not name:
        host = request.client.host if request.client else ""
        return "annotator" if host in ("", "127.0.0.1", "::1") else f"annotator@{host}"
    if not is_name(name):
        expected = f"1 to {LONGEST_NAME} printable letters, and not the name of the simulation"
        raise InputError(Problem("annotator's name cannot be used", "annotator", expected, ascii(name[:200])))
    return name


def plain_file_name(name: str) -> str:
    """Return the name of an uploaded file.

    Raises:
        MalformedError: it has parts of a path, also escaped ones.
    """
    if _PATH_PARTS.search(name):
        raise MalformedError(
            Problem("not the plain name of a file", "file name", "a name without folders", ascii(name[:200]))
        )
    return name
