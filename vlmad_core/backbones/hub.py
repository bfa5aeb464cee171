"""Fetching models and tokenizers from the Hugging Face hub, or from its cache when there is no connection."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, snapshot_download
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from vlmad_core.backbones.open_clip import CONFIG_NAME, WEIGHT_NAMES
from vlmad_core.backbones.text import DEFAULT_TOKENIZER, TOKENIZER_FILES, Tokenizer, read_tokenizer
from vlmad_core.errors import BackboneError
from vlmad_core.io import lock

CONNECT_SECONDS = 10

PARTIAL = ".vlmad-partial"
"""How the name of a file ends that has not come whole; the next try goes on where it ends."""

CHUNK = 2**20
"""Bytes that are read at once when a file is checked."""

TRIES, PAUSE = 5, 0.5
"""How often a connection is tried that breaks without giving a byte, and seconds between two tries."""

_CONFIGS = (CONFIG_NAME, "config.json")
_WEIGHTS = (*WEIGHT_NAMES, "model.safetensors", "pytorch_model.bin")
_SMALL = (
    "preprocessor_config.json",
    *TOKENIZER_FILES,
    "tokenizer_config.json",
    "merges.txt",
    "special_tokens_map.json",
)


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model as the hub describes it.

    Attributes:
        hub_id: ``owner/name``.
        files: What is needed of it, with bytes; configuration first, weights last.
        licence: As its page names it; None if it names none.
    """

    hub_id: str
    files: Mapping[str, int]
    licence: str | None

    @property
    def bytes(self) -> int:
        """All that is needed."""
        return sum(self.files.values())


def look_up(hub_id: str) -> HubModel:
    """Ask the hub what a model consists of; fetches nothing.

    Raises:
        BackboneError: If it is not on the hub, not CLIP, or the hub can't be reached.
    """
    try:
        found = HfApi().model_info(hub_id, timeout=CONNECT_SECONDS, files_metadata=True)
    except Exception as error:  # network, authorisation, a wrong name: no common base
        raise _unreachable(f"The model {hub_id!r}", error, "--backbone FOLDER") from error
    sizes = {item.rfilename: item.size or 0 for item in found.siblings or []}
    card = found.card_data.to_dict() if found.card_data else {}
    return HubModel(hub_id, {name: sizes[name] for name in _needed(hub_id, set(sizes))}, card.get("license"))


def download_model(hub_id: str, told: Callable[[int, int], bool]) -> Path | None:
    """Fetch a model, with a tokenizer if it brings none; what came before a connection broke or a kill is used.

    Args:
        hub_id: ``owner/name``.
        told: Told how many bytes of how many are here; gives False to end it.

    Returns:
        Its local folder; None if it was ended.

    Raises:
        BackboneError: If it is not on the hub, not CLIP, came damaged, or the hub can't be reached.
    """
    model = look_up(hub_id)
    done = 0
    try:
        for name, size in model.files.items():
            before = done
            if not _fetch(hub_id, name, lambda here, before=before: told(before + here, model.bytes)):  # type: ignore[misc]
                return None
            done += size
        if not set(TOKENIZER_FILES) & set(model.files):
            fetch_tokenizer(DEFAULT_TOKENIZER)
        told(model.bytes, model.bytes)
        return _download(hub_id, model.files)
    except BackboneError:
        raise
    except Exception as error:
        raise _unreachable(f"The model {hub_id!r}", error, "--backbone FOLDER") from error


def _fetch(hub_id: str, name: str, told: Callable[[int], bool]) -> bool:
    """Bring a file into the hub's cache, where ``hf_hub_download`` finds it; False if it was ended.

    The library begins a file anew when it is called again, which with a gigabyte and a bad line may never end.
    """
    url = hf_hub_url(hub_id, name)
    known = get_hf_file_metadata(url, timeout=CONNECT_SECONDS)
    if known.etag is None or known.size is None:
        raise BackboneError(f"The hub says nothing of the size of {name} of {hub_id!r}.", "Try again later.")
    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=hub_id, repo_type="model") / "blobs"
    whole, partial = folder / known.etag, folder / f"{known.etag}{PARTIAL}"
    with lock(folder.parent, known.etag, wait=True):
        if whole.exists():
            return told(known.size)
        folder.mkdir(parents=True, exist_ok=True)
        headers = build_hf_headers()
        if urlparse(known.location).netloc != urlparse(url).netloc:
            headers.pop("authorization", None)
        tries, here = TRIES, _length(partial)
        while here < known.size:
            broken: Exception | None = None
            try:
                if not _append(known.location, headers, partial, here, told):
                    return False
            except OSError:  # a full disk, or the hub's refusal
                raise
            except Exception as error:  # the connection broke, in whichever way the library says so
                broken = error
            before, here = here, _length(partial)
            tries = TRIES if here > before else tries - 1
            if not tries:
                raise broken or BackboneError(
                    f"The hub gives no more of {name} of {hub_id!r}.", "Fetch it again later."
                )
            if here < known.size:
                time.sleep(PAUSE)
        digest = hashlib.sha256()
        with partial.open("rb") as file:
            while content := file.read(CHUNK):
                digest.update(content)
        if here != known.size or (len(known.etag) == 64 and digest.hexdigest() != known.etag):
            partial.unlink()
            raise BackboneError(f"{name} of {hub_id!r} came damaged from the hub.", "Fetch it again.")
        partial.replace(whole)
    return told(known.size)


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _append(location: str, headers: Mapping[str, str], partial: Path, here: int, told: Callable[[int], bool]) -> bool:
    """Fetch what is missing of a file, of which so many bytes are here; False if it was ended."""
    wanted = {**headers, "Accept-Encoding": "identity", **({"Range": f"bytes={here}-"} if here else {})}
    with get_session().stream("GET", location, headers=wanted, timeout=CONNECT_SECONDS) as answer:
        hf_raise_for_status(answer)
        again = answer.status_code != 206  # the server gives the whole file
        with partial.open("wb" if again else "ab", buffering=0) as file:
            here = 0 if again else here
            for content in answer.iter_bytes():
                file.write(content)
                here += len(content)
                if not told(here):
                    return False
    return True


def fetch_model(hub_id: str) -> Path:
    """The local folder of a hub model: configuration, one weights file, tokenizer.

    What the cache already holds is used as it is; only what is missing is fetched.

    Args:
        hub_id: ``owner/name``.

    Raises:
        BackboneError: If it is not on the hub, not CLIP, or can't be reached and is not in the cache.
    """
    cached = cached_model(hub_id)
    if cached is not None:
        return cached
    try:
        return _download(hub_id, _needed(hub_id, _listing(hub_id)))
    except BackboneError:
        raise
    except Exception as error:  # network, authorisation, disk: the library's errors have no common base
        raise _unreachable(f"The model {hub_id!r}", error, "--backbone FOLDER") from error


def cached_model(hub_id: str) -> Path | None:
    """The local folder of a hub model whose configuration and weights are in the cache; None if they are not."""
    cached = _cached(hub_id)
    return cached if cached and _first(_CONFIGS, _names(cached)) and _first(_WEIGHTS, _names(cached)) else None


def fetch_tokenizer(name: str) -> Tokenizer:
    """A CLIP tokenizer from a local folder, the hub's cache or the hub.

    Raises:
        BackboneError: If it can't be had.
    """
    try:
        folder: Path | None = Path(name) if Path(name).is_dir() else _cached(name)
        if folder is None or not _first(TOKENIZER_FILES, _names(folder)):
            folder = _download(name, _listing(name).intersection((*_SMALL, "config.json")))
        return read_tokenizer(folder)
    except Exception as error:
        raise _unreachable(
            f"The checkpoint brings no tokenizer, and the tokenizer {name!r}", error, "--tokenizer FOLDER"
        ) from error


def _needed(hub_id: str, available: set[str]) -> tuple[str, ...]:
    """The files of a model that are of use, its weights last.

    Raises:
        BackboneError: If it is no CLIP model.
    """
    config, weights = _first(_CONFIGS, available), _first(_WEIGHTS, available)
    if config is None or weights is None:
        raise BackboneError(
            f"The hub model {hub_id!r} holds no CLIP configuration and weights.",
            "Choose a CLIP model in transformers or OpenCLIP form.",
        )
    return config, *sorted(available.intersection(_SMALL)), weights


def _cached(hub_id: str) -> Path | None:
    try:
        return Path(snapshot_download(hub_id, local_files_only=True))
    except Exception:  # not in the cache, in whichever way the library says so
        return None


def _listing(hub_id: str) -> set[str]:
    # This request is not repeated by the library, so that a missing connection is told at once.
    return {item.rfilename for item in HfApi().model_info(hub_id, timeout=CONNECT_SECONDS).siblings or []}


def _download(hub_id: str, names: Iterable[str]) -> Path:
    return [Path(hf_hub_download(hub_id, name)) for name in names][-1].parent


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _first(wanted: Iterable[str], available: set[str]) -> str | None:
    return next((name for name in wanted if name in available), None)


def _unreachable(thing: str, error: Exception, option: str) -> BackboneError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return BackboneError(
        f"{thing} can't be fetched from the Hugging Face hub ({reason}) and is not in the local cache.",
        f"Check the name and the connection, or copy it here by other means and give its folder ({option}).",
    )
