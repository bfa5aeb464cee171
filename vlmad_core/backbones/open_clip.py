"""OpenCLIP checkpoints (configuration + weights) as a ``ClipModel``, names mapped strictly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmad_core.backbones.weights import check_finite, normalisation, read_config, read_state
from vlmad_core.errors import BackboneError
from vlmad_core.libraries import torch

if TYPE_CHECKING:
    from torch import Tensor

    from vlmad_core.backbones.model import ClipConfig, ClipModel

CONFIG_NAME = "open_clip_config.json"
WEIGHT_NAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pt",
)

LARGEST_TABLE = 2**28
"""Values of a token table; the largest CLIP models have 100 million."""

_RENAMED = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "logit_scale": "logit_scale",
}
_TRANSPOSED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
_NORMS = {
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
    "ln_final": "text_model.final_layer_norm",
}
_IN_BLOCK = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_IGNORED = {"attn_mask", "input_resolution", "context_length", "vocab_size", "position_ids"}


def load_open_clip(folder: Path) -> tuple[ClipModel, tuple[float, float, float], tuple[float, float, float]]:
    """Load an OpenCLIP checkpoint from a folder.

    Args:
        folder: Holds ``open_clip_config.json`` and one weights file.

    Returns:
        The model in float32, and the mean and standard deviation its images are normalised with.

    Raises:
        BackboneError: If a file is missing or damaged, or names or shapes don't match exactly.
    """
    from vlmad_core.backbones.model import model_of

    raw = read_config(folder / CONFIG_NAME)
    model_cfg = raw.get("model_cfg", raw)
    weights = open_clip_weights(folder)
    config, state = clip_config(model_cfg, folder / CONFIG_NAME), read_state(weights)
    check_finite(state, weights, BackboneError, "Fetch the file again.")
    model = model_of(config, convert_state(state), weights)
    preprocess = raw.get("preprocess_cfg") or {}
    return model, *normalisation(preprocess, "mean", "std", folder / CONFIG_NAME)


def open_clip_weights(folder: Path) -> Path:
    """The file with an OpenCLIP checkpoint's weights.

    Raises:
        BackboneError: If there is none.
    """
    weights = next((folder / name for name in WEIGHT_NAMES if (folder / name).is_file()), None)
    if weights is None:
        raise BackboneError(
            f"{folder} has a {CONFIG_NAME} but no weights.",
            f"Put one of these beside it: {', '.join(WEIGHT_NAMES)}.",
        )
    return weights


def clip_config(model_cfg: Mapping[str, Any], origin: Path) -> ClipConfig:
    """Translate OpenCLIP's model configuration, every field set explicitly.

    The activation is GELU unless the configuration says ``quick_gelu``, as OpenCLIP itself reads it.

    Args:
        model_cfg: OpenCLIP's ``model_cfg``.
        origin: Where it was read, for error messages.

    Raises:
        BackboneError: If a field is missing, or the tower is not a plain vision transformer.
    """
    from vlmad_core.backbones.model import ClipConfig

    try:
        vision, text = model_cfg["vision_cfg"], model_cfg["text_cfg"]
        embed_dim, width, text_width = model_cfg["embed_dim"], vision["width"], text["width"]
        if not isinstance(vision["layers"], int) or "timm_model_name" in vision or "hf_model_name" in text:
            raise BackboneError(
                f"{origin} describes towers other than CLIP's own transformers.",
                "Only plain vision transformers (e.g. ViT-B-16, ViT-B-16-plus-240, ViT-L-14) can be loaded.",
            )
        activation = "quick_gelu" if model_cfg.get("quick_gelu", False) else "gelu"
        vision_config = {
            "hidden_size": width,
            "intermediate_size": int(width * vision.get("mlp_ratio", 4.0)),
            "num_hidden_layers": vision["layers"],
            "num_attention_heads": width // vision.get("head_width", 64),
            "image_size": vision["image_size"],
            "patch_size": vision["patch_size"],
            "hidden_act": activation,
        }
        text_config = {
            "vocab_size": text["vocab_size"],
            "hidden_size": text_width,
            "intermediate_size": int(text_width * text.get("mlp_ratio", 4.0)),
            "num_hidden_layers": text["layers"],
            "num_attention_heads": text["heads"],
            "max_position_embeddings": text["context_length"],
            "hidden_act": activation,
        }
    except KeyError as error:
        raise BackboneError(f"{origin} lacks the field {error}.", "Fetch the file again.") from error
    except (TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise BackboneError(f"{origin} describes no model: {error}.", "Fetch the file again.") from error
    shape = {"vision_config": vision_config, "text_config": text_config, "projection_dim": embed_dim}
    return ClipConfig.from_json(shape, origin)


def convert_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename OpenCLIP's tensors to ``ClipModel``'s; attention inputs are split into queries, keys, values.

    A sparse token table (``token_embedding.shape``, ``.used_ids``, ``.used_rows``) is filled up with zeros.

    Returns:
        New tensors in float32.

    Raises:
        BackboneError: For a name that has no counterpart.
    """
    state = {name.removeprefix("text."): tensor for name, tensor in state.items()}
    if "token_embedding.used_ids" in state:
        try:
            shape = state.pop("token_embedding.shape").tolist()
            if math.prod(shape) > LARGEST_TABLE:
                raise ValueError(f"it would have {math.prod(shape):,} values")
            table = torch.zeros(*shape)
            table[state.pop("token_embedding.used_ids").long()] = state.pop("token_embedding.used_rows").float()
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            raise BackboneError(
                f"The checkpoint's sparse token table can't be used: {error}.", "Fetch it again."
            ) from error
        state["token_embedding.weight"] = table
    converted: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.rpartition(".")[2] not in _IGNORED:
            converted.update(_convert(name, tensor.float()))
    return converted


def to_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The other way round: a ``CLIPModel``'s tensors under OpenCLIP's names; see ``convert_state``.

    Raises:
        BackboneError: For a name that has no counterpart.
    """
    turned: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.rpartition(".")[2] in _IGNORED or ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj." in name:  # OpenCLIP keeps queries, keys and values as one
            parts = [state[name.replace(".q_proj.", f".{part}_proj.")] for part in "qkv"]
            stem, _, kind = name.rpartition(".q_proj.")
            name, tensor = f"{stem.replace('self_attn', 'attn')}.in_proj_{kind}", torch.cat(parts)
        turned[_open_clip_name(name)] = tensor.T.contiguous() if name in _TRANSPOSED.values() else tensor
    return turned


def _open_clip_name(name: str) -> str:
    """OpenCLIP's name of a ``CLIPModel``'s tensor whose queries, keys and values are one."""
    for theirs, ours in (*_RENAMED.items(), *_TRANSPOSED.items()):
        if name == ours:
            return theirs
    stem, _, kind = name.rpartition(".")
    for theirs, ours in _NORMS.items():
        if stem == ours:
            return f"{theirs}.{kind}"
    tower, found, rest = name.partition("_model.encoder.layers.")
    if not found:
        raise BackboneError(f"OpenCLIP has no name for a tensor {name!r}.", "Only plain CLIP models can be written.")
    number, _, inner = rest.partition(".")
    for theirs, ours in _IN_BLOCK.items():
        inner = inner.replace(f"{ours}.", f"{theirs}.")
    return f"{'visual.' if tower == 'vision' else ''}transformer.resblocks.{number}.{inner}"


def _convert(name: str, tensor: Tensor) -> dict[str, Tensor]:
    if name in _RENAMED:
        return {_RENAMED[name]: tensor}
    if name in _TRANSPOSED:
        return {_TRANSPOSED[name]: (tensor.T if tensor.ndim == 2 else tensor).contiguous()}
    stem, _, kind = name.rpartition(".")
    if stem in _NORMS:
        return {f"{_NORMS[stem]}.{kind}": tensor}
    tower, found, rest = name.partition("transformer.resblocks.")
    number, _, inner = rest.partition(".")
    if found and tower in ("", "visual."):
        layer = f"{'vision' if tower else 'text'}_model.encoder.layers.{number}"
        if inner in ("attn.in_proj_weight", "attn.in_proj_bias"):
            kind = inner.removeprefix("attn.in_proj_")
            parts = tensor.chunk(3) if tensor.ndim else ()
            if len(parts) != 3:
                raise BackboneError(f"The checkpoint's {name!r} is no three matrices in one.", "Fetch it again.")
            return {f"{layer}.self_attn.{p}_proj.{kind}": part for p, part in zip("qkv", parts, strict=True)}
        stem, _, kind = inner.rpartition(".")
        if stem in _IN_BLOCK:
            return {f"{layer}.{_IN_BLOCK[stem]}.{kind}": tensor}
    raise BackboneError(
        f"The checkpoint holds a tensor {name!r} that plain CLIP does not have.",
        "Only plain CLIP checkpoints can be loaded.",
    )
