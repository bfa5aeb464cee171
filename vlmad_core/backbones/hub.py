"""Fetching models and tokenizers from the Hugging Face hub, or from its cache when there is no connection."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, snapshot_download

from vlmad_core.backbones.open_clip import CONFIG_NAME, WEIGHT_NAMES
from vlmad_core.backbones.text import TOKENIZER_FILES, Tokenizer, read_tokenizer
from vlmad_core.errors import BackboneError

CONNECT_SECONDS = 10

_CONFIGS = (CONFIG_NAME, "config.json")
_WEIGHTS = (*WEIGHT_NAMES, "model.safetensors", "pytorch_model.bin")
_SMALL = (
    "preprocessor_config.json",
    *TOKENIZER_FILES,
    "tokenizer_config.json",
    "merges.txt",
    "special_tokens_map.json",
)


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
        available = _listing(hub_id)
        config, weights = _first(_CONFIGS, available), _first(_WEIGHTS, available)
        if config is None or weights is None:
            raise BackboneError(
                f"The hub model {hub_id!r} holds no CLIP configuration and weights.",
                "Choose a CLIP model in transformers or OpenCLIP form.",
            )
        return _download(hub_id, (config, *available.intersection(_SMALL), weights))
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
