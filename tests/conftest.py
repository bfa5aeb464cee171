"""Fixtures for all tests: a made-up results store, written by the real writer."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# Before torch is loaded: on tiny models threads cost more than they bring. No test writes where its user keeps things.
os.environ |= {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), "VLMAD_CACHE_DIR": "none"}

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

# A shell starts what runs in the background deaf to Ctrl+C, and commands that the tests start would be, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
MakeStore = Callable[..., Path]

DEFECTS, GRID = ("scratch", "stain"), 8


@pytest.fixture(scope="session")
def quick_disk() -> Iterator[None]:
    """Made-up stores need not survive a power cut; waiting for the disk would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def made_up_store() -> MakeStore:
    """A function that writes a small made-up store and returns its path."""
    return write_made_up_store


def write_made_up_store(
    path: Path,
    *,
    datasets: Sequence[str] = ("widgets",),
    categories: Sequence[str] = ("bolt", "felt"),
    methods: Sequence[str] = ("clip_ac", "winclip"),
    shots: Sequence[int] = (0,),
    seeds: int = 1,
    images: int = 12,
    without_masks: Sequence[str] = (),
    unfinished: Sequence[tuple[str, str]] = (),
    thumbnails: bool = True,
    backbone: str = "bundled",
    mode: str = "matched",
) -> Path:
    """Write a store of made-up runs.

    Args:
        path: Where; made if it isn't there.
        datasets, categories: Names of data sets, and of the categories in each.
        methods: Methods; ``clip_ac`` has no maps and no shots.
        shots, seeds: Numbers of shots; methods without references are written for 0 only. Seeds for shots above 0.
        images: Test images per category, half of them defective.
        without_masks: Categories whose pixel metrics are blank.
        unfinished: Pairs (method, category) that failed instead.
        thumbnails: Whether the data set's licence allows thumbnails.
        backbone: Identifier of the backbone; ``teacher`` for one that knows images only.
        mode: ``matched`` or ``as_published``.

    Returns:
        ``path``.
    """
    from vlmad_core.store.writer import record_failure, start_run, write_unit

    path.mkdir(parents=True, exist_ok=True)
    for dataset in datasets:
        for method_index, method in enumerate(methods):
            few = [k for k in shots if k == 0 or method != "clip_ac"]
            for k in few:
                for seed in range(seeds if k else 1):
                    run = start_run(path, _record(dataset, method, k, seed, backbone, mode))
                    for index, category in enumerate(categories):
                        if (method, category) in unfinished:
                            record_failure(path, run.id, category, "a made-up failure", "Traceback: made up")
                            continue
                        rng = np.random.default_rng([method_index, k, seed, index])
                        thumb = _thumbnails(path, dataset, category, images) if thumbnails else None
                        write_unit(
                            path,
                            run,
                            category,
                            _contents(rng, category, method, images, category not in without_masks, thumb),
                        )
    return path


def _record(dataset: str, method: str, shots: int, seed: int, backbone: str, mode: str) -> Any:
    from vlmad_core.store import layout
    from vlmad_core.store.schema import Protocol, Provenance, RunKey, RunRecord

    titles = {"clip_ac": "CLIP-AC", "winclip": "WinCLIP+" if shots else "WinCLIP"}
    key = RunKey(dataset, method, "canonical", shots, seed, backbone)
    protocol = Protocol(
        mode=mode,
        backbone={
            "id": backbone,
            "title": "Made-up CLIP",
            "weights_hash": f"{backbone:0>16.16}",
            "image_size": 64,
            "patch_size": 8,
            "activation": "gelu",
            "position_rule": "native",
            "precision": "float32",
            "demonstration": True,
            **({"text_depth": 0} if backbone == "teacher" else {}),
        },
        method={"name": method, "preset": "canonical", "settings": {}},
        data={"dataset": dataset, "listing": "0" * 16, "size": "full"},
        reading={"resize": "square bicubic"},
        evaluation={
            "map_size": 256,
            "native_size": 320 if backbone == "teacher" else 64,
            "bootstrap": {"resamples": 200, "confidence": 0.95},
        },
    )
    provenance = Provenance(
        code_version="0.1.0",
        packages={"torch": "0"},
        hardware={"processor": "made up", "id": "0" * 8},
        parameters=1000,
        data={"licence": "CC0-1.0", "redistributable": True, "synthetic": True},
        command="made up",
        started_at="2026-01-01T00:00:00+00:00",
    )
    identifier = layout.run_id(key, protocol.hash)
    plan = {"batch_size": 16, "threads": 1, "precision": "float32", "grids": "all"}
    return RunRecord(identifier, key, titles.get(method, method), protocol, provenance, plan, Path())


def _ids(category: str, images: int) -> list[tuple[str, int, str]]:
    """Image id, label and defect type of a category's made-up images."""
    normal = [(f"{category}/test/good/{i:03d}.png", 0, "good") for i in range(images // 2)]
    kinds = [DEFECTS[i % len(DEFECTS)] for i in range(images - images // 2)]
    return normal + [(f"{category}/test/{kind}/{i:03d}.png", 1, kind) for i, kind in enumerate(kinds)]


def _thumbnails(path: Path, dataset: str, category: str, images: int) -> str:
    from vlmad_core.store import layout, writer

    rows = []
    for index, (image_id, label, _) in enumerate(_ids(category, images)):
        picture = np.full((48, 48, 3), 120 + index, dtype=np.uint8)
        mask = np.zeros((48, 48), dtype=np.uint8)
        if label:
            picture[12:24, 12:24] = (200, 60, 40)
            mask[12:24, 12:24] = 255
        row = {
            "image_id": image_id,
            "thumbnail": _encode(picture, "WEBP"),
            "mask": None,
            "reason": "no defect",
        }
        rows.append(row | ({"mask": _encode(mask, "PNG"), "reason": None} if label else {}))
    name = f"{layout.folder_name(category)}-{images:08x}.parquet"
    writer.write_thumbnails(path, dataset, name, rows)
    return name


def _encode(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def _contents(
    rng: np.random.Generator, category: str, method: str, images: int, masks: bool, thumbnails: str | None
) -> Any:
    from vlmad_core.methods.predictions import MapRule
    from vlmad_core.store.writer import UnitContents

    listed = _ids(category, images)
    labels = np.array([label for _, label, _ in listed])
    scores = rng.normal(0.4, 0.1, images) + labels * rng.uniform(0.02, 0.2)
    maps = method != "clip_ac"
    grids = rng.uniform(0.0, 0.4, (images, 1, GRID, GRID)).astype(np.float32)
    grids[labels == 1, :, 2:4, 2:4] += np.float32(0.4)
    truth = np.zeros((images, GRID, GRID), dtype=int)
    truth[labels == 1, 2:4, 2:4] = 1
    reason = None if maps else f"{method} makes no anomaly map."
    reason = reason or (None if masks else "The category has no masks.")
    metrics = [
        _metric("image", "image_auroc", None, float(roc_auc_score(labels, scores)), images, None),
        _metric("image", "image_ap", None, float(average_precision_score(labels, scores)), images, None),
        _metric("image", "image_f1max", None, _f1_max(labels, scores), images, None),
    ]
    flat = grids.ravel()
    for size in (64, 256):
        values = {
            "pixel_auroc": float(roc_auc_score(truth.ravel(), flat)),
            "pixel_ap": float(average_precision_score(truth.ravel(), flat)),
            "pixel_f1max": _f1_max(truth.ravel(), flat),
            "aupro_30": float(rng.uniform(0.3, 0.9)),
            "aupro_05": float(rng.uniform(0.1, 0.5)),
        }
        for name, value in values.items():
            metrics.append(_metric("pixel", name, size, None if reason else value, images, reason))
    return UnitContents(
        images=[
            {
                "image_id": image_id,
                "split": "test",
                "label": label,
                "defect_type": kind,
                "score": float(score),
                "defect_area": (0.0625 if label else 0.0) if masks else None,
                "latency_ms": 12.5,
                "error": None,
            }
            for (image_id, label, kind), score in zip(listed, scores, strict=True)
        ],
        metrics=metrics,
        data_hash="0" * 16,
        grid_ids=[image_id for image_id, _, _ in listed] if maps else (),
        grids=grids if maps else None,
        rule=MapRule() if maps else None,
        curves=_curves(labels, scores, truth.ravel(), flat, pixels=reason is None),
        regions=[
            {
                "image_id": i,
                "region": 1,
                "defect_type": kind,
                "area": 0.0625,
                "x0": 0.25,
                "y0": 0.25,
                "x1": 0.5,
                "y1": 0.5,
                "recall_f1max": float(rng.uniform()),
                "recall_fpr05": float(rng.uniform()),
            }
            for i, label, kind in listed
            if label and reason is None
        ],
        thresholds={
            "image_f1max": {
                "value": 0.5,
                "level": "image",
                "source": "F1-max on the test set",
                "oracle": True,
            }
        },
        profile={"seconds": {"read": 0.1, "vision": 1.0}, "latency_ms": {"median": 12.5, "p95": 20.0}},
        thumbnails=thumbnails,
        thumbnails_reason=None if thumbnails else "The licence does not allow copies.",
    )


def _metric(level: str, name: str, size: int | None, value: float | None, n: int, reason: str | None) -> dict[str, Any]:
    low, high = (None, None) if value is None else (max(0.0, value - 0.1), min(1.0, value + 0.1))
    return {
        "level": level,
        "metric": name,
        "eval_size": size,
        "value": value,
        "low": low,
        "high": high,
        "n": n,
        "reason": reason,
    }


def _f1_max(labels: np.ndarray, scores: np.ndarray) -> float:
    precision, recall, _ = precision_recall_curve(labels, scores)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))


def _curves(
    labels: np.ndarray, scores: np.ndarray, truth: np.ndarray, flat: np.ndarray, *, pixels: bool
) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {"curve": [], "eval_size": [], "x": [], "y": [], "threshold": []}
    pairs = [("image", None, labels, scores)] + ([("pixel", 256, truth, flat)] if pixels else [])
    for level, size, y_true, y_score in pairs:
        fpr, tpr, at = roc_curve(y_true, y_score)
        precision, recall, cut = precision_recall_curve(y_true, y_score)
        for name, x, y, threshold in (
            (f"{level}_roc", fpr, tpr, at),
            (f"{level}_pr", recall[:-1], precision[:-1], cut),
        ):
            columns["curve"] += [name] * len(x)
            columns["eval_size"] += [size] * len(x)
            columns["x"] += list(x)
            columns["y"] += list(y)
            columns["threshold"] += list(np.where(np.isfinite(threshold), threshold, 1.0))
    return columns


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny CLIP of random weights (32 pixels, 4 x 4 patches) and a tokenizer, letter by letter."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny_clip") / "tiny_clip"
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<pad>", "<bos>", "<eos>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    ends = [("<bos>", vocabulary["<bos>"]), ("<eos>", vocabulary["<eos>"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=ends)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        vision_config={**tower, "image_size": 32, "patch_size": 8, "hidden_act": "gelu"},
        text_config={
            **tower,
            "vocab_size": len(vocabulary),
            "max_position_embeddings": 160,
            "hidden_act": "gelu",
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 0,
        },
        projection_dim=16,
    )
    torch.manual_seed(0)
    model = CLIPModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.2)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_dataset() -> Callable[..., Path]:
    """A function that writes a tiny data set in MVTec layout and returns its path."""
    return write_tiny_dataset


def write_tiny_dataset(
    path: Path,
    *,
    categories: Sequence[str] = ("bolt", "felt", "nut"),
    train: int = 3,
    normal: int = 4,
    defective: int = 3,
    masks: bool = True,
    side: int = 40,
    redistributable: bool = True,
) -> Path:
    """Write grey noise with a bright square as the defect, two defect types, one mask per defective image."""
    path.mkdir(parents=True, exist_ok=True)
    stated = {"name": path.name, "licence": "made up", "redistributable": redistributable}
    (path / "dataset.json").write_text(json.dumps(stated))
    for number, category in enumerate(categories):
        rng = np.random.default_rng(number)
        kinds = [("train", "good", train), ("test", "good", normal), *(("test", kind, defective) for kind in DEFECTS)]
        for split, kind, count in kinds:
            folder = path / category / split / kind
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(60, 140, (side, side, 3), dtype=np.uint8)
                if kind != "good":
                    pixels[8 : 8 + side // 3, 8 : 8 + side // 3] = (240, 30, 30)
                    mask = np.zeros((side, side), dtype=np.uint8)
                    mask[8 : 8 + side // 3, 8 : 8 + side // 3] = 255
                    truth = path / category / "ground_truth" / kind
                    if masks:
                        truth.mkdir(parents=True, exist_ok=True)
                        Image.fromarray(mask).save(truth / f"{index:03d}_mask.png")
                Image.fromarray(pixels).save(folder / f"{index:03d}.png")
    return path


@pytest.fixture(scope="session")
def content_of() -> Callable[[Path], dict[str, Any]]:
    """A function that gives all files of a store byte for byte, without the times they record."""
    return read_content


def read_content(store: Path) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for path in sorted(one for one in store.rglob("*") if one.is_file() and one.parent.name != ".commands"):
        name = str(path.relative_to(store))
        if path.name == "unit.json":
            value = json.loads(path.read_text())
            hashes = {k: v for k, v in value["files"].items() if k != "images.parquet"}
            kept = value.keys() - {"finished_at", "profile", "files", "seal"}
            content[name] = {k: value[k] for k in sorted(kept)} | {"files": hashes}
        elif path.name == "run.json":
            value = json.loads(path.read_text())
            content[name] = {k: value[k] for k in ("id", "key", "protocol", "plan")}
        elif path.name == "images.parquet":
            content[name] = pq.read_table(path).drop_columns(["latency_ms"]).to_pylist()
        else:
            content[name] = path.read_bytes()
    return content
