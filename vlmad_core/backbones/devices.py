"""Where tensors are computed: which device a name means, and the only ways onto it and back.

Whatever device torch names is served by the same code. A tensor goes onto a device by ``to_device`` and comes back by
``to_host``; both use page-locked memory where a card can copy from it while it computes, and are free on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vlmad_core.errors import BackboneError

CPU = torch.device("cpu")


def resolve_device(name: str = "auto") -> torch.device:
    """The device a name means on this machine, with its number where devices have numbers (``cuda`` is ``cuda:0``).

    Args:
        name: ``auto`` for the accelerator torch finds, the CPU if it finds none; or torch's name of a device.

    Raises:
        BackboneError: If the name means nothing to torch, or this machine or this build of torch has no such device.
    """
    if name == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        name = "cpu" if found is None else found.type
    try:
        tried = torch.empty(1, device=torch.device(name))
        tried.cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BackboneError(
            f"The device {name!r} can't be used here: {str(error).splitlines()[0]}.",
            f"Use one of those there are ({', '.join(devices_here())}), or install a build of torch for your "
            "graphics card and name it, e.g. 'cuda'.",
        ) from error
    return tried.device


def devices_here() -> tuple[str, ...]:
    """Names of the devices torch can compute on in this process: ``auto``, ``cpu``, then accelerators by number."""
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None:
        return ("auto", "cpu")
    return ("auto", "cpu", *(f"{found.type}:{number}" for number in range(torch.accelerator.device_count())))


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; itself if it is there already.

    From the CPU to a card through page-locked memory, without waiting for the copy: later work on the card is queued
    behind it.
    """
    if tensor.device == device:
        return tensor
    if tensor.device.type == "cpu" and device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def to_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the CPU: those there as they are, the others after one wait for all of them together."""
    back: dict[str, Tensor] = {}
    waiting: set[torch.device] = set()
    for name, tensor in tensors.items():
        if tensor.device.type == "cuda":
            back[name] = torch.empty_like(tensor, device=CPU, pin_memory=True)
            back[name].copy_(tensor, non_blocking=True)
            waiting.add(tensor.device)
        else:
            back[name] = tensor.cpu()
    for device in waiting:
        wait(device)
    return back


def wait(device: torch.device) -> None:
    """Return once a device has done what it was given; at once on the CPU, which never lags behind."""
    if device.type not in ("cpu", "meta"):
        torch.accelerator.synchronize(device)
