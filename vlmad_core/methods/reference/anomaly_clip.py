"""AnomalyCLIP against the authors' code, with the learned prompts stored in the reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.backbones.loading import load_backbone
from vlmad_core.backbones.text import Tokenizer
from vlmad_core.methods.anomaly_clip import AnomalyClip
from vlmad_core.methods.predictions import anomaly_maps
from vlmad_core.methods.reference.folder import ReferenceFolder
from vlmad_core.methods.registry import create_method
from vlmad_core.methods.trained import from_prompt_learner


def anomaly_clip_outputs(reference: ReferenceFolder) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield (name, ours, theirs) for each stored output; embeddings are normalised first."""
    pixels = reference.tensor("pixel_values")
    side = reference.input_size()
    size = (side, side)
    parameters = from_prompt_learner(
        {
            name.removeprefix("prompt_learner."): tensor
            for name, tensor in reference.tensors.items()
            if name.startswith("prompt_learner.")
        }
    )
    tokens = reference.tensor("tokenized_prompts").tolist()
    backbone = load_backbone(
        str(reference.path),
        image_size=side,
        position_rule=reference.position_rule("bilinear"),
        tokenizer=_without_places(tokens, parameters["context"].shape[1]),
    )
    stages = tuple(reference.setting("features_list"))
    method = create_method(
        "anomaly_clip",
        stages=stages,
        # The authors' number counts from the end, one too many: the last (number - 1) blocks run the second path,
        # all of them if it is greater than the depth, none if it is 1.
        value_start=max(1, backbone.info.depth - int(reference.setting("dpam_layer")) + 2),
        temperature=float(reference.settings.get("temperature") or 0.07),
        smoothing_sigma=float(reference.settings.get("gaussian_sigma", 4)),
        smoothing_size=side,
    )
    assert isinstance(method, AnomalyClip)
    features = backbone.encode_images(pixels, method.needs(backbone.info, shots=0))
    scorer = method.prepare("object", backbone, parameters=parameters)

    embeddings = {"text_embeddings": scorer.prototypes, "image_features": features.class_projection}
    embeddings |= {f"patch_features.{stage}": features.value_paths[start, stage] for start, stage in scorer.value_paths}
    for name, ours in embeddings.items():
        if name in reference.tensors and ours is not None:
            yield name, F.normalize(ours, dim=-1), F.normalize(reference.tensors[name], dim=-1)
    predictions = scorer.score(features)
    assert predictions.grids is not None
    assert predictions.map_rule is not None
    unsmoothed = replace(predictions.map_rule, gaussian_sigma=0.0)
    outputs = {
        "image_score": predictions.image_score,
        "anomaly_map": anomaly_maps(predictions.grids, predictions.map_rule, size),
        "anomaly_map_unsmoothed": anomaly_maps(predictions.grids, unsmoothed, size),
    }
    for name, ours in outputs.items():
        if name in reference.tensors:
            yield name, ours, torch.as_tensor(reference.tensors[name])


def _without_places(rows: Sequence[Sequence[int]], places: int) -> Tokenizer:
    """The stored tokens of both prompts, normal first, without the placeholder words and the padding."""
    known = [[row[0], *row[1 + places : row.index(max(row)) + 1]] for row in rows]

    def tokenize(prompts: Sequence[str]) -> list[list[int]]:
        return known[: len(prompts)]

    return tokenize
