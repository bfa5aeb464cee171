"""The opened image: maps side by side, scores against thresholds, and why it has its score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from pages._failures import judging, maps, why
from pages._ui import data, pictures, selection
from vlmad_core.analysis.entries import Comparison, Entry
from vlmad_core.analysis.instructive import unseen
from vlmad_core.analysis.verdicts import VERDICT_LABELS, image_thresholds
from vlmad_core.figures.grid import category_label

BADGES = {"missed": "red", "false_alarm": "orange", "found": "green", "passed": "green"}


def show(
    one: Comparison,
    lines: Sequence[Entry],
    line: Entry,
    listed: pd.DataFrame,
    opened: str,
    others: Mapping[str, pd.DataFrame],
) -> maps.Later:
    """The opened image: original, truth and each method's map side by side; scores against thresholds; why.

    Args:
        one: What is compared.
        lines: The methods.
        line: The method whose list this is.
        listed: The list, as ``verdicts.ranked`` gives it.
        opened: The image; one of the list.
        others: What the other methods say of the images, by line.

    Returns:
        What computes maps and reasons that were not kept, for when the rest of the page is drawn.
    """
    ids = listed["image_id"].tolist()
    row: dict[Any, Any] = listed.iloc[ids.index(opened)].to_dict()
    category = str(row["category"])
    run = line.run_with(category)
    titles = {other.id: other.title for other in lines}
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"{_headline(row)} :gray[{row['rank']} of {len(ids)}]", width="content")
            with st.container(horizontal=True, width="content"):
                display = maps.display_options(lines)
                judging.note_editor(one.dataset, line, run.id if run else "", row)
                _step("Previous", ids, opened, -1, ":material/chevron_left:", "P")
                _step("Next", ids, opened, +1, ":material/chevron_right:", "N")
        judging.show_other_notes(one.dataset, line, opened, titles)
        run_id = run.id if run else ""
        fair = {other.id for other in unseen(lines)}
        shown = [other for other in lines if display.seen or other.id in fair or other.same_as(line)]
        fill = maps.show(shown, run_id, category, opened, display)
        _scores(shown, line, row, others)
        explain = why.show(line, category, opened)

    def later() -> None:
        fill()
        explain()

    return later


def _headline(row: Mapping[Any, Any]) -> str:
    """Name, verdict, and what is known of the defect."""
    badge = f":{BADGES[row['verdict']]}-badge[{VERDICT_LABELS[row['verdict']]}]"
    area = row["defect_area"]
    share = f", {100 * area:.2g} % of the image" if row["label"] == 1 and pd.notna(area) else ""
    where = selection.tidy(category_label(str(row["category"])))
    return f"**{pictures.short_name(str(row['image_id']))}** {badge} :gray[{where}{share}]"


def _step(label: str, ids: list[str], opened: str, by: int, icon: str, shortcut: str) -> None:
    target = ids.index(opened) + by
    inside = 0 <= target < len(ids)
    st.button(
        label, icon=icon, disabled=not inside, shortcut=shortcut, key=f"step-{by}", on_click=selection.remember,
        args=("image", ids[target] if inside else opened),
    )  # fmt: skip


def _scores(lines: Sequence[Entry], chosen: Entry, row: Mapping[Any, Any], others: Mapping[str, pd.DataFrame]) -> None:
    """Score, threshold and verdict of each method as a table."""
    rows: list[dict[str, Any]] = []
    for line in lines:
        title = selection.tidy(line.title)
        if line.same_as(chosen):
            judged: Mapping[Any, Any] | None = row
        else:
            frame = others.get(line.id)
            own = frame[frame["image_id"] == row["image_id"]] if frame is not None else pd.DataFrame()
            judged = own.iloc[0].to_dict() if len(own) else None
        if judged is None:
            rows.append({"Method": title, "Verdict": "–", "Score": "–", "Threshold": "–", "From": "no score"})
            continue
        rows.append(
            {
                "Method": f"**{title}**" if line.same_as(chosen) else title,
                "Verdict": f":{BADGES[judged['verdict']]}-badge[{VERDICT_LABELS[judged['verdict']]}]",
                "Score": f"{judged['score']:.4g}",
                "Threshold": f"{judged['threshold']:.4g}",
                "From": f":gray[{_origin(line, judged)}]",
            }
        )
    st.table(pd.DataFrame(rows).set_index("Method"), border="horizontal", alt="Scores against thresholds by method")


def _origin(line: Entry, judged: Mapping[Any, Any]) -> str:
    """Which of the stored thresholds an image was judged at."""
    category = str(judged["category"])
    run = line.run_with(category)
    stored = image_thresholds(run, category, data.store().images(run.id, category)) if run else {}
    same = (one.label for one in stored.values() if one.value == judged["threshold"])
    return selection.tidy(next(same, "set by hand"))
