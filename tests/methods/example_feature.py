"""A method of one's own that reads what no other method reads: how far the last block turns each patch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vlmad_core.backbones import Feature, FeatureRequest, Reader, register_feature
from vlmad_core.methods import (
    Capabilities,
    MapRule,
    Method,
    MethodCard,
    Predictions,
    Scorer,
    register_method,
)


class TurnReader(Reader):
    """Cosine between a block's input and output, per patch: [N, P, 1]."""

    def __init__(self, tower, keys):
        self._wanted, self._found = keys, {}

    def see(self, number, layer, before, after):
        if number in self._wanted:
            self._found[number] = torch.cosine_similarity(before[:, 1:], after[:, 1:], dim=-1)[..., None].float()

    def tensors(self):
        return self._found


register_feature(
    Feature("turns", TurnReader, lambda grid, key: grid[0] * grid[1], width=1, numbers=1, direction_only=False)
)


@dataclass(frozen=True)
class TurnScorer(Scorer):
    block: int

    def score(self, features):
        turned = 1.0 - features.turns[self.block][..., 0]
        return Predictions(turned.amax(dim=1), turned.reshape(-1, 1, *features.grid), MapRule())


@register_method
class Turn(Method):
    name = "turn"
    own_card = MethodCard(
        name="turn",
        title="Turned by the last block",
        paper="A worked example",
        year=2026,
        url="",
        summary="How far the last block turns each patch.",
        needs=(),
    )

    @property
    def capabilities(self):
        return Capabilities(segments=True, uses_text=False)

    def needs(self, backbone, shots):
        return FeatureRequest(turns={backbone.depth})

    def prepare(self, category, text, references=None, parameters=None, calibration=None):
        return TurnScorer(text.info.depth)
