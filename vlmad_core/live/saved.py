"""Saved demos read back: what is in their record, taken with care, and their pictures."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from vlmad_core.errors import StoreError
from vlmad_core.live.cli import file_stem
from vlmad_core.store.annotations import Demo
from vlmad_core.store.reader import Missing

IMAGE_FILE = "image.webp"
MOST_PIXELS = 2**24
"""Saved pictures are made for a page; what claims to be larger was not saved by this program."""


@dataclass(frozen=True)
class SavedMethod:
    """What one method said.

    Attributes:
        method_id: ``name:preset``.
        title: How it was shown.
        verdict: ``anomalous``, ``normal``, ``no verdict`` or ``failed``; empty if not recorded.
        score: Image score; None if there is none.
        threshold: What it was judged by; None without.
    """

    method_id: str
    title: str
    verdict: str
    score: float | None
    threshold: float | None


@dataclass(frozen=True)
class SavedDemo:
    """What was judged, and what came out; texts are as they were recorded, empty where nothing was.

    Attributes:
        category: The part in words.
        image: Name of the image.
        backbone: Title of the backbone.
        known: What the data set says of the image.
        note: What was noted when it was saved.
        scale: How maps became colours, ``normal``, ``image`` or ``raw``.
        methods: What the methods said, in order.
    """

    category: str
    image: str
    backbone: str
    known: str
    note: str
    scale: str
    methods: tuple[SavedMethod, ...]


def overlay_file(method_id: str) -> str:
    """Name of the file with a method's map over the image.

    >>> overlay_file("winclip:canonical")
    'overlay-winclip_canonical.webp'
    """
    return f"overlay-{file_stem(method_id)}.webp"


def map_file(method_id: str) -> str:
    """Name of the file with a method's map as numbers.

    >>> map_file("winclip:canonical")
    'map-winclip_canonical.npz'
    """
    return f"map-{file_stem(method_id)}.npz"


def read_saved(demo: Demo) -> SavedDemo:
    """A saved demo's record; what is missing or of another kind in it is empty, and takes nothing from the rest."""
    content = demo.content
    images = content.get("images")
    first = _mapping(images[0]) if isinstance(images, list) and images else {}
    methods = first.get("methods")
    setup = _mapping(content.get("setup"))
    return SavedDemo(
        category=_text(content.get("category")),
        image=_text(first.get("name")),
        backbone=_text(_mapping(setup.get("backbone")).get("title")),
        known=_text(content.get("known")),
        note=_text(content.get("note")),
        scale=_text(content.get("scale")),
        methods=tuple(_method(_mapping(one)) for one in (methods if isinstance(methods, list) else []) if one),
    )


def saved_picture(demo: Demo, name: str) -> bytes | Missing:
    """One of a saved demo's pictures as a WebP file that can be drawn, or why it can't be.

    Args:
        demo: The demo.
        name: ``IMAGE_FILE``, or as ``overlay_file`` gives it.
    """
    if name not in demo.files:
        return Missing("No picture was saved.")
    try:
        content = demo.read(name)
        with Image.open(io.BytesIO(content), formats=["WEBP"]) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                return Missing("The saved picture is too large to be shown.")
            picture.load()
    except (StoreError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Missing("The saved picture is damaged or gone.")
    return content


def _method(raw: Mapping[str, Any]) -> SavedMethod:
    method_id = _text(raw.get("method"))
    threshold = _number(_mapping(raw.get("threshold")).get("value"))
    return SavedMethod(
        method_id, _text(raw.get("title")) or method_id, _text(raw.get("verdict")), _number(raw.get("score")), threshold
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
