"""The methods, one file each, and the registry that lists them."""

from vlmad_core.cards import MethodCard, MethodStyle, load_card
from vlmad_core.methods import anomaly_clip, april_gan, clip_text, musc, patch_memory, teacher_memory, winclip
from vlmad_core.methods.base import Capabilities, Method, MethodSettings, PublishedSetup, Reason, Scorer
from vlmad_core.methods.plugins import load_all_plugins, load_plugin
from vlmad_core.methods.predictions import MapRule, Predictions, anomaly_maps, full_maps, map_maximum
from vlmad_core.methods.registry import (
    ALIASES,
    create_method,
    list_methods,
    method_class,
    register_method,
    takes_prompts,
)
from vlmad_core.methods.trained import TrainingRecord, find_parameters, load_parameters

__all__ = [
    "ALIASES",
    "Capabilities",
    "MapRule",
    "Method",
    "MethodCard",
    "MethodSettings",
    "MethodStyle",
    "Predictions",
    "PublishedSetup",
    "Reason",
    "Scorer",
    "TrainingRecord",
    "anomaly_clip",
    "anomaly_maps",
    "april_gan",
    "clip_text",
    "create_method",
    "find_parameters",
    "full_maps",
    "list_methods",
    "load_card",
    "load_parameters",
    "load_plugin",
    "map_maximum",
    "method_class",
    "musc",
    "patch_memory",
    "register_method",
    "takes_prompts",
    "teacher_memory",
    "winclip",
]

load_all_plugins()
