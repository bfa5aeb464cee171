"""Checking values of settings against what their dataclass declares, so that a slip is named before anything runs."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vlmad_core.errors import MethodError

LARGEST_NUMBER, LARGEST_COUNT = 1e30, 2**31 - 1
"""Beyond these float32 and indices overflow, so that no method can mean them."""


def check_types(method: str, settings_type: type, values: Mapping[str, Any]) -> None:
    """Hold values of settings against their declared types; ranges are each method's own matter.

    Args:
        method: Name of the method.
        settings_type: The dataclass of its settings.
        values: Values by name of the setting; each must be one of the dataclass.

    Raises:
        MethodError: Naming the setting, its value and what it takes.
    """
    hints = get_type_hints(settings_type)
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise MethodError(f"The setting {name!r} of {method} is {value!r}.", f"{_words(hints[name])}.")


def _fits(value: object, hint: Any) -> bool:
    """Whether a value is of a declared type; types that are none of those settings use are let through."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in args)
    if origin is Literal:
        return value in args
    if origin is tuple:
        item = args[0]
        return isinstance(value, tuple | list) and all(_fits(one, item) for one in value)
    if hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_COUNT
    return not isinstance(hint, type) or isinstance(value, hint)


def _words(hint: Any) -> str:
    """What a setting takes, as a sentence without its full stop."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"Choose one of: {', '.join(map(str, args))}"
    if origin in (Union, types.UnionType):
        rest = [one for one in args if one is not type(None)]
        return f"{_words(rest[0])}; or leave it out"
    if origin is tuple:
        return f"Give a list of {_NOUNS.get(args[0], 'values')}s"
    return f"Give a {_NOUNS.get(hint, 'value')}"


_NOUNS: Mapping[Any, str] = {float: "number", int: "whole number", str: "text", bool: "true or false value"}
