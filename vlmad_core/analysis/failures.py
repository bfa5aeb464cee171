"""Failures: which images a method judges wrongly, in order, filtered, and taken along as a table with pictures."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from vlmad_core.analysis.comparison import Line
from vlmad_core.analysis.slices import area_label
from vlmad_core.analysis.verdicts import image_thresholds, judge
from vlmad_core.store.annotations import Annotation
from vlmad_core.store.reader import Missing, Store

COLUMNS = (
    "rank", "category", "image_id", "defect_type", "defect_area", "label", "score", "threshold", "margin", "verdict",
)  # fmt: skip
"""Columns of a list of failures that is taken along; note and tags follow."""

MOST_PICTURES = 200
"""Most images that are put into one archive."""


def judge_line(
    store: Store, line: Line, categories: Sequence[str], name: str | None, value: float | None = None
) -> pd.DataFrame:
    """Judge the test images of several categories, each at its own threshold.

    Scores of different categories have no common scale. So ``distance`` counts how far a score lies from its
    category's threshold in standard deviations of that category's scores; within a category it orders images as
    the margin does.

    Args:
        store: The results.
        line: The competitor.
        categories: Those it has not finished are left out.
        name: Name of the threshold; a category without it is judged at its first one, and left out without any.
        value: A threshold for all of them instead.

    Returns:
        What ``judge`` gives, with category, threshold and distance.
    """
    frames = []
    for category in categories:
        run = line.run_with(category)
        if run is None:
            continue
        images = store.images(run.id, category)
        at = value
        if at is None:
            stored = image_thresholds(run, category, images)
            chosen = stored.get(name or "", next(iter(stored.values()), None))
            if chosen is None:
                continue
            at = chosen.value
        judged = judge(images, at)
        spread = float(judged["score"].std(ddof=0)) or 1.0
        frames.append(judged.assign(category=category, threshold=at, distance=judged["margin"].abs() / spread))
    kept = [frame for frame in frames if len(frame)]
    if kept:
        return pd.concat(kept, ignore_index=True)
    columns = ["image_id", "split", "label", "defect_type", "defect_area", "score", "latency_ms", "error"]
    return pd.DataFrame(columns=[*columns, "category", "margin", "verdict", "threshold", "distance"])


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
        judged: As ``judge_line`` gives it.
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
        listed: Some rows of what ``verdicts.ranked`` gives for ``judge_line``.
        notes: Notes by image.
        about: Columns that are the same in all rows, e.g. data set and method.

    Returns:
        One row per image; a text that a spreadsheet would take for a formula gets a quote in front.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*about, *COLUMNS, "tags", "note"])
    for row in listed.to_dict("records"):
        note = notes.get(str(row["image_id"]))
        values = [*about.values(), *(row[name] for name in COLUMNS)]
        values += [", ".join(note.tags), note.note] if note else ["", ""]
        writer.writerow([_cell(value) for value in values])
    return buffer.getvalue()


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


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return "" if value is None or value is pd.NA or (isinstance(value, float) and value != value) else value
