from __future__ import annotations

import pytest

from vlmad_core.datasets.catalogue import NAME_TABLES, category_noun, official_key, official_sets
from vlmad_core.errors import DatasetError

MVTEC_AND_VISA = [*official_sets()["mvtec_ad"].counts, *official_sets()["visa"].counts]


def test_27_categories() -> None:
    assert len(MVTEC_AND_VISA) == 15 + 12


@pytest.mark.parametrize("category", MVTEC_AND_VISA)
def test_tables_over_the_published_categories(category: str) -> None:
    assert category_noun(category, "raw") == category
    assert category_noun(category, "object") == "object"
    assert category_noun(category) == category.replace("_", " ")
    for table in NAME_TABLES[:1] + NAME_TABLES[2:]:
        assert "_" not in category_noun(category, table)


@pytest.mark.parametrize(
    ("category", "table", "noun"),
    [
        ("pcb4", "pad", "printed circuit board"),
        ("bottle", "pad", "bottle"),
        ("metal_nut", "aa", "metal nut which has four notched edges"),
        ("pill", "aa", "oval white pill with small red speckles and the letters 'FF' engraved"),
        ("copper_ring", "aa", "copper ring"),
        ("mono", "spaced", "monocrystalline solar cell"),
        ("01", "spaced", "product"),
        ("01", "raw", "01"),
    ],
)
def test_single_names(category: str, table: str, noun: str) -> None:
    assert category_noun(category, table) == noun


def test_unknown_table() -> None:
    with pytest.raises(DatasetError, match="nonsense"):
        category_noun("bottle", "nonsense")


@pytest.mark.parametrize("key", [key for key, entry in official_sets().items() if entry.counts])
def test_counts_add_up_to_the_published_totals(key: str) -> None:
    entry = official_sets()[key]
    assert tuple(map(sum, zip(*entry.counts.values(), strict=True))) == entry.total
    assert entry.source


def test_kinds_cover_their_categories() -> None:
    for entry in official_sets().values():
        assert not entry.kinds or set(entry.kinds) == set(entry.counts)
        assert set(entry.kinds.values()) <= {"texture", "object"}


def test_name_decides_then_categories() -> None:
    assert official_key("mvtec", []) == "mvtec_ad"
    assert official_key("line_3", ["bottle", "cable"]) == "mvtec_ad"
    assert official_key("line_3", ["bottle"]) is None
    assert official_key("line_3", ["bottle", "gear"]) is None
