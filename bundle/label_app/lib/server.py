"""What the server gets besides its app: our routes in front, answers for our errors, and limits on who reaches it.

MONAI Label imports an app only while the server starts, after FastAPI has put its layers together and before the port
is opened. So the layers are put together anew here, and the address is set where uvicorn will read it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import jwt
import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from monailabel.config import settings
from monailabel.endpoints.user import auth
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException
from starlette.middleware import Middleware

from lib.refusals import status_of
from scripts.core.errors import Problem, StateError, UserError

logger = logging.getLogger(__name__)

LOCAL = "127.0.0.1"
BODY_BYTES = 512 * 1024**2
SIGNATURES = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384"]
"""Of tokens; all of them need the realm's private key."""


def equip(server: FastAPI, router: APIRouter) -> None:
    """Put our routes, error answers and limits into MONAI Label's server; a second call does nothing."""
    if getattr(server.state, "equipped", False):
        return
    before = len(server.router.routes)
    server.include_router(router)
    routes = server.router.routes
    routes[:] = routes[before:] + routes[:before]
    server.add_exception_handler(UserError, _user_error)  # type: ignore[arg-type]
    server.add_exception_handler(MONAILabelException, _label_error)
    allowed = frozenset(str(origin).rstrip("/") for origin in settings.MONAI_LABEL_CORS_ORIGINS)
    if not allowed:  # MONAI Label's default lets every web page read every answer
        server.user_middleware = [m for m in server.user_middleware if m.cls is not CORSMiddleware]
    server.user_middleware.insert(0, Middleware(SameOrigin, allowed=allowed))
    server.max_body_size = BODY_BYTES
    # MONAI Label names no algorithms when it checks a token, and so PyJWT refuses every one.
    auth.jwt = SimpleNamespace(decode=partial(jwt.decode, algorithms=SIGNATURES))
    server.middleware_stack = server.build_middleware_stack()
    server.state.equipped = True


def bind() -> str:
    """Have uvicorn listen on this computer only, unless the command line says ``--host``; return the address.

    MONAI Label's own default is every network interface.

    Raises:
        StateError: the address cannot be set any more, or several servers would serve one run.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-i", "--host")
    told = parser.parse_known_args(sys.argv[1:])[0].host
    for task in asyncio.all_tasks():
        for frame in task.get_stack():
            owner, sockets = frame.f_locals.get("self"), frame.f_locals.get("sockets")
            if isinstance(owner, uvicorn.Server):
                if sockets:
                    cure = "Leave out --workers; one process answers many people."
                    raise StateError(Problem("several servers for one run", "--workers", "none", cure=cure))
                owner.config.host = told or LOCAL
                return str(owner.config.host)
    if told is None:
        cure = f"Add --host {LOCAL} to the command, or the address of this computer that others should use."
        raise StateError(Problem("the server would listen to the whole network", "--host", "an address", "none", cure))
    return str(told)


def tell_access(host: str) -> None:
    """Log who can reach the server."""
    if settings.MONAI_LABEL_AUTH_ENABLE:
        logger.info("listening on %s; authentication is on", host)
        return
    who = "everybody who works on this computer" if host in (LOCAL, "::1", "localhost") else "everybody who reaches it"
    text = "listening on %s; authentication is OFF: %s can see all images, hand masks in and start trainings"
    logger.warning(text, host, who)


class SameOrigin:
    """Refuse requests that a web page of another origin makes from somebody's browser.

    Args:
        app: what is behind.
        allowed: origins that may, ``MONAI_LABEL_CORS_ORIGINS``.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], allowed: frozenset[str]) -> None:
        self.app, self.allowed = app, allowed

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass a request on, or answer 403."""
        headers = {name: value.decode("latin-1") for name, value in scope.get("headers", ())}
        origin = headers.get(b"origin", "")
        foreign = origin and origin not in self.allowed and urlsplit(origin).netloc != headers.get(b"host")
        if scope["type"] == "http" and foreign:
            cure = "Name the page in MONAI_LABEL_CORS_ORIGINS if it may use this server."
            text = str(Problem("another web page may not use this server", "Origin", "none", origin[:200], cure))
            await JSONResponse({"detail": text}, 403)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _user_error(_: Request, error: UserError) -> JSONResponse:
    problems = [{name: str(value) for name, value in vars(problem).items() if value} for problem in error.problems]
    logger.info("refused: %s", error)
    return JSONResponse({"detail": str(error), "problems": problems}, status_of(error))


def _label_error(_: Request, error: MONAILabelException) -> JSONResponse:
    return JSONResponse({"detail": error.msg}, 404 if error.error is MONAILabelError.INVALID_INPUT else 500)
