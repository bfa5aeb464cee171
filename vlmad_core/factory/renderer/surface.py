"""What a scene is made of before light falls on it, and how light makes a picture of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from vlmad_core.factory.renderer.fields import Array, Frame, Rng, blur, mix


@dataclass(frozen=True)
class Surface:
    """Material properties per pixel; all maps float32.

    Attributes:
        albedo: Diffuse colour, [size, size, 3] in [0, 1], linear.
        height: Relief in half-widths, [size, size].
        gloss: Strength of the specular highlight, [size, size] in [0, 1].
        metal: Share of mirror-like reflection, [size, size] in [0, 1].
        cover: 1 on the inspected item, 0 on the background, [size, size].
        ground: Background colour, [size, size, 3].
        lift: Height of the item above the background (length of its cast shadow), half-widths.
    """

    albedo: Array
    height: Array
    gloss: Array
    metal: Array
    cover: Array
    ground: Array
    lift: float = 0.0


@dataclass(frozen=True)
class Light:
    """Illumination.

    Attributes:
        azimuth: Direction the light comes from, radians.
        elevation: Angle above the surface, radians; low means raking light.
        ambient: Share of undirected light in [0, 1].
        tint: Colour of the light, RGB.
        power: Exponent of the highlight; large is a small highlight.
        falloff: Relative brightness gradient across the picture along the azimuth.
        ring: Share of ring light (brightness depends on slope only) in [0, 1].
        lobes: What metal mirrors: (centre x, centre y, width, strength) in the plane of normals.
    """

    azimuth: float
    elevation: float
    ambient: float
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    power: float = 30.0
    falloff: float = 0.0
    ring: float = 0.0
    lobes: tuple[tuple[float, float, float, float], ...] = ((0.0, 0.0, 0.35, 1.0),)


def solid(frame: Frame, value: float) -> Array:
    """A constant map [size, size]."""
    return np.full((frame.size, frame.size), value, dtype=np.float32)


def sheet(
    frame: Frame,
    albedo: Array,
    height: Array | float = 0.0,
    gloss: Array | float = 0.05,
    metal: Array | float = 0.0,
) -> Surface:
    """A surface that fills the picture (a texture)."""

    def full(value: Array | float) -> Array:
        return value if isinstance(value, np.ndarray) else solid(frame, value)

    image = np.broadcast_to(albedo, (frame.size, frame.size, 3)).astype(np.float32)
    return Surface(
        np.clip(image, 0.0, 1.0), full(height), full(gloss), full(metal), solid(frame, 1.0), image * 0 + 0.03
    )


def place(item: Surface, ground: Surface, cover: Array, lift: float) -> Surface:
    """Lay an item of the given coverage on a background."""
    return replace(item, cover=cover, ground=ground.albedo, lift=lift)


def draw_light(rng: Rng, raking: bool | None = None) -> Light:
    """Draw a plausible inspection light."""
    low = rng.random() < 0.5 if raking is None else raking
    lobes = tuple(
        (
            float(rng.uniform(-0.6, 0.6)),
            float(rng.uniform(-0.6, 0.6)),
            float(rng.uniform(0.12, 0.5)),
            float(rng.uniform(0.4, 1.3)),
        )
        for _ in range(int(rng.integers(2, 5)))
    )
    warm = float(rng.uniform(-0.08, 0.08))
    return Light(
        azimuth=float(rng.uniform(0, 2 * np.pi)),
        elevation=float(rng.uniform(0.45, 0.8) if low else rng.uniform(0.8, 1.35)),
        ambient=float(rng.uniform(0.2, 0.6)),
        tint=(1.0 + warm, 1.0, 1.0 - warm),
        power=float(np.exp(rng.uniform(np.log(8), np.log(80)))),
        falloff=float(rng.uniform(0.0, 0.35)),
        ring=float(rng.choice([0.0, 0.0, 0.5, 1.0])),
        lobes=lobes,
    )


def shade(surface: Surface, light: Light, frame: Frame) -> Array:
    """Light a surface: Lambert and Blinn-Phong terms, a mirrored environment for metal, a cast shadow.

    Returns:
        Linear RGB radiance, [size, size, 3] float32, flat white under full light being 1.
    """
    gy, gx = np.gradient(surface.height, frame.pixel)
    nz = 1.0 / np.sqrt(1.0 + gx * gx + gy * gy)
    nx, ny = -gx * nz, -gy * nz
    lx = float(np.cos(light.azimuth) * np.cos(light.elevation))
    ly = float(np.sin(light.azimuth) * np.cos(light.elevation))
    lz = float(np.sin(light.elevation))
    facing = np.clip(nx * lx + ny * ly + nz * lz, 0.0, None)
    lambert = (1.0 - light.ring) * facing / lz + light.ring * nz**1.5
    cavity = np.clip(1.0 + (surface.height - blur(surface.height, 0.03 / frame.pixel)) * 6.0, 0.5, 1.15)
    diffuse = (light.ambient * cavity + (1.0 - light.ambient) * np.minimum(lambert, 1.9))[..., None]

    halfway = np.array([lx, ly, lz + 1.0])
    halfway /= np.linalg.norm(halfway)
    highlight = np.clip(nx * halfway[0] + ny * halfway[1] + nz * halfway[2], 0.0, 1.0) ** light.power
    highlight = highlight * (1.0 - 0.7 * light.ring)

    mirrored = np.full_like(nx, 0.12)
    for cx, cy, width, strength in light.lobes:
        mirrored += strength * np.exp(-((nx - cx) ** 2 + (ny - cy) ** 2) / (2.0 * width * width))
    metal = surface.metal[..., None]
    body = surface.albedo * ((1.0 - metal) * diffuse + metal * (0.35 * diffuse + 0.75 * mirrored[..., None]))
    item = body + (surface.gloss * highlight)[..., None]

    ground = surface.ground
    if surface.lift > 0.0:
        shift = surface.lift / frame.pixel
        offset = (-np.sin(light.azimuth) * shift, -np.cos(light.azimuth) * shift)
        shadow = ndimage.shift(surface.cover, offset, order=1, mode="nearest")
        contact = blur(surface.cover, 0.03 / frame.pixel)
        shadow = blur(shadow, shift * 0.5 + 0.6) * 0.4 * (1.0 - 0.6 * light.ring) + contact * 0.25
        ground = ground * (1.0 - np.clip(shadow, 0.0, 0.8))[..., None]
    picture = mix(ground, item, surface.cover)
    ramp = 1.0 + light.falloff * (frame.u * np.cos(light.azimuth) + frame.v * np.sin(light.azimuth))
    return (picture * ramp[..., None] * np.asarray(light.tint, dtype=np.float32)).astype(np.float32)
