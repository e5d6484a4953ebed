"""Who asks: somebody whose token an OpenID realm has signed, or, without authentication, nobody in particular.

MONAI Label's own check waits for the realm in the event loop, at every request of whoever sends any token, and names no
algorithms, so that no token is accepted. The settings (``MONAI_LABEL_AUTH_...``) are its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
import requests
from fastapi import Request
from monailabel.config import settings

from lib.refusals import BusyError, ForbiddenError, NoLoginError
from scripts.core.errors import Problem, StateError

logger = logging.getLogger(__name__)

SIGNATURES = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384"]
"""Of tokens; all of them need the realm's private key."""
READER, ANNOTATOR, LEAD = "reader", "annotator", "lead"
_AGAIN_S = 10.0  # after a realm did not answer
_RENEW_S = 60.0  # between two looks whether the realm has another key
_PATIENCE_S = 1.0  # that a request waits for another one that asks the realm
_LONGEST_TOKEN = 16_384


@dataclass(frozen=True)
class User:
    """Who asks.

    Attributes:
        name: as the realm knows them; ``""`` where nobody has to prove anything.
        roles: of :data:`READER`, :data:`ANNOTATOR`, :data:`LEAD`.
    """

    name: str = ""
    roles: frozenset[str] = frozenset()

    @property
    def is_lead(self) -> bool:
        """Whether they may see paths and the log. Without authentication nobody may: anybody could be asking."""
        return LEAD in self.roles


class May:
    """Dependency of a route: returns who asks, or refuses who has not the role.

    Args:
        role: what is needed; who may do more may do this too.
    """

    def __init__(self, role: str) -> None:
        self.role = role

    def __call__(self, request: Request) -> User:
        """Return who asks. Raises NoLoginError, ForbiddenError, or StateError where the realm does not answer."""
        if not settings.MONAI_LABEL_AUTH_ENABLE:
            return User()
        user = REALM.user(request.headers.get("authorization", ""))
        request.state.user = user
        if self.role not in user.roles:
            raise ForbiddenError(Problem("this needs another role", "roles", self.role, ", ".join(sorted(user.roles))))
        return user


def asking(request: Request) -> User:
    """Return who asks in a request that :class:`May` let through, else nobody."""
    found: User = getattr(request.state, "user", User())
    return found


@dataclass
class Realm:
    """The OpenID realm; threads share it. While it does not answer nobody waits for it.

    Its key is fetched once, and again, at most every minute, where a token is not signed with it.
    """

    _turn: threading.Lock = field(default_factory=threading.Lock)
    _key: str = ""
    _failed: float = -_AGAIN_S
    _renewing: threading.Lock = field(default_factory=threading.Lock)
    _asked: float = -_RENEW_S

    def user(self, authorization: str) -> User:
        """Return whose token stands in an ``Authorization`` header.

        Raises:
            NoLoginError: none, or one that is not valid. What cannot be one is refused without asking the realm.
            BusyError, StateError: the realm is asked just now, or does not answer.
        """
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        try:
            if scheme.lower() != "bearer" or not token or len(token) > _LONGEST_TOKEN:
                raise NoLoginError(_LOGIN)
            if jwt.get_unverified_header(token).get("alg") not in SIGNATURES:
                raise NoLoginError(_LOGIN)
            try:
                return _user_of(_claims(token, self.key()))
            except (jwt.InvalidSignatureError, jwt.InvalidKeyError):
                if not self._renewed():
                    raise
                return _user_of(_claims(token, self.key()))
        except (jwt.PyJWTError, TypeError, AttributeError, RecursionError) as error:
            logger.info("token refused: %s", error)
            raise NoLoginError(_LOGIN) from error

    def key(self) -> str:
        """Return the public key of the realm, PEM.

        Raises:
            BusyError, StateError: as :meth:`user`.
        """
        if not self._turn.acquire(timeout=_PATIENCE_S):
            raise BusyError(Problem("the realm is being asked for its key", "Authorization", cure="Ask again."))
        try:
            if not self._key:
                if time.monotonic() - self._failed < _AGAIN_S:
                    raise StateError(_silent())
                self._key = self._fetched()
                self._asked = time.monotonic()
            return self._key
        finally:
            self._turn.release()

    def _renewed(self) -> bool:
        """Tell whether the realm has another key now; realms change it, and then no login is valid by the old one.

        Whoever sends a false token makes us ask, so that is done seldom, and nobody waits for it or loses by it.
        """
        if not self._renewing.acquire(blocking=False):
            return False
        try:
            if time.monotonic() - self._asked < _RENEW_S:
                return False
            self._asked = time.monotonic()
            before, self._key = self._key, self._fetched()
            return self._key != before
        except StateError:
            return False
        finally:
            self._renewing.release()

    def _fetched(self) -> str:
        try:
            answer = requests.get(settings.MONAI_LABEL_AUTH_REALM_URI, timeout=settings.MONAI_LABEL_AUTH_TIMEOUT)
            answer.raise_for_status()
            key = answer.json()["public_key"]
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            self._failed = time.monotonic()
            logger.error("the realm %s gives no key: %s", settings.MONAI_LABEL_AUTH_REALM_URI, error)
            raise StateError(_silent()) from error
        return f"-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----"


REALM = Realm()
_LOGINS = threading.BoundedSemaphore(4)  # at once


def token_of(username: str, password: str) -> dict[str, Any]:
    """Return what the realm gives for a name and a password.

    Raises:
        NoLoginError: the realm refuses them.
        BusyError, StateError: too many at once; the realm does not answer.
    """
    if not _LOGINS.acquire(blocking=False):
        raise BusyError(Problem("too many logins at once", "/auth/token", cure="Try again in a moment."))
    try:
        wait = settings.MONAI_LABEL_AUTH_TIMEOUT
        about = f"{settings.MONAI_LABEL_AUTH_REALM_URI}/.well-known/openid-configuration"
        where = requests.get(about, timeout=wait).json()["token_endpoint"]
        form = {"client_id": settings.MONAI_LABEL_AUTH_CLIENT_ID, "grant_type": "password"}
        answer = requests.post(where, data={**form, "username": username, "password": password}, timeout=wait)
        if 400 <= answer.status_code < 500:
            raise NoLoginError(Problem("name or password is refused", "/auth/token", "those of the realm"))
        answer.raise_for_status()
        found = answer.json()
        return {"access_token": str(found["access_token"]), "token_type": str(found.get("token_type", "bearer"))}
    except (requests.RequestException, KeyError, TypeError, AttributeError) as error:
        raise StateError(_silent()) from error
    finally:
        _LOGINS.release()


def _claims(token: str, key: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, key, algorithms=SIGNATURES, options={"verify_aud": False})
    return found


def _user_of(claims: Mapping[str, Any]) -> User:
    name = claims.get(settings.MONAI_LABEL_AUTH_TOKEN_USERNAME)
    found: Any = claims
    for part in settings.MONAI_LABEL_AUTH_TOKEN_ROLES.split("#"):
        found = found.get(part) if isinstance(found, Mapping) else None
    told = {role for role in found if isinstance(role, str)} if isinstance(found, list) else set()
    if not isinstance(name, str) or not name.strip():
        raise NoLoginError(_LOGIN)
    ranks = [
        ({settings.MONAI_LABEL_AUTH_ROLE_ADMIN}, {READER, ANNOTATOR, LEAD}),
        ({settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR, settings.MONAI_LABEL_AUTH_ROLE_REVIEWER}, {READER, ANNOTATOR}),
        ({settings.MONAI_LABEL_AUTH_ROLE_USER}, {READER}),
    ]
    return User(name, frozenset().union(*(roles for names, roles in ranks if names & told)))


_LOGIN = Problem("login is needed", "Authorization", "Bearer and a valid token", cure="Log in: POST /auth/token.")


def _silent() -> Problem:
    return Problem("the realm of the logins does not answer", "Authorization", cure="Try again in a moment.")
