"""WinCLIP against anomalib's, preset ``winclip:anomalib``, with the prompts stored in the reference."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.nn import functional as F

from vlmad_core.backbones.loading import load_backbone
from vlmad_core.methods.predictions import anomaly_maps
from vlmad_core.methods.reference.folder import ReferenceFolder
from vlmad_core.methods.registry import create_method
from vlmad_core.methods.winclip import WinClip
from vlmad_core.prompts.prototypes import embed_classes


def winclip_outputs(reference: ReferenceFolder) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield (name, ours, theirs) for each stored output; embeddings are normalised first."""
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
    for name, ours in embeddings.items():
        if name in reference.tensors and ours is not None:
            yield name, F.normalize(ours, dim=-1), F.normalize(reference.tensors[name], dim=-1)
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
