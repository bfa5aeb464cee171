"""What commands tell of a machine: records beside the runs of a store, the latest of which are kept.

A command that filled a store leaves one of what it cost, so that every second is counted once (``CommandRecord``);
benchmarks leave what they measured (``benches``).

Units tell what they cost, but what runs share stands in each of them; a command's record adds up to its wall-clock
time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vlmad_core.errors import StoreError
from vlmad_core.io import json_bytes, read_json, write_atomically
from vlmad_core.records import Number
from vlmad_core.store.schema import SCHEMA_VERSION, read_record, short_hash

COMMANDS_FOLDER = ".commands"
"""Where they lie in a store."""

MOST_KEPT = 50
"""Records kept; the oldest go."""


@dataclass(frozen=True)
class SpentSeconds:
    """Seconds of a command's wall-clock time, counted nowhere else.

    Attributes:
        who: A method as it is shown, what all methods share, or the command itself.
        stage: On what.
        seconds: How many.
    """

    who: str
    stage: str
    seconds: Number


@dataclass(frozen=True)
class CommandRecord:
    """Where the time of one command went.

    Attributes:
        command: As it was typed.
        finished_at: ISO 8601, UTC.
        datasets: Names of its data sets.
        hardware: Name of the machine, in a few words.
        images: Images that passed a backbone.
        wall_seconds: From its start to its end.
        spent: Where they went; what is left over could not be told.
    """

    command: str
    finished_at: str
    datasets: tuple[str, ...]
    hardware: str
    images: int
    wall_seconds: Number
    spent: tuple[SpentSeconds, ...]


def write_command(store: Path, record: CommandRecord) -> Path:
    """Keep a record, and let the oldest go beyond ``MOST_KEPT``; gives its file."""
    return keep_record(store / COMMANDS_FOLDER, record.finished_at, asdict(record))


def read_commands(stores: Sequence[Path]) -> tuple[CommandRecord, ...]:
    """The records of some stores, the latest first; what can't be read is passed over."""
    found = []
    for store in stores:
        for file in record_files(store / COMMANDS_FOLDER):
            try:
                found.append(read_record(CommandRecord, read_json(file), file))
            except StoreError:  # a lost record costs nothing but itself
                continue
    return tuple(sorted(found, key=lambda record: record.finished_at, reverse=True))


def keep_record(folder: Path, finished_at: str, content: Mapping[str, Any]) -> Path:
    """Write a record under its time, and let the oldest go beyond ``MOST_KEPT``; gives its file."""
    name = f"{finished_at.replace(':', '')}-{short_hash(content)}.json"
    write_atomically(folder / name, json_bytes({"schema_version": SCHEMA_VERSION, **content}))
    for old in record_files(folder)[MOST_KEPT:]:
        old.unlink(missing_ok=True)
    return folder / name


def record_files(folder: Path) -> list[Path]:
    """Files of records, the latest first."""
    return sorted(folder.glob("*.json"), reverse=True) if folder.is_dir() else []
