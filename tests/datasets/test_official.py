from __future__ import annotations

import pytest

from vlmad_core.datasets.official import official_key, official_sets


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
