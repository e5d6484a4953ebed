"""What the server does not do, with the status that an HTTP client gets beside the text of the problem."""

from __future__ import annotations

from scripts.core.errors import InputError, Problem, StateError, UserError
from scripts.data.file_watch import ChangedFileError


class MalformedError(InputError):
    """A request that cannot be understood, or a name that nothing here has."""

    status = 400


class NoLoginError(InputError):
    """Nobody has proved who asks."""

    status = 401


class ForbiddenError(InputError):
    """Who asks may not do this."""

    status = 403


class MissingError(InputError):
    """No image, label, model or strategy of this name."""

    status = 404


class ClosedError(InputError):
    """Something that MONAI Label offers and a run does not: its data are fixed, its masks are kept."""

    status = 405


class NotNowError(StateError):
    """Right, but at another time: nothing is asked for, a training goes on."""

    status = 409


class BusyError(StateError):
    """Right, but others are before it; to ask again in a moment helps."""

    status = 429


def status_of(error: UserError) -> int:
    """Return the HTTP status of an error: 422 for what a person sent, 503 for what the run's state cannot do."""
    if isinstance(error, ChangedFileError):
        return 409
    return int(getattr(error, "status", 422 if isinstance(error, InputError) else 503))


def missing(what: str, name: str, expected: str, cure: str = "") -> MissingError:
    """Return the error for a name that is not there; what was asked for is shown in part."""
    return MissingError(Problem(what, name[:120] or "''", expected, "no such name", cure))
