"""The prepared check of a graphics card: what it can do, that it computes what the CPU computes, and how fast.

Nothing is downloaded: models have the true shapes and random weights, or are the bundled one, and images are bundled.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.backbones import Features
from vlmad_core.backbones.arithmetic import CPU
from vlmad_core.backbones.devices import Similarities, similarities, similarities_in, wait
from vlmad_core.backbones.info import Precision
from vlmad_core.bench.alone import CEILING_SIDE
from vlmad_core.bench.architectures import PREFIX, bench_backbone, write_random_model
from vlmad_core.bench.passes import rate_of
from vlmad_core.bench.subjects import Scene, make_subject
from vlmad_core.datasets.images import read_image
from vlmad_core.methods import create_method
from vlmad_core.methods.musc import MuScScorer, MuScSettings

BASE, LARGE, LARGEST = (PREFIX + name for name in ("vit-b-16-plus-240", "vit-l-14-336", "vit-l-14-518"))
PARITY_IMAGES, PARITY_LIMIT = 8, 1e-4
"""Bundled images scored on both, and how far scores and native maps may be apart in float32."""

SET_IMAGES, SET_GRID, SET_WIDTH, SET_STAGES = 115, (37, 37), 1024, (6, 12, 18, 24)
"""The set that MuSc is timed on: as many images as the largest category of MVTec AD, ViT-L/14 at 518 pixels."""

SET_LIMIT, SET_SECONDS = 1e-5, 4.0
"""How far TF32 may move its scores, and its target."""

PLAN = ("clip_cpe", "winclip", "patch_memory", "musc")
PLAN_SECONDS = 15.0
"""Methods and target of the whole command: two categories of bundled_a, 0 and 4 references, ViT-L/14 at 336."""


def backbones(asked: tuple[Precision, ...] | None) -> tuple[tuple[str, tuple[Precision, ...]], ...]:
    """Architectures of the check with their arithmetics: all in bfloat16, then the smallest in float32 too."""
    if asked is not None:
        return tuple((name, asked) for name in (BASE, LARGE, LARGEST))
    return (LARGEST, ("bfloat16",)), (BASE, ("bfloat16",)), (LARGE, ("bfloat16",)), (BASE, ("float32",))


def check(
    device: torch.device, methods: Sequence[str], shots: Sequence[int], scene: Scene, until: float
) -> dict[str, Any]:
    """Check a card beside the CPU; what there is no time for is left out.

    Args:
        device: The card.
        methods: Methods held against the CPU.
        shots: Numbers of references.
        scene: Images to score.
        until: Time (``time.monotonic``) after which nothing further is begun.

    Returns:
        Plain values: ``ceilings`` in operations per second, ``parity``, ``musc``; ``ok``: scores are those of the CPU.
    """
    report: dict[str, Any] = {"ceilings": ceilings(device)}
    parts: tuple[tuple[str, Callable[[], dict[str, Any]]], ...] = (
        ("parity", lambda: parity(device, methods, shots, scene)),
        ("musc", lambda: whole_set(device)),
    )
    for name, work in parts:
        report[name] = in_time(work, until)
    report["ok"] = bool(report["parity"].get("ok"))
    return report


def ceilings(device: torch.device) -> dict[str, int]:
    """Operations per second of products of square matrices, by arithmetic; ``tf32`` where the card has it."""
    side = CEILING_SIDE
    exact = torch.randn(side, side, generator=torch.Generator().manual_seed(0)).to(device)

    def speed(matrix: Tensor) -> int:
        seconds = rate_of(lambda batch: similarities(matrix, matrix), 1, device, 0.3).seconds
        return round(2 * side**3 / seconds) if seconds else 0

    found = {"float32": speed(exact)}
    with similarities_in("tf32"):
        found["tf32"] = speed(exact)
    return found | {name: speed(exact.to(getattr(torch, name))) for name in ("bfloat16", "float16")}


def parity(device: torch.device, methods: Sequence[str], shots: Sequence[int], scene: Scene) -> dict[str, Any]:
    """Scores and native maps of the bundled model, on the device beside the CPU.

    Returns:
        ``rows`` (method, shots, largest differences of ``score`` and ``map``, or ``error``), ``share`` of the methods
        that were compared, ``limit``, ``ok``.
    """
    exact, there = (bench_backbone("bundled", "float32", device=place) for place in (CPU, device))
    files = scene.files
    chosen = files[:: max(1, len(files) // PARITY_IMAGES)][:PARITY_IMAGES]
    pixels = torch.stack([exact.preprocess(read_image(file)) for file in chosen])
    rows: list[dict[str, Any]] = []
    for identifier in methods:
        method = create_method(identifier)
        if method.own_backbone is not None:
            continue
        for count in shots:
            subjects = [make_subject(method, count, backbone, scene) for backbone in (exact, there)]
            ready = [subject for subject in subjects if not isinstance(subject, str)]
            if len(ready) == 2:
                rows.append({"method": method.id, "shots": count, **_tried(partial(_apart, ready, pixels))})
    compared = {row["method"] for row in rows if "error" not in row}
    applicable = {row["method"] for row in rows}
    apart = [value for row in rows for value in (row.get("score"), row.get("map")) if value is not None]
    return {
        "images": len(chosen),
        "rows": rows,
        "share": round(len(compared) / len(applicable), 4) if applicable else None,
        "limit": PARITY_LIMIT,
        "ok": bool(compared) and compared == applicable and max(apart) <= PARITY_LIMIT,
    }


def _apart(subjects: Sequence[Any], pixels: Tensor) -> dict[str, Any]:
    ours, theirs = (subject.judged(pixels) for subject in subjects)
    moved = None if ours.grids is None else float((ours.grids - theirs.grids).abs().max())
    return {"score": float((ours.image_score - theirs.image_score).abs().max()), "map": moved}


def whole_set(device: torch.device, images: int = SET_IMAGES, grid: tuple[int, int] = SET_GRID) -> dict[str, Any]:
    """MuSc's judgement of a whole set of made-up tokens on the device: seconds in float32 and with TF32."""
    generator = torch.Generator(device).manual_seed(0)
    patches = grid[0] * grid[1]
    common = torch.randn(1, 1 + patches, SET_WIDTH, generator=generator, device=device)

    def tokens() -> Tensor:
        """Images of one part look alike: each place has something in common."""
        own = torch.randn(images, 1 + patches, SET_WIDTH, generator=generator, device=device)
        return own + common

    tensors = {f"stages.{stage}": tokens() for stage in SET_STAGES}
    tensors["image_embedding"] = F.normalize(tokens()[:, 0], dim=-1)
    features = Features.of_tensors(grid, tensors)
    settings = MuScSettings(stages=SET_STAGES)
    scorer = MuScScorer(settings, SET_STAGES, (14 * grid[0], 14 * grid[1]))
    found: dict[str, Any] = {"images": images, "grid": list(grid), "stages": len(SET_STAGES), "seconds": {}}
    scores = {}
    for name in get_args(Similarities):
        with similarities_in(name):
            wait(device)
            start = time.perf_counter()
            scores[name] = scorer.score_set(features).on_cpu().image_score
            found["seconds"][name] = round(time.perf_counter() - start, 3)
    found["tf32_moves"] = float((scores["tf32"] - scores["float32"]).abs().max())
    met = found["seconds"]["tf32"] <= SET_SECONDS and found["tf32_moves"] <= SET_LIMIT
    return found | {"target_seconds": SET_SECONDS, "limit": SET_LIMIT, "ok": met}


def whole_command(device: torch.device, until: float, architecture: str = LARGE, size: str = "full") -> dict[str, Any]:
    """The command ``precompute`` in a process of its own, on a model of the true shape that lies in a folder.

    Args:
        device: Where it computes.
        until: Time (``time.monotonic``) at which it is given up.
        architecture: ``random:NAME``.
        size: How many images.
    """
    with tempfile.TemporaryDirectory(prefix="vlmad-bench-") as place:
        model = write_random_model(architecture.removeprefix(PREFIX), Path(place) / "model")
        categories = ["capsule", "hex_nut"]
        words = ["--dataset", "bundled_a", "--categories", *categories, "--method", *PLAN, "--shots", "0", "4"]
        more = ["--backbone", str(model), "--device", str(device), "--precision", "bfloat16", "--size", size]
        command = [sys.executable, "-m", "vlmad_core", "precompute", *words, *more]
        start = time.perf_counter()
        try:
            done = subprocess.run(
                [*command, "--store", str(Path(place) / "store"), "--json"],
                capture_output=True, text=True, check=False, timeout=max(1.0, until - time.monotonic()),
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            return {"error": f"It was given up after {late.timeout:.0f} s."}
        seconds = time.perf_counter() - start
    if done.returncode:
        return {"error": done.stderr.strip()[-400:]}
    outcome = json.loads(done.stdout)
    stages: dict[str, float] = {}
    for row in outcome["spent"]:
        stages[row["stage"]] = round(stages.get(row["stage"], 0.0) + row["seconds"], 3)
    return {
        "seconds": round(seconds, 2),
        "images": outcome["images"],
        "stages": dict(sorted(stages.items(), key=lambda item: -item[1])),
        "target_seconds": PLAN_SECONDS,
        "ok": seconds <= PLAN_SECONDS,
    }


def in_time(work: Callable[[], dict[str, Any]], until: float) -> dict[str, Any]:
    """What a part of the check gives, or why it gives nothing."""
    return {"error": "Time was up."} if time.monotonic() > until else _tried(work)


def _tried(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a part of the check gives; one that fails says why, and the others go on."""
    try:
        return work()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}


def text_of(report: dict[str, Any]) -> list[str]:
    """The check as lines."""
    tops = ", ".join(f"{name} {speed / 1e12:.1f}" for name, speed in report["ceilings"].items())
    lines = [f"ceilings (products of {CEILING_SIDE} x {CEILING_SIDE}) in TFLOP/s: {tops}"]
    same = report["parity"]
    if "error" in same:
        lines.append(f"beside the CPU: {same['error']}")
    else:
        worst = max((row.get("score") or 0.0 for row in same["rows"]), default=0.0)
        lines.append(
            f"beside the CPU in float32: {100 * (same['share'] or 0):.0f}% of the methods compared, scores within "
            f"{worst:.1e} ({same['limit']:g} allowed: {'met' if same['ok'] else 'MISSED'})"
        )
        lines += [f"  {row['method']}, {row['shots']} shots: {row['error']}" for row in same["rows"] if "error" in row]
    whole = report["musc"]
    if "error" in whole:
        lines.append(f"MuSc: {whole['error']}")
    else:
        seconds = ", ".join(f"{name} {value:.2f} s" for name, value in whole["seconds"].items())
        size = f"{whole['images']} images of {whole['grid'][0]} x {whole['grid'][1]}"
        lines.append(f"MuSc, {size}: {seconds}; TF32 moves scores by {whole['tf32_moves']:.1e}")
    command = report.get("precompute", {"error": "not run"})
    if "error" in command:
        lines.append(f"precompute: {command['error']}")
    else:
        spent = ", ".join(f"{name} {seconds:.1f}" for name, seconds in list(command["stages"].items())[:6])
        lines.append(f"precompute, {command['images']} images, ViT-L/14 at 336: {command['seconds']:.1f} s ({spent})")
    return lines
