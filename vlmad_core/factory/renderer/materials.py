"""Materials the bundled CLIP is trained on, and two that only judge its training.

A material is a function ``(look, inst, frame) -> Surface``: ``look`` decides what is common to all pictures of
a category (colours, scales), ``inst`` what differs from picture to picture.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlmad_core.factory.renderer.fields import (
    Frame,
    Rng,
    blur,
    cells,
    colour,
    mix,
    noise,
    smoothstep,
    warp,
)
from vlmad_core.factory.renderer.surface import Surface, sheet

Material = Callable[[Rng, Rng, Frame], Surface]


def generic(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """A random texture: one of six pattern families in random colours, scale, relief and gloss."""
    n = frame.size
    family = int(look.integers(6))
    angle = float(look.uniform(0, np.pi))
    scale = float(np.exp(look.uniform(np.log(3), np.log(30))))
    beta, stretch = float(look.uniform(0.5, 1.6)), float(np.exp(look.uniform(0, np.log(12))))
    c, s = np.cos(angle), np.sin(angle)
    x, y = c * frame.x + s * frame.y, c * frame.y - s * frame.x
    first, second, third = colour(look), colour(look), colour(look)
    contrast = float(look.uniform(0.1, 0.9))
    phase = inst.uniform(0, 2 * np.pi, 2)
    if family == 0:
        pattern = noise(inst, n, scale, beta, stretch, angle) * 0.4 + 0.5
    elif family == 1:
        near, far, index = cells(inst, frame, scale, float(look.uniform(0.2, 1.0)))
        tone = np.random.default_rng(int(look.integers(1 << 30))).random(int(index.max()) + 1)
        pattern = smoothstep(0.02, 0.3, far - near) * (0.4 + 0.6 * tone[index])
    elif family == 2:
        wave = np.sin(np.pi * scale * x + phase[0] + 0.6 * noise(inst, n, 3, 1.5))
        pattern = 0.5 + 0.5 * np.tanh(wave * float(look.uniform(0.6, 4)))
    elif family == 3:
        sharp = float(look.uniform(0.5, 3))
        ratio = float(look.uniform(0.5, 1.5))
        product = np.sin(np.pi * scale * x + phase[0]) * np.sin(np.pi * scale * ratio * y + phase[1])
        pattern = 0.5 + 0.5 * np.tanh(sharp * product)
    elif family == 4:
        near, _, _ = cells(inst, frame, scale, float(look.uniform(0.0, 1.0)))
        pattern = smoothstep(0.2, 0.45, near)
    else:
        pattern = np.abs(noise(inst, n, scale, beta, stretch, angle)) * 0.6
    pattern = np.clip(pattern, 0, 1).astype(np.float32)
    tint = mix(first, first + contrast * (second - first), pattern)
    tint = mix(tint, third, 0.25 * smoothstep(0.3, 1.5, noise(inst, n, 4, 1.2)))
    tint *= (1.0 + float(look.uniform(0, 0.12)) * noise(inst, n, 40, 0.5))[..., None]
    relief = float(look.uniform(0, 0.35)) / scale
    rough = float(look.uniform(0, 0.004)) * noise(inst, n, 35, 0.7)
    height = relief * pattern * float(look.choice([-1, 1])) + rough
    return sheet(
        frame,
        tint,
        height,
        float(look.choice([0.02, 0.1, 0.3])),
        float(look.choice([0, 0, 0, look.uniform(0.3, 0.9)])),
    )


def brushed_steel(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Metal with fine parallel grinding marks."""
    angle = float(look.uniform(0, np.pi)) + float(inst.normal(0, 0.02))
    fine = noise(inst, frame.size, 60, 0.6, float(look.uniform(15, 50)), angle)
    broad = noise(inst, frame.size, 12, 0.8, 12.0, angle)
    base = colour(look, (0.55, 0.65), (0.0, 0.12), (0.45, 0.75))
    albedo = base * (1.0 + float(look.uniform(0.06, 0.18)) * (0.7 * fine + 0.5 * broad))[..., None]
    return sheet(frame, albedo, 0.0012 * fine, 0.15, float(look.uniform(0.5, 0.95)))


def leather(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Grained leather: small irregular pebbles between creases."""
    near, far, _ = cells(inst, frame, float(look.uniform(18, 38)), 0.9)
    pebble = smoothstep(0.0, 0.45, far - near)
    base = colour(look, (0.02, 0.1), (0.4, 0.8), (0.15, 0.5))
    shade = 0.7 + 0.3 * pebble + 0.06 * noise(inst, frame.size, 5, 1.2)
    return sheet(frame, base * shade[..., None], 0.018 * pebble, float(look.uniform(0.1, 0.35)))


def canvas(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Plain weave of two threads."""
    count = float(look.uniform(14, 30))
    wobble = 0.25 * noise(inst, frame.size, 4, 1.5)
    px, py = np.pi * (count * frame.x + wobble), np.pi * (count * frame.y - wobble)
    over = np.sin(px / 2 + np.pi / 4) * np.sin(py / 2 + np.pi / 4) > 0
    thread = np.where(over, np.abs(np.cos(px / 2)), np.abs(np.cos(py / 2))).astype(np.float32)
    slub = 1.0 + 0.12 * np.where(
        over, noise(inst, frame.size, 30, 0.7, 20, np.pi / 2), noise(inst, frame.size, 30, 0.7, 20)
    )
    warp_tint, weft_tint = colour(look), colour(look)
    tint = np.where(over[..., None], warp_tint, 0.6 * warp_tint + 0.4 * weft_tint)
    return sheet(frame, tint * (slub * (0.45 + 0.55 * thread))[..., None], 0.6 / count * thread * 0.2)


def concrete(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Cast concrete: mottled grey with fine pores."""
    n = frame.size
    base = colour(look, (0.05, 0.15), (0.0, 0.12), (0.4, 0.7))
    mottled = 1.0 + 0.09 * noise(inst, n, 4, 0.9) + 0.06 * noise(inst, n, 50, 0.5)
    pores = smoothstep(2.3, 2.8, noise(inst, n, 45, 1.2))
    return sheet(frame, base * (mottled * (1 - 0.45 * pores))[..., None], 0.002 * noise(inst, n, 40, 0.6))


def marble(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Polished stone with soft veins."""
    n = frame.size
    swirl = frame.x * np.cos(1.0) + frame.y * np.sin(1.0) + 0.35 * noise(inst, n, 3, 1.1)
    vein = np.exp(-np.abs(np.sin(float(look.uniform(3, 7)) * swirl)) * float(look.uniform(4, 9)))
    pale, dark = colour(look, saturation=(0.0, 0.2), value=(0.65, 0.9)), colour(look, value=(0.2, 0.5))
    cloud = 0.15 * smoothstep(-1, 2, noise(inst, n, 5, 1.0))
    return sheet(frame, mix(pale, dark, np.clip(0.7 * vein + cloud, 0, 1)), 0.0, 0.25)


def paper(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Uncoated paper with visible fibres."""
    n = frame.size
    base = colour(look, (0.08, 0.16), (0.0, 0.25), (0.7, 0.92))
    fibres = 1.0 + 0.03 * noise(inst, n, 40, 0.6) + 0.025 * noise(inst, n, 25, 0.8, 8, float(look.uniform(0, 3)))
    return sheet(frame, base * fibres[..., None], 0.0015 * noise(inst, n, 30, 0.7), 0.02)


def rubber(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Dark moulded rubber, sometimes ribbed."""
    n = frame.size
    base = colour(look, saturation=(0.0, 0.15), value=(0.05, 0.18))
    count = float(look.choice([0, 0, 10, 16, 24]))
    rib = 0.5 + 0.5 * np.cos(np.pi * count * frame.x) if count else 0.0 * frame.x
    grain = noise(inst, n, 50, 0.6)
    return sheet(frame, base * (1 + 0.1 * grain)[..., None], 0.02 * rib + 0.0018 * grain, 0.15)


def glaze(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Glazed ceramic with speckles."""
    n = frame.size
    base, speck = colour(look, saturation=(0.05, 0.5), value=(0.5, 0.9)), colour(look, value=(0.1, 0.5))
    dots = smoothstep(2.2, 2.6, noise(inst, n, float(look.uniform(15, 40)), 1.3))
    return sheet(
        frame,
        mix(base * (1 + 0.03 * noise(inst, n, 3, 1.2))[..., None], speck, 0.8 * dots),
        0.002 * noise(inst, n, 5, 1.5),
        0.4,
    )


def cork(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Pressed cork granules."""
    near, far, index = cells(inst, frame, float(look.uniform(14, 26)), 1.0)
    tone = inst.normal(0, 0.16, int(index.max()) + 1)[index]
    base = colour(look, (0.06, 0.1), (0.45, 0.65), (0.4, 0.65))
    seam = smoothstep(0.0, 0.15, far - near)
    shade = (1 + tone) * (0.55 + 0.45 * seam) * (1 + 0.08 * noise(inst, frame.size, 40, 0.6))
    return sheet(frame, base * shade[..., None], 0.004 * seam, 0.03)


def sandpaper(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Abrasive grit."""
    grit = noise(inst, frame.size, float(look.uniform(45, 80)), 0.9)
    base = colour(look, value=(0.2, 0.6))
    return sheet(frame, base * (1 + 0.28 * grit)[..., None], 0.004 * grit, 0.12)


def plastic(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Moulded plastic with fine grain and strong colour."""
    grain = noise(inst, frame.size, float(look.uniform(25, 60)), 1.0)
    base = colour(look, saturation=(0.0, 0.9), value=(0.15, 0.9))
    return sheet(frame, base, float(look.uniform(0.0004, 0.002)) * grain, float(look.uniform(0.1, 0.4)))


def foam(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Open-celled foam: round pores of two sizes."""
    near, _, _ = cells(inst, frame, float(look.uniform(12, 22)), 0.9)
    fine, _, _ = cells(inst, frame, float(look.uniform(28, 40)), 1.0)
    wall = np.minimum(smoothstep(0.2, 0.42, near), smoothstep(0.12, 0.4, fine))
    base = colour(look, saturation=(0.05, 0.6), value=(0.4, 0.9))
    return sheet(frame, base * (0.35 + 0.65 * wall)[..., None], 0.02 * wall, 0.02)


def felt(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Matted short fibres in all directions."""
    n = frame.size
    fibres = sum(noise(inst, n, 35, 0.8, 6, k * np.pi / 4 + 0.3) for k in range(4)) * 0.5
    base = colour(look, saturation=(0.1, 0.8), value=(0.2, 0.8))
    shade = 1 + 0.14 * fibres + 0.05 * noise(inst, n, 4, 1.2)
    return sheet(frame, base * shade[..., None], 0.003 * fibres, 0.0)


def terrazzo(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Stone chips in cement, polished."""
    near, far, index = cells(inst, frame, float(look.uniform(8, 16)), 1.0)
    kinds = np.stack([colour(look, value=(0.3, 0.9)) for _ in range(5)])
    present = inst.random(int(index.max()) + 1) < 0.7
    which = inst.integers(0, 5, int(index.max()) + 1)
    chip = smoothstep(0.12, 0.18, (far - near) * present[index])
    cement = colour(look, saturation=(0.0, 0.1), value=(0.5, 0.85))
    tint = mix(np.broadcast_to(cement, (*near.shape, 3)), kinds[which[index]], chip)
    return sheet(frame, tint * (1 + 0.03 * noise(inst, frame.size, 40, 0.5))[..., None], 0.0, 0.2)


def cast_iron(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Rough dark cast metal."""
    n = frame.size
    bumps = noise(inst, n, float(look.uniform(18, 40)), 1.1)
    base = colour(look, saturation=(0.0, 0.1), value=(0.2, 0.4))
    albedo = base * (1 + 0.1 * bumps + 0.08 * noise(inst, n, 5, 1))[..., None]
    return sheet(frame, albedo, 0.004 * bumps, 0.2, float(look.uniform(0.2, 0.7)))


def twill(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Twill weave: diagonal ribs of short threads."""
    count = float(look.uniform(16, 30))
    wobble = 0.2 * noise(inst, frame.size, 4, 1.5)
    diagonal = np.pi * (count * (frame.x + frame.y) * 0.5 + wobble)
    rib = np.abs(np.sin(diagonal)) * (0.75 + 0.25 * np.sin(np.pi * count * (frame.x - 0.5 * frame.y) * 1.5))
    base, light = colour(look, value=(0.15, 0.6)), colour(look, saturation=(0.0, 0.3), value=(0.5, 0.9))
    tint = mix(base, light, np.clip(0.35 * rib + 0.06 * noise(inst, frame.size, 50, 0.4), 0, 1))
    return sheet(frame, tint * (0.6 + 0.4 * rib)[..., None], 0.006 * rib)


def slate(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Split stone with layered steps (validation only)."""
    n = frame.size
    angle = float(look.uniform(0, np.pi))
    layers = noise(inst, n, 4, 0.9, 3, angle) * 1.6
    steps = np.floor(layers) + smoothstep(0.75, 1.0, layers - np.floor(layers))
    base = colour(look, (0.5, 0.7), (0.05, 0.25), (0.25, 0.45))
    shade = 1 + 0.05 * steps + 0.08 * noise(inst, n, 30, 0.6, 3, angle)
    return sheet(frame, base * shade[..., None], 0.012 * blur(steps.astype(np.float32), 0.8), 0.08)


def wicker(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Basket weave of flat strips (validation only)."""
    count = float(look.uniform(5, 8))
    n = frame.size
    gx, gy = frame.x * count / 2, frame.y * count / 2
    across = (np.floor(gx) + np.floor(gy)) % 2 == 0
    along = np.where(across, gx, gy) % 1.0
    strip = np.where(across, gy, gx) % 1.0
    lines = np.abs(np.sin(3 * np.pi * strip)) ** 0.4
    bow = np.sin(np.pi * along)
    grain = np.where(across, noise(inst, n, 30, 0.7, 12), noise(inst, n, 30, 0.7, 12, np.pi / 2))
    base = colour(look, (0.07, 0.12), (0.3, 0.6), (0.45, 0.8))
    shade = (0.35 + 0.65 * bow) * (0.5 + 0.5 * lines) * (1 + 0.08 * grain)
    shift = 1.5 * noise(inst, n, 3, 1.5)
    return sheet(frame, warp((base * shade[..., None]).astype(np.float32), shift, shift), 0.03 * bow * lines)


TRAINING_MATERIALS: dict[str, Material] = {
    "generic": generic,
    "brushed steel": brushed_steel,
    "leather": leather,
    "canvas": canvas,
    "concrete": concrete,
    "marble": marble,
    "paper": paper,
    "rubber": rubber,
    "glaze": glaze,
    "cork": cork,
    "sandpaper": sandpaper,
    "plastic": plastic,
    "foam": foam,
    "felt": felt,
    "terrazzo": terrazzo,
    "cast iron": cast_iron,
    "twill": twill,
}
VALIDATION_MATERIALS: dict[str, Material] = {"slate": slate, "wicker": wicker}
