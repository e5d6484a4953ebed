"""What is put into MONAI Label's server: our routes instead of its own, answers to errors, and limits on who asks.

MONAI Label imports an app only while the server starts, after FastAPI has put its layers together and before the port
is opened. So its routes are taken out and the layers are put together anew here, and uvicorn gets its address, its
limits and its connections where it will read them.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import sys
import tempfile
from collections.abc import Iterable

import anyio
import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from monailabel.config import settings
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from lib.access import limits
from lib.access.hosts import LOCAL, OwnSite, known_hosts
from lib.access.login import asking
from lib.bodies import problems_of
from lib.refusals import ClosedError, MalformedError, status_of
from lib.service import Service
from scripts.core.errors import Problem, StateError, UserError, visible
from scripts.core.files import TEMPORARY

logger = logging.getLogger(__name__)

_LIST = "What there is: /openapi.json, and the README of bundle/label_app."
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def equip(server: FastAPI, routers: Iterable[APIRouter], service: Service, host: str) -> None:
    """Serve our routes and nothing else; what MONAI Label would have answered is refused, as all else is.

    Args:
        server: MONAI Label's.
        routers: ours.
        service: what they serve.
        host: address that is listened on.
    """
    server.router.routes.clear()
    server.state.service = service
    for router in routers:
        server.include_router(router)
    server.add_api_route("/{path:path}", _refuse, methods=_METHODS, include_in_schema=False)
    server.openapi_schema = None
    for kind, answer in ((UserError, _user_error), (RequestValidationError, _invalid), (HTTPException, _http_error),
                         (OSError, _os_error), (Exception, _fault)):  # fmt: skip
        server.add_exception_handler(kind, answer)  # type: ignore[arg-type]
    origins = frozenset(str(origin).rstrip("/") for origin in settings.MONAI_LABEL_CORS_ORIGINS)
    if not origins:  # MONAI Label's default lets every web page read every answer
        server.user_middleware = [m for m in server.user_middleware if m.cls is not CORSMiddleware]
    hosts = known_hosts(host, service.run.settings.hosts)
    server.user_middleware[:0] = [Middleware(OwnSite, hosts=hosts, origins=origins), Middleware(limits.Uploads)]
    # Uploads stay in memory, of which there is a bound: a full disk of temporary files stops nobody then.
    MultiPartParser.spool_max_size = limits.UPLOAD_BYTES
    server.middleware_stack = server.build_middleware_stack()


def _refuse(request: Request) -> None:
    """Refuse what a run does not do: its data are fixed, its masks are kept, and its models come from its rounds."""
    where = f"{request.method} {request.url.path}"[:200]
    found = {f"{request.url.path}/", request.url.path.rstrip("/")} & set(request.app.openapi()["paths"])
    cure = f"Ask for {found.pop()}." if found and request.method == "GET" else _LIST
    raise ClosedError(Problem("this server does not do that", where, "a request of its list", cure=cure))


# ---- uvicorn -------------------------------------------------------------------------------------------------------


def bind() -> str:
    """Have uvicorn listen on this computer only, unless the command line says ``--host``; return the address.

    MONAI Label's own default is every network interface. Connections get limits, too, and what a client says of its
    own address is not believed.

    Raises:
        StateError: uvicorn cannot be reached any more, or several servers would serve one run.
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
                _limit(owner.config)
                return str(owner.config.host)
    cure = "Use the versions of bundle/label_app/requirements.txt."
    raise StateError(Problem("limits cannot be set for the server", "uvicorn", "its server", "none", cure))


def _limit(config: uvicorn.Config) -> None:
    config.http_protocol_class = limits.BoundedProtocol
    config.ws_protocol_class = None
    config.limit_concurrency = limits.most_connections() + 1
    config.timeout_graceful_shutdown = limits.END_S
    if isinstance(config.loaded_app, ProxyHeadersMiddleware):
        config.loaded_app = config.loaded_app.app
    asyncio.get_running_loop().set_exception_handler(limits.Seldom())
    anyio.to_thread.current_default_thread_limiter().total_tokens = limits.THREADS


def tell_access(host: str) -> None:
    """Log who can reach the server."""
    if settings.MONAI_LABEL_AUTH_ENABLE:
        logger.info("listening on %s; authentication is on", host)
        return
    who = "everybody who works on this computer" if host in (LOCAL, "::1", "localhost") else "everybody who reaches it"
    text = "listening on %s; authentication is OFF: %s can see all images, hand masks in and start trainings"
    logger.warning(text, host, who)


# ---- errors --------------------------------------------------------------------------------------------------------


def _user_error(request: Request, error: UserError) -> JSONResponse:
    service: Service = request.app.state.service
    status = status_of(error)
    logger.info("refused: %s", error)
    plain = visible if asking(request).is_lead else lambda text: service.plain(visible(text))
    problems = [{name: plain(str(text)) for name, text in vars(p).items() if text} for p in error.problems]
    return JSONResponse({"detail": plain(str(error)), "problems": problems}, status)


def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    return _user_error(request, MalformedError(problems_of(error.errors())))


def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    if isinstance(error.__cause__, OSError):  # while the body was read
        return _os_error(request, error.__cause__)
    return JSONResponse({"detail": visible(str(error.detail))}, error.status_code, error.headers)


def _os_error(request: Request, error: OSError) -> JSONResponse:
    if isinstance(error, limits.TooLongError | limits.TooManyError):
        status = 413 if isinstance(error, limits.TooLongError) else 429
        return JSONResponse({"detail": str(error.strerror)}, status, {"Connection": "close"})
    logger.exception("the system refused %s %s", request.method, request.url.path, exc_info=error)
    full = error.errno in _NO_ROOM
    where = tempfile.gettempdir() if asking(request).is_lead else "folder of temporary files"
    problem = Problem(
        f"the system refused ({error.strerror or error})", where, cure=TEMPORARY if full else "Try again."
    )
    return JSONResponse({"detail": visible(str(problem))}, 507 if full else 503)


def _fault(request: Request, error: Exception) -> JSONResponse:
    text = "this is a fault of the program; what came of it stands in the server's log. Please report it"
    return JSONResponse({"detail": f"{text} ({type(error).__name__})"}, 500)
