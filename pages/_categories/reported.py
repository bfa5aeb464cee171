"""The category x method grid of a published set; a click shows every claim for that cell."""

from __future__ import annotations

import streamlit as st

from pages._ui import claims, frame, selection, take_along
from vlmad_core.analysis.entries import differences_to, wide_cells
from vlmad_core.analysis.published import PublishedSet, line_id, reported_label
from vlmad_core.analysis.published_tables import lines_with_cells, published_cells
from vlmad_core.figures.grid import SELECTION, category_grid

NONE = "none"
COLUMNS = 10
"""Columns that are shown unless others are chosen: more cannot be read."""
VIEWS = {"grid": "Grid", "table": "Table"}


def show(one: PublishedSet) -> None:
    """Choosers, the grid or the table, and the claims behind the cell that was clicked."""
    names = [name for name in one.metrics if one.categories_in(name)]
    if not names:
        st.info(
            f"No source reports {selection.tidy(one.title)} by category; the Leaderboard has the means.",
            icon=":material/grid_off:",
        )
        if st.button("Leaderboard", icon=":material/leaderboard:", key="to-leaderboard"):
            selection.open_page("leaderboard")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = claims.choose_metric(names, "reported", "image_auroc")
        shots = int(claims.choose_shots(tuple(k for k in one.shots if one.categories_in(metric, k))))
        wanted = claims.choose_wanted(one)
        lines = {line_id(entry): entry for entry in lines_with_cells(one, metric, shots, wanted)}
        titles = {name: entry.title for name, entry in lines.items()}
        reference = selection.choose(
            "versus", "Show as difference to", [NONE, *lines], NONE, width=200,
            format_func=lambda name: "Nothing (absolute)" if name == NONE else titles[name],
        )  # fmt: skip
        view = selection.choose("view", "View", list(VIEWS), "grid", segmented=True, format_func=VIEWS.__getitem__)
    shown = list(lines)[:COLUMNS]
    if len(lines) > 2:
        shown = st.multiselect(
            "Methods", list(lines), default=shown, format_func=titles.__getitem__,
            key=f"published_lines-{one.key}-{metric}-{shots}",
        )  # fmt: skip
    if not shown:
        st.caption("No method is chosen, or the filters leave none.")
        return
    frame_of = published_cells(one, metric, shots, wanted, shown)
    relative = reference != NONE
    if relative:
        base = published_cells(one, metric, shots, wanted, list(dict.fromkeys([*shown, reference])))
        frame_of = differences_to(base, reference)
        frame_of = frame_of[frame_of["line"].isin(shown)]
    label = reported_label(metric)
    minus = f", minus {selection.tidy(titles[reference])}" if relative else ""
    st.caption(
        f"{label} in percent, as reported{minus}; means are as stated, not made from the cells. {claims.MARKS} "
        "Choose a cell to see every claim on it."
    )
    clicked: tuple[str, str] | None = None
    if view == "table":
        wide = wide_cells(frame_of)
        event = st.dataframe(
            wide, hide_index=True, placeholder="–", height="content", key="published_table", on_select="rerun",
            selection_mode="single-cell", alt=f"{label} as reported for each category and method, in percent",
            column_config={
                "category": st.column_config.TextColumn("Category", pinned=True),
                **{name: st.column_config.NumberColumn(titles[name], format="%.1f") for name in shown},
            },
        )  # fmt: skip
        for row, column in event.selection.cells:
            if column in lines and row < len(wide):
                clicked = str(wide.iloc[row]["category"]), column
    else:
        picked = st.altair_chart(
            category_grid(frame_of, label, dark=frame.is_dark(), difference=relative),
            on_select="rerun", selection_mode=SELECTION, key="published_grid",
            alt=f"Grid of {label} as reported for each category and method; choose a cell to see its claims",
        )  # fmt: skip
        for point in picked.selection.get(SELECTION, []):
            clicked = str(point["category"]), str(point["line"])
    if clicked is not None and clicked[1] in lines:
        claims.show_claims(one, lines[clicked[1]], metric, clicked[0], wanted)
    st.caption(claims.RULE)
    take_along.table(
        frame_of.drop(columns=["low", "high", "n", "n_seeds"]).assign(evidence="reported"),
        f"categories-{one.key}-published-{metric}", "All cells",
        {"category": "Category", "title": "Method", "evidence": "Number is", "value": label},
    )  # fmt: skip
