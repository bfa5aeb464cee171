"""Training views on disk with what the teacher sees in them: made once, read by every training.

Four kinds of shards: generic pictures; rendered pairs with captions (each pair seen twice, without and with its defect,
and a third time in a freely changed view without captions) of named categories and of inventions; and inventions that
are described only. Beside each view of the first three lie the teacher's patch tokens, so that epochs, ablations and
seeds don't pay the teacher again. Drawing a pair costs a fraction of what the teacher costs; hence the fourth.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vlmad_core.backbones.arithmetic import products_in
from vlmad_core.backbones.info import Precision, Preprocessing
from vlmad_core.factory.clip.generic_images import draw_generic
from vlmad_core.factory.clip.model import IMAGE_SIZE, PATCH_SIZE
from vlmad_core.factory.clip.picture_changes import (
    VIEW_SIZE,
    change_freely,
    change_light,
    draw_free_zoom,
    draw_part_zoom,
    look,
)
from vlmad_core.factory.renderer.pairs import render_pair
from vlmad_core.io import write_atomically

GRID = IMAGE_SIZE // PATCH_SIZE
PICTURE_SIZE = 192
"""Side at which pictures are drawn before they are zoomed into."""
PAIRS_PER_SHARD = 64
GENERIC_PER_SHARD = 192
_TEACHER_BATCH = 16
_STREAMS = {"generic": 0, "pairs": 1, "invented": 2, "described": 3}
"""Kinds of shards, and what tells the chance of one from that of another."""
_SPLITS = {"pairs": "train", "invented": "invented", "described": "invented"}
_FIRST_DESCRIBED = 640_000
"""Number of the first invention that is described only; those below are for the teacher's shards."""


Rows = Sequence[int] | NDArray[np.int64]
"""Numbers of views."""


class PatchTeacher(Protocol):
    """What a view bank asks of a teacher; see ``vlmad_core.backbones.teacher.Teacher``."""

    @property
    def preprocessing(self) -> Preprocessing:
        """Mean and standard deviation of its input."""

    @property
    def content_hash(self) -> str:
        """Of its weights."""

    def patches(self, pixels: Tensor, grid: int) -> Mapping[int, Tensor]:
        """Block -> [N, grid * grid, C] patch tokens of unit length."""


@dataclass(frozen=True)
class ViewBank:
    """Views, memory-mapped.

    Attributes:
        pictures: Per shard [n, S, S, 3] uint8.
        targets: Per shard [n, P, C] float16: the teacher's tokens, blocks side by side. Shards without any come last.
        counts: Per shard [n, G, G] uint8: defective pixels in each patch.
        channels: Block of the teacher -> number of its channels, in the order of ``targets``.
        pairs: [p, 2] rows of the views with captions, without and with the defect.
        taught: How many of the pairs, the first, have targets.
        nouns: What each pair shows.
        defects: The defect of each pair.
        free: [f] rows of the views without captions; generic pictures come first.
        generic: How many of the views, the first, are generic pictures.
        precisions: What the teacher computed in, by shard that it saw.
        content_hash: SHA-256 over all pictures, counts and targets, 16 hex digits.
    """

    pictures: tuple[NDArray[np.uint8], ...]
    targets: tuple[NDArray[np.float16], ...]
    counts: tuple[NDArray[np.uint8], ...]
    channels: Mapping[int, int]
    pairs: NDArray[np.int64]
    taught: int
    nouns: tuple[str, ...]
    defects: tuple[str, ...]
    free: NDArray[np.int64]
    generic: int
    precisions: tuple[Precision, ...]
    content_hash: str

    def __len__(self) -> int:
        return sum(len(shard) for shard in self.pictures)

    def take(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Some views.

        Returns:
            Pictures [B, S, S, 3] uint8, defective pixels per patch [B, 1, G, G] float32.
        """
        return torch.from_numpy(self._gather(self.pictures, rows)), torch.from_numpy(
            self._gather(self.counts, rows).astype(np.float32)
        )[:, None]

    def taught_tokens(self, rows: Rows) -> Tensor:
        """What the teacher sees in some views that it saw: [B, P, C] float32."""
        return torch.from_numpy(self._gather(self.targets, rows).astype(np.float32))

    def _gather(self, shards: Sequence[NDArray[Any]], rows: Rows) -> NDArray[Any]:
        starts = np.cumsum([0, *(len(shard) for shard in shards)])
        numbers = np.searchsorted(starts, rows, side="right") - 1
        return np.stack([shards[n][row - starts[n]] for n, row in zip(numbers, rows, strict=True)])


def build_views(
    folder: Path,
    pairs: int,
    generic: int,
    described: int,
    seed: int,
    load_teacher: Callable[[], PatchTeacher],
    precision: Precision,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ViewBank:
    """Make the shards that are missing, then open all.

    Args:
        folder: Where the shards lie; a shard that is there is used as it is.
        pairs: Rendered pairs; rounded up to whole shards. Every second shard shows inventions.
        generic: Generic pictures; rounded up to whole shards.
        described: Pairs of inventions beside these, without the teacher; rounded up to whole shards.
        seed: Of all pictures; each shard depends on it and on its kind and number only.
        load_teacher: Gives the teacher, in each process anew; importable, since processes are spawned.
        precision: Of the teacher's matrix products in shards that are missing.
        workers: Processes; all processors if None, none beside this one if 1.
        progress: Called with (shards done, shards in all).
    """
    place = folder / f"views-{seed}-{load_teacher().content_hash}"
    place.mkdir(parents=True, exist_ok=True)
    wanted = [("generic", n) for n in range(-(-generic // GENERIC_PER_SHARD))]
    wanted += [(("pairs", "invented")[n % 2], n // 2) for n in range(-(-pairs // PAIRS_PER_SHARD))]
    wanted += [("described", n) for n in range(-(-described // PAIRS_PER_SHARD))]
    missing = [shard for shard in wanted if not _record_path(place, shard).is_file()]
    make = partial(_make_shard, place, seed, load_teacher, precision)
    workers = workers or os.cpu_count() or 1
    done = len(wanted) - len(missing)
    if workers == 1 or len(missing) < 2:
        for number, shard in enumerate(missing, start=1):
            make(shard)
            if progress:
                progress(done + number, len(wanted))
    else:
        # Spawned, not forked: torch's threads don't survive a fork.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for number, _ in enumerate(pool.map(make, missing), start=1):
                if progress:
                    progress(done + number, len(wanted))
    return _open(place, wanted)


def _record_path(folder: Path, shard: tuple[str, int]) -> Path:
    return folder / f"{shard[0]}-{shard[1]:04d}.json"


def _array_path(folder: Path, shard: tuple[str, int], kind: str) -> Path:
    return folder / f"{shard[0]}-{shard[1]:04d}-{kind}.npy"


def _make_shard(
    folder: Path, seed: int, load_teacher: Callable[[], PatchTeacher], precision: Precision, shard: tuple[str, int]
) -> None:
    kind, number = shard
    rng = np.random.default_rng([seed, number, _STREAMS[kind], 7])
    if kind in _SPLITS:
        views, masks, nouns, defects = _pair_views(seed, kind, number, rng)
    else:
        pictures = [draw_generic(rng, PICTURE_SIZE) for _ in range(GENERIC_PER_SHARD)]
        views, masks, nouns, defects = _free_views(pictures, rng), [], [], []
    counts = np.zeros((len(views), GRID, GRID), np.uint8)
    side = VIEW_SIZE // GRID
    for row, mask in enumerate(masks):
        share = mask.reshape(GRID, side, GRID, side).mean(axis=(1, 3))
        counts[2 * row + 1] = np.rint(share * PATCH_SIZE**2)
    arrays: dict[str, NDArray[Any]] = {"pictures": np.stack([_small(view) for view in views]), "counts": counts}
    channels: list[tuple[int, int]] = []
    if kind != "described":
        arrays["targets"], channels = _targets(load_teacher(), views, precision)
    for name, array in arrays.items():
        np.save(_array_path(folder, shard, name), array)
    record = {
        "nouns": nouns,
        "defects": defects,
        "channels": channels,
        "precision": precision,
        "content_hash": hashlib.sha256(b"".join(array.tobytes() for array in arrays.values())).hexdigest(),
    }
    # Written last: a shard is there once its record is.
    write_atomically(_record_path(folder, shard), json.dumps(record).encode(), durable=False)


def _pair_views(
    seed: int, kind: str, number: int, rng: np.random.Generator
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.bool_]], list[str], list[str]]:
    """Views with captions, pair by pair, then, unless they are described only, one free view of each pair."""
    described = kind == "described"
    first = number * PAIRS_PER_SHARD + described * _FIRST_DESCRIBED
    views, masks, nouns, defects, pictures = [], [], [], [], []
    for index in range(first, first + PAIRS_PER_SHARD):
        pair = render_pair(seed, index, PICTURE_SIZE, _SPLITS[kind])
        zoom = draw_part_zoom(rng)
        views += [change_light(look(picture, zoom), rng) for picture in (pair.normal, pair.abnormal)]
        masks.append(look(pair.mask.astype(np.uint8) * 255, zoom, nearest=True) > 127)
        nouns.append(pair.noun)
        defects.append(pair.defect)
        if not described:
            pictures.append(pair.normal if rng.random() < 0.5 else pair.abnormal)
    return views + _free_views(pictures, rng), masks, nouns, defects


def _free_views(pictures: Sequence[NDArray[np.uint8]], rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    seen = [look(picture, draw_free_zoom(rng)) for picture in pictures]
    return [change_freely(view, rng, seen) for view in seen]


def _targets(
    teacher: PatchTeacher, views: Sequence[NDArray[np.uint8]], precision: Precision
) -> tuple[NDArray[np.float16], list[tuple[int, int]]]:
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (teacher.preprocessing.mean, teacher.preprocessing.std))
    parts, channels = [], []
    for first in range(0, len(views), _TEACHER_BATCH):
        pixels = torch.from_numpy(np.stack(views[first : first + _TEACHER_BATCH])).permute(0, 3, 1, 2).float() / 255
        with products_in(precision):
            tokens = teacher.patches((pixels - mean) / std, GRID)
        channels = [(block, values.shape[-1]) for block, values in tokens.items()]
        parts.append(torch.cat(list(tokens.values()), dim=-1).half().numpy())
    return np.concatenate(parts), channels


def _small(view: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What the bundled CLIP sees of a view: shrunk as its preprocessing shrinks."""
    return np.asarray(Image.fromarray(view).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC))


def _open(folder: Path, shards: Sequence[tuple[str, int]]) -> ViewBank:
    records = [json.loads(_record_path(folder, shard).read_text(encoding="utf-8")) for shard in shards]
    taught = [shard for shard in shards if shard[0] != "described"]

    def mapped(name: str, shards: Sequence[tuple[str, int]]) -> tuple[NDArray[Any], ...]:
        return tuple(np.load(_array_path(folder, shard, name), mmap_mode="r") for shard in shards)

    pictures = mapped("pictures", shards)
    pairs, free, start = [], [], 0
    for record, shown in zip(records, pictures, strict=True):
        captioned = 2 * len(record["nouns"])
        pairs.append(np.arange(start, start + captioned).reshape(-1, 2))
        free.append(np.arange(start + captioned, start + len(shown)))
        start += len(shown)
    digest = hashlib.sha256("".join(record["content_hash"] for record in records).encode())
    return ViewBank(
        pictures=pictures,
        targets=mapped("targets", taught),
        counts=mapped("counts", shards),
        channels={int(block): int(count) for block, count in records[0]["channels"]},
        pairs=np.concatenate(pairs),
        taught=sum(len(rows) for rows in pairs[: len(taught)]),
        nouns=tuple(noun for record in records for noun in record["nouns"]),
        defects=tuple(defect for record in records for defect in record["defects"]),
        free=np.concatenate(free),
        generic=sum(len(shown) for (kind, _), shown in zip(shards, pictures, strict=True) if kind == "generic"),
        # Shards from before precision was chosen were all made in bfloat16.
        precisions=tuple(record.get("precision", "bfloat16") for record in records[: len(taught)]),
        content_hash=digest.hexdigest()[:16],
    )
