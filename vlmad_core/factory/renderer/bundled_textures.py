"""Textures of the bundled data sets; none of them is used in training.

Like the training materials, with one argument more: ``fault`` names a structural defect that has to be made
while building (an omitted wire, say), or is empty. The same generators give the same item with and without it.
"""

from __future__ import annotations

import numpy as np

from vlmad_core.factory.renderer.fields import Array, Frame, Rng, blur, cells, inside, mix, noise, sd_box, smoothstep
from vlmad_core.factory.renderer.surface import Surface, sheet


def wood(look: Rng, inst: Rng, frame: Frame, fault: str = "") -> Surface:
    """A planed board: growth rings cut lengthwise, fine pores along the grain."""
    n = frame.size
    centre = float(inst.uniform(-0.5, 0.5))
    bow = (frame.y - centre) + 0.1 * noise(inst, n, 2, 1.3, 3.0) + 0.025 * (frame.x * 1.3) ** 2
    ring = (np.abs(bow) * 9.0 + 0.35 * noise(inst, n, 3, 1.2, 4.0)) % 1.0
    late = smoothstep(0.35, 0.95, ring) * smoothstep(1.0, 0.95, ring)
    pores = smoothstep(1.0, 2.2, noise(inst, n, 60, 0.7, 14.0))
    pale, dark = np.array([0.72, 0.5, 0.28], np.float32), np.array([0.4, 0.21, 0.09], np.float32)
    tint = mix(pale, dark, np.clip(0.75 * late + 0.3 * pores + 0.07 * noise(inst, n, 3, 1.2), 0, 1))
    return sheet(frame, tint, -0.0015 * pores, 0.06)


def carpet(look: Rng, inst: Rng, frame: Frame, fault: str = "") -> Surface:
    """Loop pile: rows of tufts in three related yarns."""
    n = frame.size
    near, _, index = cells(inst, frame, 30, 0.55)
    loop = smoothstep(0.62, 0.1, near)
    yarns = np.array([[0.16, 0.2, 0.27], [0.22, 0.26, 0.33], [0.33, 0.34, 0.38]], np.float32)
    which = inst.choice(3, int(index.max()) + 1, p=(0.5, 0.35, 0.15))
    fuzz = 1 + 0.16 * noise(inst, n, 60, 0.4) + 0.05 * noise(inst, n, 4, 1.2)
    tint = yarns[which[index]] * ((0.35 + 0.65 * loop) * fuzz)[..., None]
    return sheet(frame, tint, 0.028 * loop, 0.0)


def wire_mesh(look: Rng, inst: Rng, frame: Frame, fault: str = "") -> Surface:
    """Woven wire over a pale ground; ``missing_part`` leaves out a stretch of one wire."""
    n = frame.size
    pitch, radius = 0.2, 0.032
    sway_x, sway_y = (0.014 * noise(inst, n, 2, 1.5) for _ in range(2))
    chance = inst.spawn(1)[0]
    x, y = frame.x + sway_x, frame.y + sway_y

    def wires(across: Array, along: Array) -> tuple[Array, Array]:
        k = np.round(across / pitch)
        offset = across - k * pitch
        weave = np.cos(np.pi * along / pitch) * np.where(k % 2 == 0, 1.0, -1.0)
        profile = np.sqrt(np.clip(1 - (offset / radius) ** 2, 0, 1))
        return (np.abs(offset) < radius).astype(np.float32), (radius * profile + 0.02 * weave).astype(np.float32)

    upright, upright_height = wires(x, y)
    level, level_height = wires(y, -x + pitch)
    if fault == "missing_part":
        # Near the middle of the picture up to three wires are torn away, often with the wires that crossed them.
        row, col = (int(v) for v in chance.integers(n // 3, 2 * n // 3, 2))
        line = np.round(x[row, col] / pitch) * pitch
        reach = float(chance.uniform(1.3, 2.3)) * pitch
        wide = float(chance.choice([0.5, 1.5, 1.5])) * pitch
        frayed = y - y[row, col] + 0.25 * pitch * noise(chance, n, 8, 0.6)
        gone = (np.abs(x - line) < wide) & (np.abs(frayed) < reach)
        upright = upright * ~gone
        if wide > pitch and chance.random() < 0.7:
            crossing = (np.abs(x - line + 0.25 * pitch * noise(chance, n, 8, 0.6)) < wide) & (
                np.abs(frayed) < 0.6 * reach
            )
            level = level * ~crossing
    height = np.maximum(np.where(upright > 0, upright_height, -0.12), np.where(level > 0, level_height, -0.12))
    wire = blur(np.maximum(upright, level), 0.5)
    shadow = blur(np.roll(np.maximum(upright, level), (int(0.025 * n), int(0.02 * n)), (0, 1)), 0.02 * n)
    ground = np.array([0.62, 0.6, 0.55], np.float32) * (1 - 0.5 * shadow)[..., None]
    steel = np.array([0.5, 0.5, 0.52], np.float32) * (1 + 0.06 * noise(inst, n, 40, 0.6))[..., None]
    return sheet(frame, mix(ground, steel, wire), blur(height.astype(np.float32), 0.6) * wire, 0.25 * wire, 0.75 * wire)


def honeycomb(look: Rng, inst: Rng, frame: Frame, fault: str = "") -> Surface:
    """Aluminium honeycomb core seen from above: thin bright walls, dark cells."""
    n = frame.size
    shift = 0.02 * noise(inst, n, 3, 1.4)
    x, y = (frame.x + shift) / 0.2, (frame.y - shift) / 0.2
    root3 = np.sqrt(3.0)

    def offset(ox: float, oy: float) -> tuple[Array, Array]:
        px, py = x - ox, y - oy
        return px - np.round(px), py - root3 * np.round(py / root3)

    (ax, ay), (bx, by) = offset(0.0, 0.0), offset(0.5, root3 / 2)
    nearer = ax**2 + ay**2 < bx**2 + by**2
    cx, cy = np.abs(np.where(nearer, ax, bx)), np.abs(np.where(nearer, ay, by))
    wall_distance = 0.5 - np.maximum(cx, 0.5 * cx + root3 / 2 * cy)
    wall = smoothstep(0.085, 0.045, wall_distance)
    depth = smoothstep(0.0, 0.4, wall_distance)
    metal = np.array([0.62, 0.64, 0.68], np.float32)
    floor = np.array([0.2, 0.2, 0.21], np.float32) * (1 + 0.12 * noise(inst, n, 12, 0.8))[..., None]
    inner = mix(metal * 0.5, floor, depth)
    tint = mix(inner, metal * (1 + 0.06 * noise(inst, n, 50, 0.5))[..., None], wall)
    return sheet(frame, tint, 0.03 * wall - 0.03 * depth, 0.1, 0.4 * wall)


def granite(look: Rng, inst: Rng, frame: Frame, fault: str = "") -> Surface:
    """Polished granite: interlocking grains of four minerals."""
    n = frame.size
    x, y = (0.05 * noise(inst, n, 12, 1.0) for _ in range(2))
    bent = Frame(n, frame.x + x, frame.y + y, frame.u, frame.v)
    _, _, index = cells(inst, bent, 26, 1.0)
    minerals = np.array([[0.55, 0.5, 0.48], [0.36, 0.35, 0.36], [0.12, 0.12, 0.13], [0.5, 0.36, 0.31]], np.float32)
    which = inst.choice(4, int(index.max()) + 1, p=(0.45, 0.25, 0.14, 0.16))
    tone = inst.normal(1.0, 0.1, int(index.max()) + 1)
    tint = minerals[which[index]] * (tone[index] * (1 + 0.06 * noise(inst, n, 60, 0.4)))[..., None]
    return sheet(frame, blur(tint.astype(np.float32), 0.5), 0.0006 * noise(inst, n, 30, 0.7), 0.2)


def cardboard(look: Rng, inst: Rng, frame: Frame, fault: str = "") -> Surface:
    """Corrugated board: the flutes show through the liner; recycled flecks."""
    n = frame.size
    flute = 0.5 + 0.5 * np.sin(2 * np.pi * frame.x * 7.0 + 0.25 * noise(inst, n, 3, 1.3))
    flecks = smoothstep(2.0, 2.6, noise(inst, n, 35, 0.9, 2.5, 0.7))
    fibres = noise(inst, n, 40, 0.7, 5, 1.2)
    base = np.array([0.55, 0.4, 0.26], np.float32)
    shade = 1 + 0.05 * fibres + 0.04 * noise(inst, n, 4, 1.1) - 0.08 * (1 - flute) - 0.3 * flecks
    return sheet(frame, base * shade[..., None], 0.006 * flute + 0.0008 * fibres, 0.02)


def mosaic(look: Rng, inst: Rng, frame: Frame, fault: str = "") -> Surface:
    """Wall mosaic of small glazed tiles in a bed of grout; ``missing_part`` lacks a few that hang together."""
    n = frame.size
    chance = inst.spawn(1)[0]
    pitch = 0.25
    column, row = np.round(frame.x / pitch).astype(int), np.round(frame.y / pitch).astype(int)
    side = 64  # tiles that are told apart along each axis; a picture shows fewer
    place = (row % side) * side + column % side
    slip = inst.normal(0, 0.006, (2, side * side))[:, place]
    turn = inst.normal(0, 0.035, side * side)[place]
    lean = inst.normal(0, 0.05, (2, side * side))[:, place]
    x, y = frame.x - column * pitch - slip[0], frame.y - row * pitch - slip[1]
    x, y = x + turn * y, y - turn * x
    edge = sd_box(x, y, 0.109, 0.109, 0.02)
    tile = inside(edge, frame)
    if fault == "missing_part":
        # Near the middle of the picture; tiles come off together, so often a neighbour went too.
        at = tuple(chance.integers(n // 3, 2 * n // 3, 2))
        down, across = row - row[at], column - column[at]
        more_down, more_across = chance.integers(0, 2, 2)
        tile = tile * ~((down >= 0) & (down <= more_down) & (across >= 0) & (across <= more_across))
    kind = inst.choice(3, side * side, p=(0.4, 0.35, 0.25))[place]
    tone = inst.normal(1, 0.06, side * side)[place] + 0.05 * noise(inst, n, 9, 1.0) + 0.04 * noise(inst, n, 50, 0.5)
    sand = 1 + 0.1 * noise(inst, n, 45, 0.5) + 0.05 * noise(inst, n, 5, 1.0)
    glazes = np.array([[0.1, 0.22, 0.34], [0.16, 0.32, 0.42], [0.3, 0.42, 0.45]], np.float32)
    glaze, mortar = glazes[kind] * tone[..., None], np.array([0.56, 0.54, 0.5], np.float32) * sand[..., None]
    pillow = 0.03 * smoothstep(0.0, -0.03, edge) + lean[0] * x + lean[1] * y
    height = np.where(tile > 0.5, pillow, -0.02 + 0.002 * noise(inst, n, 40, 0.6))
    return sheet(frame, mix(mortar, glaze, tile), blur(height.astype(np.float32), 0.6), 0.05 + 0.4 * tile)
