"""Which ensembles there are: those of the program, and those a user saved under a name."""

from __future__ import annotations

import re
from pathlib import Path

from vlmad_core.paths import prompts_folder

ENSEMBLE_FOLDER = Path(__file__).parent / "ensembles"

NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,39}")
TAKEN = frozenset({"canonical", "accurate", "anomalib", "fast", "authors", "visa", "con", "prn", "aux", "nul"})
"""Names of methods' presets and of devices, which no saved ensemble may take."""

MOST_SAVED = 500


def list_ensembles() -> tuple[str, ...]:
    """Names of the ensembles that come with the program."""
    return tuple(sorted(path.stem for path in ENSEMBLE_FOLDER.glob("*.yaml")))


def may_be_saved(name: str) -> bool:
    """Whether a saved ensemble can have this name."""
    return NAME.fullmatch(name) is not None and name not in TAKEN and name not in list_ensembles()


def saved_names() -> tuple[str, ...]:
    """Names of the saved ensembles, sorted; files whose names could not have been saved under are passed over."""
    folder = prompts_folder()
    if not folder.is_dir():
        return ()
    found = sorted(path.stem for path in folder.glob("*.yaml") if path.is_file() and not path.is_symlink())
    return tuple(name for name in found if may_be_saved(name))[:MOST_SAVED]


def saved_path(name: str) -> Path:
    """The file of a saved ensemble; the name must be one for which ``may_be_saved`` holds."""
    return prompts_folder() / f"{name}.yaml"
