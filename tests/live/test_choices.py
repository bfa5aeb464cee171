from __future__ import annotations

import pytest
import torch

from vlmad_core.backbones import arithmetic, devices
from vlmad_core.live.choices import precision_choices


@pytest.mark.parametrize(("gain", "offered"), [(3.9, True), (0.012, False)])
def test_bfloat16_is_offered_where_it_was_measured_to_be_quicker(
    monkeypatch: pytest.MonkeyPatch, gain: float, offered: bool
) -> None:
    monkeypatch.setattr(arithmetic, "product_gain", lambda precision, seconds, device: gain)
    choices = {choice.id: choice for choice in precision_choices()}
    assert list(choices) == ["float32", "bfloat16", "auto"]
    assert choices["float32"].available
    assert choices["auto"].available
    assert choices["bfloat16"].available == offered
    assert ("0.012 times as quick" in choices["bfloat16"].reason) == (not offered)


def test_float16_is_offered_on_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "product_gain", lambda precision, seconds, device: 2.0)
    monkeypatch.setattr(devices, "resolve_device", lambda name: torch.device(name))
    assert [choice.id for choice in precision_choices("cuda")] == ["float32", "bfloat16", "float16", "auto"]
