"""Judged images kept: written to a folder, shown on one html page, and read back from saved demos."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from vlmad_core import templates
from vlmad_core.errors import StoreError, VlmadError
from vlmad_core.figures.overlay import colour_bar, encode
from vlmad_core.io import write_atomically
from vlmad_core.live.drawing import (
    Look,
    combined_figure,
    draw_maps,
    method_figure,
    origin_line,
    png,
    score_line,
)
from vlmad_core.live.inputs import Item, gather
from vlmad_core.live.panel import Panel
from vlmad_core.live.record import ImageResult, Judged, own_milliseconds, verdict_word
from vlmad_core.live.remote import RemotePanel
from vlmad_core.store.annotations import Demo
from vlmad_core.store.reader import Missing
from vlmad_core.tabular import csv_text

MOST_PICTURED = 50
"""Images shown with their maps; further ones appear in the table."""

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


def save(judged: Judged, folder: Path, sources: Sequence[Any]) -> list[Path]:
    """Write a judgement to a folder: result.json, scores.csv, report.html, and pictures of each image.

    Args:
        judged: The results.
        folder: Where; made if it is not there.
        sources: The images again, as they were given to ``predict``: results keep no pixels.

    Returns:
        The files.

    Raises:
        StoreError: If they can't be written.
    """
    look = Look()
    make_output(folder)
    by_hash = {image.content: image for image in judged.images if image.content}
    pictures: dict[str, Image.Image] = {}
    files: list[Path] = []
    try:
        for number, item in enumerate(gather(sources).items, start=1):
            try:
                picture = item.read()
            except VlmadError:
                continue  # its error is in the results
            result = by_hash.get(picture.content)
            if result is None or picture.content in pictures:
                continue
            if len(pictures) < MOST_PICTURED:
                pictures[picture.content] = picture.image
            stem = f"{number:03d}-{file_stem(picture.name)}"
            whole = combined_figure(picture.image, result.opinions, look, picture.name)
            files.append(_write(folder / f"{stem}.png", png(whole)))
            for one in result.opinions:
                if one.prediction.anomaly_map is not None:
                    name = f"{stem}-{file_stem(one.prediction.method_id)}.png"
                    files.append(_write(folder / name, png(method_figure(picture.image, one, look))))
        files.append(_write(folder / "result.json", json.dumps(judged.to_json(), indent=1).encode()))
        files.append(_write(folder / "scores.csv", csv_text(judged.table()).encode()))
        title = f"{judged.setup['category']}: {len(judged.images)} images judged"
        files.append(_write(folder / "report.html", render(judged, pictures, look, title).encode()))
    except OSError as error:
        raise StoreError(f"{folder} can't be written to: {error.strerror}.", "Choose another place.") from error
    return files


def make_output(folder: Path) -> None:
    """Make a folder for the output.

    Raises:
        StoreError: If it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} can't be made: {error.strerror}.", "Choose another place.") from error


def file_stem(name: str) -> str:
    """A name as part of a file's name.

    >>> file_stem("../a b/winclip:canonical.png")
    'a_b_winclip_canonical'
    """
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", name)
    return re.sub(r"[^A-Za-z0-9-]+", "_", stem).strip("_")[:60] or "image"


def render(
    judged: Judged,
    pictures: Mapping[str, Image.Image],
    look: Look,
    title: str = "Live demo",
    said: Sequence[str] = (),
) -> str:
    """Write the report.

    Args:
        judged: The results.
        pictures: Images by their content hash; a result whose image is not among them is only in the table.
        look: How maps are drawn.
        title: The report's title.
        said: What they come to, in sentences.
    """
    shown = [image for image in judged.images if image.content in pictures][:MOST_PICTURED]
    return templates.render(
        "live.html.j2",
        title=title,
        said=said,
        judged=judged,
        setup=judged.setup,
        shown=[_shown(image, pictures[image.content], look) for image in shown],
        settings=json.dumps(dict(judged.setup), indent=1, ensure_ascii=False),
        verdict_word=verdict_word,
        score_line=score_line,
        origin_line=origin_line,
    )


def batch_report(
    judged: Judged, panel: Panel | RemotePanel, items: Sequence[Item], wanted: Collection[int], said: Sequence[str] = ()
) -> str:
    """Write the report of a batch, whose results keep no maps: some images are judged once more, to be shown.

    Args:
        judged: The results; images in the order of ``items``.
        panel: Who judged them.
        items: The images.
        wanted: Places of those that are shown with their maps.
        said: What the batch comes to, in sentences.
    """
    images, pictures = list(judged.images), dict[str, Image.Image]()
    for place in sorted(wanted)[:MOST_PICTURED]:
        try:
            picture = items[place].read()
            mapped = {one.method_id: one for one in panel.judge(picture)}
        except VlmadError:
            continue  # it can't be read, as its result says, or not be judged now: it stands in the table
        images[place] = replace(
            images[place],
            opinions=tuple(
                replace(one, prediction=mapped.get(one.prediction.method_id, one.prediction))
                for one in images[place].opinions
            ),
        )
        pictures[picture.content] = picture.image
    title = f"{judged.setup['category']}: {len(images)} images judged"
    return render(replace(judged, images=tuple(images)), pictures, Look(), title, said)


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


def _shown(result: ImageResult, image: Image.Image, look: Look) -> dict[str, Any]:
    """An image as the page shows it: with its maps, their colour bar, and each method's latency."""
    drawn = draw_maps(image, result.opinions, look)
    times = ((one.prediction.title, own_milliseconds(one)) for one in result.opinions)
    return {
        "name": result.name,
        "size": f"{image.width} x {image.height} pixels" if result.size else "",
        "opinions": result.opinions,
        "picture": templates.webp_address(encode(drawn.pixels)),
        "maps": {method: templates.webp_address(encode(pixels)) for method, pixels in drawn.maps.items()},
        "scale": drawn.scale,
        "colour_bar": None if drawn.scale is None else Markup(colour_bar(drawn.scale, look.opacity)),
        "reasons": [(one.prediction.title, reason) for one in result.opinions for reason in one.prediction.reasons],
        "latency": ", ".join(f"{title} {ms:.0f} ms" for title, ms in times if ms is not None),
    }


def _write(path: Path, content: bytes) -> Path:
    write_atomically(path, content)
    return path


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
