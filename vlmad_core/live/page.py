"""The report of judged images as one html file that opens offline: what `live.html.j2` shows of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup
from PIL import Image

from vlmad_core import templates
from vlmad_core.figures.overlay import colour_bar, encode
from vlmad_core.live.drawing import Look, draw_maps, origin_line, score_line
from vlmad_core.live.record import ImageResult, Judged, own_milliseconds, verdict_word

MOST_PICTURED = 50
"""Images shown with their maps; further ones appear in the table."""


def render(judged: Judged, pictures: Mapping[str, Image.Image], look: Look, title: str = "Live demo") -> str:
    """Write the report.

    Args:
        judged: The results.
        pictures: Images by their content hash; a result whose image is not among them is only in the table.
        look: How maps are drawn.
        title: The report's title.
    """
    shown = [image for image in judged.images if image.content in pictures][:MOST_PICTURED]
    return templates.render(
        "live.html.j2",
        title=title,
        judged=judged,
        setup=judged.setup,
        shown=[_shown(image, pictures[image.content], look) for image in shown],
        settings=json.dumps(dict(judged.setup), indent=1, ensure_ascii=False),
        verdict_word=verdict_word,
        score_line=score_line,
        origin_line=origin_line,
    )


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
