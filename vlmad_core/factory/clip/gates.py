"""What a trained bundled CLIP must show, measured on rendered pairs of categories held out from its training.

The pairs are made once, shard by shard, by all processors, and lie on disk.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vlmad_core.backbones import ClipBackbone, load_backbone
from vlmad_core.backbones.features import Features, concatenate_features
from vlmad_core.factory.clip.model import IMAGE_SIZE, PATCH_SIZE
from vlmad_core.factory.renderer.pairs import render_pair
from vlmad_core.methods import anomaly_maps, create_method
from vlmad_core.methods.patch_memory import PatchMemory, PatchMemorySettings
from vlmad_core.methods.patches import nearest_in_memory, unit_rows
from vlmad_core.metrics import image_auroc, pixel_metrics

SHOTS = 4
BATCH = 32
SHARD = 250
PAIR_SIZE = 160
"""Side of the stored pictures in pixels."""


@dataclass(frozen=True)
class PairBank:
    """Pairs held in memory.

    Attributes:
        images: [n, 2, S, S, 3] uint8, normal and abnormal.
        masks: [n, S, S] bool.
        nouns: What each pair shows.
        defects: The defect of each pair.
        content_hash: SHA-256 over all pictures and masks, 16 hex digits.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    nouns: tuple[str, ...]
    defects: tuple[str, ...]
    content_hash: str

    def __len__(self) -> int:
        return len(self.nouns)


def build_bank(
    folder: Path,
    pairs: int,
    seed: int,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PairBank:
    """Render what is missing, then load everything.

    Args:
        folder: Where the shards lie; a shard that is there is used as it is.
        pairs: How many pairs; rounded up to whole shards.
        seed: Seed of the renderer; each pair depends on it and on its number only.
        workers: Processes; all processors if None.
        progress: Called with (shards done, shards in all).
    """
    name = f"validation-{seed}-{PAIR_SIZE}"
    count = -(-pairs // SHARD)
    paths = [folder / name / f"{number:05d}.npz" for number in range(count)]
    (folder / name).mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(count) if not paths[number].is_file()]
    render = partial(_render_shard, folder / name, seed)
    if missing:
        with ProcessPoolExecutor(max_workers=workers or os.cpu_count()) as pool:
            for done, _ in enumerate(pool.map(render, missing), start=count - len(missing) + 1):
                if progress:
                    progress(done, count)
    return _load(paths)


def _render_shard(folder: Path, seed: int, number: int) -> None:
    rendered = [
        render_pair(seed, index, PAIR_SIZE, split="validation") for index in range(number * SHARD, (number + 1) * SHARD)
    ]
    partial_path = folder / f"{number:05d}.{os.getpid()}.partial"
    with partial_path.open("wb") as file:
        np.savez(
            file,
            images=np.stack([np.stack([pair.normal, pair.abnormal]) for pair in rendered]),
            masks=np.packbits(np.stack([pair.mask for pair in rendered]), axis=-1),
            nouns=np.array([pair.noun for pair in rendered]),
            defects=np.array([pair.defect for pair in rendered]),
        )
    partial_path.replace(folder / f"{number:05d}.npz")


def _load(paths: Sequence[Path]) -> PairBank:
    digest = hashlib.sha256()
    images = np.empty((len(paths) * SHARD, 2, PAIR_SIZE, PAIR_SIZE, 3), np.uint8)
    masks = np.empty((len(paths) * SHARD, PAIR_SIZE, PAIR_SIZE), np.bool_)
    nouns: list[str] = []
    defects: list[str] = []
    for number, path in enumerate(paths):
        with np.load(path, allow_pickle=False) as shard:
            rows = slice(number * SHARD, (number + 1) * SHARD)
            images[rows] = shard["images"]
            masks[rows] = np.unpackbits(shard["masks"], axis=-1, count=PAIR_SIZE).astype(bool)
            nouns += shard["nouns"].tolist()
            defects += shard["defects"].tolist()
            digest.update(shard["images"].tobytes() + shard["masks"].tobytes())
    return PairBank(images, masks, tuple(nouns), tuple(defects), digest.hexdigest()[:16])


def measure_gates(folder: Path, untrained: Path, bank: PairBank) -> dict[str, dict[str, float]]:
    """Mean over held-out categories of zero-shot and 4-shot AUROC, beside what they must beat.

    Zero-shot: one pair of prompts, the prompt ensemble with its patch map, WinCLIP's windows. 4-shot: the patch
    memory on the blocks it reads by default.

    Args:
        folder: The trained model.
        untrained: The same network before training.
        bank: Validation pairs, of categories never trained on.

    Returns:
        For ``trained``, ``untrained`` and ``raw_pixels`` the figures by name; image and pixel AUROC are
        fractions. Raw pixels have no zero-shot figures.
    """
    results = {
        name: _measure(load_backbone(str(path)), bank) for name, path in (("trained", folder), ("untrained", untrained))
    }
    per_category = [
        _memory_gate([_raw_tokens(pixels)], labels, masks) for _, pixels, labels, masks in _categories(bank)
    ]
    return {**results, "raw_pixels": _mean(per_category)}


def _measure(backbone: ClipBackbone, bank: PairBank) -> dict[str, float]:
    methods = {name: create_method(name) for name in ("clip_ac", "clip_cpe", "winclip")}
    memory = PatchMemory(PatchMemorySettings())
    blocks = memory.stages(backbone.info)
    request = memory.needs(backbone.info, SHOTS)
    for method in methods.values():
        request |= method.needs(backbone.info, 0)
    per_category = []
    for noun, images, labels, masks in _categories(bank):
        features = _features(backbone, images, request)
        figures: dict[str, float | None] = {}
        for name, method in methods.items():
            predictions = method.prepare(noun, backbone).score(features)
            figures[f"{name}_image_auroc"] = image_auroc(labels, predictions.image_score.numpy()).value
            if predictions.grids is not None and predictions.map_rule is not None:
                maps = anomaly_maps(predictions.grids, predictions.map_rule, masks.shape[1:]).numpy()
                figures[f"{name}_pixel_auroc"] = pixel_metrics(maps, masks)["pixel_auroc"].value
        tokens = [features.stages[block][:, 1:] for block in blocks]
        per_category.append({**figures, **_memory_gate(tokens, labels, masks)})
    return _mean(per_category)


def _memory_gate(
    stages: Sequence[Tensor], labels: NDArray[np.int64], masks: NDArray[np.bool_]
) -> dict[str, float | None]:
    """4-shot patch memory over tokens [N, P, d] of each stage; the first normal images are the references."""
    normal = np.flatnonzero(labels == 0)
    judged = np.setdiff1d(np.arange(len(labels)), normal[:SHOTS])
    nearest = [nearest_in_memory(tokens[judged], unit_rows(tokens[normal[:SHOTS]])).distance for tokens in stages]
    distances = torch.stack(nearest).mean(dim=0)
    side = round(distances.shape[1] ** 0.5)
    grids = distances.reshape(len(judged), 1, side, side)
    maps = torch.nn.functional.interpolate(grids, size=masks.shape[1:], mode="bilinear")[:, 0].numpy()
    return {
        "memory_image_auroc": image_auroc(labels[judged], distances.amax(dim=1).numpy()).value,
        "memory_pixel_auroc": pixel_metrics(maps, masks[judged])["pixel_auroc"].value,
    }


def _categories(
    bank: PairBank,
) -> list[tuple[str, list[Image.Image], NDArray[np.int64], NDArray[np.bool_]]]:
    """Each noun's images, normal ones first, with labels and masks."""
    found = []
    for noun in sorted(set(bank.nouns)):
        rows = [row for row, name in enumerate(bank.nouns) if name == noun]
        normal, abnormal = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        images = [Image.fromarray(bank.images[r, 0]) for r in normal]
        images += [Image.fromarray(bank.images[r, 1]) for r in abnormal]
        masks = np.concatenate([np.zeros_like(bank.masks[normal]), bank.masks[abnormal]])
        found.append((noun, images, np.array([0] * len(normal) + [1] * len(abnormal)), masks))
    return found


def _features(backbone: ClipBackbone, images: list[Image.Image], request: Any) -> Features:
    batches = [images[first : first + BATCH] for first in range(0, len(images), BATCH)]
    return concatenate_features(backbone.encode_images(backbone.preprocess_batch(b), request) for b in batches)


def _raw_tokens(images: list[Image.Image]) -> Tensor:
    """Patches of the picture itself as tokens: [N, P, 3 * patch * patch]."""
    size = (IMAGE_SIZE, IMAGE_SIZE)
    stacked = np.stack([np.asarray(image.resize(size, Image.Resampling.BICUBIC)) for image in images])
    pixels = torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255
    return torch.nn.functional.unfold(pixels, PATCH_SIZE, stride=PATCH_SIZE).transpose(1, 2)


def _mean(rows: list[dict[str, float | None]] | list[Mapping[str, float | None]]) -> dict[str, float]:
    names = rows[0].keys()
    return {name: float(np.mean([row[name] for row in rows if row[name] is not None])) for name in names}
