"""Defects: what goes wrong on a surface, as changes of colour, relief, gloss and outline.

A defect is a function ``(surface, frame, rng, size, strength) -> Surface``. ``size`` is about its radius or half
its length in half-widths, ``strength`` in (0, 1] how much it stands out. They change the scene before light falls
on it, so highlights, shading, defocus and noise are those of the picture. Masks are not drawn here: they are
measured afterwards as the difference of the two renderings.
"""

from __future__ import annotations

from collections.abc import Callable

from vlmad_core.factory.renderer.defect_damage import bent, blister, broken, chip, crack, cut, dent, hole, scratch
from vlmad_core.factory.renderer.defect_marks import (
    burn,
    contamination,
    corrosion,
    discoloured,
    fibre,
    print_mark,
    stain,
    wear,
)
from vlmad_core.factory.renderer.fields import Frame, Rng
from vlmad_core.factory.renderer.surface import Surface

Defect = Callable[[Surface, Frame, Rng, float, float], Surface]

TRAINING_DEFECTS: dict[str, Defect] = {
    "scratch": scratch,
    "stain": stain,
    "hole": hole,
    "dent": dent,
    "chip": chip,
    "contamination": contamination,
    "cut": cut,
    "burn": burn,
    "fibre": fibre,
    "print": print_mark,
    "bent": bent,
}
UNSEEN_DEFECTS: dict[str, Defect] = {
    "crack": crack,
    "corrosion": corrosion,
    "blister": blister,
    "wear": wear,
    "discoloured": discoloured,
    "broken": broken,
}
ALL_DEFECTS: dict[str, Defect] = {**TRAINING_DEFECTS, **UNSEEN_DEFECTS}
