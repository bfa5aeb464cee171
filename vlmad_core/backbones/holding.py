"""Weights from the hub are the same at every use: their SHA-256 is noted at the first and held against at the next.

What is hashed are the loaded tensors, by which every load identifies a model anyway, so that nothing is read for it, a
change that leaves size and time of a file alone is seen, and the same weights in another form of file are the same. At
first use the files themselves are held against the SHA-256 that the hub gives them. Local folders may change as their
owners like and are not held.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from vlmad_core.errors import BackboneError, StoreError
from vlmad_core.io import json_bytes, lock, read_json, write_atomically
from vlmad_core.paths import held_weights_file
from vlmad_core.records import in_words, read_as

FIX = "Remove it; the weights that are used next are noted anew."


@dataclass(frozen=True, slots=True)
class HeldWeights:
    """The weights of a hub model as they were first used.

    Attributes:
        sha256: Over all tensors (names, shapes, float32 values), 64 hex digits.
        place: Their folder in the hub's cache, which ends with the revision.
    """

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    place: str


def hold_weights(hub_id: str, sha256: str, files: Iterable[Path]) -> None:
    """Note what a hub model's weights are, or see that they are what they were.

    Nothing is held where nothing may be kept (``VLMAD_CACHE_DIR=none``), or the folder can't be written to.

    Args:
        hub_id: ``owner/name``.
        sha256: Of the loaded tensors; see ``HeldWeights``.
        files: The files they were read from.

    Raises:
        BackboneError: If they are others than at first use, or at first use not what the hub has.
    """
    record = held_weights_file()
    if record is None:
        return
    files = list(files)
    known = held_weights().get(hub_id)
    if known is None:
        for file in files:
            _check_file(hub_id, file)
        with contextlib.suppress(OSError), lock(record.parent, record.name, wait=True):
            # Another process may have noted it meanwhile; its word counts.
            held = held_weights()
            known = held.setdefault(hub_id, HeldWeights(sha256, str(files[0].parent)))
            write_atomically(record, json_bytes({name: asdict(one) for name, one in sorted(held.items())}))
    if known is not None and known.sha256 != sha256:
        raise BackboneError(
            f"The weights of {hub_id!r} have changed: the SHA-256 of {' and '.join(map(str, files))} is {sha256}; "
            f"at first use it was {known.sha256}, from {known.place} (noted in {record}).",
            "Remove the model from the hub's cache and fetch it again; if the change is meant: "
            f"python -m vlmad_core doctor --accept-weights {hub_id}",
        )


def held_weights() -> dict[str, HeldWeights]:
    """What is noted, by hub id.

    Raises:
        BackboneError: If the file can't be read.
    """
    record = held_weights_file()
    if record is None or not record.exists():
        return {}
    try:
        return {name: read_as(HeldWeights, one) for name, one in read_json(record, FIX).items()}
    except StoreError as error:
        raise BackboneError(error.problem, error.fix) from error
    except ValidationError as error:
        raise BackboneError(f"{record} can't be used: {in_words(error)}.", FIX) from error


def accept_weights(hub_id: str) -> None:
    """Forget what a hub model's weights were; those of the next use are noted.

    Raises:
        BackboneError: If nothing is noted of it, or the file can't be read or written.
    """
    record = held_weights_file()
    try:
        held = held_weights()
        if record is None or hub_id not in held:
            raise BackboneError(f"Nothing is noted of the weights of {hub_id!r}.", f"Known are: {', '.join(held)}.")
        with lock(record.parent, record.name, wait=True):
            held = held_weights()
            held.pop(hub_id, None)
            write_atomically(record, json_bytes({name: asdict(one) for name, one in held.items()}))
    except OSError as error:
        raise BackboneError(f"{record} can't be written: {error}.", "Free space, or change its permissions.") from error


def _check_file(hub_id: str, file: Path) -> None:
    """Hold a file in the hub's cache against its name there, which is its SHA-256 where the hub knows one."""
    noted = file.resolve().name
    if not re.fullmatch("[0-9a-f]{64}", noted):
        return
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != noted:
        raise BackboneError(
            f"{file} of {hub_id!r} is damaged: its SHA-256 is {found}, on the hub it is {noted}.",
            "Remove the model from the hub's cache and fetch it again.",
        )
