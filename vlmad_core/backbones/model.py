"""CLIP's two towers (Radford et al., ICML 2021) as plain torch modules, tensors named as in transformers' checkpoints.

Importing transformers' own model takes longer than importing torch, and everything that computes would wait for it.
These compute the same, operation for operation; a test holds them against it bit for bit, where both multiply with the
same library (``products``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from vlmad_core.backbones.products import linear
from vlmad_core.errors import BackboneError
from vlmad_core.records import Number, Whole, in_words, read_as

ClipActivation = Literal["gelu", "quick_gelu"]

Size = Annotated[Whole, Field(ge=1, le=2**20)]
Blocks = Annotated[Whole, Field(ge=1, le=500)]


@dataclass
class TextTowerConfig:
    """Shape of the text tower; names and defaults are those of ``config.json``."""

    vocab_size: Size = 49408
    hidden_size: Size = 512
    intermediate_size: Size = 2048
    num_hidden_layers: Blocks = 12
    num_attention_heads: Size = 8
    max_position_embeddings: Size = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: Number = 1e-5


@dataclass
class VisionTowerConfig:
    """Shape of the vision tower; names and defaults are those of ``config.json``."""

    hidden_size: Size = 768
    intermediate_size: Size = 3072
    num_hidden_layers: Blocks = 12
    num_attention_heads: Size = 12
    num_channels: Size = 3
    image_size: Size = 224
    patch_size: Size = 32
    hidden_act: str = "quick_gelu"
    layer_norm_eps: Number = 1e-5


@dataclass
class ClipConfig:
    """Shape of a model.

    Attributes:
        vision_config: Of the vision tower.
        text_config: Of the text tower.
        projection_dim: Width of the joint embedding space.
    """

    vision_config: VisionTowerConfig
    text_config: TextTowerConfig
    projection_dim: Size = 512

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], origin: Path) -> ClipConfig:
        """From the content of a ``config.json``; what it says beside the shape is passed over.

        Args:
            raw: The content.
            origin: Where it was read, for error messages.

        Raises:
            BackboneError: If it is the shape of no model.
        """

        def given(name: str) -> dict[str, Any]:
            # Files of the first releases repeat a tower in "..._dict", which then counts.
            found = [raw.get(name) or {}, raw.get(f"{name}_dict") or {}]
            if not all(isinstance(one, dict) for one in found):
                raise BackboneError(f"{origin} can't be used: {name} is no mapping.", "Fetch the file again.")
            return {**found[0], **found[1]}

        shape = {"vision_config": given("vision_config"), "text_config": given("text_config")}
        shape |= {"projection_dim": raw["projection_dim"]} if "projection_dim" in raw else {}
        try:
            return read_as(cls, shape)
        except ValidationError as error:
            raise BackboneError(f"{origin} can't be used: {in_words(error)}.", "Fetch the file again.") from error


class QuickLinear(nn.Linear):
    """A linear layer that multiplies with the library that is quickest here; see ``products.linear``."""

    def forward(self, rows: Tensor) -> Tensor:
        """[..., k] to [..., n]."""
        return linear(rows, self.weight, self.bias)


class QuickGelu(nn.Module):
    """OpenAI's approximation: x * sigmoid(1.702 x)."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Value by value."""
        return hidden * torch.sigmoid(1.702 * hidden)


def known_activation(name: str) -> ClipActivation:
    """The name of an activation that CLIP models have.

    Raises:
        BackboneError: If it is none.
    """
    if name not in ("gelu", "quick_gelu"):
        raise BackboneError(f"The activation {name!r} is not one of CLIP's.", "Use a model with gelu or quick_gelu.")
    return cast(ClipActivation, name)


def activation_module(name: str) -> nn.Module:
    """What computes an activation.

    Raises:
        BackboneError: If CLIP has none of that name.
    """
    return QuickGelu() if known_activation(name) == "quick_gelu" else nn.GELU()


class ClipAttention(nn.Module):
    """Attention of several heads, each token asking all others."""

    def __init__(self, config: TextTowerConfig | VisionTowerConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.head_dim = width // self.num_heads
        self.scale = self.head_dim**-0.5
        self.k_proj = QuickLinear(width, width)
        self.v_proj = QuickLinear(width, width)
        self.q_proj = QuickLinear(width, width)
        self.out_proj = QuickLinear(width, width)

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Mix tokens [N, T, d]; the mask [1, 1, T, T] is added to what queries and keys give."""

        def heads(tokens: Tensor) -> Tensor:
            return tokens.view(*hidden.shape[:-1], -1, self.head_dim).transpose(1, 2)

        asked = heads(self.q_proj(hidden)), heads(self.k_proj(hidden)), heads(self.v_proj(hidden))
        mixed = F.scaled_dot_product_attention(*asked, attn_mask=attention_mask, scale=self.scale)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).contiguous().reshape(hidden.shape))
        return out


class ClipMlp(nn.Module):
    """The two layers that follow attention, token by token."""

    def __init__(self, config: TextTowerConfig | VisionTowerConfig) -> None:
        super().__init__()
        self.activation_fn = activation_module(config.hidden_act)
        self.fc1 = QuickLinear(config.hidden_size, config.intermediate_size)
        self.fc2 = QuickLinear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """Tokens [N, T, d]."""
        out: Tensor = self.fc2(self.activation_fn(self.fc1(hidden)))
        return out


class ClipBlock(nn.Module):
    """One block of a tower: attention, then the two layers, each behind its norm and added to what came in."""

    def __init__(self, config: TextTowerConfig | VisionTowerConfig) -> None:
        super().__init__()
        self.self_attn = ClipAttention(config)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = ClipMlp(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Tokens [N, T, d]; mask as in ``ClipAttention``."""
        hidden = hidden + self.self_attn(self.layer_norm1(hidden), attention_mask)
        out: Tensor = hidden + self.mlp(self.layer_norm2(hidden))
        return out


class ClipEncoder(nn.Module):
    """The blocks of a tower; who runs them goes through ``layers``."""

    def __init__(self, config: TextTowerConfig | VisionTowerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ClipBlock(config) for _ in range(config.num_hidden_layers))


def _drawn(*shape: int) -> Tensor:
    """Normally distributed values; none on the meta device, where drawing them would load torch's compiler."""
    values = torch.empty(shape)
    return values if values.is_meta else values.normal_()


def _table(rows: int, width: int) -> nn.Embedding:
    return nn.Embedding.from_pretrained(_drawn(rows, width), freeze=False)


class VisionEmbeddings(nn.Module):
    """From pixels to what enters the vision tower."""

    def __init__(self, config: VisionTowerConfig) -> None:
        super().__init__()
        self.image_size, self.patch_size = config.image_size, config.patch_size
        side, width = config.patch_size, config.hidden_size
        self.class_embedding = nn.Parameter(_drawn(width))
        self.patch_embedding = nn.Conv2d(config.num_channels, width, kernel_size=side, stride=side, bias=False)
        self.position_embedding = _table((config.image_size // side) ** 2 + 1, width)

    def forward(self, pixels: Tensor) -> Tensor:
        """[N, 3, S, S] to [N, 1 + P, d], the class token first."""
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(pixels), 1, -1)
        tokens: Tensor = torch.cat([first, patches], dim=1) + self.position_embedding.weight
        return tokens


class VisionTransformer(nn.Module):
    """Embeddings, blocks and norms of the vision tower; run by ``vision.TowerPass``."""

    def __init__(self, config: VisionTowerConfig) -> None:
        super().__init__()
        self.embeddings = VisionEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.encoder = ClipEncoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


class TextEmbeddings(nn.Module):
    """Tables of tokens and positions."""

    def __init__(self, config: TextTowerConfig) -> None:
        super().__init__()
        self.token_embedding = _table(config.vocab_size, config.hidden_size)
        self.position_embedding = _table(config.max_position_embeddings, config.hidden_size)


class TextTransformer(nn.Module):
    """Embeddings, blocks and norm of the text tower; run by ``text.run_text_blocks``."""

    def __init__(self, config: TextTowerConfig) -> None:
        super().__init__()
        self.embeddings = TextEmbeddings(config)
        self.encoder = ClipEncoder(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


class ClipModel(nn.Module):
    """Both towers with their projections into the joint space; weights are random before they are loaded."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.text_model = TextTransformer(config.text_config)
        self.vision_model = VisionTransformer(config.vision_config)
        self.visual_projection = QuickLinear(config.vision_config.hidden_size, config.projection_dim, bias=False)
        self.text_projection = QuickLinear(config.text_config.hidden_size, config.projection_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(2.6592))

    def set_activation(self, name: ClipActivation) -> None:
        """Replace the activation of all blocks of both towers."""
        self.config.text_config.hidden_act = self.config.vision_config.hidden_act = name
        for module in self.modules():
            if isinstance(module, ClipMlp):
                module.activation_fn = activation_module(name)


def model_of(config: ClipConfig, state: Mapping[str, Tensor], origin: Path, *, spare: bool = False) -> ClipModel:
    """A model with these weights; every name and shape must match.

    Args:
        config: Its shape.
        state: float32 tensors by name, as ``state_dict`` names them; the model keeps them as they are.
        origin: Where they were read, for error messages.
        spare: Whether there may be more tensors than the model has.

    Raises:
        BackboneError: If there can be no such model, or naming the first tensors that are missing, left over, or of
            another shape.
    """
    vision, text = config.vision_config, config.text_config
    if vision.hidden_size % vision.num_attention_heads or text.hidden_size % text.num_attention_heads:
        raise BackboneError(f"{origin} has widths that its heads don't divide.", "Fetch the model again.")
    if vision.patch_size > vision.image_size:
        raise BackboneError(f"{origin} has patches larger than its images.", "Fetch the model again.")
    with torch.device("meta"):  # nothing is drawn that would be thrown away
        model = ClipModel(config)
    own = model.state_dict()
    missing, extra = sorted(own.keys() - state.keys()), [] if spare else sorted(state.keys() - own.keys())
    wrong = [name for name in own.keys() & state.keys() if own[name].shape != state[name].shape]
    for problem, names in (("lacks", missing), ("has no place for", extra), ("has another shape for", wrong)):
        if names:
            raise BackboneError(
                f"{origin} {problem} {len(names)} tensors, among them {names[0]!r}.",
                "Check that configuration and weights belong together; a model with untrained parts would give "
                "meaningless scores.",
            )
    model.load_state_dict({name: state[name] for name in own}, assign=True)
    return model
