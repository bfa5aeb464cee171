"""How figures look: a style per method, scales with even steps of lightness, and one calm layout."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from vlmad_core.cards import Dash, MethodCard, MethodStyle, find_card
from vlmad_core.libraries import go

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

LEGEND_LINE = 20
"""Height of a line of the legend, in pixels: in half a page every trace takes one."""

_SPARE: tuple[tuple[str, tuple[str, str]], ...] = (
    ("#3E6B74", ("x", "octagon")),
    ("#087435", ("triangle-down", "hexagram")),
    ("#3E62B3", ("star-diamond", "triangle-left")),
    ("#D75962", ("hourglass", "star-triangle-up")),
    ("#984798", ("bowtie", "star-square")),
)
"""Colours that no card has, each with markers of its own: for plugins without a style, and imported methods."""
_SPARE_DASHES: tuple[Dash, ...] = ("dash", "longdash", "dashdot")


def method_style(method: str) -> MethodStyle:
    """Style of a method: that of its card; without one, a spare style that depends on its name only.

    Args:
        method: Identifier such as ``winclip``, or with a preset such as ``winclip:accurate``.

    Examples:
        >>> method_style("winclip:accurate") == method_style("winclip")
        True
    """
    name = method.partition(":")[0]
    card = find_card(name) or _card_of_plugin(name)
    return (card and card.style) or _spare_style(name)


def _card_of_plugin(name: str) -> MethodCard | None:
    """The card of a method that is no built-in one: plugins are loaded together with the methods."""
    from vlmad_core.methods import list_methods

    return find_card(name) if name in list_methods() else None


def _spare_style(name: str) -> MethodStyle:
    number, pick = divmod(zlib.crc32(name.encode()), len(_SPARE))
    colour, symbols = _SPARE[pick]
    return MethodStyle(colour, _SPARE_DASHES[number // 2 % len(_SPARE_DASHES)], symbols[number % 2])


def calm(figure: go.Figure, height: int) -> go.Figure:
    """Set margins and legend as all Plotly figures have them; colours of text and ground are the page's theme's.

    Args:
        figure: Changed in place.
        height: In pixels.

    Returns:
        The same figure.
    """
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        hovermode="closest",
    )
    figure.update_xaxes(automargin=True, zeroline=False)
    figure.update_yaxes(automargin=True, zeroline=False)
    return figure


def prepare() -> None:
    """Draw a figure nobody sees: the first one of a process takes far longer than all others."""
    calm(go.Figure().add_scatter(x=[0], y=[0]).add_bar(x=[0], y=[0]), 100).to_json()


def heat_table() -> Bytes:
    """Colours of anomaly maps, from low (dark violet) to high (pale yellow), in even steps of lightness.

    Returns:
        [256, 3] sRGB.
    """
    anchors = ("#2d1160", "#721f81", "#b73779", "#f1605d", "#feb078", "#fcfdbf")
    return _table(anchors, low=0.26, high=0.97)


def sequential(dark: bool, steps: int = 9) -> tuple[str, ...]:
    """Colours for values in a grid: low values come close to the page, high ones stand out.

    Args:
        dark: Whether the page is dark.
        steps: Number of colours.
    """
    anchors = ("#f3f7fa", "#b9d6df", "#6fabc0", "#34799f", "#1c4a7a", "#132a52")
    table = _table(anchors, low=0.965, high=0.33)
    if dark:
        table = _table(("#1d2a3a", "#1f5078", "#2f82a6", "#7cbcc4", "#d9eedc"), low=0.28, high=0.93)
    return tuple(to_hex(table[round(i * 255 / (steps - 1))]) for i in range(steps))


def diverging(dark: bool, steps: int = 9) -> tuple[str, ...]:
    """Colours for differences, orange for below and blue for above; both ends are equally far from the page.

    Args:
        dark: Whether the page is dark.
        steps: Number of colours, odd.
    """
    middle, end = ("#242b34", 0.74) if dark else ("#f5f6f7", 0.48)
    start = float(to_oklab(from_hex(middle))[0])
    half = (steps + 1) // 2
    below = _table((middle, "#e08a3c" if dark else "#a8510a"), low=start, high=end)
    above = _table((middle, "#5aa2e8" if dark else "#1d5fa8"), low=start, high=end)
    picks = [round(i * 255 / (half - 1)) for i in range(half)]
    return tuple([to_hex(below[i]) for i in reversed(picks)] + [to_hex(above[i]) for i in picks[1:]])


def ink_on(colour: str) -> str:
    """Black or white, whichever is read better on a colour."""
    luminance = relative_luminance(colour)
    return "#ffffff" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "#000000"


def interpolate(colours: tuple[str, ...], position: float) -> str:
    """The colour at a position in [0, 1] along a scale (straight lines in OKLab)."""
    labs = np.stack([to_oklab(from_hex(c)) for c in colours])
    at = np.clip(position, 0.0, 1.0) * (len(colours) - 1)
    lab = np.array([np.interp(at, np.arange(len(colours)), labs[:, k]) for k in range(3)])
    return to_hex(_from_oklab(lab))


def relative_luminance(colour: str) -> float:
    """Relative luminance in [0, 1] as WCAG 2 defines it."""
    return float(_linear(from_hex(colour) / 255) @ np.array([0.2126, 0.7152, 0.0722]))


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours as WCAG 2 defines it, from 1 to 21.

    Examples:
        >>> round(contrast("#000000", "#ffffff"))
        21
    """
    low, high = sorted((relative_luminance(first), relative_luminance(second)))
    return (high + 0.05) / (low + 0.05)


def from_hex(colour: str) -> Floats:
    """``#rrggbb`` as [3] values from 0 to 255."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float64)


def to_hex(rgb: Floats | Bytes) -> str:
    """[3] values from 0 to 255 as ``#rrggbb``."""
    return "#" + "".join(f"{round(float(value)):02x}" for value in rgb)


def to_oklab(rgb: Floats | Bytes) -> Floats:
    """SRGB (0 to 255) as OKLab, in which equal distances look equal (Ottosson, A perceptual color space, 2020).

    Args:
        rgb: [..., 3].

    Returns:
        [..., 3]: lightness in [0, 1], green to red, blue to yellow.
    """
    cones = _linear(np.asarray(rgb, np.float64) / 255) @ _RGB_TO_CONES.T
    return np.cbrt(cones) @ _CONES_TO_LAB.T


def _table(anchors: tuple[str, ...], low: float, high: float) -> Bytes:
    """256 colours through the anchors' hues, their lightness replaced by even steps from low to high."""
    labs = np.stack([to_oklab(from_hex(colour)) for colour in anchors])
    at = np.linspace(0, len(anchors) - 1, 256)
    path = np.stack([np.interp(at, np.arange(len(anchors)), labs[:, k]) for k in range(3)], axis=1)
    path[:, 0] = np.linspace(low, high, 256)
    return np.rint(_from_oklab(path)).astype(np.uint8)


def _from_oklab(lab: Floats) -> Floats:
    linear = (lab @ np.linalg.inv(_CONES_TO_LAB).T) ** 3 @ np.linalg.inv(_RGB_TO_CONES).T
    linear = np.clip(linear, 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.clip(encoded * 255, 0, 255)


def _linear(srgb: Floats) -> Floats:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


_RGB_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_CONES_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
