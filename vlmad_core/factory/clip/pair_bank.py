"""Rendered pairs of held-out categories on disk: made once, shard by shard, by all processors, for the gates."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlmad_core.factory.renderer.pairs import render_pair

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
