"""What `bench methods` measured of a machine: kept beside the runs of a store, or handed over as what it printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmad_core.errors import StoreError
from vlmad_core.io import parse_json, read_json
from vlmad_core.records import Count, Number
from vlmad_core.store.commands import keep_record, record_files
from vlmad_core.store.schema import read_record

BENCH_FOLDER = ".bench"
"""Where they lie in a store."""

FIX = "Give what `python -m vlmad_core bench methods --json` prints."


@dataclass(frozen=True)
class BenchLatency:
    """One image at a time, from file to score and map, in milliseconds."""

    median_ms: Number
    p95_ms: Number


@dataclass(frozen=True)
class BenchRate:
    """Images passed together, and how many of them a second; None where they did not fit into memory."""

    batch: Count
    images_per_second: Number | None


@dataclass(frozen=True)
class BenchRow:
    """What one method costs alone.

    Attributes:
        method: Identifier.
        preset: Name of its settings.
        title: As it is shown with this number of references.
        shots: Number of references.
        backbone: Its id; ``random:NAME`` has random weights of a true shape.
        image_size: Side of the input, in pixels.
        precision: Arithmetic of the towers.
        batch_n: The batch size that was quickest.
        batch_1: None for methods that judge a whole set.
        peak_bytes: Largest memory: of the device if it is a card, else of the process.
        flops_per_image: Matrix products, two operations for a multiply-add.
        peak_share: Of the machine's measured matrix-product peak in that precision.
        plain_share: Of a plain forward of the same tower that keeps the same stages, in images per second.
    """

    method: str
    preset: str
    title: str
    shots: Count
    backbone: str
    image_size: Count
    precision: str
    batch_n: BenchRate
    batch_1: BenchLatency | None = None
    peak_bytes: Count | None = None
    flops_per_image: Count | None = None
    peak_share: Number | None = None
    plain_share: Number | None = None


@dataclass(frozen=True)
class BenchRecord:
    """One run of the benchmark.

    Attributes:
        command: As it was typed.
        finished_at: ISO 8601, UTC.
        machine: Processor, and card if there is one, in a few words.
        device: Where it was computed, as torch names it.
        threads: Of torch.
        methods: What was measured.
    """

    command: str
    finished_at: str
    machine: str
    device: str
    threads: Count
    methods: tuple[BenchRow, ...]


def keep_bench(store: Path, report: Mapping[str, Any]) -> Path:
    """Keep the benchmark's report in a store; gives its file."""
    return keep_record(store / BENCH_FOLDER, str(report["finished_at"]), report)


def parse_bench(content: bytes, name: str) -> BenchRecord:
    """The record in a file that was handed over.

    Args:
        content: The file.
        name: What to call it in messages.

    Raises:
        StoreError: If it is something else, damaged, or of a newer version.
    """
    return read_record(BenchRecord, parse_json(content, name, FIX), Path(name), FIX)


def read_benches(stores: Sequence[Path]) -> tuple[tuple[BenchRecord, ...], tuple[str, ...]]:
    """The records of some stores, the latest first, and what could not be read, in words; the rest is there."""
    found: list[BenchRecord] = []
    problems: list[str] = []
    for store in stores:
        for file in record_files(store / BENCH_FOLDER):
            try:
                found.append(read_record(BenchRecord, read_json(file, FIX), file, FIX))
            except StoreError as error:
                problems.append(str(error))
    return tuple(sorted(found, key=lambda record: record.finished_at, reverse=True)), tuple(problems)
