"""GeoJSON as drawing programs write it, and ways to spoil it or other JSON: what it says, how it nests, its bytes.

Values are changed in a tree, where a mark stands for what is odd until the tree is written.
"""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from tests.support.fuzz_outlines import DEPTHS, NUMBERS, TEXTS, as_bytes, square

_KEYS = ("type", "coordinates", "geometry", "geometries", "features", "properties", "classification", "name")
_MARK = "@odd@"


def _feature(geometry: Any, name: str = "") -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": name}} if name else {}}


def whole_geojson() -> list[Any]:
    """Contents of GeoJSON files that are taken, for images of 32 pixels and classes a and b."""
    polygon = {"type": "Polygon", "coordinates": [square(4, 5, 20), square(8, 9, 5)]}
    several = {"type": "MultiPolygon", "coordinates": [[square(1, 1, 6.5)], [square(20, 20, 9), square(22, 22, 3)]]}
    circle = [[16 + 12 * math.cos(i / 16), 16 + 12 * math.sin(i / 16)] for i in range(100)]
    round_one = {"type": "Polygon", "coordinates": [circle]}
    whole = {"type": "Polygon", "coordinates": [square(0, 0, 32)]}
    return [
        {"type": "FeatureCollection", "features": [_feature(polygon, "Gland"), _feature(several)]},
        polygon,
        several,
        [_feature(round_one), _feature(several, "ignore")],
        _feature({"type": "GeometryCollection", "geometries": [polygon, round_one]}, "tumour"),
        {"type": "FeatureCollection", "features": [_feature(whole, "a"), _feature(polygon)]},
    ]


def spoiled_geojson(rng: random.Random, others: Sequence[Any] = ()) -> tuple[bytes, str]:
    """Return the bytes of a GeoJSON file, or of one of the other contents, spoiled, and what was done to it."""
    contents = [*others] or whole_geojson()
    number = rng.randrange(len(contents))
    content, odd, done = contents[number], "null", [f"outline {number}"]
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        way = rng.choice(_WEAK if rng.random() < 0.4 else _STRONG)
        content, odd = way(content, rng, odd)
        done.append(way.__name__.strip("_"))
    text = json.dumps(content).replace(f'"{_MARK}"', odd)
    if rng.random() < 0.05:
        text = _doubled_keys(text, rng)
    data, how = as_bytes(text, rng)
    return data, ", ".join(done + how)


_Tree = Any
_JsonWay = Callable[[_Tree, random.Random, str], tuple[_Tree, str]]


def _places(content: Any) -> list[tuple[Any, Any]]:
    """Return every (list or object, index or key) of a tree; those near the root come first."""
    places, waiting = [], [content]
    while waiting:
        node = waiting.pop(0)
        inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in list(inner):
            places.append((node, key))
            waiting.append(value)
    return places


def _place(content: Any, rng: random.Random) -> tuple[Any, Any]:
    """Return a place of a tree; the few near the root as often as the many numbers."""
    places = _places(content) or [([None], 0)]
    return rng.choice(places[:30] if rng.random() < 0.5 else places)


def _moved(content: Any, rng: random.Random, odd: str) -> tuple[Any, str]:
    """Move every number a little, as another hand would draw."""
    for node, key in _places(content):
        if isinstance(node[key], float | int):
            node[key] = node[key] + rng.choice((0, 0.25, -0.5, rng.uniform(-3, 3)))
    return content, odd


def _one_number(content: Any, rng: random.Random, _: str) -> tuple[Any, str]:
    numbers = [(node, key) for node, key in _places(content) if isinstance(node[key], float | int)]
    for node, key in rng.sample(numbers, min(len(numbers), rng.choice((1, 1, 3)))):
        node[key] = _MARK
    return content, rng.choice(NUMBERS)


def _name(content: Any, rng: random.Random, odd: str) -> tuple[Any, str]:
    """Name a feature after anything."""
    features = [node for node, key in _places(content) if key == "geometry"]
    if not features:
        return content, odd
    rng.choice(features)["properties"] = {"classification": {"name": _MARK}}
    return content, f'"{rng.choice(TEXTS)}"'


def _order(content: Any, rng: random.Random, odd: str) -> tuple[Any, str]:
    """Turn, mix or repeat the items of a list."""
    lists = [node[key] for node, key in _places(content) if isinstance(node[key], list) and len(node[key]) > 2]
    if lists:
        chosen = rng.choice(lists)
        chosen[:] = rng.choice((chosen[::-1], rng.sample(chosen, len(chosen)), chosen * 3, chosen[:1] * 4 + chosen))
    return content, odd


def _more(content: Any, rng: random.Random, odd: str) -> tuple[Any, str]:
    """Add what programs add: heights of points, boxes, ids, members of their own."""
    for node, key in rng.sample(places := _places(content), min(len(places), 5)):
        if isinstance(node[key], list) and len(node[key]) == 2 and isinstance(node[key][0], int | float):
            node[key].append(rng.choice((0, None, "x", [])))
        if isinstance(node, dict):
            node[rng.choice(("id", "bbox", "isLocked", "measurements", "nucleusGeometry"))] = _MARK
    return content, rng.choice((*NUMBERS, *(f'"{text}"' for text in TEXTS), "{}", "[[]]"))


def _value(content: Any, rng: random.Random, _: str) -> tuple[Any, str]:
    """Put anything in one place."""
    node, key = _place(content, rng)
    node[key] = _MARK
    plain = ("null", "true", "false", "[]", "{}", '"10"', "[[]]", '{"a": 1}', "[1, 2]", "[[[[[[1, 2]]]]]]", "", "x")
    return content, rng.choice((rng.choice(plain), rng.choice(NUMBERS), f'"{rng.choice(TEXTS)}"'))


def _type(content: Any, rng: random.Random, odd: str) -> tuple[Any, str]:
    types = [(node, key) for node, key in _places(content) if key == "type"]
    if not types:
        return content, odd
    node, key = rng.choice(types)
    node[key] = _MARK
    return content, f'"{rng.choice(TEXTS)}"' if rng.random() < 0.8 else _nested(rng, "1")


def _deep(content: Any, rng: random.Random, _: str) -> tuple[Any, str]:
    """Nest one value, or all, in lists and collections."""
    node, key = _place(content, rng)
    whole = rng.random() < 0.4
    inner = "null" if whole and _MARK in json.dumps(content) else json.dumps(content if whole else node[key])
    node[key] = _MARK
    return (_MARK if whole else content), _nested(rng, inner)


def _nested(rng: random.Random, inner: str) -> str:
    depth = rng.choice(DEPTHS)
    begin, end = rng.choice((
        ("[", "]"), ('{"a":', "}"), ('{"type":"Feature","geometry":', "}"),
        ('{"type":"FeatureCollection","features":[', "]}"), ('{"type":"GeometryCollection","geometries":', "}"),
        ('[null,', "]"),
    ))  # fmt: skip
    return begin * depth + inner + end * depth


def _dropped(content: Any, rng: random.Random, odd: str) -> tuple[Any, str]:
    node, key = _place(content, rng)
    del node[key]
    return content, odd


def _renamed(content: Any, rng: random.Random, odd: str) -> tuple[Any, str]:
    keys = [(node, key) for node, key in _places(content) if isinstance(node, dict)]
    if keys:
        node, key = rng.choice(keys)
        node[rng.choice((*_KEYS, "Type", "__class__", "\u202e", "\0"))] = node.pop(key)
    return content, odd


def _swapped(content: Any, rng: random.Random, odd: str) -> tuple[Any, str]:
    """Put a copy of one part in place of another."""
    (node, key), (other, where) = _place(content, rng), _place(content, rng)
    node[key] = copy.deepcopy(other[where])
    return content, odd


def _very_many(content: Any, rng: random.Random, _: str) -> tuple[Any, str]:
    """Repeat one part in place of itself, up to a file of many megabytes."""
    lists = [(node, key) for node, key in _places(content) if isinstance(node[key], list)]
    if not lists:
        return content, "null"
    node, key = rng.choice(lists)
    item = rng.choice((json.dumps(node[key][0]) if node[key] else "[]", "1", "[]", "[[[0,0],[1,0],[1,1]]]", "{}"))
    node[key] = _MARK
    size = rng.choice((1000, 10_000, 10_000, 100_000, 5_000_000 if rng.random() < 0.3 else 1000))
    return content, f"[{','.join([item] * max(1, size // (len(item) + 1)))}]"


_WEAK: tuple[_JsonWay, ...] = (_moved, _moved, _name, _order, _more, _one_number)
_STRONG: tuple[_JsonWay, ...] = (
    _one_number, _value, _value, _type, _deep, _dropped, _renamed, _swapped, _name, _very_many,
)  # fmt: skip


def _doubled_keys(text: str, rng: random.Random) -> str:
    """Say one thing twice in an object."""
    key = rng.choice(_KEYS)
    value = rng.choice(("null", "[]", '"Polygon"', "1"))
    return text.replace(f'"{key}":', f'"{key}": {value}, "{key}":')
