"""APRIL-GAN against the authors' code, with the projections and prompts stored in the reference."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.nn import functional as F

from vlmad_core.backbones.loading import load_backbone
from vlmad_core.methods.april_gan import AprilGan
from vlmad_core.methods.predictions import MapRule, anomaly_maps
from vlmad_core.methods.reference.folder import ReferenceFolder, ReferenceFolderError
from vlmad_core.methods.registry import create_method
from vlmad_core.prompts.prototypes import embed_classes


def april_gan_outputs(reference: ReferenceFolder) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield (name, ours, theirs) for each stored output; embeddings are normalised first."""
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

    embeddings = {"text_embeddings": text.prototypes}
    embeddings |= {f"stage_tokens.{stage}": tokens for stage, tokens in features.stages.items()}
    for name, ours in embeddings.items():
        if name in reference.tensors:
            yield name, F.normalize(ours, dim=-1), F.normalize(reference.tensors[name], dim=-1)
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
        for name, ours in outputs.items():
            if name in reference.tensors:
                yield name, ours, reference.tensors[name]
