"""CLIP's vision tower, block by block: what features are read from.

The blocks are run over the public sub-modules of ``ClipModel``; nothing is patched or hooked, so any
number of methods and threads can share a model. The blocks run in the model's own precision, everything before and
after them in float32. The tower may stand on a graphics card; what is read from it stays there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from vlmad_core.backbones.devices import exact_convolutions, to_device
from vlmad_core.backbones.info import PositionRule
from vlmad_core.errors import BackboneError
from vlmad_core.libraries import F, nn, torch

if TYPE_CHECKING:
    from torch import Tensor

Grid = tuple[int, int]
"""Patches: (rows, columns)."""

Key = int | tuple[int, ...] | None
"""Which of a feature's tensors: a block, a scale, a pair; None where it has one only."""

DEFAULT_TOKEN_BUDGET = 65_536
"""Most tokens of windows that go through the tower at once. At ViT-B/16+ width (MLP 3584) the largest
intermediate is then about 0.9 GB in float32."""

WindowForm = Literal["plain", "compiled"]
"""How the blocks are computed for windows: operation by operation, or compiled; the two differ by rounding."""


_INTERPOLATION: dict[PositionRule, dict[str, Any]] = {
    "bicubic_antialias": {"mode": "bicubic", "antialias": True},
    "bicubic": {"mode": "bicubic"},
    "bilinear": {"mode": "bilinear"},
}


@dataclass(frozen=True)
class TowerPass:
    """A batch of N images on its way through the tower.

    Attributes:
        model: A ``ClipModel`` in evaluation mode.
        tokens: What enters the first block, class token first: [N, 1 + P, d], float32.
        grid: Patch grid (rows, columns).
        token_budget: Most window tokens that go through the tower at once; bounds the memory.
        window_form: How blocks are computed for windows.
    """

    model: Any
    tokens: Tensor
    grid: Grid
    token_budget: int = DEFAULT_TOKEN_BUDGET
    window_form: WindowForm = "plain"

    @classmethod
    def of(
        cls,
        model: Any,
        pixel_values: Tensor,
        token_budget: int = DEFAULT_TOKEN_BUDGET,
        window_form: WindowForm = "plain",
    ) -> TowerPass:
        """Embed the patches of N images.

        Args:
            model: The model.
            pixel_values: [N, 3, S, S], float32, preprocessed, on any device.
            token_budget: See the class.
            window_form: See the class.

        Raises:
            BackboneError: If the tower takes images of another size.
        """
        vision = model.vision_model
        size = vision.embeddings.image_size
        if pixel_values.ndim != 4 or pixel_values.shape[-2:] != (size, size):
            raise BackboneError(
                f"The backbone takes images of {size} x {size} pixels, not {tuple(pixel_values.shape)}.",
                "Preprocess them with the backbone's own preprocessing.",
            )
        pixels = to_device(pixel_values, next(vision.parameters()).device).float()
        with exact_convolutions():
            tokens = vision.pre_layrnorm(vision.embeddings(pixels))
        return cls(model, tokens, (size // vision.embeddings.patch_size,) * 2, token_budget, window_form)

    @property
    def layers(self) -> Any:
        """The blocks; block 1 of the papers is the first."""
        return self.model.vision_model.encoder.layers

    def norm(self, tokens: Tensor) -> Tensor:
        """The final LayerNorm, [..., d]."""
        normed: Tensor = self.model.vision_model.post_layernorm(tokens)
        return normed

    def linear(self, tokens: Tensor) -> Tensor:
        """The projection into the joint space: [..., e]."""
        projected: Tensor = self.model.visual_projection(tokens)
        return projected

    def project(self, tokens: Tensor) -> Tensor:
        """LayerNorm and projection into the joint space: [..., e]."""
        return self.linear(self.norm(tokens))

    def check_block(self, block: int) -> None:
        """See that there is such a block.

        Raises:
            BackboneError: If there is none.
        """
        if not 1 <= block <= len(self.layers):
            raise BackboneError(
                f"Block {block} was asked for, but this vision tower has blocks 1 to {len(self.layers)}.",
                "Choose stages within that range.",
            )

    def run(self, readers: Collection[FeatureReader]) -> None:
        """Run all blocks over the whole images; every reader sees every block."""
        hidden = self.tokens.to(next(self.layers.parameters()).dtype)
        for number, layer in enumerate(self.layers, start=1):
            before, hidden = hidden, layer(hidden, attention_mask=None)
            for reader in readers:
                reader.see(number, layer, before, hidden)


class FeatureReader(ABC):
    """Reads one feature from a pass; made from the pass and the keys that are wanted, before the first block.

    Raises:
        BackboneError: When it is made, if the tower does not have what a key names.
    """

    def see(self, number: int, layer: Any, before: Tensor, after: Tensor) -> None:  # noqa: B027
        """Look at a block as it is done.

        Args:
            number: Of the block, from 1.
            layer: The block.
            before: Its input [N, 1 + P, d], in the blocks' precision.
            after: Its output; neither may be changed.
        """

    @abstractmethod
    def tensors(self) -> Mapping[Key, Tensor]:
        """What was read, once all blocks are done: key -> [N, ...] float32."""


class LastBlockReader(FeatureReader):
    """Reads something off the last block's output."""

    def __init__(self, tower: TowerPass, read: Callable[[TowerPass, Tensor], Tensor]) -> None:
        self._tower, self._read = tower, read

    def see(self, number: int, layer: Any, before: Tensor, after: Tensor) -> None:
        """Read off the last one."""
        if number == len(self._tower.layers):
            self._found = self._read(self._tower, after.float())

    def tensors(self) -> Mapping[Key, Tensor]:
        """One tensor."""
        return {None: self._found}


def after_last_block(
    read: Callable[[TowerPass, Tensor], Tensor],
) -> Callable[[TowerPass, Collection[Key]], LastBlockReader]:
    """A feature that is a function of the last block's output [N, 1 + P, d], float32."""
    return lambda tower, keys: LastBlockReader(tower, read)


class StageReader(FeatureReader):
    """Keeps the raw output of some blocks."""

    def __init__(self, tower: TowerPass, keys: Collection[Key]) -> None:
        self._keys = frozenset(keys)
        self._found: dict[Key, Tensor] = {}
        for key in self._keys:
            assert isinstance(key, int)
            tower.check_block(key)

    def see(self, number: int, layer: Any, before: Tensor, after: Tensor) -> None:
        """Keep it if it is wanted."""
        if number in self._keys:
            self._found[number] = after.float()

    def tensors(self) -> Mapping[Key, Tensor]:
        """Block -> [N, 1 + P, d]."""
        return self._found


class ValuePathReader(FeatureReader):
    """Runs AnomalyCLIP's value-value attention beside the blocks.

    The side path reads the original path, x_l = x_{l-1} + vv_l, and never feeds back into it.
    """

    def __init__(self, tower: TowerPass, keys: Collection[Key]) -> None:
        self._tower = tower
        self._found: dict[Key, Tensor] = {}
        self._keys = [key for key in keys if isinstance(key, tuple)]
        self._sides: dict[int, Tensor] = {}
        for start, stage in self._keys:
            # A value path may start behind the last block: it is then the tower's own path.
            tower.check_block(min(start, len(tower.layers)) if start == len(tower.layers) + 1 else start)
            tower.check_block(stage)

    def see(self, number: int, layer: Any, before: Tensor, after: Tensor) -> None:
        """Take the side paths past this block; before a path starts, the original path is read."""
        for start in {start for start, _ in self._keys if number >= start}:
            self._sides[start] = self._sides.get(start, before) + _value_attention(layer, before)
        for start, stage in self._keys:
            if stage == number:
                self._found[start, stage] = self._tower.project(self._sides.get(start, after).float())

    def tensors(self) -> Mapping[Key, Tensor]:
        """(First block, stage) -> [N, 1 + P, e]."""
        return self._found


def _value_attention(layer: Any, hidden: Tensor) -> Tensor:
    """Attention of a block with queries and keys replaced by its values (AnomalyCLIP, section 3.2)."""
    attention = layer.self_attn
    batch, length, width = hidden.shape
    values = attention.v_proj(layer.layer_norm1(hidden))
    heads = values.view(batch, length, attention.num_heads, -1).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(heads, heads, heads, scale=attention.scale)
    out: Tensor = attention.out_proj(mixed.transpose(1, 2).reshape(batch, length, width))
    return out


def resample_positions(table: Tensor, grid: tuple[int, int], rule: PositionRule) -> Tensor:
    """Resample a vision transformer's position table to another patch grid, once, at load time, by a named rule.

    The public codes differ here (bicubic with antialias in OpenCLIP and what was built on it, bilinear in AnomalyCLIP,
    bicubic without antialias in transformers), by up to a fifth of the table's norm.

    Args:
        table: [1 + G*G, d]; the first row belongs to the class token and is kept.
        grid: The new grid (rows, columns).
        rule: How to interpolate; corners are not aligned.

    Returns:
        [1 + rows*columns, d], float32; the table itself if the grid is its own.

    Raises:
        BackboneError: If another grid is asked for with the rule ``native``.
    """
    side = round((len(table) - 1) ** 0.5)
    if grid == (side, side):
        return table.float()
    if rule == "native":
        raise BackboneError(
            f"The position table is for a {side} x {side} grid, not {grid[0]} x {grid[1]}.",
            f"Choose a position rule: {', '.join(_INTERPOLATION)}.",
        )
    patches = table[1:].float().T.reshape(1, -1, side, side)
    resampled = F.interpolate(patches, size=grid, align_corners=False, **_INTERPOLATION[rule])
    return torch.cat([table[:1].float(), resampled[0].flatten(1).T])


def set_image_size(model: Any, image_size: int, rule: PositionRule) -> None:
    """Make a model's vision tower take square images of another size.

    Args:
        model: A ``ClipModel``; its position table and configuration are replaced.
        image_size: Side of the input in pixels, a multiple of the patch size.
        rule: How the position table is resampled.

    Raises:
        BackboneError: If the size is no multiple of the patch size.
    """
    embeddings = model.vision_model.embeddings
    patch = embeddings.patch_size
    if image_size < patch or image_size % patch:
        raise BackboneError(
            f"An input of {image_size} pixels does not divide into patches of {patch}.",
            f"Choose a multiple of {patch}, e.g. {max(1, round(image_size / patch)) * patch}.",
        )
    side = image_size // patch
    table = resample_positions(embeddings.position_embedding.weight.data, (side, side), rule)
    embeddings.position_embedding = nn.Embedding.from_pretrained(table)
    embeddings.image_size = image_size
    model.config.vision_config.image_size = image_size
