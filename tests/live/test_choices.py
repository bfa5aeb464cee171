from __future__ import annotations

import pytest

from vlmad_core.backbones import arithmetic
from vlmad_core.live.choices import precision_choices


@pytest.mark.parametrize(("gain", "offered"), [(3.9, True), (0.012, False)])
def test_bfloat16_is_offered_where_it_was_measured_to_be_quicker(
    monkeypatch: pytest.MonkeyPatch, gain: float, offered: bool
) -> None:
    monkeypatch.setattr(arithmetic, "bfloat16_gain", lambda seconds: gain)
    choices = {choice.id: choice for choice in precision_choices()}
    assert choices["float32"].available
    assert choices["bfloat16"].available == offered
    assert ("0.012 times as quick" in choices["bfloat16"].reason) == (not offered)
