"""Whose pages may use the server. A browser sends requests for any page that its user has open.

A page's ``Origin`` says nothing while ``Host`` may be any name: the owner of a name can have it point to this computer
(DNS rebinding), and then both are that name. So names are compared with a list first.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse

from scripts.core.errors import Problem

LOCAL = "127.0.0.1"
_OF_THIS_COMPUTER = (LOCAL, "localhost", "::1")
_EVERY_ADDRESS = ("0.0.0.0", "::", "")
_SEAL = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


def known_hosts(told: str, names: Iterable[str]) -> frozenset[str]:
    """Return the names that this server answers to, in lower case, without ports.

    Args:
        told: address that it listens on; one that stands for all stands for those this computer has.
        names: further ones, of a setting.
    """
    found = {*_OF_THIS_COMPUTER, *(name.strip().strip("[]").lower() for name in names if name.strip())}
    if told not in _EVERY_ADDRESS:
        return frozenset({*found, told.strip("[]").lower()})
    import psutil  # needed only here, and MONAI Label brings it

    for addresses in psutil.net_if_addrs().values():
        found |= {
            a.address.partition("%")[0].lower() for a in addresses if a.family in (socket.AF_INET, socket.AF_INET6)
        }
    return frozenset({*found, socket.gethostname().lower(), socket.getfqdn().lower()})


class OwnSite:
    """Refuse requests under a name that is not ours (421), and those that another site's page makes (403).

    Args:
        app: what is behind.
        hosts: names of this server, see :func:`known_hosts`.
        origins: pages of other sites that may use it, ``MONAI_LABEL_CORS_ORIGINS``.
    """

    def __init__(
        self, app: Callable[..., Awaitable[None]], hosts: frozenset[str], origins: frozenset[str] = frozenset()
    ) -> None:
        self.app, self.hosts, self.origins = app, hosts, origins

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def sealed(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_SEAL]}
            await send(message)

        status, problem = self._refusal(scope)
        if problem is None:
            await self.app(scope, receive, sealed)
            return
        await JSONResponse({"detail": str(problem)}, status, {"Connection": "close"})(scope, receive, sealed)

    def _refusal(self, scope: dict[str, Any]) -> tuple[int, Problem | None]:
        headers: dict[bytes, list[str]] = {}
        for name, value in scope.get("headers", ()):
            headers.setdefault(name.lower(), []).append(value.decode("latin-1"))
        hosts = headers.get(b"host", [])
        host = hosts[0] if len(hosts) == 1 else ""
        if _name_of(host) not in self.hosts:
            cure = "Use the address that the server told at its start; further names go into --conf hosts."
            return 421, Problem("no name of this server", "Host", _listed(self.hosts), ascii(host[:200]), cure)
        origin = headers.get(b"origin", [""])[0]
        if origin and origin in self.origins:
            return 0, None
        cure = "Name the page in MONAI_LABEL_CORS_ORIGINS if it may use this server."
        if origin and _place_of(origin) != host.lower():
            return 403, Problem("another web page may not use this server", "Origin", "none", ascii(origin[:200]), cure)
        site = headers.get(b"sec-fetch-site", ["none"])[0]  # browsers tell it even where they send no Origin
        if site not in ("none", "same-origin"):
            return 403, Problem("another web page may not use this server", "Sec-Fetch-Site", "none", ascii(site), cure)
        return 0, None


def _name_of(host: str) -> str:
    """Return the name in a ``Host`` header: ``"[::1]:8000"`` -> ``"::1"``; ``""`` where it cannot be read."""
    try:
        return (urlsplit(f"//{host}").hostname or "") if not set(host) & set("/?#@\\ ") else ""
    except ValueError:
        return ""


def _place_of(origin: str) -> str:
    """Return name and port in an ``Origin`` header; ``""``, which no host is, where it cannot be read."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _listed(hosts: frozenset[str]) -> str:
    return ", ".join(name for name in _OF_THIS_COMPUTER if name in hosts) + ", or a name of --host or --conf hosts"
