"""Counting arithmetic, how much of it this machine can do, and in which precision it is quicker.

Operations are those of matrix products and convolutions, two for each multiply-add. On CPUs the fused attention
kernels are invisible to the counter and would count as nothing, so counting runs them in their plain form
(``SDPBackend.MATH``); the time is measured apart, with whatever kernel is quickest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from vlmad_core.backbones.devices import wait
from vlmad_core.backbones.info import AskedPrecision, Precision
from vlmad_core.backbones.products import flop_formulas, linear

CPU = torch.device("cpu")

LEAST_GAIN = 1.05
"""How many times quicker a coarser precision must be to be chosen: below, what it costs in accuracy buys nothing."""

PRODUCT_SIDE = 512
"""Side of the matrices whose product is timed: large enough to keep the units busy, and done within a few
milliseconds, so that one of many is undisturbed even on a busy machine."""

CARD_SIDE = 4096
"""The same on a card, which has many more units to keep busy."""

PRODUCT_SECONDS = 0.5
"""Time after which no further product is started."""


@contextmanager
def using_threads(count: int | None) -> Iterator[None]:
    """A block in which torch computes on the CPU with so many threads; as many as before if None."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class FlopCount(TorchDispatchMode):
    """Adds up what torch's own formulas say of each operation.

    Torch's ``FlopCounterMode`` divides the sum by modules as well, and for that loads torch's compiler, which takes
    longer than the counting.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # what skips the compiler is the compiler's own

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self._formulas = {**flop_registry, **flop_formulas()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        out = func(*args, **given)
        formula = self._formulas.get(func.overloadpacket)
        if formula is not None:
            self.total += int(formula(*args, **given, out_val=out))
        return out


def count_flops(work: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products and convolutions that ``work`` does."""
    counter = FlopCount()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        work()
    return counter.total


def product_speed(
    precision: Precision,
    side: int | None = None,
    seconds: float = PRODUCT_SECONDS,
    device: torch.device = CPU,
) -> float:
    """Floating-point operations per second of the quickest of several products of square matrices.

    Measured once per process for the same arguments and number of threads.

    Args:
        precision: Of both factors.
        side: Of the matrices; None for ``PRODUCT_SIDE`` on the CPU and ``CARD_SIDE`` elsewhere.
        seconds: How long to try; at least one product is timed, after one that is not.
        device: Where.
    """
    chosen = side or (PRODUCT_SIDE if device.type == "cpu" else CARD_SIDE)
    return _product_speed(precision, chosen, seconds, device, torch.get_num_threads())


def product_gain(precision: Precision, seconds: float = PRODUCT_SECONDS, device: torch.device = CPU) -> float:
    """How many times quicker matrix products in a precision are here than in float32; see ``product_speed``.

    Measured rather than read off the processor's flags: where the hardware has no bfloat16 products, it depends on
    the library's way around that, and may be a hundredth.

    Args:
        precision: The precision.
        seconds: How long to try each; a tenth of the default tells a multiple from a fraction.
        device: Where.
    """
    there, exact = (product_speed(one, seconds=seconds, device=device) for one in (precision, "float32"))
    return there / exact


def choose_precision(asked: AskedPrecision = "auto") -> Precision:
    """What a training computes its matrix products in: what was asked for, or what is quicker on this machine.

    Args:
        asked: A precision, which is taken as it is; ``auto`` for bfloat16 if its products are at least
            ``LEAST_GAIN`` times as quick as those of float32, and float32 if not.
    """
    if asked != "auto":
        return asked
    return "bfloat16" if product_gain("bfloat16") >= LEAST_GAIN else "float32"


def products_in(precision: Precision) -> AbstractContextManager[object]:
    """A context in which matrix products on the CPU are computed in a precision; float32 leaves everything as it is."""
    return nullcontext() if precision == "float32" else torch.autocast("cpu", getattr(torch, precision))


@cache
def _product_speed(precision: Precision, side: int, seconds: float, device: torch.device, threads: int) -> float:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(side, side, generator=generator).to(device, getattr(torch, precision)) for _ in range(2))
    linear(left, right)
    quickest, began, count = float("inf"), time.perf_counter(), 0
    while count < 1 or time.perf_counter() - began < seconds:
        wait(device)
        start = time.perf_counter()
        linear(left, right)
        wait(device)
        quickest = min(quickest, time.perf_counter() - start)
        count += 1
    return 2.0 * side**3 / quickest
