"""Objects of the bundled data sets; none of them is used in training.

Functions ``(look, inst, frame, fault) -> (Surface, cover)``; ``fault`` names a structural defect that has to be
made while building (a part left out, a pin bent aside), or is empty.
"""

from __future__ import annotations

import numpy as np

from vlmad_core.factory.renderer.fields import (
    Array,
    Frame,
    Rng,
    blur,
    inside,
    mix,
    noise,
    sd_box,
    sd_polygon,
    smoothstep,
)
from vlmad_core.factory.renderer.surface import Surface, sheet


def _rgb(red: float, green: float, blue: float) -> Array:
    return np.array([red, green, blue], np.float32)


def _cap(distance: Array, width: float, depth: float) -> Array:
    t = np.clip(-distance / width, 0.0, 1.0)
    return depth * np.sqrt(1.0 - (1.0 - t) ** 2)


def hex_nut(look: Rng, inst: Rng, frame: Frame, fault: str = "") -> tuple[Surface, Array]:
    """Zinc-plated hexagon nut from above: chamfered corners, threaded bore."""
    n = frame.size
    radius, angle = np.hypot(frame.x, frame.y), np.arctan2(frame.y, frame.x)
    outline = np.maximum(sd_polygon(frame.x, frame.y, 0.68, 6), radius - 0.76)
    bore = 0.36
    distance = np.maximum(outline, bore - radius)
    thread = smoothstep(bore + 0.09, bore + 0.02, radius)
    spiral = 0.5 + 0.5 * np.sin(2 * np.pi * (radius - bore) / 0.035 + angle)
    chamfer = np.clip((radius - 0.62) / 0.14, 0, 1)
    height = _cap(outline, 0.04, 0.04) - 0.06 * chamfer**1.5 - 0.08 * thread + 0.012 * thread * spiral
    plating = 1 + 0.05 * np.sin(radius * 90 + noise(inst, n, 4, 1.2)) + 0.06 * noise(inst, n, 30, 0.7)
    tint = mix(_rgb(0.52, 0.56, 0.55), _rgb(0.58, 0.54, 0.4), smoothstep(-1.5, 2.0, noise(inst, n, 3, 1.2)) * 0.6)
    tint = tint * (plating * (1 - 0.45 * thread * (1 - spiral)))[..., None]
    return sheet(frame, tint, height, 0.2, 0.6), inside(distance, frame)


def capsule(look: Rng, inst: Rng, frame: Frame, fault: str = "") -> tuple[Surface, Array]:
    """Two-part gelatine capsule lying flat, with an imprint on the cap."""
    n = frame.size
    half, round_ = 0.5, 0.3
    distance = np.hypot(np.maximum(np.abs(frame.x) - half, 0.0), frame.y) - round_
    is_cap = smoothstep(0.06, 0.045, frame.x)
    body = np.sqrt(np.clip(1 - (np.clip(distance + round_, 0, round_) / round_) ** 2, 0.01, 1))
    height = 0.3 * body + 0.012 * is_cap
    letter = np.zeros_like(frame.x)
    for k, (w, h) in enumerate(((0.014, 0.09), (0.05, 0.014), (0.014, 0.09), (0.014, 0.09), (0.04, 0.014))):
        letter = np.maximum(letter, inside(sd_box(frame.x + 0.42 - 0.075 * k, frame.y - 0.02 * (k % 2), w, h), frame))
    tint = mix(_rgb(0.86, 0.82, 0.72), _rgb(0.62, 0.13, 0.1), is_cap)
    tint = mix(tint, np.broadcast_to(_rgb(0.9, 0.86, 0.8), tint.shape), 0.85 * letter * is_cap)
    fill = 1 + 0.05 * noise(inst, n, 14, 0.9) * (1 - is_cap) + 0.015 * noise(inst, n, 30, 0.8)
    return sheet(frame, tint * fill[..., None], height, 0.55), inside(distance, frame)


_PARTS = (
    # centre x, centre y, half width, half height, colour, height
    (-0.45, -0.38, 0.24, 0.2, (0.06, 0.06, 0.07), 0.08),
    (0.3, -0.46, 0.1, 0.05, (0.6, 0.5, 0.32), 0.05),
    (0.3, -0.28, 0.1, 0.05, (0.6, 0.5, 0.32), 0.05),
    (0.62, -0.4, 0.08, 0.14, (0.09, 0.09, 0.1), 0.06),
    (-0.6, 0.15, 0.05, 0.1, (0.09, 0.09, 0.1), 0.05),
    (-0.42, 0.15, 0.05, 0.1, (0.09, 0.09, 0.1), 0.05),
    (-0.1, 0.2, 0.13, 0.13, (0.55, 0.55, 0.58), 0.12),
    (0.5, 0.12, 0.22, 0.09, (0.08, 0.08, 0.09), 0.07),
    (-0.35, 0.55, 0.34, 0.07, (0.75, 0.74, 0.68), 0.1),
    (0.42, 0.5, 0.07, 0.05, (0.6, 0.5, 0.32), 0.05),
    (0.64, 0.5, 0.07, 0.05, (0.6, 0.5, 0.32), 0.05),
)


def circuit_board(look: Rng, inst: Rng, frame: Frame, fault: str = "") -> tuple[Surface, Array]:
    """A small assembled board; ``missing_part`` and ``misaligned`` concern one of its parts."""
    n = frame.size
    chance = inst.spawn(1)[0]
    # A larger part goes wrong more often than a small one.
    sizes = np.sqrt([hw * hh for _, _, hw, hh, _, _ in _PARTS])
    victim = int(chance.choice(len(_PARTS), p=sizes / sizes.sum()))
    board = sd_box(frame.x, frame.y, 0.84, 0.76, 0.03)
    for hx, hy in ((-0.76, -0.68), (0.76, -0.68), (-0.76, 0.68), (0.76, 0.68)):
        board = np.maximum(board, 0.045 - np.hypot(frame.x - hx, frame.y - hy))
    mask_tint = _rgb(0.04, 0.26, 0.14) * (1 + 0.03 * noise(inst, n, 20, 0.9))[..., None]
    lanes = np.zeros_like(frame.x)
    for k in range(7):
        bend = frame.y - (-0.55 + 0.18 * k) - 0.12 * np.clip(4 * (frame.x - 0.5 * np.sin(k * 2.1)), -0.5, 0.5)
        lanes = np.maximum(lanes, smoothstep(0.022, 0.012, np.abs(bend)))
    tint = mix(mask_tint, np.broadcast_to(_rgb(0.09, 0.4, 0.2), mask_tint.shape), lanes * 0.8)
    height, gloss, metal = 0.008 * lanes, np.full_like(lanes, 0.15), np.zeros_like(lanes)
    play = inst.normal(0, 0.006, (len(_PARTS), 2))
    for k, (cx, cy, hw, hh, rgb, tall) in enumerate(_PARTS):
        horizontal = hw >= hh
        pads = inside(sd_box(np.abs(frame.x - cx) - hw * horizontal, np.abs(frame.y - cy) - hh * (not horizontal),
                             0.035 if horizontal else hw * 0.9, hh * 0.9 if horizontal else 0.035), frame)  # fmt: skip
        tint = mix(tint, np.broadcast_to(_rgb(0.62, 0.6, 0.56), tint.shape), pads)
        metal = np.maximum(metal, 0.6 * pads)
        height = height + 0.015 * pads
        px, py = frame.x - cx - play[k, 0], frame.y - cy - play[k, 1]
        if k == victim and fault == "missing_part":
            # What a part leaves behind: torn solder on the pads and a film of flux between them.
            torn = pads * smoothstep(-0.6, 0.8, noise(chance, n, 30, 0.7))
            film = inside(sd_box(px, py, hw * 0.95, hh * 0.95, 0.02), frame) * (1 - pads)
            tint = mix(tint, np.broadcast_to(_rgb(0.16, 0.15, 0.14), tint.shape), 0.8 * torn)
            tint = mix(tint, np.broadcast_to(_rgb(0.28, 0.22, 0.08), tint.shape), 0.55 * film)
            height = height + 0.03 * blur(torn, 0.6)
            metal = metal * (1 - torn)
            continue
        if k == victim and fault == "misaligned":
            turn = float(chance.choice([-1, 1])) * float(chance.uniform(0.25, 0.6))
            px, py = px - float(chance.uniform(0.02, 0.05)), py + float(chance.uniform(0.02, 0.05))
            px, py = np.cos(turn) * px + np.sin(turn) * py, np.cos(turn) * py - np.sin(turn) * px
        part = sd_box(px, py, hw * 0.88, hh * 0.88, 0.015)
        solid = inside(part, frame)
        print_ = smoothstep(0.012, 0.006, np.abs(py)) * (np.abs(px) < hw * 0.5) * (hw > 0.15) * 0.5
        tint = mix(tint, mix(_rgb(*rgb), np.full((n, n, 3), 0.6, np.float32), print_), solid)
        height = np.where(solid > 0.5, tall + _cap(part, 0.02, 0.02), height)
        metal = metal * (1 - solid) + (0.6 * solid if rgb[0] == 0.55 else 0.0)
    return sheet(frame, tint, blur(height, 0.5), gloss, metal), inside(board, frame)


def ball_bearing(look: Rng, inst: Rng, frame: Frame, fault: str = "") -> tuple[Surface, Array]:
    """Open ball bearing from the side: two ground races, a cage, balls; ``missing_part`` lacks a ball."""
    n = frame.size
    chance = inst.spawn(1)[0]
    radius = np.hypot(frame.x, frame.y)
    distance = np.maximum(radius - 0.82, 0.3 - radius)
    outer = smoothstep(0.66, 0.67, radius)
    inner = smoothstep(0.47, 0.46, radius)
    race = np.maximum(outer, inner)
    height = 0.05 * race + _cap(distance, 0.03, 0.03)
    grind = 1 + 0.06 * np.sin(radius * 130 + 0.6 * noise(inst, n, 5, 1.2)) + 0.04 * noise(inst, n, 50, 0.5)
    tint = mix(_rgb(0.1, 0.1, 0.11), _rgb(0.56, 0.57, 0.6), race) * grind[..., None]
    metal = 0.7 * race
    count = 9
    step = 2 * np.pi / count
    phase = float(inst.uniform(0, step))
    gone = int(chance.integers(count))
    cage = smoothstep(0.03, 0.015, np.abs(radius - 0.565)) * (1 - race)
    tint = mix(tint, np.broadcast_to(_rgb(0.42, 0.32, 0.16), tint.shape), cage)
    height = height + 0.02 * cage
    for k in range(count):
        if fault == "missing_part" and k == gone:
            continue
        a = phase + k * step
        off = np.hypot(frame.x - 0.565 * np.cos(a), frame.y - 0.565 * np.sin(a)) / 0.098
        ball = inside((off - 1) * 0.098, frame)
        tint = mix(tint, np.broadcast_to(_rgb(0.62, 0.63, 0.66), tint.shape), ball)
        height = np.where(ball > 0.5, 0.02 + 0.09 * np.sqrt(np.clip(1 - off**2, 0.02, 1)), height)
        metal = np.maximum(metal, 0.9 * ball)
    return sheet(frame, tint, blur(height, 0.5), 0.25, metal), inside(distance, frame)


def almond(look: Rng, inst: Rng, frame: Frame, fault: str = "") -> tuple[Surface, Array]:
    """Almond kernel: drop-shaped, brown, with fine lengthwise wrinkles; every one is a little different."""
    n = frame.size
    plump = float(inst.uniform(0.92, 1.08))
    pointed = 0.46 * plump * (1 - 0.38 * frame.x) * np.sqrt(np.clip(1 - (frame.x / 0.84) ** 2, 0, 1))
    wobble = 0.02 * noise(inst, n, 2, 1.5)
    ratio = np.abs(frame.y + wobble) / np.maximum(pointed, 1e-3)
    distance = np.maximum((ratio - 1) * np.maximum(pointed, 0.02), np.abs(frame.x) - 0.84)
    fan = frame.y / np.maximum(pointed, 0.05)
    wrinkle = np.sin(fan * 16 + 1.3 * noise(inst, n, 3, 1.2, 3.0)) + 0.6 * noise(inst, n, 30, 0.8, 8.0)
    dome = np.sqrt(np.clip(1 - ratio**2, 0.01, 1)) * np.sqrt(np.clip(1 - (frame.x / 0.88) ** 2, 0.02, 1))
    base = mix(_rgb(0.42, 0.25, 0.14), _rgb(0.27, 0.15, 0.085), np.clip(0.5 + 0.28 * wrinkle, 0, 1))
    pale_tip = smoothstep(0.6, 0.85, -frame.x) * 0.4
    tint = mix(base, np.broadcast_to(_rgb(0.62, 0.45, 0.28), base.shape), pale_tip)
    tint = tint * (1 + 0.07 * noise(inst, n, 5, 1.0) + 0.06 * noise(inst, n, 50, 0.5))[..., None]
    return sheet(frame, tint, 0.3 * dome + 0.006 * wrinkle * dome, 0.08), inside(distance, frame)


def pin_connector(look: Rng, inst: Rng, frame: Frame, fault: str = "") -> tuple[Surface, Array]:
    """Plug with two rows of pins from the front; ``missing_part`` lacks a pin, ``misaligned`` has one bent."""
    n = frame.size
    chance = inst.spawn(1)[0]
    shell = sd_box(frame.x, frame.y, 0.84, 0.52, 0.1)
    notch = sd_box(frame.x, frame.y + 0.52, 0.16, 0.07, 0.02)
    distance = np.maximum(shell, -notch)
    cavity = smoothstep(0.0, -0.02, sd_box(frame.x, frame.y, 0.7, 0.37, 0.05))
    grain = 1 + 0.05 * noise(inst, n, 60, 0.5)
    tint = mix(_rgb(0.72, 0.7, 0.63), _rgb(0.16, 0.15, 0.14), cavity) * grain[..., None]
    height = _cap(distance, 0.05, 0.05) - 0.1 * cavity
    metal = np.zeros_like(height)
    columns, rows = 6, 2
    victim = int(chance.integers(columns * rows))
    play = inst.normal(0, 0.005, (columns * rows, 2))
    heading = float(chance.uniform(0, 2 * np.pi))
    push = float(chance.uniform(0.09, 0.14))
    for k in range(columns * rows):
        row, col = divmod(k, columns)
        px = frame.x - (-0.55 + 0.22 * col) - play[k, 0]
        py = frame.y - (-0.17 + 0.34 * row) - play[k, 1]
        socket = inside(sd_box(px, py, 0.085, 0.115, 0.01), frame)
        tint = tint * (1 - 0.5 * socket)[..., None]
        if k == victim and fault == "missing_part":
            continue
        if k == victim and fault == "misaligned":
            px, py = px - push * np.cos(heading), py - push * np.sin(heading)
        pin_distance = sd_box(px, py, 0.05, 0.05, 0.012)
        pin = inside(pin_distance, frame)
        tint = mix(tint, np.broadcast_to(_rgb(0.72, 0.58, 0.28), tint.shape), pin)
        height = np.where(pin > 0.5, 0.02 + _cap(pin_distance, 0.03, 0.03), height)
        metal = np.maximum(metal, 0.8 * pin)
    return sheet(frame, tint, blur(height, 0.5), 0.12, metal), inside(distance, frame)


def brush_head(look: Rng, inst: Rng, frame: Frame, fault: str = "") -> tuple[Surface, Array]:
    """Head of a brush seen from its bristles: tufts in rows on an oval plate.

    ``missing_part`` lacks one to three tufts side by side, ``misaligned`` has one bent aside.
    """
    n = frame.size
    chance = inst.spawn(1)[0]
    plate = sd_box(frame.x, frame.y, 0.86, 0.56, 0.5)
    tint = _rgb(0.66, 0.66, 0.62) * (1 + 0.03 * noise(inst, n, 20, 0.8))[..., None]
    height = _cap(plate, 0.08, 0.06)
    rows, columns = np.divmod(np.arange(35), 7)
    places = np.stack([0.2 * (columns - 3 + 0.5 * (rows % 2)), 0.19 * (rows - 2)], 1)
    places = places[sd_box(places[:, 0], places[:, 1], 0.76, 0.48, 0.42) < 0]
    victim = int(chance.integers(len(places)))
    distances = np.hypot(*(places - places[victim]).T).round(6)  # equal ones stay in order on any machine
    nearest = np.argsort(distances, kind="stable")
    lost = set(nearest[: int(chance.integers(1, 4))]) if fault == "missing_part" else set()
    heading, push = float(chance.uniform(0, 2 * np.pi)), float(chance.uniform(0.07, 0.12))
    tips = noise(inst, n, 60, 0.45)
    for k, (cx, cy) in enumerate(places):
        px, py = frame.x - cx - float(inst.normal(0, 0.006)), frame.y - cy - float(inst.normal(0, 0.006))
        radius = 0.078 * float(inst.normal(1, 0.04))
        wobble = 0.006 * noise(inst, n, 14, 0.9)
        tone = float(inst.normal(1, 0.05))
        hole = inside(np.hypot(px, py) - 0.05, frame)
        tint, height = tint * (1 - 0.8 * hole)[..., None], height - 0.05 * hole
        if k in lost:
            continue
        if k == victim and fault == "misaligned":
            px, py = px - push * np.cos(heading), py - push * np.sin(heading)
        distance = np.hypot(px, py) + wobble - radius
        tuft = inside(distance, frame)
        rim = abs(cy) > 0.3 or abs(cx) > 0.5
        nylon = (_rgb(0.1, 0.34, 0.5) if rim else _rgb(0.7, 0.72, 0.7)) * tone
        strands = nylon * (0.8 + 0.14 * tips + 0.4 * smoothstep(0.0, -0.05, distance))[..., None]
        tint = mix(tint, np.clip(strands, 0.01, 0.95), tuft)
        height = np.where(tuft > 0.5, 0.14 + 0.01 * tips + _cap(distance, 0.04, 0.03), height)
    return sheet(frame, tint, blur(height.astype(np.float32), 0.5), 0.08), inside(plate, frame)
