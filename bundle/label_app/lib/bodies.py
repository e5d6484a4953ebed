"""What a client may send: one type for each body and form field. Other keys are left aside and reach nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lib.refusals import MalformedError
from scripts.core.errors import Problem

_Whole = Annotated[int, Field(strict=True)]  # true is no number: it would be 1, a class or a name
_Text = Annotated[str, Field(max_length=4096)]
_Number = Annotated[float, Field(ge=-1e7, le=1e7, allow_inf_nan=False)]
_Pair = tuple[_Number, _Number]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class Who(_Body):
    """Who asks, as far as they say."""

    annotator: _Text | _Whole | None = None
    user: _Text | _Whole | None = None
    client_id: _Text | _Whole | None = None


class NextWanted(Who):
    """``image``: an image that a viewer has open, which is preferred."""

    image: _Text | None = None


class AboutMask(Who):
    """What comes with a mask: the class by name or index, and the seconds it took."""

    said: _Text | Annotated[_Whole, Field(ge=0, le=10_000)] | None = Field(None, alias="class")
    seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] | None = None


class Skipped(Who):
    """An image that cannot be drawn, and why."""

    image: _Text | None = None
    reason: str | None = None


class Region(_Body):
    """A region of an image, (x, y) and (width, height) in pixels, and the least area of a polygon in square pixels."""

    location: _Pair | None = None
    size: _Pair | None = None
    min_poly_area: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)] | None = None


Chosen = Literal["all", "labeled", "unlabeled"]


class ManyImages(_Body):
    """Images to predict: all of a kind, or ids; at most so many of them, 0 for all."""

    images: Chosen | Annotated[list[_Text], Field(max_length=100_000)] | None = None
    max_batch_size: Annotated[int, Field(ge=0, le=10_000_000)] | None = None


_Some = TypeVar("_Some", bound=BaseModel)


def parsed(kind: type[_Some], text: str, field: str) -> _Some:
    """Return the JSON object in a form field.

    Args:
        kind: what it has to be.
        text: as it came; empty for an object without keys.
        field: its name, for the message.

    Raises:
        MalformedError: it is none.
    """
    try:
        return kind.model_validate_json(text or "{}")
    except ValidationError as error:
        raise MalformedError(problems_of(error.errors(include_url=False), field)) from error


def problems_of(errors: Iterable[Mapping[str, Any]], field: str = "") -> list[Problem]:
    """Return what pydantic found as problems; at most ten."""
    problems = []
    for error in list(errors)[:10]:
        where = ".".join([field, *map(str, error.get("loc", ()))]).strip(".")
        what = f"cannot be understood ({str(error['msg'])[:200]})"
        problems.append(Problem(what, where or "request", found=shown(error), cure=_cure(error)))
    return problems


def _cure(error: Mapping[str, Any]) -> str:
    if isinstance(error.get("input"), bytes):
        return "Send JSON, and say so: -H 'Content-Type: application/json'."
    loc = error.get("loc", ())
    return "Send the mask as a form field: -F label=@FILE." if loc and loc[-1] == "label" else ""


def shown(error: Mapping[str, Any]) -> str:
    """Return what stood there, in part; numbers may be too long to be written, and texts no text at all."""
    try:
        return ascii(error.get("input"))[:80]
    except (ValueError, RecursionError):
        return type(error.get("input")).__name__
