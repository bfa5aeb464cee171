from __future__ import annotations

import itertools

import numpy as np
import pytest

from vlmad_core.cards import card_names
from vlmad_core.figures.style import (
    contrast,
    diverging,
    from_hex,
    heat_table,
    ink_on,
    interpolate,
    method_style,
    sequential,
    to_oklab,
)

PAGES = ("#ffffff", "#11151B")
# Linear RGB seen by someone without L, M or S cones (Viénot et al. 1999; Machado et al. 2009 for tritanopia).
DEUTERANOPIA = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])
PROTANOPIA = np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]])


def seen(colour: str, matrix: np.ndarray) -> np.ndarray:
    linear = (from_hex(colour) / 255) ** 2.2
    return to_oklab(np.clip(matrix @ linear, 0, 1) ** (1 / 2.2) * 255)


STYLES = {name: method_style(name) for name in card_names()}
SPARE = {method_style(f"somebody_elses_{k}") for k in range(400)}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("colour", sorted({style.colour for style in (*STYLES.values(), *SPARE)}))
def test_method_colours_stand_out_from_both_pages(colour: str, page: str) -> None:
    assert contrast(colour, page) >= 3.0


def test_no_two_methods_look_alike() -> None:
    styles = list(STYLES.values())
    assert len({style.colour for style in styles}) == len(styles)
    assert len({style.symbol for style in styles}) == len(styles)


@pytest.mark.parametrize("matrix", [DEUTERANOPIA, PROTANOPIA], ids=["deuteranopia", "protanopia"])
def test_methods_of_the_first_comparison_are_told_apart_by_the_colour_blind(matrix: np.ndarray) -> None:
    first = [STYLES[name].colour for name in ("clip_ac", "clip_cpe", "winclip")]
    for a, b in itertools.combinations(first, 2):
        assert np.linalg.norm(seen(a, matrix) - seen(b, matrix)) > 0.08


def test_colours_that_come_close_for_the_colour_blind_differ_in_dash_or_symbol() -> None:
    for a, b in itertools.combinations([*STYLES.values(), *SPARE], 2):
        if np.linalg.norm(seen(a.colour, DEUTERANOPIA) - seen(b.colour, DEUTERANOPIA)) < 0.08:
            assert (a.dash, a.symbol) != (b.dash, b.symbol)


def test_spare_colours_are_none_of_the_methods_and_as_far_apart_as_they_are() -> None:
    colours = {style.colour for style in (*STYLES.values(), *SPARE)}
    for a, b in itertools.combinations(colours, 2):
        assert np.linalg.norm(to_oklab(from_hex(a)) - to_oklab(from_hex(b))) > 0.085, (a, b)


def test_a_method_keeps_its_colour_with_any_preset_and_unknown_ones_keep_theirs() -> None:
    assert method_style("winclip:accurate") == method_style("winclip")
    assert method_style("somebody_elses") == method_style("somebody_elses:preset")
    assert len(SPARE) == 30  # five colours, each with two symbols and three line styles


def test_heat_has_even_steps_of_lightness() -> None:
    lightness = to_oklab(heat_table())[:, 0]
    steps = np.diff(lightness)
    assert np.all(steps > 0)
    assert steps.max() < 2.5 * np.median(steps)  # eight bits per channel leave some unevenness


@pytest.mark.parametrize("dark", [False, True])
def test_grid_scales_leave_the_page_evenly(dark: bool) -> None:
    page = PAGES[1] if dark else PAGES[0]
    lightness = [to_oklab(from_hex(colour))[0] for colour in sequential(dark)]
    steps = np.diff(lightness)
    assert np.all(steps > 0) if dark else np.all(steps < 0)
    assert np.allclose(steps, steps.mean(), atol=0.01)
    assert contrast(sequential(dark)[-1], page) > 7 > contrast(sequential(dark)[0], page)


@pytest.mark.parametrize("dark", [False, True])
def test_differences_are_symmetric_in_lightness(dark: bool) -> None:
    colours = diverging(dark)
    lightness = np.array([to_oklab(from_hex(colour))[0] for colour in colours])
    assert len(colours) == 9
    assert np.allclose(lightness, lightness[::-1], atol=0.01)


def test_ink_is_readable_on_every_cell() -> None:
    for dark in (False, True):
        for colours in (sequential(dark), diverging(dark)):
            for position in np.linspace(0, 1, 21):
                cell = interpolate(colours, float(position))
                assert contrast(ink_on(cell), cell) >= 4.5


def test_oklab_of_known_colours() -> None:
    assert to_oklab(from_hex("#ffffff")) == pytest.approx([1, 0, 0], abs=1e-3)
    assert to_oklab(from_hex("#ff0000")) == pytest.approx([0.62796, 0.22486, 0.12585], abs=1e-3)
