"""What is wrong with files that are to be imported, item by item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vlmad_core.errors import StoreError

SHOWN = 40
"""Problems written out in a message; the rest are counted."""


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """Something wrong with one item.

    Attributes:
        kind: A short stable identifier, e.g. ``unknown_image``.
        item: The file, line or image concerned.
        message: What is wrong and what to do about it.
    """

    kind: str
    item: str
    message: str

    def __str__(self) -> str:
        """As one line."""
        return f"{self.item}: {self.message}"


class ImportRefusedError(StoreError):
    """Nothing was imported, because of these problems.

    Attributes:
        problems: All of them.
    """

    def __init__(self, source: str, problems: Iterable[ImportProblem]) -> None:
        self.problems: Sequence[ImportProblem] = tuple(problems)
        lines = [f"  {problem}" for problem in self.problems[:SHOWN]]
        rest = Counter(problem.kind for problem in self.problems[SHOWN:])
        if rest:
            counted = ", ".join(f"{count} x {kind}" for kind, count in rest.most_common())
            lines.append(f"  and {rest.total()} more ({counted})")
        count = len(self.problems)
        what = "1 problem" if count == 1 else f"{count} problems"
        super().__init__(
            f"Nothing was imported from {source}: {what}.\n" + "\n".join(lines),
            "\nMend these, or leave categories out with --categories.",
        )
