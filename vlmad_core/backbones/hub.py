"""Fetching models and tokenizers from the Hugging Face hub, or from its cache when there is no connection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, list_repo_files, snapshot_download
from transformers import AutoTokenizer

from vlmad_core.backbones.open_clip import CONFIG_NAME, WEIGHT_NAMES
from vlmad_core.errors import BackboneError

_CONFIGS = (CONFIG_NAME, "config.json")
_SMALL = (
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
)
_WEIGHTS = (*WEIGHT_NAMES, "model.safetensors", "pytorch_model.bin")


def fetch_model(hub_id: str) -> Path:
    """The local folder of a hub model: configuration, one weights file, tokenizer.

    What the cache already holds is used as it is; only what is missing is fetched.

    Args:
        hub_id: ``owner/name``.

    Raises:
        BackboneError: If it is not on the hub, not CLIP, or can't be reached and is not in the cache.
    """
    try:
        cached = Path(snapshot_download(hub_id, local_files_only=True))
        if any((cached / name).exists() for name in _CONFIGS) and any((cached / name).exists() for name in _WEIGHTS):
            return cached
    except Exception:  # not in the cache, in whichever way the hub library says so
        pass
    try:
        available = set(list_repo_files(hub_id))
        config = next((name for name in _CONFIGS if name in available), None)
        weights = next((name for name in _WEIGHTS if name in available), None)
        if config is None or weights is None:
            raise BackboneError(
                f"The hub model {hub_id!r} holds no CLIP configuration and weights.",
                "Choose a CLIP model in transformers or OpenCLIP form.",
            )
        for name in (config, *(name for name in _SMALL if name in available), weights):
            fetched = hf_hub_download(hub_id, name)
        return Path(fetched).parent
    except BackboneError:
        raise
    except Exception as error:  # network, authorisation, disk: the library's errors have no common base
        raise _unreachable(f"The model {hub_id!r}", error) from error


def fetch_tokenizer(name: str) -> Any:
    """A CLIP tokenizer from a local folder, the hub's cache or the hub.

    Raises:
        BackboneError: If it can't be had.
    """
    try:
        return AutoTokenizer.from_pretrained(name, local_files_only=True)
    except Exception:  # not local: try the hub
        pass
    try:
        return AutoTokenizer.from_pretrained(name)
    except Exception as error:
        raise _unreachable(
            f"The checkpoint brings no tokenizer, and the tokenizer {name!r}",
            error,
            option="--tokenizer FOLDER",
        ) from error


def _unreachable(thing: str, error: Exception, option: str = "--backbone FOLDER") -> BackboneError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return BackboneError(
        f"{thing} can't be fetched from the Hugging Face hub ({reason}) and is not in the local cache.",
        f"Check the name and the connection, or copy it here by other means and give its folder ({option}).",
    )
