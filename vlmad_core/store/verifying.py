"""Whether all that a run rests on is as it was when it was computed: files, thumbnails, parameters and prompts."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from PIL import Image

from vlmad_core import paths
from vlmad_core.errors import MethodError, StoreError, VlmadError
from vlmad_core.prompts.ensemble import load_ensemble
from vlmad_core.reading import read_file
from vlmad_core.store import layout
from vlmad_core.store.reader import Store
from vlmad_core.store.schema import RunRecord, StoreProblem
from vlmad_core.store.tables import LARGEST_TABLE, READ_ERRORS, read_thumbnails


@dataclass(frozen=True, slots=True)
class Verified:
    """What looking at a run's files gave.

    Attributes:
        problems: What is not as it was, with what to do about it.
        notes: What could not be looked at since it isn't on this machine, in sentences.
    """

    problems: tuple[StoreProblem, ...]
    notes: tuple[str, ...] = ()


def verify_run(store: Store, run_id: str) -> Verified:
    """Hold all that a run rests on against the hashes that were noted of it.

    To its files come trained parameters and prompts, which are looked for where a run would look for them.

    Raises:
        StoreError: If there is no such run.
    """
    run = store.run(run_id)
    found = [*verify_files(store, run_id), _parameters(run, store.roots), _prompts(run)]
    return Verified(
        tuple(one for one in found if isinstance(one, StoreProblem)),
        tuple(one for one in found if isinstance(one, str)),
    )


def verify_files(store: Store, run_id: str) -> tuple[StoreProblem, ...]:
    """What of a run's files is not as it was written.

    Those of its units are read whole, and what they say is held against what can be; thumbnails, which units share,
    are held against the hash that their own file has of them, and every picture is decoded.

    Raises:
        StoreError: If there is no such run.
    """
    run = store.run(run_id)
    problems = []
    for category, unit in run.units.items():
        for path in layout.damaged_files(run.path / layout.folder_name(category), unit):
            message = f"{path} is not as it was written. Start the run again to compute {category} anew."
            problems.append(StoreProblem("damaged_file", path, message))
    if not problems:
        store.read_all(run_id)
        problems += [problem for problem in store.problems if problem.path.is_relative_to(run.path)]
    folder = run.path.parent / layout.THUMBNAIL_FOLDER
    for name in sorted({unit.thumbnails for unit in run.units.values() if unit.thumbnails}):
        found = store.remember(("verified thumbnails", folder / name), partial(check_thumbnails, folder / name))
        problems += [found] if found else []
    return tuple(problems)


def check_thumbnails(path: Path) -> StoreProblem | None:
    """What is wrong with a file of thumbnails, all of whose pictures are decoded; None if nothing is."""
    try:
        frame = read_thumbnails(read_file(path, LARGEST_TABLE, StoreError))
        for content in pd.concat([frame["thumbnail"], frame["mask"]]).dropna():
            with Image.open(io.BytesIO(content)) as picture:
                picture.load()
    except (*READ_ERRORS, Image.DecompressionBombError) as error:
        message = f"{path} can't be shown: {str(error)[:200]}. Remove it; the next run on its images makes it anew."
        return StoreProblem("damaged_file", path, message)
    return None


def _parameters(run: RunRecord, stores: Iterable[Path]) -> StoreProblem | str | None:
    """Whether the trained parameters a run names are here as they were; a sentence if they are not here at all."""
    digest = run.protocol.method.get("parameters")
    if digest is None:
        return None
    from vlmad_core.backbones.info import hash_tensors
    from vlmad_core.methods.trained import read_parameters

    trained = run.provenance.data.get("trained") or {}
    name = Path(str(trained.get("file") or "")).with_suffix(".safetensors").name
    folders = [folder / run.key.method for folder in paths.parameter_folders([*stores, *paths.stores()])]
    other = None
    for path in (folder / name for folder in folders if (folder / name).is_file()):
        try:
            if hash_tensors(read_parameters(path)[0]) == digest:
                return None
            other = f"{path} does not hold the parameters that {run.id} was computed with (hash {digest})."
        except MethodError as error:
            other = error.problem
        place = path
    if other is None:
        return f"The trained parameters of {run.id} ({name or 'no file named'}, hash {digest}) are not on this machine."
    return StoreProblem("changed_parameters", place, f"{other} Put the file back, or start the run again.")


def _prompts(run: RunRecord) -> StoreProblem | str | None:
    """Whether the prompts a run names are here as they were; a sentence if they are not here at all."""
    noted = run.protocol.method.get("prompts") or {}
    name, digest = noted.get("ensemble"), noted.get("content_hash")
    if digest is None:
        return None
    try:
        here = load_ensemble(str(name)).content_hash
    except VlmadError:
        return f"The prompts {name!r} of {run.id} (hash {digest}) are not on this machine."
    if here == digest:
        return None
    message = (
        f"The prompts {name!r} are not those that {run.id} was computed with (hash {here} here, {digest} there). "
        "Put them back, or start the run again."
    )
    return StoreProblem("changed_prompts", run.path / layout.RUN_FILE, message)
