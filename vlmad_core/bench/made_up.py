"""A large store of made-up runs, to try the dashboard with. Nothing in it was measured, and everything says so."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmad_core.cards import load_card
from vlmad_core.methods.predictions import MapRule
from vlmad_core.metrics.resampling import STORED_RESAMPLES, Replicates, design_of, fewest_of
from vlmad_core.store import layout
from vlmad_core.store.schema import Protocol, Provenance, RunKey, RunRecord
from vlmad_core.store.tables import Drawn
from vlmad_core.store.writer import UnitContents, start_run, write_thumbnails, write_unit

DATASET = "made_up"
README = """# Made up

Everything in this folder was made up by `python -m vlmad_core bench app` to try the dashboard with many results.
No image was judged, no method was run, and no number here says anything about anything. It may be deleted.
"""
ZERO_SHOT = ("clip_ac", "clip_cpe", "winclip", "april_gan", "anomaly_clip", "musc")
FEW_SHOT = ("winclip", "april_gan", "patch_memory")
DEFECTS = ("crack", "dent", "scratch", "stain")
CATEGORIES = 16
SIDE = 16
"""Side of the made-up grids, in cells."""
PICTURES = 24
"""Different made-up pictures; images share them."""

Floats = NDArray[np.float64]


def write_made_up_store(store: Path, runs: int = 20, images: int = 4000) -> Path:
    """Write a store of made-up runs.

    Args:
        store: Where; made if it isn't there.
        runs: Number of runs: zero-shot methods first, then few-shot ones with 1, 2 and 4 references, seed by seed.
        images: Test images of each run, over all categories; a quarter of them normal.

    Returns:
        ``store``.
    """
    store.mkdir(parents=True, exist_ok=True)
    (store / "README.md").write_text(README, encoding="utf-8")
    categories = [f"part_{number:02d}" for number in range(1, min(CATEGORIES, max(1, images // 8)) + 1)]
    share = np.array_split(np.arange(images), len(categories))
    pictures = _pictures()
    names = {}
    for category, part in zip(categories, share, strict=True):
        names[category] = f"{category}-00000000.parquet"
        listed = _listed(category, len(part))
        rows = (pictures[label][i % PICTURES] | {"image_id": image} for i, (image, label, _) in enumerate(listed))
        write_thumbnails(store, DATASET, names[category], rows)
    for number, key in zip(range(runs), _keys(), strict=False):
        run = start_run(store, _record(key))
        for index, category in enumerate(categories):
            rng = np.random.default_rng([number, index])
            contents = _contents(rng, _listed(category, len(share[index])), key.method != "clip_ac", names[category])
            write_unit(store, run, category, contents)
    return store


def _keys() -> Iterator[RunKey]:
    for method in ZERO_SHOT:
        yield RunKey(DATASET, method, "canonical", 0, 0, "made_up")
    seed = 0
    while True:
        for shots in (1, 2, 4):
            for method in FEW_SHOT:
                yield RunKey(DATASET, method, "canonical", shots, seed, "made_up")
        seed += 1


def _record(key: RunKey) -> RunRecord:
    protocol = Protocol(
        mode="matched",
        backbone={
            "id": key.backbone, "title": "Made-up backbone", "weights_hash": "0" * 16, "image_size": 240,
            "patch_size": 16, "activation": "gelu", "position_rule": "native", "precision": "float32",
            "demonstration": True,
        },
        method={"name": key.method, "preset": key.preset, "settings": {}},
        data={"dataset": key.dataset, "listing": "0" * 16, "size": "full"},
        reading={"resize": "none: made up"},
        evaluation={"map_size": 256, "native_size": 240},
    )  # fmt: skip
    provenance = Provenance(
        code_version="made up",
        packages={},
        hardware={"processor": "made up", "cores": 0, "id": "0" * 8},
        parameters=None,
        data={"licence": "made up", "redistributable": True, "synthetic": True, "notes": ["Made up, not measured."]},
        command="python -m vlmad_core bench app",
        started_at="2026-01-01T00:00:00+00:00",
    )
    plan = {"batch_size": 16, "threads": 1, "precision": "float32", "grids": "all", "replicates": True}
    card = load_card(key.method)
    title = card.few_shot_title if key.shots and card.few_shot_title else card.title
    return RunRecord(layout.run_id(key, protocol.hash), key, title, protocol, provenance, plan, Path())


def _listed(category: str, images: int) -> list[tuple[str, int, str]]:
    """Id, label and defect type of a category's images."""
    normal = max(1, images // 4)
    kinds = [DEFECTS[i % len(DEFECTS)] for i in range(images - normal)]
    return [(f"{category}/test/good/{i:03d}.png", 0, "good") for i in range(normal)] + [
        (f"{category}/test/{kind}/{i:03d}.png", 1, kind) for i, kind in enumerate(kinds)
    ]


def _pictures() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Thumbnails and masks: plain normal ones, and ones with a spot."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:160, :160]
    found: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for _ in range(PICTURES):
        ground = 120 + 40 * np.sin(rows * rng.uniform(0.02, 0.1) + columns * rng.uniform(0.02, 0.1))
        plain = np.repeat(ground[..., None], 3, axis=2) + rng.normal(0, 4, (160, 160, 3))
        spot = (rows - rng.integers(40, 120)) ** 2 + (columns - rng.integers(40, 120)) ** 2 < rng.integers(60, 600)
        for label, pixels in ((0, plain), (1, np.where(spot[..., None], (170, 60, 50), plain))):
            mask = _encoded(np.where(spot, 255, 0), "PNG") if label else None
            reason = None if label else "A normal image has no defect."
            found[label].append({"thumbnail": _encoded(pixels, "WEBP"), "mask": mask, "reason": reason})
    return found


def _encoded(pixels: NDArray[Any], kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def _contents(
    rng: np.random.Generator, listed: list[tuple[str, int, str]], maps: bool, thumbnails: str
) -> UnitContents:
    ids = [image for image, _, _ in listed]
    labels = np.array([label for _, label, _ in listed])
    scores = rng.normal(0.35, 0.08, len(ids)) + labels * rng.gamma(2.0, rng.uniform(0.04, 0.1), len(ids))
    areas = np.where(labels == 1, rng.uniform(0.0005, 0.15, len(ids)), 0.0)
    grids = np.round(rng.normal(0.3, 0.05, (len(ids), 1, SIDE, SIDE)), 2).astype(np.float32) if maps else None
    if grids is not None:
        grids[labels == 1, :, 6:9, 6:9] += np.float32(0.3)
    reason = None if maps else "The method makes no anomaly map."
    bad = np.nonzero(labels)[0]
    metrics = list(_metrics(rng, len(ids), reason))
    return UnitContents(
        images=[
            {"image_id": image, "split": "test", "label": label, "defect_type": kind, "defect_area": float(area)}
            | {"score": float(score), "latency_ms": 20.0, "error": None}
            for (image, label, kind), score, area in zip(listed, scores, areas, strict=True)
        ],
        metrics=metrics,
        replicates=_replicates(rng, metrics, labels, ids),
        data_hash="0" * 16,
        grid_ids=ids if maps else (),
        grids=grids,
        rule=MapRule() if maps else None,
        curves=_curves(rng, maps),
        regions=[
            {"image_id": ids[i], "region": 1, "defect_type": listed[i][2], "area": float(areas[i])}
            | {"x0": 0.4, "y0": 0.4, "x1": 0.55, "y1": 0.55}
            | {name: float(rng.uniform()) for name in ("recall_f1max", "recall_fpr05", "recall_fpr01")}
            for i in bad
        ]
        if maps
        else (),
        explain=[
            {"image_id": image, "kind": "window", "rank": rank, "text": "made-up window", "value": 0.5 / rank}
            | {"towards": "abnormal", "x0": 0.4, "y0": 0.4, "x1": 0.55, "y1": 0.55}
            for image in ids
            for rank in (1, 2)
        ],
        thresholds={
            "image_f1max": {"value": 0.42, "level": "image", "source": "made up", "oracle": True},
            "pixel_f1max": {"value": 0.5, "level": "pixel", "source": "made up", "oracle": True},
        },
        profile={
            "seconds": {"read": 1.0, "preprocess": 1.0, "vision": 8.0, "scoring": 0.5, "metrics": 1.0},
            "shared_by": 20, "images": len(ids), "images_per_second_vision": 30.0,
            "latency_ms": {"median": float(rng.uniform(15, 60)), "p95": float(rng.uniform(60, 90))},
            "peak_rss_bytes": 10**9,
        },
        thumbnails=thumbnails,
    )  # fmt: skip


def _metrics(rng: np.random.Generator, n: int, reason: str | None) -> Iterator[dict[str, Any]]:
    kept = [("image", name, 0) for name in ("image_auroc", "image_ap", "image_f1max")]
    for size in (240, 256):
        kept += [("pixel", name, size) for name in ("pixel_auroc", "pixel_ap", "pixel_f1max", "aupro_30", "aupro_05")]
    for level, name, size in kept:
        value = None if level == "pixel" and reason else float(rng.uniform(0.5, 0.98))
        yield {
            "level": level, "metric": name, "eval_size": size or None, "value": value, "n": n,
            "low": None if value is None else value - 0.02, "high": None if value is None else value + 0.02,
            "reason": reason if value is None else None,
        }  # fmt: skip


def _replicates(rng: np.random.Generator, metrics: list[dict[str, Any]], labels: NDArray[Any], ids: list[str]) -> Drawn:
    fewest, design = fewest_of(labels == 1), design_of(labels == 1, 0, ids)
    return {
        (row["metric"], row["eval_size"]): Replicates(
            row["metric"],
            row["value"],
            np.clip(row["value"] + 0.01 * rng.standard_normal(STORED_RESAMPLES), 0, 1),
            len(ids),
            fewest,
            design,
        )
        for row in metrics
        if row["value"] is not None
    }


def _curves(rng: np.random.Generator, maps: bool, points: int = 400) -> dict[str, Any]:
    names = ["image_roc", "image_pr", *(("pixel_roc", "pixel_pr", "pixel_pro") if maps else ())]
    x: Floats = np.linspace(0, 1, points)
    rising = [1 - (1 - x) ** rng.uniform(2, 8) if not name.endswith("pr") else 1 - 0.5 * x**2 for name in names]
    return {
        "curve": np.repeat(names, points),
        "eval_size": [None if name.startswith("image") else 256 for name in names for _ in range(points)],
        "x": np.tile(x, len(names)),
        "y": np.concatenate(rising),
        "threshold": np.tile(1 - x, len(names)),
    }
