"""Matrix products by the library that is quickest on this processor.

In float32 torch multiplies with MKL, which takes a processor's widest units only if Intel made it: with AMD's AVX-512
it reaches less than half of what oneDNN, which torch brings along too, gets out of them. In bfloat16 torch takes oneDNN
itself. Which of the two is taken is read off the processor and never timed, so that it is the same in every process:
their results differ by rounding.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmad_core.libraries import F, torch

if TYPE_CHECKING:
    from torch import Tensor


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows @ weight.T + bias``, as ``torch.nn.functional.linear`` gives it but for rounding.

    Args:
        rows: [..., k], any floating dtype, on any device.
        weight: [n, k]; the other factor, e.g. a layer's weights or a memory of vectors.
        bias: [n], or None.

    Returns:
        [..., n], the dtype of ``rows``.
    """
    if _in_onednn(rows, weight):
        product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
        return product
    return F.linear(rows, weight, bias)


def flop_formulas() -> dict[Any, Any]:
    """How torch's counter of operations is to count the products that it does not know."""
    if not onednn_is_quicker():
        return {}

    def multiply_adds(rows: Tensor, weight: Tensor, *args: Any, **more: Any) -> int:
        return 2 * rows.numel() * len(weight)

    return {torch.ops.mkldnn._linear_pointwise: multiply_adds}


@cache
def onednn_is_quicker() -> bool:
    """Whether float32 products are oneDNN's on this machine: AVX-512 on a processor that is not Intel's."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or "intel" in _processor_maker().lower():
        return False
    try:
        rows, weight = torch.ones(2, 3), torch.ones(4, 3)
        found = torch.ops.mkldnn._linear_pointwise(rows, weight, None, "none", [], "")
    except (AttributeError, RuntimeError, NotImplementedError):  # a torch without oneDNN, or with another form of it
        return False
    return torch.equal(found, rows @ weight.T)


def _processor_maker() -> str:
    """What the system says of who made the processor; empty if nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "")


def _in_onednn(rows: Tensor, weight: Tensor) -> bool:
    """Whether a product is one that oneDNN takes: float32 on the CPU, not empty, and nothing that is learned."""
    return (
        rows.dtype == weight.dtype == torch.float32
        and rows.device.type == weight.device.type == "cpu"
        and rows.numel() > 0
        and not (torch.is_grad_enabled() and (rows.requires_grad or weight.requires_grad))
        and not torch.is_autocast_enabled("cpu")
        and onednn_is_quicker()
    )
