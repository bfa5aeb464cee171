"""Backbones that papers use: what they weigh, under what licence they come, and which of them are on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vlmad_core.backbones.weights import read_config
from vlmad_core.errors import BackboneError


@dataclass(frozen=True, slots=True)
class KnownBackbone:
    """A model on the Hugging Face hub.

    Attributes:
        hub_id: ``owner/name``.
        title: What the field calls it.
        megabytes: Size of its weights, 4 bytes a parameter, in units of 10^6.
        licence: Under which its authors give the weights away, and where that is said.
    """

    hub_id: str
    title: str
    megabytes: int
    licence: str

    @property
    def source(self) -> str:
        """Its page on the hub."""
        return f"https://huggingface.co/{self.hub_id}"


_OPENAI = "MIT (github.com/openai/CLIP; its page on the hub names none)"

KNOWN_BACKBONES: Mapping[str, KnownBackbone] = {
    one.hub_id: one
    for one in (
        KnownBackbone("openai/clip-vit-base-patch16", "CLIP ViT-B/16 (OpenAI)", 599, _OPENAI),
        KnownBackbone("openai/clip-vit-base-patch32", "CLIP ViT-B/32 (OpenAI)", 605, _OPENAI),
        KnownBackbone("openai/clip-vit-large-patch14-336", "CLIP ViT-L/14 at 336 px (OpenAI)", 1712, _OPENAI),
        KnownBackbone(
            "timm/vit_base_patch16_plus_clip_240.laion400m_e31",
            "CLIP ViT-B/16+ at 240 px (OpenCLIP, LAION-400M)",
            834,
            "MIT (its page on the hub)",
        ),
    )
}
"""Hub models that papers use, by hub id."""


def cached_models() -> frozenset[str]:
    """Hub ids of the CLIP models whose configuration and weights are in the local cache."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except (CacheNotFound, OSError):
        return frozenset()
    found = set()
    for repository in repositories:
        files = {file.file_name: file.file_path for revision in repository.revisions for file in revision.files}
        weights = any(name.endswith((".safetensors", ".bin")) for name in files)
        if repository.repo_type == "model" and weights and _is_clip(files):
            found.add(repository.repo_id)
    return frozenset(found)


def _is_clip(files: dict[str, Path]) -> bool:
    if "open_clip_config.json" in files:
        return True
    try:
        return read_config(files["config.json"]).get("model_type") == "clip"
    except (KeyError, BackboneError):
        return False
