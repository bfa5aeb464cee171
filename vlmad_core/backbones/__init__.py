"""Backbones: CLIP models behind one interface, and the features methods ask them for."""

from vlmad_core.backbones.clip import ClipBackbone
from vlmad_core.backbones.features import FeatureRequest, Features, concatenate_features
from vlmad_core.backbones.info import BackboneInfo
from vlmad_core.backbones.loading import load_backbone

__all__ = [
    "BackboneInfo",
    "ClipBackbone",
    "FeatureRequest",
    "Features",
    "concatenate_features",
    "load_backbone",
]
