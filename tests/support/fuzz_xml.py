"""ASAP XML as drawing programs write it, and ways to spoil it: in its elements, in its text, in its bytes."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from xml.etree import ElementTree

from tests.support.fuzz_outlines import DEPTHS, NUMBERS, TEXTS, as_bytes, square


def whole_xml() -> list[str]:
    """ASAP files that are taken."""
    found = []
    for rings, kind in (([square(4, 5, 20)], "Polygon"), ([square(1, 1, 9), square(20, 20, 9)], "Spline")):
        shapes = ""
        for number, ring in enumerate(rings):
            points = "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}" />' for i, (x, y) in enumerate(ring))
            group = ("None", "a", "ignore")[number]
            shapes += f'<Annotation Name="{number}" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58">'
            shapes += f"<Coordinates>{points}</Coordinates></Annotation>"
        groups = '<AnnotationGroups><Group Name="a" PartOfGroup="None"><Attributes /></Group></AnnotationGroups>'
        text = f"<ASAP_Annotations><Annotations>{shapes}</Annotations>{groups}</ASAP_Annotations>"
        found += [f'<?xml version="1.0"?>\n{text}', text]
    return found


def spoiled_xml(rng: random.Random, others: Sequence[str] = ()) -> tuple[bytes, str]:
    """Return the bytes of an ASAP file, or of one of the other texts, spoiled, and what was done to it."""
    texts = [*others] or whole_xml()
    number = rng.randrange(len(texts))
    head, done = "".join(texts[number].partition("?>\n")[:2]) * texts[number].startswith("<?"), [f"outline {number}"]
    root = ElementTree.fromstring(texts[number])
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        way = rng.choice(
            (_shaken, _attribute, _attribute, _no_attribute, _no_order, _tag, _moved_in, _repeated, _mixed)
        )
        way(root, rng)
        done.append(way.__name__.strip("_"))
    text = head + ElementTree.tostring(root, encoding="unicode")
    if rng.random() < 0.4:
        way_of_text = rng.choice((_odd_text, _odd_text, _head, _wrapped, _many_shapes))
        text = way_of_text(text, rng)
        done.append(way_of_text.__name__.strip("_"))
    data, how = as_bytes(text, rng)
    return data, ", ".join(done + how)


def _shaken(root: ElementTree.Element, rng: random.Random) -> None:
    for point in root.iter("Coordinate"):
        point.set("X", f"{float(point.get('X', 0)) + rng.uniform(-2, 2):.3f}" if _is_number(point.get("X")) else "3")


def _is_number(text: str | None) -> bool:
    return bool(text) and str(text).replace(".", "", 1).isdigit() and str(text).isascii()


def _attribute(root: ElementTree.Element, rng: random.Random) -> None:
    """Write anything into an attribute, most often a coordinate's."""
    elements = list(root.iter())
    element = rng.choice([one for one in elements if one.tag == "Coordinate"] or elements)
    if rng.random() < 0.4:
        element = rng.choice(elements)
    name = rng.choice([*element.keys(), "Order", "X", "PartOfGroup", "Type"])
    odd = ("1_0", "\u0661", "1,5", "0x10", " 7 ", "\u202e", "<&>\"'", "None", "none", "Dot", "Rectangle", "a", "b", "A")
    text = rng.choice((*NUMBERS, *odd, *TEXTS))
    element.set(name, text.encode().decode("unicode_escape") if text.startswith("\\u2") else text)


def _no_attribute(root: ElementTree.Element, rng: random.Random) -> None:
    element = rng.choice(list(root.iter()))
    if element.keys():
        del element.attrib[rng.choice(element.keys())]


def _no_order(root: ElementTree.Element, rng: random.Random) -> None:
    """Take the order away, or mix it up."""
    for point in root.iter("Coordinate"):
        point.attrib.pop("Order", None)
        if rng.random() < 0.3:
            point.set("Order", rng.choice(("0", "-1", "nan", "inf", "1e308", "2.5")))


def _tag(root: ElementTree.Element, rng: random.Random) -> None:
    tags = ("Annotation", "Coordinates", "Coordinate", "{http://a}Annotation", "x", "ASAP_Annotations")
    rng.choice(list(root.iter())).tag = rng.choice(tags)


def _moved_in(root: ElementTree.Element, rng: random.Random) -> None:
    """Put a copy of one element into another."""
    elements = list(root.iter())
    rng.choice(elements).append(copy.deepcopy(rng.choice(elements)))


def _repeated(root: ElementTree.Element, rng: random.Random) -> None:
    parent = rng.choice(list(root.iter()))
    if len(parent) and sum(1 for _ in root.iter()) < 5000:
        parent.extend([copy.deepcopy(parent[0]) for _ in range(rng.choice((1, 3, 100)))])


def _mixed(root: ElementTree.Element, rng: random.Random) -> None:
    parent = rng.choice(list(root.iter()))
    parent[:] = rng.sample(list(parent), len(parent))


_WAYS = (_shaken, _attribute, _attribute, _no_attribute, _no_order, _tag, _moved_in, _repeated, _mixed)


def _odd_text(text: str, rng: random.Random) -> str:
    """Put something between two elements, or into an attribute."""
    odd = rng.choice((
        "&lt;", "&x;", "&#0;", "&#xD800;", "&#x202e;", "&#99999999;", "<![CDATA[<Annotation>]]>", "<!-- -- -->",
        "<?php x?>", "<!---->", "]]>", "\0", "\x0b", "\ufffe", "<!ENTITY x 'y'>", "<!DOCTYPE a>", "<a xmlns='b'/>",
        "<x:Annotation/>", "<Annotation/>", "<Coordinate/>", "\u202e", "<Annotation Type='Polygon' Type='Dot'/>",
    ))  # fmt: skip
    places = [at for at, char in enumerate(text) if char in '><"'] or [0]
    at = rng.choice(places) + 1
    return text[:at] + odd + text[at:]


def _head(text: str, rng: random.Random) -> str:
    """Begin with a declaration of anything."""
    entities = "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(9))
    declared = rng.choice((
        '<?xml version="1.0" encoding="utf-16"?>', '<?xml version="1.0" encoding="x-none"?>', '<?xml version="9"?>',
        '<?xml version="1.1"?>', '<?xml version="1.0" standalone="no"?>', '<?xml version="1.0" encoding="cp037"?>',
        f'<!DOCTYPE a [<!ENTITY a0 "x">{entities}]>', '<!doctype a SYSTEM "file:///etc/passwd">', "\n\n", "<",
        '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1/x"> %x;]>', '<?xml version="1.0" encoding="UTF-7"?>',
    ))  # fmt: skip
    return declared + text.partition("?>\n")[2] if text.startswith("<?xml") else declared + text


def _wrapped(text: str, rng: random.Random) -> str:
    """Nest all in elements: of any name, and of annotations within annotations."""
    depth = rng.choice((*DEPTHS, 20_000, 60_000))
    name = rng.choice(("a", "Annotation", "Coordinates", "Annotation", 'Annotation X="1"'))
    inner = text.partition("?>\n")[2] if text.startswith("<?xml") else text
    return f"<{name}>" * depth + inner + f"</{name.partition(' ')[0]}>" * depth


def _many_shapes(text: str, rng: random.Random) -> str:
    """Repeat a shape or a point, up to some megabytes."""
    begin, end = rng.choice((("<Annotation ", "</Annotation>"), ("<Coordinate ", "/>")))
    at = text.find(begin)
    stop = text.find(end, at)
    if at < 0 or stop < 0:
        return text
    part = text[at : stop + len(end)]
    size = rng.choice((1000, 10_000, 100_000, 3_000_000 if rng.random() < 0.2 else 1000))
    return text[:at] + part * (size // len(part) + 1) + text[at:]
