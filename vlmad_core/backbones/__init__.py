"""Backbones: CLIP models behind one interface, and the features methods ask them for."""

from vlmad_core.backbones.clip import ClipBackbone
from vlmad_core.backbones.features import (
    Feature,
    FeatureRequest,
    Features,
    concatenate_features,
    register_feature,
)
from vlmad_core.backbones.info import BackboneInfo
from vlmad_core.backbones.loading import load_backbone
from vlmad_core.backbones.vision import FeatureReader

__all__ = [
    "BackboneInfo",
    "ClipBackbone",
    "Feature",
    "FeatureReader",
    "FeatureRequest",
    "Features",
    "concatenate_features",
    "load_backbone",
    "register_feature",
]
