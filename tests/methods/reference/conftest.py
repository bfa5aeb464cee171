"""Reference folders made up here: small random models, and outputs worked out over transformers' own forward pass.

Nothing of ``vlmad_core`` goes into them. What the program does by gathering, closed forms and its own loops is done
here by attention masks, literal loops over windows and patches, and hooks, so the two share no step but the weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel

from vlmad_core.methods.reference.cli import check_reference

START, END, VOCABULARY = 49406, 49407, 49408
IMAGES = 3


@dataclass(frozen=True)
class Shape:
    """A made-up model and its input.

    Attributes:
        patch: Side of a patch in pixels.
        grid: Patches along a side, as the position table has them.
        depth: Blocks of the vision tower.
        quick: Whether it runs with QuickGELU.
        input_grid: Patches along a side of the images; None for the model's own.
        shots: Numbers of references for which outputs are made.
        seed: Of weights and images.
    """

    patch: int
    grid: int
    depth: int
    quick: bool
    input_grid: int | None = None
    shots: tuple[int, ...] = (1, 3)
    seed: int = 0

    @property
    def side(self) -> int:
        """Side of the images in pixels."""
        return self.patch * (self.input_grid or self.grid)


class Oracle:
    """A random CLIP model with everything a reference folder is made of."""

    def __init__(self, shape: Shape, text_layers: int, interpolation: dict[str, Any]) -> None:
        self.shape = shape
        self.random = torch.Generator().manual_seed(shape.seed)
        activation = "quick_gelu" if shape.quick else "gelu"
        common = {"hidden_act": activation, "projection_dim": 24}
        self.vision: dict[str, Any] = {
            **common,
            "hidden_size": 48,
            "intermediate_size": 192,
            "num_hidden_layers": shape.depth,
            "num_attention_heads": 3,
            "patch_size": shape.patch,
        }
        self.text: dict[str, Any] = {
            **common,
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "intermediate_size": 128,
            "num_hidden_layers": text_layers,
            "num_attention_heads": 2,
            "max_position_embeddings": 77,
            "bos_token_id": START,
            "eos_token_id": END,
        }
        self.native = self._model(shape.patch * shape.grid)
        state = {name: self._values(tensor) for name, tensor in self.native.state_dict().items()}
        state["text_model.embeddings.token_embedding.weight"].zero_()
        self.native.load_state_dict(state)
        self.used: set[int] = set()
        self.model = self.native
        if shape.input_grid is not None:
            # The position table is what a model of another input size differs in.
            self.model = self._model(shape.side)
            name = "vision_model.embeddings.position_embedding.weight"
            table = state[name]
            grid = table[1:].T.reshape(1, -1, shape.grid, shape.grid)
            fresh = F.interpolate(grid, size=(shape.input_grid,) * 2, align_corners=False, **interpolation)
            self.model.load_state_dict({**state, name: torch.cat([table[:1], fresh[0].flatten(1).T])})
        self.pixels = torch.randn(IMAGES, 3, shape.side, shape.side, generator=self.random)
        self.references = torch.randn(max(shape.shots), 3, shape.side, shape.side, generator=self.random)

    def _model(self, size: int) -> Any:
        config = CLIPConfig(text_config=self.text, vision_config={**self.vision, "image_size": size}, projection_dim=24)
        return CLIPModel(config).eval().requires_grad_(False)

    def _values(self, like: Tensor) -> Tensor:
        """Random values large enough that no two patches look alike, exact in float16."""
        scale = 0.3 if like.ndim > 1 else 0.1
        values = torch.randn(like.shape, generator=self.random) * scale + (1.0 if like.ndim == 1 else 0.0)
        return values.half().float()

    def tokens(self, count: int, places: int = 0) -> Tensor:
        """[count, 77] int64: random prompts of different lengths; their words get token embeddings."""
        table = torch.zeros(count, 77, dtype=torch.long)
        weights = self.model.text_model.embeddings.token_embedding.weight
        for row in table:
            length = int(torch.randint(3, 9, (1,), generator=self.random)) + places
            words = torch.randint(300, 40_000, (length,), generator=self.random)
            row[: length + 2] = torch.tensor([START, *words.tolist(), END])
        for word in sorted(set(table.flatten().tolist()) - self.used):
            self.used.add(word)
            weights[word] = torch.randn(32, generator=self.random).half().float()
        return table

    def text_features(self, tokens: Tensor) -> Tensor:
        """[n, e], by the whole tower over all 77 places."""
        features = self.model.get_text_features(input_ids=tokens, attention_mask=torch.ones_like(tokens))
        found: Tensor = features if isinstance(features, Tensor) else features.pooler_output
        return found

    def states(self, pixels: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Outputs of all blocks, the input of the first in front."""
        more = {} if mask is None else {"attention_mask": mask}
        output = self.model.vision_model(pixel_values=pixels, output_hidden_states=True, **more)
        return tuple(output.hidden_states)

    def project(self, tokens: Tensor, *, norm: bool = True) -> Tensor:
        """Into the joint space, with or without LayerNorm."""
        projected: Tensor = self.model.visual_projection(
            self.model.vision_model.post_layernorm(tokens) if norm else tokens
        )
        return projected

    def window_embeddings(self, pixels: Tensor, scale: int) -> Tensor:
        """[n, W, e]: for each window the whole image, with all other patches masked as keys."""
        side = self.shape.side // self.shape.patch
        found = []
        for top, left in product(range(side - scale + 1), repeat=2):
            seen = [0, *(1 + (top + i) * side + left + j for i, j in product(range(scale), repeat=2))]
            mask = torch.full((1, 1, 1 + side * side, 1 + side * side), float("-inf"))
            mask[..., seen] = 0.0
            found.append(self.project(self.states(pixels, mask)[-1][:, 0]))
        return torch.stack(found, dim=1)

    def write(self, folder: Path, method: str, settings: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
        """Write the folder in the form of the stored references."""
        folder.mkdir()
        config = {
            "embed_dim": 24,
            "quick_gelu": self.shape.quick,
            "vision_cfg": {
                "image_size": self.shape.patch * self.shape.grid,
                "layers": self.shape.depth,
                "width": 48,
                "head_width": 16,
                "patch_size": self.shape.patch,
            },
            "text_cfg": {
                "context_length": 77,
                "vocab_size": VOCABULARY,
                "width": 32,
                "heads": 2,
                "layers": self.text["num_hidden_layers"],
            },
        }
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
        (folder / f"{method}.json").write_text(json.dumps(settings))
        save_file(self._open_clip_state(), folder / "open_clip_model.safetensors")
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / f"{method}.safetensors")
        return folder

    def _open_clip_state(self) -> dict[str, Tensor]:
        own = self.native.state_dict()
        table = self.model.text_model.embeddings.token_embedding.weight
        used = torch.tensor(sorted(self.used))
        state = {
            "visual.class_embedding": own["vision_model.embeddings.class_embedding"],
            "visual.conv1.weight": own["vision_model.embeddings.patch_embedding.weight"],
            "visual.positional_embedding": own["vision_model.embeddings.position_embedding.weight"],
            "visual.proj": own["visual_projection.weight"].T,
            "text_projection": own["text_projection.weight"].T,
            "positional_embedding": own["text_model.embeddings.position_embedding.weight"],
            "token_embedding.shape": torch.tensor(table.shape),
            "token_embedding.used_ids": used,
            "token_embedding.used_rows": table[used],
            "logit_scale": own["logit_scale"],
        }
        for ours, theirs in (
            ("vision_model.pre_layrnorm", "visual.ln_pre"),
            ("vision_model.post_layernorm", "visual.ln_post"),
            ("text_model.final_layer_norm", "ln_final"),
        ):
            state |= {f"{theirs}.{kind}": own[f"{ours}.{kind}"] for kind in ("weight", "bias")}
        names = {
            "self_attn.out_proj": "attn.out_proj",
            "layer_norm1": "ln_1",
            "layer_norm2": "ln_2",
            "mlp.fc1": "mlp.c_fc",
            "mlp.fc2": "mlp.c_proj",
        }
        towers = (("vision_model", "visual.", self.shape.depth), ("text_model", "", self.text["num_hidden_layers"]))
        for tower, prefix, depth in towers:
            for number, kind in product(range(depth), ("weight", "bias")):
                layer, block = f"{tower}.encoder.layers.{number}", f"{prefix}transformer.resblocks.{number}"
                packed = [own[f"{layer}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
                state[f"{block}.attn.in_proj_{kind}"] = torch.cat(packed)
                state |= {f"{block}.{new}.{kind}": own[f"{layer}.{old}.{kind}"] for old, new in names.items()}
        return {name: tensor.contiguous().clone() for name, tensor in state.items()}

    @staticmethod
    def probability(embeddings: Tensor, classes: Tensor, scale: float) -> Tensor:
        """Softmax probability of the second class, cosines times ``scale``."""
        return (scale * F.normalize(embeddings, dim=-1) @ F.normalize(classes, dim=-1).T).softmax(dim=-1)[..., 1]

    @staticmethod
    def nearest_distance(queries: Tensor, memory: Tensor) -> Tensor:
        """1 - the greatest cosine to any row of the memory; [n, p]."""
        return 1.0 - (F.normalize(queries, dim=-1) @ F.normalize(memory, dim=-1).T).amax(dim=-1)

    @staticmethod
    def enlarge(grids: Tensor, size: int, *, align: bool) -> Tensor:
        """[n, c, side, side] -> [n, c, size, size], bilinear."""
        return F.interpolate(grids, size=(size, size), mode="bilinear", align_corners=align)


@pytest.fixture
def make_oracle() -> Callable[..., Oracle]:
    """A function that makes a random model: shape as in ``Shape``, number of text blocks, position rule."""

    def make(shape: Sequence[Any], text_layers: int, interpolation: dict[str, Any]) -> Oracle:
        return Oracle(Shape(*shape), text_layers, interpolation)

    return make


@pytest.fixture
def agrees() -> Callable[[Path], None]:
    """A function that holds our method against a folder, all outputs of it."""

    def check(folder: Path) -> None:
        outcome = check_reference(folder)
        assert outcome.method == folder.name
        assert outcome.not_compared == ()
        stored = load_file(folder / f"{folder.name}.safetensors")
        for name, difference in outcome.outputs.items():
            assert difference.ok, f"{name}: {difference}"
            # Within the tolerance, and small beside what the output varies by: were it all alike, agreement would
            # say nothing.
            values = stored[name]
            spread = float(values.flatten(1).std(dim=1).min() if values.ndim > 1 else values.std())
            assert difference.max_abs < 0.05 * spread, f"{name}: {difference.max_abs} of {spread}"

    return check


@pytest.fixture
def change_tensors() -> Callable[[Path, Callable[[dict[str, Tensor]], object]], None]:
    """A function that rewrites a folder's inputs and outputs."""

    def change(folder: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
        path = folder / f"{folder.name}.safetensors"
        tensors = load_file(path)
        edit(tensors)
        save_file(tensors, path)

    return change


@pytest.fixture
def change_settings() -> Callable[[Path, Callable[[dict[str, Any]], object]], None]:
    """A function that rewrites a folder's json."""

    def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
        path = folder / f"{folder.name}.json"
        settings = json.loads(path.read_text())
        edit(settings)
        path.write_text(json.dumps(settings))

    return change
