"""The state of each unit of a plan: what is done, what is left, and what went wrong before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vlmad_core.datasets import Sample
from vlmad_core.datasets.images import read_image
from vlmad_core.datasets.masks import sample_mask
from vlmad_core.engine.plan import PlannedRun
from vlmad_core.errors import StoreError, VlmadError
from vlmad_core.store import layout, tables
from vlmad_core.store.schema import UnitRecord

State = Literal["done", "partial", "repaired", "failed", "damaged", "missing"]


@dataclass(frozen=True)
class UnitState:
    """Where a unit stands.

    Attributes:
        state: ``done``; ``partial``: finished without some images that still can't be read; ``repaired``: some of
            them can be read now; ``failed``: tried before without success; ``damaged``: there, but not whole;
            ``missing``: not tried yet.
        reason: What is wrong, where something is.
        record: The finished unit, if there is one.
    """

    state: State
    reason: str | None = None
    record: UnitRecord | None = None

    @property
    def pending(self) -> bool:
        """Whether the next start computes it."""
        return self.state not in ("done", "partial")

    @property
    def replaces(self) -> bool:
        """Whether something stands in its place."""
        return self.state in ("damaged", "repaired")


def unit_state(run: PlannedRun, category: str, samples: Sequence[Sample]) -> UnitState:
    """Look at what the store has of a unit.

    A unit without some unreadable images is pending again as soon as one of them can be read.

    Args:
        run: The run.
        category: The category.
        samples: The unit's test images.
    """
    folder = run.record.path / layout.folder_name(category)
    if not folder.exists():
        try:
            failure = layout.read_failures(run.record.path, run.record.id).get(category)
        except StoreError:
            failure = None  # a damaged note says nothing
        return UnitState("failed", failure.reason) if failure else UnitState("missing")
    try:
        record = layout.read_unit(folder)
        if record.status == "complete":
            return UnitState("done", record=record)
        images = tables.read_table(folder / "images.parquet", tables.IMAGES)
    except (VlmadError, *tables.READ_ERRORS) as error:
        return UnitState("damaged", str(error))
    broken = set(images.loc[images["error"].notna(), "image_id"])
    if any(_readable(sample) for sample in samples if sample.id in broken):
        return UnitState("repaired", "images that could not be read before can be read now", record)
    return UnitState("partial", f"{record.errors} images could not be read", record)


def _readable(sample: Sample) -> bool:
    try:
        image = read_image(sample.image_path)
        sample_mask(sample, (image.height, image.width))
    except (VlmadError, OSError):
        return False
    return True
