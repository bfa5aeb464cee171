"""Where things lie: the only reader of the ``VLMAD_*`` variables, and one search order for all that is looked for.

Relative places are below the current folder. Variables are read when a function is called, never on import.

What comes with the program is read only. In a checkout it lies where git has it; in an installed package the build
has put it into the folder ``shipped`` beside this file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path

from vlmad_core.errors import VlmadError
from vlmad_core.reading import is_folder

STORE = "VLMAD_STORE"
DATA_DIR = "VLMAD_DATA_DIR"
PROMPTS_DIR = "VLMAD_PROMPTS_DIR"
CACHE_DIR = "VLMAD_CACHE_DIR"
PLUGINS = "VLMAD_PLUGINS"
BACKBONE = "VLMAD_BACKBONE"
WORKSPACE = "VLMAD_WORKSPACE"
JOBS = "VLMAD_JOBS"
VIEWERS = "VLMAD_VIEWERS"
OPERATORS = "VLMAD_OPERATORS"
UNVERIFIED = "VLMAD_UNVERIFIED_ADDRESSES"
QUEUE = "VLMAD_QUEUE"

NOTHING = "none"
"""The value of ``VLMAD_CACHE_DIR`` by which nothing is kept that nobody asked to keep."""

VARIABLES: Mapping[str, str] = {
    STORE: "the results folder of every command and page (default: results)",
    DATA_DIR: "a folder of data sets, found there by their folder's name",
    PROMPTS_DIR: "saved prompt ensembles (default: annotations/prompts in the results folder)",
    CACHE_DIR: "features kept on disk (default: the system's folder for caches); none: only where asked to",
    PLUGINS: "Python files with custom methods, separated as in PATH",
    BACKBONE: "the backbone that the dashboard offers first: a folder or hub id",
    WORKSPACE: "a user's own parts, jobs and recipes (default: workspace beside the results folder)",
    JOBS: "1 lets jobs start where the dashboard is not bound to localhost",
    VIEWERS: "who may look once signed in: addresses and domains, separated by commas (docs/deploy.md)",
    OPERATORS: "who may also start jobs, delete and write notes, in the same way",
    UNVERIFIED: "1 admits addresses of which the provider does not say that it verified them",
    QUEUE: "requests that wait for the models at a time, of all visitors together (default: 32)",
}
"""Every variable the program reads, with what it is for."""

PACKAGE = Path(__file__).parent
SHIPPED_PARAMETERS = PACKAGE / "methods" / "parameters"
"""Trained parameters that come with the program, in a folder per method."""


def store_root() -> Path:
    """The results folder: ``VLMAD_STORE``, else ``results``. It need not exist."""
    return _named(STORE) or Path("results")


def stores() -> tuple[Path, Path]:
    """The demonstration's results and the user's own, in this order, so that own runs win where both are read.

    The demonstration lies in ``bundled`` in the results folder. Where that is not there and no store was named, it
    is the one that comes with the program.
    """
    root = store_root()
    demonstration = root / "bundled"
    if not is_folder(demonstration) and _named(STORE) is None:
        demonstration = shipped("results/bundled")
    return demonstration, root


def reported_folder() -> Path:
    """Numbers that papers report, with their sources."""
    return shipped("results/reported")


def training_folder() -> Path:
    """Where ``train`` writes, and where parameters are looked for first."""
    return Path("checkpoints")


def parameter_folders(roots: Iterable[Path] | None = None) -> tuple[Path, ...]:
    """Where trained parameters are looked for, first to last; in each a folder per method.

    What was trained here, what lies in ``parameters`` of a results folder, what comes with the program. A file that
    is named (``--parameters``) goes before all of them.

    Args:
        roots: The results folders; ``stores()`` if None.
    """
    return (
        training_folder(),
        *(Path(root) / "parameters" for root in (stores() if roots is None else roots)),
        SHIPPED_PARAMETERS,
    )


def parameters_file(method: str, data: Iterable[str], weights_hash: str, folder: Path | None = None) -> Path:
    """The file of trained parameters: ``<folder>/<method>/<data>-<weights hash>.safetensors``.

    Args:
        method: Name of the method.
        data: Names of the data sets it is trained on.
        weights_hash: Hash of the backbone's weights.
        folder: ``training_folder()`` if None.

    >>> parameters_file("april_gan", ["visa", "mvtec_ad"], "0123").as_posix()
    'checkpoints/april_gan/mvtec_ad+visa-0123.safetensors'
    """
    return (folder or training_folder()) / method / f"{'+'.join(sorted(data))}-{weights_hash}.safetensors"


def prompts_folder() -> Path:
    """Where saved prompt ensembles lie. It need not exist."""
    return _named(PROMPTS_DIR) or store_root() / "annotations" / "prompts"


def feature_folder() -> Path:
    """Where features are kept if no other folder is given."""
    return _cache() / "features"


def live_folder() -> Path | None:
    """Where the live demo and ``predict`` keep features of prompts and references; None where nothing is to be kept."""
    return None if os.environ.get(CACHE_DIR) == NOTHING else _cache() / "live"


def held_weights_file() -> Path | None:
    """Where the SHA-256 of weights from the hub is noted; None where nothing is to be kept."""
    return None if os.environ.get(CACHE_DIR) == NOTHING else _cache() / "weights.json"


def _cache() -> Path:
    """The folder for what can be computed again."""
    base = None if os.environ.get(CACHE_DIR) == NOTHING else _named(CACHE_DIR)
    if base is None and sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "vlmad" / "Cache"
    elif base is None and sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches" / "vlmad"
    elif base is None:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vlmad"
    return base


def data_dir() -> Path | None:
    """The folder of the user's data sets; None where none is named."""
    return _named(DATA_DIR)


def workspace() -> Path:
    """Where a user's own parts, jobs and recipes lie. It need not exist."""
    return _named(WORKSPACE) or store_root().parent / "workspace"


def longest_queue() -> int:
    """Requests that may wait for the models at a time.

    Raises:
        VlmadError: If ``VLMAD_QUEUE`` is no number from 1.
    """
    given = os.environ.get(QUEUE, "32")
    if not (given.isascii() and given.isdigit() and int(given)):
        raise VlmadError(f"{QUEUE} is {given[:20]!r}.", "Give the number of requests that may wait, from 1.")
    return int(given)


def jobs_allowed(address: str | None) -> bool:
    """Whether visitors of a server may start jobs: it answers to this machine alone, or ``VLMAD_JOBS`` is 1.

    Args:
        address: What the server is bound to; None or nothing where it answers to everybody.

    >>> jobs_allowed("localhost"), jobs_allowed("127.0.0.1"), jobs_allowed("0.0.0.0"), jobs_allowed(None)
    (True, True, False, False)
    """
    if os.environ.get(JOBS) == "1" or address == "localhost":
        return True
    try:
        return ip_address(address or "").is_loopback
    except ValueError:  # a name: whoever it is known to may call
        return False


def allow_lists() -> tuple[str, str, bool]:
    """Who may sign in, as it was written: viewers, operators, and whether their addresses may be unverified."""
    unverified = os.environ.get(UNVERIFIED) == "1"
    return os.environ.get(VIEWERS, "").strip(), os.environ.get(OPERATORS, "").strip(), unverified


def named_backbone() -> str | None:
    """The backbone that whoever started the program named; None for the bundled one."""
    return os.environ.get(BACKBONE) or None


def plugin_files() -> tuple[Path, ...]:
    """Python files with custom methods."""
    return tuple(Path(name) for name in os.environ.get(PLUGINS, "").split(os.pathsep) if name)


def add_plugin_files(files: Iterable[Path]) -> None:
    """Name further plugins to this process and to those started from it."""
    known = dict.fromkeys(str(path) for path in (*plugin_files(), *files))
    if known:
        os.environ[PLUGINS] = os.pathsep.join(known)


def checkout() -> Path | None:
    """The checkout the program runs from; None where it is an installed package."""
    return None if (PACKAGE / "shipped").is_dir() else PACKAGE.parent


def shipped(name: str) -> Path:
    """A file or folder beside the package that comes with the program, such as ``app.py`` or ``results/bundled``."""
    return (checkout() or PACKAGE / "shipped") / name


def how_to_install(extra: str = "") -> str:
    """The command that installs what an extra of the package needs (``app``, ``auth``, ``train``, ``data``, ``dev``).

    Args:
        extra: Its name; nothing for what the program itself needs.
    """
    if checkout() is None:
        return f'pip install "vlm-ad[{extra}]"' if extra else "pip install vlm-ad"
    return (
        "pip install -r requirements.txt"
        if extra in ("", "app", "auth")
        else f"pip install -r requirements-{extra}.txt"
    )


def app_file() -> Path:
    """The dashboard's script.

    Raises:
        VlmadError: If it is not there.
    """
    path = shipped("app.py")
    if not path.is_file():
        raise VlmadError(f"There is no dashboard at {path}.", "Install the program again, or use a whole checkout.")
    return path


def expanded(path: Path) -> Path:
    """A path with the home folder in the place of ``~``; as it stands where it names somebody who has none here."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def as_typed(path: Path) -> str:
    """A path as one would type it here: relative where it lies below the current folder, else whole.

    >>> as_typed(Path.cwd() / "results" / "report.html")
    'results/report.html'
    """
    return (path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path).as_posix()


def _named(variable: str) -> Path | None:
    """The path that a variable names."""
    value = os.environ.get(variable)
    return expanded(Path(value)) if value else None
