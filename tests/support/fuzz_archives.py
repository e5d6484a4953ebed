"""Zip archives of masks as people hand them in, and ways to spoil them.

They are written here field by field, since no library writes archives that contradict themselves. A member is what its
two headers say, which may differ, and its bytes.
"""

from __future__ import annotations

import bz2
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from tests.support.fuzz_cases import spoiled_bytes

_UTF8, _ENCRYPTED = 0x800, 0x1
_NAMES = (
    b"", b".", b"..", b"../train_00.png", b"/etc/passwd", b"\0", b"train_00.png\0.exe", b"x" * 300 + b".png", b"a/",
    b"/", b"a/b.png", b"a\\b.png", b"C:train_00.png", b".hidden.png", b"\xff\xfe.png", b"train_00.png ", b" ", b"~",
    b"-rf", b"\xed\xa0\x80.png", "train_00\u202e.png".encode(), b"train_00.png\n", b"nul.png", b"a.zip", b"train_01",
    b"%2e%2e", b"__MACOSX/._train_00.png", b"x" * 255, "Ä".encode("cp437") + b".png", b"test_00.png", b"train_00.PNG",
)  # fmt: skip
_SIZES = (0, 1, 2**16, 2**26, 2**26 + 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)
_METHODS = (0, 1, 6, 8, 9, 12, 14, 93, 95, 97, 99, 65535)
_ATTRIBUTES = (0o120777 << 16, 0o040755 << 16, 0o100644 << 16, 0o010644 << 16, 0o104777 << 16, 0x10, 0xFFFFFFFF)
_EXTRAS = (
    struct.pack("<HHQ", 1, 8, 2**63), struct.pack("<HHQQQ", 1, 24, 2**40, 2**40, 2**40), struct.pack("<HH", 1, 65535),
    struct.pack("<HHBI", 0x7075, 10, 1, 0) + b"\xff\xff\xff\xff\xff", b"\0", struct.pack("<HHB", 1, 1, 0), b"\xff" * 40,
)  # fmt: skip
_Make = Callable[[str, random.Random], tuple[bytes, str]]


@dataclass
class Member:
    """One file of an archive, as its two headers tell it."""

    name: bytes
    packed: bytes
    size: int
    crc: int
    method: int = 8
    flags: int = 0
    attributes: int = 0o100644 << 16
    extra: bytes = b""
    offset: int | None = None
    local: dict[str, int] = field(default_factory=dict)


def spoiled_archive(rng: random.Random, ids: tuple[str, ...], make: _Make) -> tuple[bytes, str]:
    """Return the bytes of a zip archive, spoiled, and what was done to it.

    Args:
        rng: source of all chance.
        ids: images that its members are for.
        make: bytes of a spoiled file of a suffix, and what was done to it.
    """
    members, done = [], []
    for key in rng.sample(ids, rng.choice((1, 1, 2, 3)) if rng.random() < 0.98 else 0):
        suffix = rng.choice(("png", "png", "nii.gz", "tif", "geojson", "xml", "skip", "bmp", "zip"))
        if suffix == "zip" and rng.random() < 0.7:
            suffix = "png"
        data, how = make(suffix, rng)
        members.append(_member(f"{key}.{suffix}".encode(), data, rng.choice((0, 8))))
        done.append(f"{suffix} ({how})")
    for _ in range(rng.choice((0, 0, 1, 1, 2, 4)) if members else 0):
        way = rng.choice((_name, _name, _sum, _sizes, _flag, _method, _kind, _extra, _twice, _offset, _bomb, _bytes))
        way(rng.choice(members), members, rng)
        done.append(way.__name__.strip("_"))
    data = _written(members, rng if rng.random() < 0.15 else None)
    if rng.random() < 0.15:
        data = spoiled_bytes(data, rng)
        done.append("bytes of the archive")
    return data, ", ".join(done)


def whole_archive(key: str, png: bytes) -> bytes:
    """Return the bytes of an archive with the mask of one image."""
    return _written([_member(f"{key}.png".encode(), png, 8)], None)


def _member(name: bytes, data: bytes, method: int) -> Member:
    packed = zlib.compress(data, 1)[2:-4] if method == 8 else data
    return Member(name, packed, len(data), zlib.crc32(data), method)


_Way = Callable[[Member, list[Member], random.Random], None]


def _name(member: Member, _: list[Member], rng: random.Random) -> None:
    member.name, member.flags = rng.choice(_NAMES), rng.choice((0, _UTF8))


def _sum(member: Member, _: list[Member], rng: random.Random) -> None:
    member.crc = rng.choice((0, member.crc ^ 1, 2**32 - 1))


def _sizes(member: Member, _: list[Member], rng: random.Random) -> None:
    """Have the directory or the header before the file say other sizes."""
    value = rng.choice((*_SIZES, len(member.packed) + 1, max(0, member.size - 1)))
    if rng.random() < 0.5:
        member.size = value
    else:
        member.local[rng.choice(("size", "packed", "name"))] = value


def _flag(member: Member, _: list[Member], rng: random.Random) -> None:
    member.flags = rng.choice((_ENCRYPTED, _UTF8, 0x8, 0x20, 0x40, 0x2000, _ENCRYPTED | 0x40, 0xFFFF))


def _method(member: Member, _: list[Member], rng: random.Random) -> None:
    member.method = rng.choice(_METHODS)
    if member.method == 12:
        member.packed = _many_zeros_bz2()


def _kind(member: Member, _: list[Member], rng: random.Random) -> None:
    member.attributes = rng.choice(_ATTRIBUTES)
    if member.attributes >> 16 == 0o120777:
        member.packed, member.size, member.method = b"/etc/passwd", 11, 0
        member.crc = zlib.crc32(member.packed)


def _extra(member: Member, _: list[Member], rng: random.Random) -> None:
    member.extra = rng.choice(_EXTRAS)


def _twice(member: Member, members: list[Member], rng: random.Random) -> None:
    """Have a member many times, each of the same bytes or not."""
    members += [Member(**vars(member)) for _ in range(rng.choice((1, 2, 30)))]


def _offset(member: Member, members: list[Member], rng: random.Random) -> None:
    member.offset = rng.choice((0, 1, 2**31, 2**32 - 1, rng.randrange(500)))


def _bomb(member: Member, _: list[Member], rng: random.Random) -> None:
    """Have a member be gigabytes; what the directory says of them may be little."""
    member.method = 8
    member.packed = _many_zeros() if rng.random() < 0.3 else _few_zeros()
    member.size = rng.choice((10, 2**20, 2**26, 2**26 + 1, 2**32 - 2))


def _bytes(member: Member, _: list[Member], rng: random.Random) -> None:
    member.packed = spoiled_bytes(member.packed, rng)


@cache
def _few_zeros() -> bytes:
    return _zeros(64)


@cache
def _many_zeros() -> bytes:
    return _zeros(4096)


def _zeros(mebibytes: int) -> bytes:
    """Return so many MiB of zeros, packed: one block that is repeated, since each is whole in itself."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * mebibytes + packer.flush()


@cache
def _many_zeros_bz2() -> bytes:
    return bz2.compress(bytes(32 * 2**20))


def _written(members: list[Member], rng: random.Random | None) -> bytes:
    """Return the bytes of an archive; with ``rng`` its last record is wrong."""
    body, directory = b"", b""
    for member in members:
        offset = len(body) if member.offset is None else member.offset
        body += _local(member)
        sizes = struct.pack("<III", member.crc, len(member.packed), member.size)
        directory += struct.pack("<IHHHHHH", 0x02014B50, 0x314, 20, member.flags, member.method, 0, 0x21) + sizes
        lengths = (len(member.name), len(member.extra), 0, 0, 0)
        directory += struct.pack("<HHHHHII", *lengths, member.attributes, offset) + member.name + member.extra
    end = [0, 0, len(members), len(members), len(directory), len(body)]
    if rng is not None:
        at = rng.randrange(len(end))
        end[at] = rng.choice((0, 1, 65535, end[at] + 1)) if at < 4 else rng.choice((0, 2**31, 2**32 - 1, end[at] + 1))
    comment = b"PK\5\6" * 5 if rng is not None and rng.random() < 0.3 else b""
    last = struct.pack("<IHHHHIIH", 0x06054B50, *(value & 0xFFFF for value in end[:4]), *end[4:], len(comment))
    return body + directory + last + comment


def _local(member: Member) -> bytes:
    say = member.local
    sizes = (member.crc, say.get("packed", len(member.packed)), say.get("size", member.size))
    length = say.get("name", len(member.name)) & 0xFFFF
    head = struct.pack("<IHHHHH", 0x04034B50, 20, member.flags, member.method, 0, 0x21)
    return head + struct.pack("<IIIHH", *sizes, length, 0) + member.name + member.packed
