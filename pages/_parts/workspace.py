"""The parts of the workspace: choosing one, and what can be done with each."""

from __future__ import annotations

from pages._ui import data, frame, selection
from vlmad_core.datasets.parts import Part, list_parts

NEW = "new"


def choose_part() -> Part | None:
    """The part the page is about; None for a new one."""
    kept = {part.slug: part for part in list_parts()}
    if not kept:
        return None
    picked = selection.choose(
        "dataset", "Part", [*kept, NEW], NEW, slot="part", known=frame.datasets(data.all_comparisons()),
        format_func=lambda slug: "A new part" if slug == NEW else selection.tidy(kept[slug].title),
    )  # fmt: skip
    return kept.get(picked)


def show_workspace() -> None:
    """All parts, with what can be done with each."""
