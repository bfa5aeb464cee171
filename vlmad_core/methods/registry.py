"""The one list of methods: by name, with presets and checked settings."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, TypeVar

from vlmad_core.cards import add_card, load_card, place_of
from vlmad_core.errors import MethodError
from vlmad_core.methods.base import Method
from vlmad_core.methods.settings import check_types
from vlmad_core.prompts.saved import ensemble_label, ensemble_of_label

MethodType = TypeVar("MethodType", bound=type[Method])

_METHODS: dict[str, type[Method]] = {}

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "clip": "clip_ac",
        "clip-ac": "clip_ac",
        "cpe": "clip_cpe",
        "clip+cpe": "clip_cpe",
        "winclip+": "winclip",
        "april": "april_gan",
        "aprillab": "april_gan",
        "april-gan": "april_gan",
        "vand": "april_gan",
        "anomalyclip": "anomaly_clip",
        "anomaly-clip": "anomaly_clip",
        "patchcore-clip": "patch_memory",
        "mutual scoring": "musc",
    }
)
"""Names in the literature, in lower case, and the identifiers used here."""


def register_method(method: MethodType) -> MethodType:
    """Class decorator that adds a method to the registry.

    Raises:
        MethodError: If another class already has the name, or the method has no card.
    """
    known = _METHODS.get(method.name)
    if known is not None and (known.__module__, known.__qualname__) != (
        method.__module__,
        method.__qualname__,
    ):
        raise MethodError(
            f"Two methods are called {method.name!r}: {known.__module__} and {method.__module__}.",
            "Give one of them another name.",
        )
    if method.own_card is not None:
        add_card(method.own_card)
    load_card(method.name)
    _METHODS[method.name] = method
    return method


def list_methods(pattern: str = "*") -> tuple[str, ...]:
    """Names of all registered methods that match a shell pattern.

    In the order that their cards give; those without one follow in the order they were registered.
    """
    return tuple(name for name in sorted(_METHODS, key=place_of) if fnmatch.fnmatch(name, pattern))


def method_class(name: str) -> type[Method]:
    """The class registered under a name or one of its aliases.

    Raises:
        MethodError: If there is none; the message names the nearest ones.
    """
    resolved = ALIASES.get(name.lower(), name)
    if resolved not in _METHODS:
        near = difflib.get_close_matches(resolved, _METHODS, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise MethodError(f"There is no method {name!r}.", f"{hint}Known are: {', '.join(list_methods())}.")
    return _METHODS[resolved]


def takes_prompts(identifier: str) -> bool:
    """Whether a method is made to take any prompt ensemble; see ``Capabilities.any_prompts``.

    Args:
        identifier: ``name`` or ``name:preset``.

    Raises:
        MethodError: If there is no such method.

    Examples:
        >>> [name for name in list_methods() if takes_prompts(name)]
        ['clip_cpe', 'winclip']
    """
    return create_method(method_class(identifier.partition(":")[0]).name).capabilities.any_prompts


def create_method(identifier: str, **settings: Any) -> Method:
    """Make a method from ``name`` or ``name:preset``, with settings changed by keyword.

    For methods that read a prompt ensemble, the name of an ensemble may stand for a preset, and one that is not
    the preset's own gives the method its name: runs with other words are never taken for the same competitor.

    >>> create_method("winclip", temperature=0.01).settings.temperature
    0.01
    >>> create_method("clip_cpe:april_gan").id, create_method("clip_cpe", ensemble="april_gan").id
    ('clip_cpe:april_gan', 'clip_cpe:april_gan')

    Raises:
        MethodError: If the method, preset or setting is unknown, or a value is out of range.
    """
    name, _, preset = identifier.partition(":")
    preset = preset or "canonical"
    cls = method_class(name)
    known = [f.name for f in fields(cls.settings_type)]
    if preset not in cls.presets and "ensemble" in known and "ensemble" not in settings:
        base, plus, label = preset.partition("+")
        ensemble = ensemble_of_label(label if plus else base)
        if ensemble is not None:
            preset, settings = base if plus else "canonical", {**settings, "ensemble": ensemble}
    if preset not in cls.presets:
        or_words = ", or the name of a prompt ensemble" if "ensemble" in known else ""
        raise MethodError(
            f"The method {cls.name!r} has no preset {preset!r}.", f"Known are: {', '.join(cls.presets)}{or_words}."
        )
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise MethodError(
            f"The method {cls.name!r} has no setting {unknown[0]!r}.",
            f"Its settings are: {', '.join(known) or 'none'}.",
        )
    check_types(cls.name, cls.settings_type, settings)
    plain = cls.settings_type(**cls.presets[preset])
    chosen = cls.settings_type(**{**cls.presets[preset], **settings})
    if getattr(chosen, "ensemble", None) != getattr(plain, "ensemble", None):
        label = ensemble_label(chosen.ensemble)  # type: ignore[attr-defined]
        preset = label if preset == "canonical" else f"{preset}+{label}"
    return cls(chosen, preset=preset)
