"""Plain values of files and the command line, held against the dataclass that declares what they must be.

pydantic checks; this module says what it found in plain English.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import Field, GetCoreSchemaHandler, Strict, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

T = TypeVar("T")

Whole = Annotated[int, Strict()]
Count = Annotated[int, Strict(), Field(ge=0, le=2**53)]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Flag = Annotated[bool, Strict()]
"""Values that stay what they are: "5", 5.0 and true are no whole numbers, 1 is not true."""

MOST_SLIPS, LONGEST_VALUE = 3, 60
"""Wrong values that one message names, and letters of each that it shows."""

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping of names to values",
    "mapping_type": "a mapping of names to values",
    "dataclass_type": "a mapping of names to values",
    "path_type": "a path",
    "string_too_short": "text that is not empty",
    "string_pattern_mismatch": "a plain file name",
    "too_short": "at least one entry",
}
"""What belongs in the place of a wrong value, by pydantic's name for the error."""


@dataclass(frozen=True, slots=True)
class Holds:
    """Annotates a mapping: it must hold what a ``TypedDict`` declares, and is kept as it stands.

    Attributes:
        shape: The ``TypedDict``, or a dict of them.
    """

    shape: Any

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The declared shape's check, of which only the verdict is taken; the order of the entries stays."""

        def check(value: Any, look: core_schema.ValidatorFunctionWrapHandler) -> Any:
            look(value)
            return value

        return core_schema.no_info_wrap_validator_function(check, handler.generate_schema(self.shape))


@dataclass(frozen=True, slots=True)
class Slip:
    """One wrong value.

    Attributes:
        path: Its place, e.g. ``key.shots`` or ``methods[0].id``.
        found: What is wrong, e.g. ``key.shots is 'x'``.
        expected: What belongs there, e.g. ``a whole number``; empty if nothing does.
    """

    path: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.found} where {self.expected} belongs" if self.expected else self.found


def read_as(kind: type[T], value: object) -> T:
    """Make a dataclass of plain values, all of them checked.

    Args:
        kind: The dataclass.
        value: A mapping with its fields.

    Raises:
        ValidationError: If anything in it is wrong; see ``slips``.
    """
    made: T = _adapter(cast(Hashable, kind)).validate_python(value)
    return made


def slips(error: ValidationError) -> tuple[Slip, ...]:
    """What a value that was refused has wrong, in the order of the fields."""
    return tuple(_slip(one) for one in error.errors(include_url=False, include_context=True))


def in_words(error: ValidationError) -> str:
    """What a refused value has wrong, as part of a sentence.

    >>> try:
    ...     read_as(Slip, {"path": 3, "found": ""})
    ... except ValidationError as error:
    ...     print(in_words(error))
    path is 3 where text belongs; expected is missing
    """
    found = slips(error)
    more = f"; and {len(found) - MOST_SLIPS} more" if len(found) > MOST_SLIPS else ""
    return "; ".join(map(str, found[:MOST_SLIPS])) + more


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _slip(error: Any) -> Slip:
    kind, context = error["type"], error.get("ctx", {})
    path = _path(error["loc"])
    if kind in ("missing", "missing_argument"):
        return Slip(path, f"{path} is missing", "")
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return Slip(path, f"{path} is unknown", "")
    if kind in ("greater_than_equal", "greater_than"):
        expected = f"a number {'of at least' if kind.endswith('equal') else 'above'} {context[_bound(context)]:g}"
    elif kind in ("less_than_equal", "less_than"):
        expected = f"a number {'of at most' if kind.endswith('equal') else 'below'} {context[_bound(context)]:g}"
    elif kind == "literal_error":
        expected = f"one of {context['expected']}"
    else:
        expected = _EXPECTED.get(kind, error["msg"])
    return Slip(path, f"{path} is {shown(error['input'])}", expected)


def _bound(context: dict[str, Any]) -> str:
    return next(name for name in ("ge", "gt", "le", "lt") if name in context)


def _path(places: Iterable[int | str]) -> str:
    text = "".join(f"[{place}]" if isinstance(place, int) else f".{place}" for place in places)
    return text.removeprefix(".") or "it"


def shown(value: object) -> str:
    """A value as a message shows it: in one line, cut where it is long.

    >>> shown("x" * 100)[-5:]
    'xx...'
    """
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
