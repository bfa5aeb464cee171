"""Names of devices, and copies onto them and back."""

from __future__ import annotations

import pytest
import torch

from vlmad_core.backbones.devices import devices_here, resolve_device, to_device, to_host
from vlmad_core.errors import BackboneError


def test_auto_takes_the_accelerator_or_else_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: None)
    assert resolve_device("auto") == torch.device("cpu")
    assert devices_here() == ("auto", "cpu")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("mps"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    assert devices_here() == ("auto", "cpu", "mps:0")
    if not torch.backends.mps.is_available():
        with pytest.raises(BackboneError, match="'mps' can't be used here"):  # that is what auto took
            resolve_device("auto")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta"])
def test_a_device_that_is_not_here_is_named_with_those_that_are(name: str) -> None:
    with pytest.raises(BackboneError, match=rf"{name!r} can't be used here.*auto, cpu"):
        resolve_device(name)


def test_what_is_there_already_is_not_copied() -> None:
    tensor = torch.arange(3.0)
    assert to_device(tensor, torch.device("cpu")) is tensor
    assert to_host({"a": tensor})["a"] is tensor
    assert to_device(tensor, torch.device("meta")).device.type == "meta"
