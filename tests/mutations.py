"""Damage as disks, networks and people do it: bytes and a seed give mutated bytes, the same ones every time."""

from __future__ import annotations

import copy
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

HOSTILE = (
    b"\x00", b"\xff" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"NaN", b"Infinity", b"null", b"[",
    b"{", b'"', b"-1", b"1e999", b"9" * 30, b"../", b"%s", b"\xef\xbb\xbf", b"\xff\xfe", b"\r\n",
    b"&a [*a]", b"\x1f\x8b",
)  # fmt: skip
"""Pieces that readers stumble over: extreme lengths, numbers that are none, brackets, marks of encodings, paths."""


def flip_bits(content: bytes, chance: random.Random) -> bytes:
    """One to eight bits flipped."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 8))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def truncate(content: bytes, chance: random.Random) -> bytes:
    """The end cut off, or the start."""
    place = chance.randrange(len(content))
    return content[:place] if chance.random() < 0.8 else content[place:]


def insert(content: bytes, chance: random.Random) -> bytes:
    """A hostile piece or random bytes put in, or written over what was there."""
    place = chance.randrange(len(content) + 1)
    piece = chance.choice(HOSTILE) if chance.random() < 0.7 else chance.randbytes(chance.randint(1, 16))
    piece *= chance.choice((1, 1, 1, 40))
    return content[:place] + piece + content[place + (len(piece) if chance.random() < 0.5 else 0) :]


def swap(content: bytes, chance: random.Random) -> bytes:
    """Two neighbouring blocks in the wrong order."""
    start, middle, end = sorted(chance.randrange(len(content) + 1) for _ in range(3))
    return content[:start] + content[middle:end] + content[start:middle] + content[end:]


def duplicate(content: bytes, chance: random.Random) -> bytes:
    """A block written twice, or many times if it is short."""
    start, end = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    block = content[start:end]
    return content[:end] + block * (chance.choice((1, 1, 50)) if len(block) < 200 else 1) + content[end:]


def blank(content: bytes, chance: random.Random) -> bytes:
    """A block of zeros, as a disk that lost power leaves it."""
    start, end = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    return content[:start] + b"\0" * (end - start) + content[end:]


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (flip_bits, truncate, insert, swap, duplicate, blank)


def mutated(content: bytes, seed: int, most: int = 3) -> bytes:
    """Bytes damaged in one to ``most`` ways.

    Args:
        content: What was whole; may be empty.
        seed: The same seed gives the same damage.
        most: How many ways at most, one after the other.
    """
    chance = random.Random(seed)
    for _ in range(chance.randint(1, most)):
        content = chance.choice(MUTATIONS)(content, chance) if content else chance.choice(HOSTILE)
    return content


ODD_VALUES: tuple[object, ...] = (
    None, True, False, 0, -1, 1.5, 2**63, -(2**63), 10**40, 1e308, "", "x", "1_0", "../x", "\0", "=1+1", "a" * 5000,
    [], {}, [[]], [{}], {"": None}, ["x"], [1, "x"], {"x": 1},
)  # fmt: skip
"""What may stand in a record where something else belongs."""


def mutated_value(value: object, seed: int) -> object:
    """A plain value (of json or yaml) with one to three of its parts replaced, left out, or put in another place.

    Args:
        value: Objects, lists, texts, numbers; stays as it is.
        seed: The same seed gives the same damage.
    """
    chance = random.Random(seed)
    holder = {"": copy.deepcopy(value)}
    for _ in range(chance.randint(1, 3)):
        places = list(_places(holder))
        inside, key = chance.choice(places)
        kind = chance.random()
        if kind < 0.6:
            inside[key] = copy.deepcopy(chance.choice(ODD_VALUES))
        elif kind < 0.8:
            other, place = chance.choice(places)
            inside[key] = copy.deepcopy(other[place])
        elif inside is not holder:
            del inside[key]
    return holder[""]


def _places(inside: Any) -> Iterator[tuple[Any, Any]]:
    """Every key of every object and every place of every list, each with what it is in."""
    for key in list(inside if isinstance(inside, dict) else range(len(inside))):
        yield inside, key
        if isinstance(inside[key], dict | list):
            yield from _places(inside[key])


def mutated_zip(content: bytes, seed: int) -> bytes:
    """A zip archive whose frame is whole, with one member damaged: what a reader meets behind the checksum."""
    chance = random.Random(seed)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    name = chance.choice(sorted(members))
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, inside in members.items():
            archive.writestr(member, mutated(inside, seed) if member == name else inside)
    return changed.getvalue()


def mutated_png(content: bytes, seed: int) -> bytes:
    """A png one of whose chunks is damaged, with checksums that are right."""
    chance = random.Random(seed)
    chunks, place = [], 8
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    number = chance.randrange(len(chunks))
    kind, inside = chunks[number]
    if chance.random() < 0.2:
        chunks.insert(chance.randrange(len(chunks)), chunks[number])
    else:
        chunks[number] = kind, mutated(inside, seed)
    return content[:8] + b"".join(
        struct.pack(">I", len(inside)) + kind + inside + struct.pack(">I", zlib.crc32(kind + inside))
        for kind, inside in chunks
    )
