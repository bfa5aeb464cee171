"""The two bundled domains: their categories, defects, light and cameras.

``bundled_a`` is a bench: warm overhead light and a colour camera. ``bundled_b`` is a line: raking or ring light, a
noisier camera, dark trays. They share no category and only part of their defect types.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from vlmad_core.factory.renderer import bundled_objects, bundled_textures
from vlmad_core.factory.renderer.camera import Camera
from vlmad_core.factory.renderer.fields import Array, Frame, Rng, make_frame, noise
from vlmad_core.factory.renderer.surface import Light, Surface, place, sheet

TextureBuilder = Callable[[Rng, Rng, Frame, str], Surface]
ObjectBuilder = Callable[[Rng, Rng, Frame, str], tuple[Surface, Array]]

STRUCTURAL = ("missing_part", "misaligned")
"""Defects made while an item is built, not applied to its surface."""


@dataclass(frozen=True)
class Pose:
    """How an item varies from picture to picture: turn (radians, standard deviation or free), scale, shift."""

    turn: float = 0.04
    free: bool = False
    scale: float = 0.02
    shift: float = 0.025


@dataclass(frozen=True)
class Category:
    """A category of a bundled domain.

    Attributes:
        name: Folder name, a noun in snake case.
        kind: ``texture`` or ``object``.
        defects: Its defect types.
        light: Mean illumination.
        camera: The camera.
        texture: Builder if it is a texture.
        item: Builder if it is an object.
        ground: Background colour of an object.
        pose: Variation of the pose.
        lift: Height above the background.
        extent: Range of defect sizes in half-widths.
        strength: Range of defect strengths.
        reserved: Whether nothing may be chosen or tuned on it.
    """

    name: str
    kind: str
    defects: tuple[str, ...]
    light: Light
    camera: Camera
    texture: TextureBuilder | None = None
    item: ObjectBuilder | None = None
    ground: tuple[float, float, float] = (0.05, 0.05, 0.05)
    pose: Pose = Pose()
    lift: float = 0.05
    extent: tuple[float, float] = (0.15, 0.45)
    strength: tuple[float, float] = (0.25, 0.95)
    reserved: bool = False


@dataclass(frozen=True)
class Domain:
    """A bundled data set: name, description and categories."""

    name: str
    description: str
    categories: tuple[Category, ...]


@dataclass(frozen=True)
class Shot:
    """One picture's setting: coordinates, light, camera, and the seeds that rebuild its item."""

    frame: Frame
    light: Light
    camera: Camera
    look_seed: tuple[int, ...]
    item_seed: tuple[int, ...]


def draw_shot(category: Category, rng: Rng, size: int, look_seed: tuple[int, ...]) -> Shot:
    """Draw pose, small changes of light and exposure, and the seed of the item."""
    pose = category.pose
    turn = float(rng.uniform(0, 2 * np.pi)) if pose.free else float(rng.normal(0, pose.turn))
    scale = 1.0 + float(rng.normal(0, pose.scale))
    if category.kind == "texture":
        dx, dy = (float(v) for v in rng.uniform(-1, 1, 2))
    else:
        dx, dy = (float(v) for v in np.clip(rng.normal(0, pose.shift, 2), -0.06, 0.06))
    light = replace(
        category.light,
        azimuth=category.light.azimuth + float(rng.normal(0, 0.04)),
        elevation=category.light.elevation + float(rng.normal(0, 0.015)),
        falloff=category.light.falloff + float(rng.normal(0, 0.02)),
    )
    camera = replace(category.camera, exposure=category.camera.exposure * (1.0 + float(rng.normal(0, 0.03))))
    item_seed = tuple(int(v) for v in rng.integers(0, 1 << 30, 2))
    return Shot(make_frame(size, turn, scale, dx, dy), light, camera, look_seed, item_seed)


def build_item(category: Category, shot: Shot, fault: str = "") -> Surface:
    """Build the item of a shot, with a structural fault or without; everything else is equal."""
    look, inst = np.random.default_rng(shot.look_seed), np.random.default_rng(shot.item_seed)
    if category.texture is not None:
        return category.texture(look, inst, shot.frame, fault)
    if category.item is None:
        raise ValueError(f"Category {category.name} has no builder; give it a texture or an item.")
    surface, cover = category.item(look, inst, shot.frame, fault)
    cloth = 1.0 + 0.03 * noise(np.random.default_rng((*shot.item_seed, 1)), shot.frame.size, 30, 0.7)
    ground = sheet(shot.frame, np.asarray(category.ground, np.float32) * cloth[..., None])
    return place(surface, ground, cover, category.lift)


_OVERHEAD = Light(-2.3, 1.0, 0.4, (1.05, 1.0, 0.94), 30.0, 0.08, 0.0, ((-0.25, -0.3, 0.35, 1.0), (0.3, 0.35, 0.3, 0.5)))
_SOFT = replace(_OVERHEAD, ambient=0.6, elevation=1.2, ring=0.4)
_BENCH = Camera(1.1, 0.62, 0.6, 0.15, 0.012, 0.006, 0.0, False, 90)
_RAKING = Light(0.5, 0.6, 0.25, (0.97, 1.0, 1.05), 22.0, 0.16, 0.0, ((0.3, 0.1, 0.25, 1.1), (-0.4, -0.2, 0.2, 0.6)))
_RING = Light(1.0, 0.85, 0.35, (0.98, 1.0, 1.04), 40.0, 0.05, 0.8, ((0.0, 0.0, 0.2, 0.9), (0.5, 0.0, 0.15, 0.8)))
_LINE = Camera(1.15, 0.7, 0.9, 0.28, 0.022, 0.01, 0.0, False, 80)
_GREY = replace(_LINE, monochrome=True)

BUNDLED_A = Domain(
    "bundled_a",
    "Synthetic bench inspection: warm overhead light, colour camera, three textures and three objects.",
    (
        Category("wood", "texture", ("scratch", "hole", "stain", "crack"), _OVERHEAD, _BENCH, bundled_textures.wood),
        Category("carpet", "texture", ("cut", "hole", "stain", "contamination"), _OVERHEAD,
                 replace(_BENCH, exposure=1.6), bundled_textures.carpet, strength=(0.1, 0.7)),
        Category("wire_mesh", "texture", ("bent", "missing_part", "contamination", "discoloured"), _SOFT, _BENCH,
                 bundled_textures.wire_mesh, extent=(0.15, 0.38), strength=(0.3, 1.0)),
        Category("hex_nut", "object", ("scratch", "discoloured", "contamination", "bent"), _SOFT, _BENCH,
                 item=bundled_objects.hex_nut, ground=(0.1, 0.14, 0.22), pose=Pose(free=True)),
        Category("capsule", "object", ("crack", "hole", "print", "bent"), _OVERHEAD, _BENCH,
                 item=bundled_objects.capsule, ground=(0.82, 0.82, 0.8), pose=Pose(turn=0.08), extent=(0.13, 0.34),
                 strength=(0.15, 0.85)),
        Category("circuit_board", "object", ("scratch", "missing_part", "misaligned", "burn"), _SOFT, _BENCH,
                 item=bundled_objects.circuit_board, ground=(0.62, 0.62, 0.6), pose=Pose(turn=0.02),
                 extent=(0.12, 0.34)),
    ),
)  # fmt: skip
BUNDLED_B = Domain(
    "bundled_b",
    "Synthetic production line: raking or ring light, noisy camera, four textures and four objects.",
    (
        Category("honeycomb", "texture", ("dent", "bent", "fibre", "contamination"), _RING, _GREY,
                 bundled_textures.honeycomb, extent=(0.16, 0.45), strength=(0.45, 1.0)),
        Category("granite", "texture", ("crack", "chip", "wear", "scratch"), replace(_RAKING, elevation=0.9), _LINE,
                 bundled_textures.granite, strength=(0.4, 1.0)),
        Category("cardboard", "texture", ("cut", "dent", "wear", "fibre"), _RAKING, _LINE, bundled_textures.cardboard,
                 strength=(0.2, 0.8)),
        Category("mosaic", "texture", ("missing_part", "crack", "chip", "stain"), _RAKING, _LINE,
                 bundled_textures.mosaic, extent=(0.15, 0.4), strength=(0.3, 0.95), reserved=True),
        Category("ball_bearing", "object", ("corrosion", "scratch", "missing_part", "contamination"), _RING,
                 replace(_LINE, exposure=0.75), item=bundled_objects.ball_bearing,
                 ground=(0.03, 0.03, 0.035), pose=Pose(free=True)),
        Category("almond", "object", ("crack", "chip", "blister", "scratch"), _RAKING, _LINE,
                 item=bundled_objects.almond, ground=(0.03, 0.03, 0.03), pose=Pose(free=True, scale=0.04)),
        Category("pin_connector", "object", ("misaligned", "missing_part", "crack", "fibre"), _RING, _LINE,
                 item=bundled_objects.pin_connector, ground=(0.06, 0.1, 0.08), pose=Pose(turn=0.04)),
        Category("brush_head", "object", ("missing_part", "misaligned", "contamination", "burn"), _RING, _LINE,
                 item=bundled_objects.brush_head, ground=(0.05, 0.05, 0.05), pose=Pose(turn=0.1), reserved=True),
    ),
)  # fmt: skip
DOMAINS: dict[str, Domain] = {domain.name: domain for domain in (BUNDLED_A, BUNDLED_B)}
