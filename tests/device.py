"""A device for tests: as strict as a graphics card, with the CPU's arithmetic.

Its tensors hold ordinary ones and say that they lie elsewhere. Whatever is computed with them stays there. What a card
does silently and slowly is an error here: to read a value, to mix them with tensors on the CPU, to copy them back by
any other way than ``devices.to_host``. Results are the CPU's but for the order of sums.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from vlmad_core.backbones import ClipBackbone, devices

DEVICE = torch.device("lazy:0")
"""A device torch has a name for and nothing else."""

aten = torch.ops.aten

WAITING = {
    aten._local_scalar_dense.default: "read a value",
    aten.equal.default: "compared whole tensors",
    aten.nonzero.default: "counted what is true",
    aten.masked_select.default: "counted what is true",
    aten.is_nonzero.default: "read a value",
}
"""Operations for which the CPU waits for a card."""


class LeftDeviceError(AssertionError):
    """A tensor left the device, or was mixed with others, where nobody asked for it."""


class ElsewhereTensor(Tensor):
    """A tensor that says it lies on ``DEVICE``."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> ElsewhereTensor:
        return Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"ElsewhereTensor({self.inner})"

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


class _Factories(TorchDispatchMode):
    """Makes tensors there where that is asked for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        held = any(isinstance(one, ElsewhereTensor) for one in tree_flatten((args, kwargs))[0])
        return _compute(func, args, kwargs) if held or kwargs.get("device") == DEVICE else func(*args, **kwargs)


class _Lists(TorchFunctionMode):
    """``torch.tensor`` of numbers looks for the device itself; it is told there is one."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.tensor and kwargs.get("device") == DEVICE:
            del kwargs["device"]
            return func(*args, **kwargs).to(DEVICE)
        return func(*args, **kwargs)


@contextmanager
def strict_device() -> Iterator[torch.device]:
    """While the context lasts, this thread has the device."""
    with _Factories(), _Lists():
        yield DEVICE


def moved(backbone: ClipBackbone) -> ClipBackbone:
    """A backbone, put onto the device; to be used within ``strict_device`` only."""
    with strict_device():
        backbone.model.to(DEVICE)
    return backbone


def _compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Do it with what the tensors hold, if a card would do it quietly."""
    tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
    strangers = [one for one in tensors if not isinstance(one, ElsewhereTensor) and one.ndim]
    target = kwargs.get("device", DEVICE)
    if func in WAITING:
        raise LeftDeviceError(f"{func} {WAITING[func]}: the CPU would wait for the card.")
    if func is aten.index.Tensor and any(one.dtype == torch.bool for one in tensors[1:]):
        raise LeftDeviceError("A tensor was indexed by what is true: the CPU would wait for the card.")
    copied = func is aten._to_copy.default
    if strangers and len(tensors) > len(strangers):
        raise LeftDeviceError(f"{func} mixes the device with {[tuple(one.shape) for one in strangers]} on the CPU.")
    if copied and target != DEVICE and not _in_gate():
        raise LeftDeviceError("A tensor was copied to the CPU by another way than to_host.")
    found = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
    if target != DEVICE:
        return found
    if func._schema.name.endswith("_") and isinstance(args[0], ElsewhereTensor):
        return args[0]  # changed in place
    return tree_map(lambda one: ElsewhereTensor(one) if isinstance(one, Tensor) else one, found)


def _inner(one: Any) -> Any:
    if isinstance(one, ElsewhereTensor):
        return one.inner
    return torch.device("cpu") if isinstance(one, torch.device) else one


def _in_gate() -> bool:
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is devices.to_host.__code__:
            return True
    return False
