"""Files for :mod:`tests.support.fuzz`: small whole files of every kind that is read, and ways to spoil them.

A case is a function of seed and number alone: the same two give the same bytes.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import nibabel
import numpy as np
import safetensors.torch
import torch
from PIL import Image

from scripts.networks.model_file import KEY, ModelInfo
from scripts.networks.weights import pack_weights
from tests.support.dicom_files import whole_dicoms

IMAGES = (
    "png", "bmp", "jpg", "jfif", "tif", "nii", "nii.gz", "gif", "webp", "jp2",
    *(("dcm",) if find_spec("pydicom") else ()),
)  # fmt: skip
TABLES = ("csv", "json")
MODELS = ("safetensors", "pt")
TOKENS = (
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"'", b",", b";", b"\n", b"\r", b"\t", b"../", b"/etc/passwd", b"~",
    b"$__import__('os').system('false')", b"@data", b"%data", b"#", b"NaN", b"1e999", b"-1", b"9" * 5000, b"null",
    b"{}", b"[]", b"[" * 5000, b'{"a":' * 5000, b"\\ud800", b"\\u0000", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80",
    b"a" * 5000, b"._a.png",
    b"image", b"label", b"mask", b"split", b"id", b"train", b"training", b"a.png", b"b.png", b"sub/", b"link.png",
    b"\x1b[2J", b" ",
)  # fmt: skip
NUMBERS = (0, 1, 2, 3, 4, 8, 16, 32, 64, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1)


@dataclass(frozen=True)
class Case:
    """One spoiled file.

    Attributes:
        kind: ``"image"``, ``"mask"``, ``"csv"``, ``"json"`` or ``"model"``; :mod:`tests.support.fuzz_gate` has others.
        suffix: of its name, without the dot.
        data: its bytes.
        how: the seed file and what was done to it.
        place: where it lies in a folder of masks; its characters may be bytes that are no text.
    """

    kind: str
    suffix: str
    data: bytes
    how: str
    place: str = ""

    @property
    def row(self) -> str:
        """Row of the table that it counts in."""
        return self.kind if self.kind in (*TABLES, "misnamed") else f"{self.kind}, {self.suffix}"


def make_case(seed: int, number: int) -> Case:
    """Return the case of this number."""
    rng = random.Random(f"{seed}:{number}")
    kind = rng.choices(("image", "mask", "csv", "json", "model"), (10, 4, 3, 3, 1))[0]
    suffix = kind if kind in TABLES else rng.choice(MODELS if kind == "model" else IMAGES)
    files = whole_files(suffix)
    name, data = files[rng.randrange(len(files))]
    ways = _ways(suffix)
    done = []
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        way = ways[rng.randrange(len(ways))]
        data = way(data, rng, suffix)
        done.append(way.__name__.strip("_"))
    if rng.random() < 0.03 and suffix in IMAGES:  # a name that does not tell what is inside
        suffix = rng.choice(IMAGES)
    return Case(kind, suffix, data, f"{name}: {', '.join(done)}")


@cache
def whole_files(suffix: str) -> tuple[tuple[str, bytes], ...]:
    """Return (name, bytes) of files that can be read."""
    if suffix in TABLES:
        return _tables(suffix)
    if suffix in MODELS:
        return _models(suffix)
    if suffix == "dcm":
        return tuple(whole_dicoms(_pixels()))
    return tuple(_niftis(suffix)) if suffix.startswith("nii") else tuple(_pictures(suffix))


def _pixels(channels: int = 3) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, channels), dtype=np.uint8)
    pixels[5:12, 6:18] //= 3
    return pixels


def _saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def _pictures(suffix: str) -> list[tuple[str, bytes]]:
    kind = {
        "png": "PNG", "bmp": "BMP", "jpg": "JPEG", "jfif": "JPEG", "tif": "TIFF", "gif": "GIF", "webp": "WEBP",
        "jp2": "JPEG2000",
    }[suffix]  # fmt: skip
    rgb, grey = Image.fromarray(_pixels()), Image.fromarray(_pixels()[..., 0])
    numbered = Image.fromarray(np.kron(np.arange(4).reshape(2, 2), np.ones((10, 12))).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    found = [("rgb", _saved(rgb, kind)), ("grey", _saved(grey, kind))]
    if suffix not in ("jpg", "jfif", "webp", "jp2"):
        found += [("numbered", _saved(numbered, kind)), ("1", _saved(grey.convert("1"), kind))]
        found += [("palette", _saved(rgb.convert("P"), kind))]
    if suffix in ("png", "tif"):
        deep = Image.fromarray(_pixels()[..., 0].astype(np.uint16) * 257)
        found += [("rgba", _saved(Image.fromarray(_pixels(4)), kind)), ("deep", _saved(deep, kind))]
        found += [
            ("turned", _saved(rgb, kind, exif=exif)),
            ("pages", _saved(rgb, kind, save_all=True, append_images=[grey])),
        ]
        found += [("la", _saved(Image.fromarray(_pixels(2), "LA"), kind))]
    if suffix in ("webp", "jp2"):
        found += [("rgba", _saved(Image.fromarray(_pixels(4)), kind))]
    if suffix == "webp":
        found += [("lossless", _saved(rgb, kind, lossless=True)), ("turned", _saved(rgb, kind, exif=exif))]
    if suffix == "png":
        found += [("transparent", _saved(rgb.convert("P"), kind, transparency=3))]
    if suffix == "jpg":
        found += [("cmyk", _saved(rgb.convert("CMYK"), kind)), ("progressive", _saved(rgb, kind, progressive=True))]
        found += [("turned", _saved(rgb, kind, exif=exif))]
    if suffix == "tif":
        found += [("imagej", _planes("ImageJ=1.53t\nimages=3\nchannels=3\n", _pixels()))]
        found += [("ome", _planes('<OME><Pixels SizeC="4" SizeZ="1" SizeT="1"/></OME>', _pixels(4).astype(np.uint16)))]
        for how in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
            found.append((how, _saved(rgb, kind, compression=how)))
        found += [("group4", _saved(grey.convert("1"), kind, compression="group4"))]
        found += [("float", _saved(Image.fromarray(_pixels()[..., 0].astype(np.float32)), kind))]
        found += [("cmyk", _saved(rgb.convert("CMYK"), kind)), ("lab", _saved(Image.fromarray(_pixels(), "LAB"), kind))]
    return found


def _planes(description: str, planes: np.ndarray) -> bytes:
    first, *others = (Image.fromarray(plane) for plane in np.moveaxis(planes, -1, 0))
    return _saved(first, "TIFF", save_all=True, append_images=others, description=description)


def _niftis(suffix: str) -> list[tuple[str, bytes]]:
    grey = _pixels()[..., 0]
    record = np.zeros(grey.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    arrays = {
        "u1": grey,
        "f4": grey.astype(np.float32),
        "i2": grey.astype(np.int16),
        "rgb": record,
        "u2": grey.astype("u2"),
    }
    found = [(name, nibabel.Nifti1Image(array, np.eye(4)).to_bytes()) for name, array in arrays.items()]
    found += [("three", nibabel.Nifti1Image(_pixels(), np.eye(4)).to_bytes())]
    found += [("second", nibabel.Nifti2Image(grey, np.eye(4)).to_bytes())]
    scaled = nibabel.Nifti1Image(grey.astype(np.float64), np.eye(4))
    scaled.set_data_dtype(np.uint8)
    found += [("scaled", scaled.to_bytes())]
    return found if suffix == "nii" else [(name, gzip.compress(data, mtime=0)) for name, data in found]


def _tables(suffix: str) -> tuple[tuple[str, bytes], ...]:
    rows = [("a.png", "x", "", "train"), ("b.png", "y", "m.png", "train"), ("c.png", "x", "m.png", "val"),
            ("sub/d.png", "y", "", "test")]  # fmt: skip
    names = ("image", "label", "mask", "split")
    if suffix == "csv":
        lines = [",".join(row) for row in (names, *rows)]
        undivided = ["image,label", *(f"{image},{label}" for image, label, *_ in rows)]
        quoted = ["id,image,label,patient_id", *(f'"{i}","{row[0]}","{row[1]}",p{i}' for i, row in enumerate(rows))]
        return tuple(
            (name, "\n".join(t).encode()) for name, t in (("full", lines), ("short", undivided), ("ids", quoted))
        )
    entries = [dict(zip(names, row, strict=True)) for row in rows]
    sections = {"training": entries[:2], "validation": entries[2:3], "test": entries[3:]}
    return ("flat", json.dumps(entries).encode()), ("sections", json.dumps(sections, indent=1).encode())


def _models(suffix: str) -> tuple[tuple[str, bytes], ...]:
    weights = {"w": torch.arange(12.0).reshape(3, 4), "b": torch.ones(3, dtype=torch.int64)}
    if suffix == "safetensors":
        return (("two", safetensors.torch.save(weights, {KEY: MODEL.to_json()})),)
    return (("two", pack_weights(weights)),)


MODEL = ModelInfo({"_target_": "scripts.networks.joint_net.JointNet"}, ("a", "b"), (64, 64), 0.5)
"""Description of the models; a ``.pt`` has it in a file beside."""


# ---- ways to spoil ------------------------------------------------------------------------------------------------

_Way = Callable[[bytes, random.Random, str], bytes]
MOST_PACKED = 2**18
"""Of bytes that are unpacked here; what is larger is a bomb already."""


def spoiled_bytes(data: bytes, rng: random.Random, suffix: str = "") -> bytes:
    """Return ``data`` spoiled in a way that looks at bytes alone, or at the structure of a PNG or packed NIfTI."""
    own = {"png": (_chunk, _chunk, _size), "nii.gz": (_packed, _packed)}.get(suffix, ())
    return rng.choice((*_ANY, _number, _token, *own))(data, rng, suffix)


def _ways(suffix: str) -> tuple[_Way, ...]:
    common = (*_ANY, _splice)
    if suffix in TABLES:
        return (_cell, _cell, _cell, _token, _token, _lines, *common)
    own: dict[str, tuple[_Way, ...]] = {"png": (_chunk, _chunk, _size), "nii.gz": (_packed, _packed, _packed)}
    return (_number, _number, *own.get(suffix, ()), *common)


def _bits(data: bytes, rng: random.Random, _: str) -> bytes:
    spoiled = bytearray(data)
    for _ in range(rng.choice((1, 2, 8))):
        if spoiled:
            spoiled[rng.randrange(len(spoiled))] ^= 1 << rng.randrange(8)
    return bytes(spoiled)


def _bytes(data: bytes, rng: random.Random, _: str) -> bytes:
    spoiled = bytearray(data)
    for _ in range(rng.choice((1, 4, 32))):
        if spoiled:
            spoiled[rng.randrange(len(spoiled))] = rng.choice((0, 1, 127, 128, 254, 255, rng.randrange(256)))
    return bytes(spoiled)


def _number(data: bytes, rng: random.Random, _: str) -> bytes:
    """Write a number that often means something: sizes, counts and offsets of headers."""
    form = rng.choice(("<H", ">H", "<I", ">I", "<f", ">f"))
    value = rng.choice(NUMBERS) if form[1] != "f" else rng.choice((0.0, -1.0, 1e30, float("nan"), float("inf")))
    packed = struct.pack(form, value if form[1] in "If" else int(value) & 0xFFFF)
    at = rng.randrange(min(len(data), 400) + 1) if rng.random() < 0.8 else rng.randrange(len(data) + 1)
    return data[:at] + packed + data[at + len(packed) :]


def _cut(data: bytes, rng: random.Random, _: str) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _insert(data: bytes, rng: random.Random, _: str) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 4, 64))) + data[at:]


def _remove(data: bytes, rng: random.Random, _: str) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.choice((1, 4, 64)) :]


def _repeat(data: bytes, rng: random.Random, _: str) -> bytes:
    at, size = rng.randrange(len(data) + 1), rng.choice((4, 64, 1000))
    return data[:at] + data[at : at + size] * rng.choice((2, 20)) + data[at + size :]


def _zero(data: bytes, rng: random.Random, _: str) -> bytes:
    at, size = rng.randrange(len(data) + 1), rng.choice((4, 64, 1000))
    return data[:at] + bytes(min(size, len(data) - at)) + data[at + size :]


_ANY: tuple[_Way, ...] = (_bits, _bytes, _cut, _insert, _remove, _repeat, _zero)


def _splice(data: bytes, rng: random.Random, suffix: str) -> bytes:
    files = whole_files(suffix)
    other = files[rng.randrange(len(files))][1]
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _token(data: bytes, rng: random.Random, _: str) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(TOKENS) + data[at + rng.choice((0, 0, 1, 5)) :]


def _cell(data: bytes, rng: random.Random, suffix: str) -> bytes:
    """Replace whole values of a table, which stays one."""
    if suffix == "csv":
        lines = [line.split(b",") for line in data.split(b"\n")]
        line = rng.choice(lines)
        line[rng.randrange(len(line))] = rng.choice(TOKENS)
        return b"\n".join(b",".join(line) for line in lines)
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return data
    places: list[tuple[Any, Any]] = []
    waiting = [content]
    while waiting:
        node = waiting.pop()
        children = list(node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ())
        places += [(node, key) for key, _ in children]
        waiting += [value for _, value in children]
    if not places:
        return data
    node, key = rng.choice(places)
    odd = (None, True, 0, -1, 1e300, float("nan"), 10**30, [], {}, [1], {"a": 1}, "\ud800", "\0", "a\nb", "\u202e")
    value = rng.choice((rng.choice(odd), rng.choice(TOKENS).decode("latin-1"), rng.choice(places)[0]))
    if isinstance(node, dict) and rng.random() < 0.2:
        node[str(value)[:99]] = node.pop(key)
    else:
        node[key] = value
    try:
        return json.dumps(content).encode()
    except (ValueError, RecursionError):  # a value that holds itself
        return data


def _lines(data: bytes, rng: random.Random, _: str) -> bytes:
    lines = data.split(b"\n")
    rng.shuffle(lines)
    return b"\n".join(lines[: rng.randrange(len(lines) + 1)] + lines[: rng.choice((0, 1, 2))])


def _packed(data: bytes, rng: random.Random, suffix: str) -> bytes:
    """Spoil what is inside and pack it again; gzip's sum would hide most else."""
    if len(data) > MOST_PACKED:
        return data
    try:
        inside = gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return data
    return gzip.compress(rng.choice((_number, _number, _bytes, _cut))(inside, rng, suffix), mtime=0)


def _chunk(data: bytes, rng: random.Random, suffix: str) -> bytes:
    """Spoil one chunk of a PNG and give it the right sum again, so that more than the sum is tried."""
    chunks = _chunks(data)
    if not chunks:
        return data
    at = rng.randrange(len(chunks))
    name, content = chunks[at]
    if name == b"IDAT" and rng.random() < 0.5:
        content = zlib.compress(rng.choice((_bytes, _cut, _repeat))(_inflated(content), rng, suffix))
    else:
        content = rng.choice((_bytes, _cut, _insert))(content, rng, suffix)
    if rng.random() < 0.2:
        chunks.insert(
            at, (rng.choice((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"zTXt", b"iCCP", b"eXIf", b"acTL")), content)
        )
    else:
        chunks[at] = name, content
    return _png(chunks)


_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"zTXt", b"iCCP", b"eXIf", b"acTL")


def _size(data: bytes, rng: random.Random, _: str) -> bytes:
    """Give a PNG another size, depth or kind of colour in a header with the right sum."""
    chunks = _chunks(data)
    if not chunks or len(chunks[0][1]) != 13:
        return data
    values = list(struct.unpack(">IIBBBBB", chunks[0][1]))
    field = rng.randrange(len(values))
    values[field] = rng.choice(NUMBERS) % (2**32 if field < 2 else 256)
    return _png([(b"IHDR", struct.pack(">IIBBBBB", *values)), *chunks[1:]])


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at + 8 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _inflated(content: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(content, 2**20)
    except zlib.error:
        return content
