"""How much at once: connections, seconds for a request, bytes, uploads, and turns for work that takes long.

uvicorn bounds none of these. A connection that sends half a request holds a file descriptor for ever, and when there
are none left, asyncio in Python 3.11 writes a traceback per refused connection, thousands a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import resource
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import h11
from fastapi.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from lib.refusals import BusyError
from scripts.core.errors import Problem

logger = logging.getLogger(__name__)

HEAD_S = 10.0  # for the head of a request, from the first byte, or from the connection
BODY_S = 120.0  # for the rest of it
END_S = 10  # that a server which was told to end waits for requests at work
UNREAD_S = 60.0  # that an answer waits for who does not read it; it holds one of the connections
THREADS = 128  # that answer requests; those that wait for a turn hold one
UPLOAD_BYTES = 64 * 1024**2
JSON_BYTES = 1024**2
UPLOADS_BYTES = 4 * UPLOAD_BYTES
"""Of all uploads at once that are larger than a JSON body may be; they lie in memory."""
_CONNECTIONS = 256
_OWN_FILES = 96  # descriptors that are left to the program itself
_ONCE_A_MINUTE = 60.0


def most_connections() -> int:
    """Return how many connections may be open, far below the file descriptors that this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _CONNECTIONS if soft == resource.RLIM_INFINITY else max(8, min(_CONNECTIONS, (soft - _OWN_FILES) // 2))


class BoundedProtocol(H11Protocol):
    """uvicorn's connection, with limits: on their number, on the time that a request takes to come, and to be read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or answer 503 where there are too many."""
        super().connection_made(transport)
        self._deadline: asyncio.TimerHandle | None = None
        self._awaited = ""
        self._unread: asyncio.TimerHandle | None = None
        if len(self.connections) > most_connections():
            self._end(503, "too many connections at once; try again in a moment")
            return
        self._await("head", HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._await("", 0.0)
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, and look whether the request is whole."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Go on with the next request of the connection."""
        super().on_response_complete()
        self._look()

        if self.transport.is_closing():  # closing waits until all is read
            self._await_reader()

    def pause_writing(self) -> None:
        """Wait until the client has read what was sent, but not for ever."""
        super().pause_writing()
        self._await_reader()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which nothing was asked for some seconds."""
        super().timeout_keep_alive_handler()
        self._await_reader()

    def _await_reader(self, before: int | None = None) -> None:
        """End the connection when of what is to be sent nothing went in the last ``UNREAD_S``.

        While so much waits that writing is paused, or the connection closes, nothing is added to it.
        """
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        left = self.transport.get_write_buffer_size()
        if before is not None and left >= before:
            self.transport.abort()
        elif left and (self.flow.write_paused or self.transport.is_closing()):
            self._unread = self.loop.call_later(UNREAD_S, self._await_reader, left)

    def _look(self) -> None:
        if self.transport.is_closing():
            self._await("", 0.0)
        elif self.conn.their_state is h11.SEND_BODY:
            self._await("body", BODY_S)
        elif self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._await("head", HEAD_S)
        else:
            self._await("", 0.0)

    def _await(self, what: str, seconds: float) -> None:
        if what == self._awaited:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self._awaited = what
        late = f"the {what} of a request has to come within {seconds:.0f} seconds"
        self._deadline = self.loop.call_later(seconds, self._end, 408, late) if what else None

    def _end(self, status: int, text: str) -> None:
        if not self.transport.is_closing() and (self.cycle is None or not self.cycle.response_started):
            body = f'{{"detail": "{text}"}}'.encode()
            phrase = {408: "Request Timeout", 503: "Service Unavailable"}[status]
            head = f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\nConnection: close\r\n"
            self.transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self.transport.close()
        # A client that does not read would keep it open all the same.
        self.loop.call_later(1.0, self.transport.abort)


class Uploads:
    """Refuse bodies that are too large (413), and more large ones at once than memory has room for (429).

    Args:
        app: what is behind.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app, self.at_work = app, 0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope.get("headers", ())}
        told = headers.get(b"content-length", b"")
        is_form = headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data")
        most = UPLOAD_BYTES if is_form else JSON_BYTES
        # Without its length a body may be as large as any. In pieces it has none, whatever is told (RFC 9112, 6.3).
        in_pieces = b"transfer-encoding" in headers
        size = int(told) if told.isdigit() and len(told) < 20 and not in_pieces else most * in_pieces
        if size > most:
            problem = Problem("request is too large", "Content-Length", f"at most {most} bytes", f"{size} bytes")
            await _refused(413, problem)(scope, receive, send)
            return
        body = _Body(self, most)
        try:
            await self.app(scope, body.receiver(receive), send)
        finally:
            self.at_work -= body.counted


class TooLongError(OSError):
    """More came than a body may have."""


class TooManyError(OSError):
    """More uploads came at once than memory has room for."""


class _Body:
    """Counts what has come of one body, and of all large ones together: what somebody only claims to send costs none.

    Args:
        uploads: of all.
        most: bytes that this one may have.
    """

    def __init__(self, uploads: Uploads, most: int) -> None:
        self.uploads, self.most = uploads, most
        self.seen = self.counted = 0

    def receiver(self, receive: Any) -> Any:
        """Return ``receive``, counted."""

        async def counted() -> dict[str, Any]:
            message: dict[str, Any] = await receive()
            self._add(len(message.get("body", b"")))
            return message

        return counted

    def _add(self, size: int) -> None:
        self.seen += size
        if self.seen > self.most:
            raise TooLongError(errno.EFBIG, f"request has more than {self.most} bytes")
        more = self.seen - self.counted if self.seen > JSON_BYTES else 0
        if more and self.uploads.at_work + more > UPLOADS_BYTES:
            raise TooManyError(errno.ENOBUFS, f"too many uploads at once, of {UPLOADS_BYTES} bytes; send it again")
        self.counted += more
        self.uploads.at_work += more


def _refused(status: int, problem: Problem) -> JSONResponse:
    return JSONResponse({"detail": str(problem)}, status, {"Connection": "close"})


class Turns:
    """Turns for work of one kind: some at once, some that wait, the rest is refused. Threads share it.

    Args:
        what: the work, for the message.
        at_once: how many are done together.
        waiting: how many may wait.
    """

    def __init__(self, what: str, at_once: int, waiting: int) -> None:
        self.what, self.most = what, at_once + waiting
        self._lock, self._turn, self._inside = threading.Lock(), threading.BoundedSemaphore(at_once), 0

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn and hold it for the length of the block.

        Raises:
            BusyError: too many wait already.
        """
        with self._lock:
            if self._inside >= self.most:
                cure = "Ask again in a moment."
                raise BusyError(Problem(f"too many {self.what} at once", "request", f"at most {self.most}", cure=cure))
            self._inside += 1
        try:
            with self._turn:
                yield
        finally:
            with self._lock:
                self._inside -= 1


class Seldom:
    """Handler of the event loop's errors that tells "no file descriptor is left" once a minute."""

    def __init__(self) -> None:
        self._told = -_ONCE_A_MINUTE

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Tell of an error, or not."""
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS):
            loop.default_exception_handler(context)
        elif time.monotonic() - self._told >= _ONCE_A_MINUTE:
            self._told = time.monotonic()
            logger.error("a connection was refused: %s. Further ones are not told for a minute", error)
