"""What is put into spoiled outlines, and how they become bytes: see tests/support/fuzz_geojson.py and fuzz_xml.py.

It is text, so that it may be what no program writes: numbers of 400 digits, halves of characters.
"""

from __future__ import annotations

import random

from tests.support.fuzz_cases import spoiled_bytes

NUMBERS = (
    "1e308", "-1e308", "NaN", "Infinity", "-Infinity", "9" * 400, "-" + "9" * 400, "1e999", "-0", "1e7", "1.0000001e7",
    "0.5", "16.5", "1e-320", "31", "32", "-5", "10000000", "4e9",
)  # fmt: skip
TEXTS = (
    "\\ud800", "\\u0000", "\\u202e", "\\u2028", "\\ud83d\\ude00", "\\udc00\\ud800", "a", "b", "A", "ignore", "Ignore*",
    "Polygon", "MultiPolygon", "Point", "LineString", "Feature", "FeatureCollection", "GeometryCollection", "", " ",
    "\\u001b[2J", "../../x", "NaN", "x" * 3000, "\\u0130", "constructor", "&amp;",
)  # fmt: skip
DEPTHS = (5, 30, 32, 33, 34, 100, 900, 980, 1000, 5000)
"""How deep things are nested, to both sides of each limit."""


def square(left: float, top: float, size: float) -> list[list[float]]:
    """A closed ring of points."""
    right, bottom = left + size, top + size
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def as_bytes(text: str, rng: random.Random) -> tuple[bytes, list[str]]:
    """Write a text in the encoding it should have, seldom in another one; seldom spoil its bytes."""
    encoding = rng.choice(("utf-16", "utf-16-le", "utf-32", "latin-1", "utf-7", "cp037")) if rng.random() < 0.03 else ""
    data = text.encode(encoding or "utf-8", errors="surrogatepass" if encoding.startswith("utf-") else "replace")
    how = [encoding] if encoding else []
    if rng.random() < 0.1:
        data, how = b"\xef\xbb\xbf" * rng.choice((1, 1, 2)) + data, [*how, "BOM"]
    if rng.random() < 0.12:
        data, how = spoiled_bytes(data, rng), [*how, "bytes"]
    return data, how
