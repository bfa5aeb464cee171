"""What our methods make of a reference folder's inputs, beside what is stored there.

WinCLIP is held against anomalib's (preset ``winclip:anomalib``), APRIL-GAN and AnomalyCLIP against their authors'
code, with the prompts, projections and learned prompts stored in the reference. Each function yields (name, ours,
theirs) for each stored output; embeddings are normalised first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from torch import Tensor
from torch.nn import functional as F

from vlmad_core.backbones.loading import load_backbone
from vlmad_core.backbones.text import Tokenizer
from vlmad_core.methods.anomaly_clip import AnomalyClip
from vlmad_core.methods.april_gan import AprilGan
from vlmad_core.methods.predictions import MapRule, anomaly_maps
from vlmad_core.methods.reference.folder import ReferenceFolder, ReferenceFolderError
from vlmad_core.methods.registry import create_method
from vlmad_core.methods.trained import from_prompt_learner
from vlmad_core.methods.winclip import WinClip
from vlmad_core.prompts.prototypes import embed_classes

Output = tuple[str, Tensor, Tensor]
"""Name, ours, theirs."""


def winclip_outputs(reference: ReferenceFolder) -> Iterator[Output]:
    """WinCLIP's outputs beside those stored."""
    pixels = reference.tensor("pixel_values")
    backbone = load_backbone(
        str(reference.path),
        image_size=reference.input_size(),
        position_rule=reference.position_rule("bicubic_antialias"),
        tokenizer=reference.tokenizer(),
    )
    scales = tuple(reference.settings.get("scales") or _stored_scales(reference))
    temperature = float(reference.settings.get("temperature", 0.07))
    method = create_method("winclip:anomalib", scales=scales, temperature=temperature)
    assert isinstance(method, WinClip)
    request = method.needs(backbone.info, shots=1)
    features = backbone.encode_images(pixels, request)
    text = embed_classes(backbone, reference.prompts_of("normal"), reference.prompts_of("abnormal"), "mean")

    embeddings: dict[str, Tensor | None] = {
        "image_embeddings": features.image_embedding,
        "patch_tokens": features.patch_tokens,
        "text_embeddings": text.prototypes,
        **{f"window_embeddings_{k}": features.windows[k] for k in scales},
    }
    yield from _embeddings(reference, embeddings)
    for prefix, shots in [("zero_shot", 0), *((f"{k}_shot", k) for k in reference.shots())]:
        known = backbone.encode_images(reference.references(shots), request) if shots else None
        predictions = method.scorer(text, known).score(features)
        assert predictions.grids is not None
        assert predictions.map_rule is not None
        if (theirs := reference.tensors.get(f"{prefix}.anomaly_map")) is not None:
            size = (theirs.shape[-2], theirs.shape[-1])
            yield f"{prefix}.anomaly_map", anomaly_maps(predictions.grids, predictions.map_rule, size), theirs
        if (theirs := reference.tensors.get(f"{prefix}.image_score")) is not None:
            yield f"{prefix}.image_score", predictions.image_score, theirs


def _stored_scales(reference: ReferenceFolder) -> tuple[int, ...]:
    """The scales whose window embeddings are stored; the paper's if there are none."""
    prefix = "window_embeddings_"
    found = [name.removeprefix(prefix) for name in reference.tensors if name.startswith(prefix)]
    return tuple(sorted(int(scale) for scale in found if scale.isdigit())) or (2, 3)


def april_gan_outputs(reference: ReferenceFolder) -> Iterator[Output]:
    """APRIL-GAN's outputs beside those stored."""
    pixels = reference.tensor("pixel_values")
    side = reference.input_size()
    size = (side, side)
    if not reference.settings.get("align_corners", True):
        raise ReferenceFolderError(
            f"{reference.path} was made without aligned corners.", "APRIL-GAN enlarges its maps with align_corners."
        )
    backbone = load_backbone(
        str(reference.path),
        image_size=side,
        position_rule=reference.position_rule("bicubic_antialias"),
        tokenizer=reference.tokenizer(),
    )
    stages = tuple(reference.setting("features_list"))
    method = create_method(
        "april_gan:authors",
        stages=stages,
        memory_stages=tuple(reference.settings.get("few_shot_features") or stages),
        temperature=1.0 / float(reference.settings.get("logit_scale") or 100),
    )
    assert isinstance(method, AprilGan)
    request = method.needs(backbone.info, shots=1)
    features = backbone.encode_images(pixels, request)
    text = embed_classes(backbone, reference.prompts_of("normal"), reference.prompts_of("abnormal"), "each")

    embeddings: dict[str, Tensor | None] = {"text_embeddings": text.prototypes}
    embeddings |= {f"stage_tokens.{stage}": tokens for stage, tokens in features.stages.items()}
    yield from _embeddings(reference, embeddings)
    for prefix, shots in [("zero_shot", 0), *((f"{k}_shot", k) for k in reference.shots())]:
        known = backbone.encode_images(reference.references(shots), request) if shots else None
        predictions = method.scorer(text, backbone.info, known, reference.tensors).score_set(features)
        assert predictions.grids is not None
        assert predictions.map_rule is not None
        outputs = {
            f"{prefix}.anomaly_map": anomaly_maps(predictions.grids, predictions.map_rule, size),
            f"{prefix}.image_score_transductive" if shots else f"{prefix}.image_score": predictions.image_score,
        }
        if shots:
            distances = MapRule(align_corners=True)
            outputs[f"{prefix}.reference_map"] = anomaly_maps(predictions.grids[:, -1:], distances, size)
        yield from _scores(reference, outputs)


def anomaly_clip_outputs(reference: ReferenceFolder) -> Iterator[Output]:
    """AnomalyCLIP's outputs beside those stored."""
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
    yield from _embeddings(reference, embeddings)
    predictions = scorer.score(features)
    assert predictions.grids is not None
    assert predictions.map_rule is not None
    unsmoothed = replace(predictions.map_rule, gaussian_sigma=0.0)
    outputs = {
        "image_score": predictions.image_score,
        "anomaly_map": anomaly_maps(predictions.grids, predictions.map_rule, size),
        "anomaly_map_unsmoothed": anomaly_maps(predictions.grids, unsmoothed, size),
    }
    yield from _scores(reference, outputs)


def _without_places(rows: Sequence[Sequence[int]], places: int) -> Tokenizer:
    """The stored tokens of both prompts, normal first, without the placeholder words and the padding."""
    known = [[row[0], *row[1 + places : row.index(max(row)) + 1]] for row in rows]

    def tokenize(prompts: Sequence[str]) -> list[list[int]]:
        return known[: len(prompts)]

    return tokenize


def _embeddings(reference: ReferenceFolder, ours: Mapping[str, Tensor | None]) -> Iterator[Output]:
    """Those that are stored, as unit vectors."""
    for name, one in ours.items():
        if name in reference.tensors and one is not None:
            yield name, F.normalize(one, dim=-1), F.normalize(reference.tensors[name], dim=-1)


def _scores(reference: ReferenceFolder, ours: Mapping[str, Tensor]) -> Iterator[Output]:
    """Those that are stored, as they are."""
    for name, one in ours.items():
        if name in reference.tensors:
            yield name, one, reference.tensors[name]
