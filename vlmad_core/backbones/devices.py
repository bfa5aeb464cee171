"""Where tensors are computed: which device a name means, the only ways onto it and back, and what it may round.

Whatever device torch names is served by the same code. A tensor goes onto a device by ``to_device`` and comes back by
``to_host``; both use page-locked memory where a card can copy from it while it computes, and are free on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from vlmad_core.backbones.products import linear
from vlmad_core.errors import BackboneError
from vlmad_core.libraries import torch

if TYPE_CHECKING:
    from torch import Tensor

Similarities = Literal["float32", "tf32"]
"""In what similarities between patches are multiplied: ``tf32`` rounds factors to 11 bits where a card has units for
that, and is float32 everywhere else."""

_similarities: ContextVar[Similarities] = ContextVar("similarities", default="float32")


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

    From the CPU to a card through page-locked memory and beside what the card computes, without waiting for either:
    what is asked of the card afterwards, by whatever thread, sees the tensor whole.
    """
    if tensor.device == device:
        return tensor
    if tensor.device.type != "cpu" or device.type != "cuda":
        return tensor.to(device)
    aside, computing = _upload_stream(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(aside):
        there = tensor.pin_memory().to(device, non_blocking=True)
    computing.wait_stream(aside)
    there.record_stream(computing)
    return there


def to_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the CPU: those there as they are, the others after one wait for all of them together."""
    back: dict[str, Tensor] = {}
    waiting: set[torch.device] = set()
    for name, tensor in tensors.items():
        if tensor.device.type == "cuda":
            back[name] = torch.empty_like(tensor, device="cpu", pin_memory=True)
            back[name].copy_(tensor, non_blocking=True)
            waiting.add(tensor.device)
        else:
            back[name] = tensor.cpu()
    for device in waiting:
        torch.cuda.current_stream(device).synchronize()
    return back


@cache
def _upload_stream(device: torch.device) -> Any:
    """The one queue in which a card takes tensors in; a queue for each copy would hoard memory for each."""
    return torch.cuda.Stream(device)


def wait(device: torch.device) -> None:
    """Return once a device has done what it was given; at once where nothing lags behind, as on the CPU."""
    found = torch.accelerator.current_accelerator()
    if found is not None and device.type == found.type:
        torch.accelerator.synchronize(device)


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """While the context lasts, convolutions in float32 are that on cards, too: by default they round to 11 bits."""
    convolutions: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before


@contextmanager
def similarities_in(precision: Similarities) -> Iterator[None]:
    """While the context lasts, ``similarities`` multiplies in this precision, in this thread."""
    token = _similarities.set(precision)
    try:
        yield
    finally:
        _similarities.reset(token)


def similarities(queries: Tensor, memory: Tensor) -> Tensor:
    """Cosines of unit vectors: [q, m] from [q, d] and [m, d]; in what precision, says ``similarities_in``."""
    if _similarities.get() == "float32" or queries.device.type != "cuda":
        return linear(queries, memory)
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        return queries @ memory.T
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
