"""The report of judged images as one html file that opens offline: no script, no address, all pictures inside."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from PIL import Image

from vlmad_core.figures.overlay import colour_bar, encode
from vlmad_core.live.drawing import Look, draw_maps, origin_line, score_line
from vlmad_core.live.record import ImageResult, Judged, own_milliseconds, verdict_word
from vlmad_core.live.verdicts import Opinion
from vlmad_core.report.style import STYLE

MOST_PICTURED = 50
"""Images shown with their maps; further ones appear in the table."""

_OWN_STYLE = """
.anomalous { color: #b22a2a; font-weight: 650; }
.normal { color: #147346; font-weight: 650; }
.pictures figure { width: 13.5rem; }
table.scores td, table.scores th, table.why td, table.why th { text-align: left; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .75rem; background: var(--soft); padding: .75rem; }
"""


def render(judged: Judged, pictures: Mapping[str, Image.Image], look: Look, title: str = "Live demo") -> str:
    """Write the report.

    Args:
        judged: The results.
        pictures: Images by their content hash; a result whose image is not among them is only in the table.
        look: How maps are drawn.
        title: The report's title.
    """
    setup = judged.setup
    backbone = setup["backbone"]
    shown = [image for image in judged.images if image.content in pictures][:MOST_PICTURED]
    caution = (
        '<div class="caution"><p>A small demonstration backbone: its numbers show how the program works and decide '
        "nothing about real parts.</p></div>"
        if backbone.get("demonstration")
        else ""
    )
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}{_OWN_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f'<p class="quiet">{escape(str(setup["category"]))} · {escape(str(backbone["title"]))}, '
        f"{backbone['image_size']} px, {escape(str(backbone['precision']))} · "
        f"{len(setup['references'])} normal references · {len(judged.images)} images</p>",
        caution,
        *(_image(image, pictures[image.content], look) for image in shown),
        _scores(judged) if len(judged.images) > 1 else "",
        _problems(judged),
        "<h2>All settings</h2>",
        f"<pre>{escape(json.dumps(dict(setup), indent=1, ensure_ascii=False))}</pre>",
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part)


def _image(result: ImageResult, image: Image.Image, look: Look) -> str:
    drawn = draw_maps(image, result.opinions, look)
    size = f"{image.width} x {image.height} pixels" if result.size else ""
    figures = [_figure(drawn.pixels, "Image", size)]
    for one in result.opinions:
        pixels = drawn.maps.get(one.prediction.method_id)
        caption = f"{_verdict(one)} {escape(score_line(one))}<br>{escape(origin_line(one))}"
        figures.append(_figure(pixels, one.prediction.title, caption, escaped=True))
    bar = "" if drawn.scale is None else f"<p>{colour_bar(drawn.scale, look.opacity)}</p>"
    note = "" if drawn.scale is None else f'<p class="quiet">{escape(drawn.scale.title)}</p>'
    rows = "".join(_why(one) for one in result.opinions)
    why = (
        '<div class="wide"><table class="why"><thead><tr><th>Method</th><th>Towards</th><th>What</th>'
        f"<th>Strength</th></tr></thead><tbody>{rows}</tbody></table></div>"
        if rows
        else ""
    )
    return (
        f'<section class="part"><h2>{escape(result.name)}</h2><div class="pictures">{"".join(figures)}</div>'
        f"{bar}{note}<h3>Why</h3>{why or '<p>No method gave a reason.</p>'}{_latency(result.opinions)}</section>"
    )


def _figure(pixels: Any, title: str, caption: str, *, escaped: bool = False) -> str:
    text = caption if escaped else escape(caption)
    if pixels is None:
        return f"<figure><h4>{escape(title)}</h4><p class='quiet'>No map.</p><figcaption>{text}</figcaption></figure>"
    data = base64.b64encode(encode(pixels)).decode()
    return (
        f'<figure><h4>{escape(title)}</h4><img src="data:image/webp;base64,{data}" alt="{escape(title)}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def _verdict(one: Opinion) -> str:
    word = verdict_word(one)
    return f'<span class="{word}">{word}</span>' if word in ("anomalous", "normal") else escape(word)


def _why(one: Opinion) -> str:
    return "".join(
        f"<tr><td>{escape(one.prediction.title)}</td><td>{escape(r.towards)}</td><td>{escape(r.text)}</td>"
        f"<td>{r.value:.3f}</td></tr>"
        for r in one.prediction.reasons
    )


def _latency(opinions: Sequence[Opinion]) -> str:
    times = ((one.prediction.title, own_milliseconds(one)) for one in opinions)
    texts = [f"{escape(title)} {ms:.0f} ms" for title, ms in times if ms is not None]
    return f'<p class="quiet">Latency on top of the shared pass: {", ".join(texts)}.</p>' if texts else ""


def _scores(judged: Judged) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("Image", "Method", "Verdict", "Score", "Threshold", "From"))
    rows = []
    for image in judged.images:
        if image.error is not None:
            rows.append(f"<tr><td>{escape(image.name)}</td><td colspan='5'>{escape(image.error)}</td></tr>")
        for one in image.opinions:
            score = "" if one.prediction.image_score is None else f"{one.prediction.image_score:.4g}"
            threshold = "" if one.verdict is None else f"{one.verdict.threshold.value:.4g}"
            cells = (escape(image.name), escape(one.prediction.title), _verdict(one), score, threshold)
            rows.append(f"<tr>{''.join(f'<td>{c}</td>' for c in cells)}<td>{escape(origin_line(one))}</td></tr>")
    table = f'<table class="scores"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return f'<h2>All images</h2><div class="wide">{table}</div>'


def _problems(judged: Judged) -> str:
    left = f"{judged.left_out} files that are no images were left out." if judged.left_out else ""
    items = "".join(f"<li>{escape(text)}</li>" for text in (*judged.problems, left) if text)
    return f"<h2>What could not be used</h2><ul>{items}</ul>" if items else ""
