"""Failures: the images a method judges wrongly, filtered, taken along with pictures; and what moved a score."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vlmad_core.analysis.slices import area_label
from vlmad_core.store.annotations import Annotation
from vlmad_core.store.reader import Missing
from vlmad_core.tabular import csv_text

COLUMNS = (
    "rank", "category", "image_id", "defect_type", "defect_area", "label", "score", "threshold", "margin", "verdict",
)  # fmt: skip
"""Columns of a list of failures that is taken along; note and tags follow."""

MOST_PICTURES = 200
"""Most images that are put into one archive."""


Box = tuple[float, float, float, float]

_REFERENCE = re.compile(r"nearest: reference (\d+), row (\d+), column (\d+)")


@dataclass(frozen=True)
class NearestPatch:
    """The patch of the normal references that is most like a patch of the image.

    Attributes:
        patch: The image's patch, which of all is least like any reference: (left, top, right, bottom), as shares
            of the image's sides.
        reference: Number of the reference, from 0, in the order they were drawn.
        place: Its patch, as ``patch``.
        similarity: Cosine of the two.
    """

    patch: Box
    reference: int
    place: Box
    similarity: float


@dataclass(frozen=True)
class Explanation:
    """What a run says about why an image has its score; each part may be empty.

    Attributes:
        prompts: text, towards (``normal`` or ``abnormal``), value (cosine similarity), strongest first.
        windows: text, value and the box x0, y0, x1, y1 as shares of the image, strongest first.
        nearest: The nearest reference patch of the least familiar patch, or None.
    """

    prompts: pd.DataFrame
    windows: pd.DataFrame
    nearest: NearestPatch | None

    def __bool__(self) -> bool:
        """Whether it says anything."""
        return bool(len(self.prompts) or len(self.windows) or self.nearest)

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The windows' boxes, strongest first."""
        return tuple(_box(row) for row in self.windows.to_dict("records"))


def areas_of(judged: pd.DataFrame) -> tuple[str, ...]:
    """The bins of defect area that occur, in rising order; images without a mask are in none."""
    known = judged.loc[judged["label"] == 1, "defect_area"].dropna().sort_values()
    return tuple(dict.fromkeys(known.map(area_label)))


def narrow(
    judged: pd.DataFrame,
    types: Iterable[str] = (),
    areas: Iterable[str] = (),
    tags: Iterable[str] = (),
    notes: Mapping[str, Annotation] | None = None,
) -> pd.DataFrame:
    """The images that filters leave; an empty filter leaves all.

    Args:
        judged: As ``judge_entry`` gives it.
        types: Defect types.
        areas: Bins of defect area, as ``areas_of`` names them; normal images and those without a mask fall out.
        tags: An image stays if its note has one of them.
        notes: Notes by image.
    """
    wanted_types, wanted_areas, wanted_tags = set(types), set(areas), set(tags)
    if wanted_types:
        judged = judged[judged["defect_type"].isin(wanted_types)]
    if wanted_areas:
        area = judged["defect_area"].astype(float)
        inside = area.map(lambda share: area_label(share) in wanted_areas if pd.notna(share) else False)
        judged = judged[(judged["label"] == 1) & inside.astype(bool)]
    if wanted_tags:
        tagged = {image for image, one in (notes or {}).items() if wanted_tags & set(one.tags)}
        judged = judged[judged["image_id"].isin(tagged)]
    return judged


def csv_of(listed: pd.DataFrame, notes: Mapping[str, Annotation], about: Mapping[str, object]) -> str:
    """A list of failures as csv.

    Args:
        listed: Some rows of what ``verdicts.ranked`` gives for ``judge_entry``.
        notes: Notes by image.
        about: Columns that are the same in all rows, e.g. data set and method.

    Returns:
        One row per image; a text that a spreadsheet would take for a formula gets a quote in front.
    """
    rows = []
    for row in listed.to_dict("records"):
        note = notes.get(str(row["image_id"]))
        written = {"tags": ", ".join(note.tags), "note": note.note} if note else {"tags": "", "note": ""}
        rows.append({**about, **{name: row[name] for name in COLUMNS}, **written})
    return csv_text(pd.DataFrame(rows, columns=[*about, *COLUMNS, "tags", "note"]))


def may_copy(data: Mapping[str, object]) -> str | None:
    """Why pictures of a data set may not be passed on; None if they may.

    Args:
        data: What a run's provenance says of its data.
    """
    if data.get("redistributable"):
        return None
    licence = data.get("licence")
    if not licence:
        return "The licence of these images is not known: the table can be taken along, the images can't."
    return f"The licence of these images ({licence}) does not allow copies: the table can be taken along, images can't."


def zip_of(table: str, pictures: Iterable[tuple[str, bytes | Missing]]) -> bytes:
    """A list of failures with its pictures.

    Args:
        table: The list, as ``csv_of`` gives it.
        pictures: Names and WebP files; what is missing is named in ``missing.txt`` with its reason.

    Returns:
        A zip file.
    """
    buffer, missing = io.BytesIO(), []
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("failures.csv", table)
        for name, content in pictures:
            if isinstance(content, Missing):
                missing.append(f"{name}: {content.reason}\n")
            else:
                archive.writestr(f"images/{name}", content)
        if missing:
            archive.writestr("missing.txt", "".join(missing))
    return buffer.getvalue()


def picture_name(rank: int, image_id: str, ending: str) -> str:
    """A name for an image in an archive, whatever its id holds.

    >>> picture_name(3, "hex_nut/test/crack/../001.png", ".webp")
    '003-hex_nut-test-crack-001.webp'
    """
    stem = image_id.replace("\\", "/").rsplit(".", 1)[0]
    parts = [
        "".join(c if c.isalnum() or c in "_-" else "_" for c in part) for part in stem.split("/") if part.strip(".")
    ]
    return f"{rank:03d}-{'-'.join(parts)[-120:]}{ending}"


def explanation(reasons: pd.DataFrame, image_id: str) -> Explanation:
    """Sort what a unit keeps about one image.

    Args:
        reasons: As ``Store.explain`` gives it.
        image_id: The image.
    """
    own = reasons[reasons["image_id"] == image_id].sort_values("rank", kind="stable")
    prompts = own[own["kind"] == "prompt"].sort_values("value", ascending=False, kind="stable")
    windows = own[(own["kind"] == "window") & own[["x0", "y0", "x1", "y1"]].notna().all(axis=1)]
    found = [_nearest(row) for row in own[own["kind"] == "reference"].to_dict("records")]
    return Explanation(
        prompts[["text", "towards", "value"]].reset_index(drop=True),
        windows[["text", "value", "x0", "y0", "x1", "y1"]].reset_index(drop=True),
        next((one for one in found if one is not None), None),
    )


def prompt_lead(prompts: pd.DataFrame) -> float | None:
    """By how much the nearest abnormal prompt is more like the image than the nearest normal one.

    Args:
        prompts: As in ``Explanation``.

    Returns:
        A difference of cosine similarities; None unless there are prompts of both kinds.
    """
    best: dict[Any, float] = prompts.groupby("towards")["value"].max().to_dict()
    return best["abnormal"] - best["normal"] if {"abnormal", "normal"} <= set(best) else None


def corners(box: Box, shape: Sequence[int]) -> tuple[int, int, int, int]:
    """A box in pixels: (left, top, right, bottom), inside the image and at least one pixel large.

    Args:
        box: Shares of the sides.
        shape: (height, width) of the image.

    >>> corners((0.25, 0.5, 0.5, 1.0), (100, 200))
    (50, 50, 100, 100)
    """
    height, width = shape[:2]
    left, top = min(width - 1, max(0, round(box[0] * width))), min(height - 1, max(0, round(box[1] * height)))
    return (
        left,
        top,
        min(width, max(left + 1, round(box[2] * width))),
        min(height, max(top + 1, round(box[3] * height))),
    )


def _nearest(row: dict[Any, Any]) -> NearestPatch | None:
    match = _REFERENCE.fullmatch(str(row["text"]))
    patch = _box(row)
    if match is None or not np.isfinite(patch).all():
        return None
    reference, line, column = (int(number) - 1 for number in match.groups())
    wide, high = patch[2] - patch[0], patch[3] - patch[1]
    place = (column * wide, line * high, (column + 1) * wide, (line + 1) * high)
    return NearestPatch(patch, reference, place, float(row["value"]))


def _box(row: dict[Any, Any]) -> Box:
    left, top, right, bottom = (float(row[name]) for name in ("x0", "y0", "x1", "y1"))
    return left, top, right, bottom
