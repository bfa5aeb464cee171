"""Category names in words, for prompts: the tables of the methods' authors (``names.yaml``).

The name is part of the prompt and moves scores, so a run records which table it used.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import yaml

from vlmad_core.errors import DatasetError

NameTable = Literal["spaced", "raw", "pad", "aa", "object"]
NAME_TABLES: tuple[NameTable, ...] = get_args(NameTable)
"""The tables there are; ``spaced`` is the default, ``raw`` what APRIL-GAN was trained and tested with."""


def category_noun(category: str, table: str = "spaced") -> str:
    """What a category is called in a prompt.

    Args:
        category: Its folder name, e.g. ``metal_nut``.
        table: One of :data:`NAME_TABLES`.

    Raises:
        DatasetError: There is no such table.

    Examples:
        >>> category_noun("metal_nut"), category_noun("metal_nut", "raw"), category_noun("pcb1", "pad")
        ('metal nut', 'metal_nut', 'printed circuit board')
    """
    if table == "raw":
        return category
    if table == "object":
        return "object"
    if table not in NAME_TABLES:
        raise DatasetError(f"No table of category names called {table!r}.", f"Use one of {', '.join(NAME_TABLES)}.")
    tables = _tables()
    spaced = tables["spaced"].get(category) or " ".join(category.replace("_", " ").split()) or "object"
    return tables.get(table, {}).get(category, spaced)


@cache
def _tables() -> Mapping[str, Mapping[str, str]]:
    content = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return {name: dict(entries) for name, entries in content.items()}
