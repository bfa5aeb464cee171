"""What commands cost that filled a store: a record for each, beside the runs, so that every second is counted once.

Units tell what they cost, but what runs share stands in each of them; a command's record adds up to its wall-clock
time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

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
    folder = store / COMMANDS_FOLDER
    content = asdict(record)
    name = f"{record.finished_at.replace(':', '')}-{short_hash(content)}.json"
    write_atomically(folder / name, json_bytes({"schema_version": SCHEMA_VERSION, **content}))
    for old in _files(store)[MOST_KEPT:]:
        old.unlink(missing_ok=True)
    return folder / name


def read_commands(stores: Sequence[Path]) -> tuple[CommandRecord, ...]:
    """The records of some stores, the latest first; what can't be read is passed over."""
    found = []
    for store in stores:
        for file in _files(store):
            try:
                found.append(read_record(CommandRecord, read_json(file), file))
            except StoreError:  # a lost record costs nothing but itself
                continue
    return tuple(sorted(found, key=lambda record: record.finished_at, reverse=True))


def _files(store: Path) -> list[Path]:
    """Files of records, the latest first."""
    folder = store / COMMANDS_FOLDER
    return sorted(folder.glob("*.json"), reverse=True) if folder.is_dir() else []
