"""Placeholder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PageImage:
    """One image to draw."""

    id: str
    name: str
    label: str
    picture: bytes
    start: bytes
    rank: int
    score: float | None
    why: str
    cam: bytes | None = None


def annotation_page(title: str, images: Sequence[PageImage], archive: str) -> bytes:
    """Return the page."""
    return f"{title} {archive} {[image.name for image in images]}".encode()
