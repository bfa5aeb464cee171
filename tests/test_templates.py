"""Whatever a name, a title or an error says, it stays text on the pages that are sent on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vlmad_core import templates
from vlmad_core.live.drawing import Look
from vlmad_core.live.panel import LivePrediction, Normals
from vlmad_core.live.record import ImageResult, Judged
from vlmad_core.live.saved import render as render_judged
from vlmad_core.live.verdicts import give_opinion
from vlmad_core.methods import Reason
from vlmad_core.report.content import collect
from vlmad_core.report.page import render as render_report
from vlmad_core.store.reader import open_store
from vlmad_core.store.schema import sealed

EVIL = """"'><script>alert(1)</script><img src=x onerror="alert(1)">{{ 7 * 7 }}&amp;</style></svg>"""
FIXED = ("metric", "level", "method_id", "content", "origin", "towards")
"""What decides how something is looked up or drawn, and comes from a fixed list."""


def hostile(value: Any) -> Any:
    """The same with every text made hostile."""
    if isinstance(value, str):
        return EVIL + value
    if isinstance(value, pd.DataFrame):
        texts = [name for name in value.columns if name not in FIXED]
        return value.assign(**{n: value[n].map(lambda v: hostile(v) if isinstance(v, str) else v) for n in texts})
    if isinstance(value, tuple | list):
        return type(value)(hostile(one) for one in value)
    if isinstance(value, Mapping):
        return {key: one if key in FIXED else hostile(one) for key, one in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value) if f.name not in FIXED]
        return dataclasses.replace(value, **{name: hostile(getattr(value, name)) for name in names})
    return value


class Markup(HTMLParser):
    """Tags with the names of their attributes, in order; addresses; and the visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def check(plain: str, evil: str, places: int) -> None:
    """Both pages have the same markup, whatever their texts; the hostile one shows at least so many of them."""
    before, after = Markup(plain), Markup(evil)
    assert after.tags == before.tags
    assert after.text.count(EVIL) >= places
    assert all(one.startswith(("data:image/webp;base64,", "#part-")) for one in after.addresses)
    assert ("meta", ("http-equiv", "content")) in after.tags
    assert not {tag for tag, _ in after.tags} & {"script", "link", "iframe", "object", "form", "base"}


@pytest.mark.usefixtures("quick_disk")
def test_hostile_texts_in_every_field_of_a_report(tmp_path: Path, made_up_store: Callable[..., Path]) -> None:
    where = made_up_store(tmp_path / "store", datasets=("mvtec", "widgets"), images=8, shots=(0, 2))
    for file in where.glob("mvtec/*/run.json"):
        record = json.loads(file.read_text())
        record["provenance"]["data"]["official"] = "mvtec_ad"
        file.write_bytes(sealed(record))
    next(where.glob("widgets/*/run.json")).write_text("{")
    report = collect(open_store(where), title="A title")
    assert not report.sections[0].reported.empty
    assert report.sections[0].mistakes
    assert report.problems
    check(render_report(report), render_report(hostile(report)), places=100)


def judged() -> Judged:
    """Three images with all that a page shows: maps, reasons, errors, problems."""
    values = np.linspace(0, 1, 256 * 256, dtype=np.float32).reshape(256, 256)
    normals = Normals((0.1, 0.2), (values[:64, :64] / 2,))
    reasons = (Reason("prompt", "a broken part", 0.3, "abnormal"),)
    opinions = (
        give_opinion(
            LivePrediction(
                "winclip:canonical", "WinCLIP", 2, None, 0.7, values, {"scoring": 0.1}, reasons, normals=normals
            )
        ),
        give_opinion(LivePrediction("clip_ac:canonical", "CLIP-AC", 0, image_score=0.4)),
        give_opinion(LivePrediction("musc:canonical", "MuSc", 0, error="needs all test images")),
    )
    setup = {
        "category": "metal nut",
        "backbone": {"title": "CLIP", "image_size": 224, "precision": "float32", "demonstration": True},
        "references": [{"name": "a.png"}],
    }
    images = (
        ImageResult("one.png", (64, 64), "known", opinions),
        ImageResult("two.png", (64, 64), "unknown", opinions),
        ImageResult("three.png", error="is empty"),
    )
    return Judged(setup, images, ("four.png is no image",), 2)


def test_hostile_texts_in_every_field_of_judged_images() -> None:
    pictures = {"known": Image.new("RGB", (64, 64), (90, 90, 90))}
    plain = render_judged(judged(), pictures, Look(), "A title")
    page = Markup(plain)
    for text in ("A title", "a broken part", "needs all test images", "is empty", "2 files that are no images"):
        assert text in page.text
    check(plain, render_judged(hostile(judged()), pictures, Look(), EVIL), places=20)


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="title"):
        templates.render("page.html.j2")
