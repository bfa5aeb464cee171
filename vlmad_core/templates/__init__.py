"""Html pages as one file each, and drawings as SVG: the templates, and the style sheet they share.

Everything put into a template is escaped. The only markup that is not is what templates of this folder drew.
"""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What a page may load: nothing from anywhere."""


def render(template: str, **values: Any) -> str:
    """Fill in a template; a value that is missing is an error, not a blank.

    Args:
        template: Name of a file of this folder, e.g. ``report.html.j2``.
        values: What it shows; all of it is escaped.
    """
    return _environment().get_template(template).render(policy=POLICY, **values)


def draw(template: str, **values: Any) -> Markup:
    """Fill in the template of an SVG drawing, as markup that a page takes in as it is."""
    return Markup(render(template, **values))


def webp_address(content: bytes) -> str:
    """A WebP file as an address that holds the file itself, so that a page needs no other."""
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("vlmad_core", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
