"""Damage as disks, networks and people do it: bytes and a seed give mutated bytes, the same ones every time."""

from __future__ import annotations

import random
from collections.abc import Callable

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
