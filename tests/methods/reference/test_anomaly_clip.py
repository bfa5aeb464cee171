"""AnomalyCLIP on models and inputs of other shapes, with hooks instead of a path of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

# patch, grid, depth, QuickGELU, grid of the input (None: the model's own), shots
ANOMALY_CLIP: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
    ((8, 4, 3, False, None, (1,)), {"stages": (3,), "dpam_layer": 4}),
    ((14, 5, 6, True, 8, (1,)), {"stages": (2, 4, 6), "dpam_layer": 4}),
    (
        (16, 4, 12, False, 7, (1,)),
        {"stages": (3, 6, 9, 12), "dpam_layer": 10, "context": 12, "text_layers": 4, "text_depth": 4, "deep": 4},
    ),
    (
        (32, 7, 4, True, 3, (1,)),
        {"stages": (4,), "dpam_layer": 20, "context": 1, "text_layers": 2, "text_depth": 1, "sigma": 1.5},
    ),
    ((8, 6, 5, False, None, (1,)), {"stages": (5,), "dpam_layer": 1, "sigma": 0.0, "text_depth": 9}),
)


@pytest.fixture
def anomaly_clip_folder(make_oracle: Callable[..., Any], tmp_path: Path) -> Callable[..., Path]:
    """A function that writes an AnomalyCLIP reference."""

    def make(
        shape: tuple[Any, ...],
        stages: Sequence[int],
        dpam_layer: int,
        *,
        context: int = 4,
        text_layers: int = 3,
        text_depth: int = 3,
        deep: int = 2,
        sigma: float = 4.0,
    ) -> Path:

        oracle = make_oracle(shape, text_layers, {"mode": "bilinear"})
        side, size = oracle.shape.side // oracle.shape.patch, oracle.shape.side
        tokens = oracle.tokens(2, places=context)
        vectors = {
            "ctx_pos": torch.randn(1, 1, context, 32, generator=oracle.random) * 0.2,
            "ctx_neg": torch.randn(1, 1, context, 32, generator=oracle.random) * 0.2,
        }
        sets = [torch.randn(deep, 32, generator=oracle.random) * 0.2 for _ in range(text_depth - 1)]
        classes = _learned_text(oracle, tokens, vectors, sets)
        patches, last = _value_paths(oracle, stages, dpam_layer)
        image = oracle.project(last[:, 0], norm=False)
        scores = [
            oracle.probability(found[:, 1:], classes, 1 / 0.07).reshape(-1, 1, side, side) for found in patches.values()
        ]
        maps = torch.stack([oracle.enlarge(grid, size, align=False)[:, 0] for grid in scores]).sum(dim=0)
        smooth = torch.stack([torch.from_numpy(gaussian_filter(m.numpy(), sigma=sigma)) for m in maps])
        tensors = {
            "pixel_values": oracle.pixels,
            "tokenized_prompts": tokens.int(),
            **{f"prompt_learner.{name}": tensor for name, tensor in vectors.items()},
            **{f"prompt_learner.compound_prompts_text.{i}": tensor for i, tensor in enumerate(sets)},
            "text_embeddings": classes,
            "image_features": image,
            "image_score": oracle.probability(image, classes, 1 / 0.07),
            **{f"patch_features.{stage}": found for stage, found in patches.items()},
            "anomaly_map": smooth,
            "anomaly_map_unsmoothed": maps,
        }
        settings = {
            "features_list": list(stages),
            "dpam_layer": dpam_layer,
            "n_ctx": context,
            "text_depth": text_depth,
            "text_n_ctx": deep,
            "gaussian_sigma": sigma,
            "temperature": 0.07,
        }
        return oracle.write(tmp_path / "anomaly_clip", "anomaly_clip", settings, tensors)

    return make


def _learned_text(oracle: Any, tokens: Tensor, vectors: dict[str, Tensor], sets: Sequence[Tensor]) -> Tensor:
    """Both prompts, [2, e]: context put into the token embeddings, deep sets into the layers' inputs, by hooks."""
    context = torch.cat([vectors["ctx_pos"][0], vectors["ctx_neg"][0]])

    def put_context(module: Any, args: Any, output: Tensor) -> Tensor:
        return torch.cat([output[:, :1], context, output[:, 1 + context.shape[1] :]], dim=1)

    def put_deep(vectors: Tensor) -> Callable[..., Any]:
        def hook(module: Any, args: Any, kwargs: Any) -> Any:
            hidden = args[0] if args else kwargs["hidden_states"]
            rest = hidden[:, 1 + len(vectors) :]
            changed = torch.cat([hidden[:, :1], vectors.expand(len(hidden), -1, -1), rest], dim=1)
            return ((changed, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": changed})

        return hook

    text = oracle.model.text_model
    with ExitStack() as stack:
        handles = [text.embeddings.token_embedding.register_forward_hook(put_context)]
        for layer, vectors_of_layer in zip(text.encoder.layers[1:], sets, strict=False):
            handles.append(layer.register_forward_pre_hook(put_deep(vectors_of_layer), with_kwargs=True))
        for handle in handles:
            stack.callback(handle.remove)
        return F.normalize(oracle.text_features(tokens), dim=-1)


def _value_paths(oracle: Any, stages: Sequence[int], dpam_layer: int) -> tuple[dict[int, Tensor], Tensor]:
    """Patch features by stage, [n, 1 + P, e], and the original path's last block.

    The last ``dpam_layer - 1`` blocks run the second path: a sum of value-value attentions, read by hooks.
    """
    layers, depth = oracle.model.vision_model.encoder.layers, oracle.shape.depth
    values: dict[int, Tensor] = {}

    def keep(number: int) -> Callable[..., None]:
        def hook(module: Any, args: Any, output: Tensor) -> None:
            values[number] = output

        return hook

    with ExitStack() as stack:
        for number, layer in enumerate(layers, start=1):
            stack.callback(layer.self_attn.v_proj.register_forward_hook(keep(number)).remove)
        states = oracle.states(oracle.pixels)
    first = max(1, depth - dpam_layer + 2)
    path, found = states[first - 1], {}
    for number in range(1, depth + 1):
        if number >= first:
            heads = values[number].unflatten(-1, (3, 16)).transpose(1, 2)
            weights = (heads @ heads.transpose(-1, -2) / 16**0.5).softmax(dim=-1)
            path = path + layers[number - 1].self_attn.out_proj((weights @ heads).transpose(1, 2).flatten(2))
        if number in stages:
            read = path if number >= first else states[number]
            found[number] = F.normalize(oracle.project(read), dim=-1)
    return found, states[-1]


@pytest.mark.parametrize(("shape", "settings"), ANOMALY_CLIP)
def test_anomaly_clip(agrees, anomaly_clip_folder, shape, settings):
    agrees(anomaly_clip_folder(shape, **settings))
