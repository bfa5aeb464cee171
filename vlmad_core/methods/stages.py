"""Which blocks of a tower a method reads, for towers of any depth."""

from __future__ import annotations

from collections.abc import Sequence

from vlmad_core.errors import MethodError


def quarter_stages(depth: int) -> tuple[int, ...]:
    """The ends of the four quarters of a tower, blocks counted from 1, rounded up.

    >>> quarter_stages(24), quarter_stages(12), quarter_stages(6)
    ((6, 12, 18, 24), (3, 6, 9, 12), (2, 3, 5, 6))

    A tower of fewer than four blocks has fewer stages.
    """
    return tuple(sorted({-(-depth * k // 4) for k in range(1, 5)}))


def middle_stages(depth: int) -> tuple[int, ...]:
    """The ends of the second and third quarter of a tower: past edges, short of the text.

    >>> middle_stages(24), middle_stages(12), middle_stages(6)
    ((12, 18), (6, 9), (3, 5))
    """
    return tuple(sorted({-(-depth * k // 4) for k in (2, 3)}))


def check_stages(method: str, setting: str, stages: Sequence[int] | None) -> tuple[int, ...] | None:
    """A setting that lists blocks, as a tuple; None stays None.

    Raises:
        MethodError: If it is empty, repeats a block, or holds anything but positive integers.
    """
    if stages is None:
        return None
    found = tuple(stages)
    if not found or len(set(found)) < len(found) or any(not isinstance(block, int) or block < 1 for block in found):
        raise MethodError(
            f"The setting {setting!r} of {method} is {found}.",
            "List different blocks, counted from 1, e.g. (3, 6, 9, 12); leave it out for the default.",
        )
    return found
