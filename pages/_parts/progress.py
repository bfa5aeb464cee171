"""Step 3: the part's jobs, waiting, running and done."""

from __future__ import annotations

from vlmad_core.datasets.parts import Part


def show_progress(part: Part) -> None:
    """Show how far the part's jobs are; draws nothing where there are none.

    Args:
        part: Kept in the workspace, or not yet (``part.kept``).
    """
