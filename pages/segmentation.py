from __future__ import annotations

import pandas as pd
import streamlit as st

from pages._ui import data, drawing, frame, pictures, selection, take_along
from pages._ui.opening import choose_lines, open_on
from vlmad_core.analysis.entries import Entry
from vlmad_core.analysis.slices import RECALL_LABELS, points_of_curve, recalls_known, region_recall
from vlmad_core.figures.curves import curve_figure, curve_points, recall_bars
from vlmad_core.figures.grid import category_label
from vlmad_core.figures.overlay import OPACITY
from vlmad_core.store.reader import Missing

PER_PAGE = 10
ALL = "all"

frame.begin("segmentation")
one = frame.comparison()
with st.container(horizontal=True, vertical_alignment="bottom"):
    start = open_on(one, "aupro_30")
    category = frame.choose_category(one.categories, start.category, start.rule)
    shots = frame.choose_shots(one)
lines = one.entries(shots)
drawn = choose_lines(lines, start)
store = data.store()
where = selection.tidy(category_label(category))


def show_curves() -> None:
    """PRO curves of all methods, or why there are none."""
    curves = data.named_curves(drawn, category, "pixel_pro", "aupro_30")
    if not curves:
        values = data.cells(drawn, "aupro_30")
        values = values[values["category"] == category]
        reasons = [r for r in values["reason"] if isinstance(r, str)] if values["value"].isna().all() else []
        said = selection.tidy(reasons[0], 200) if reasons else "none was kept."
        st.caption(f"No PRO curve for this category: {said}")
        return
    drawing.plotly(
        curve_figure,
        curves,
        "pro",
        limit=0.30,
        alt=f"PRO curves of {len(curves)} methods on {where}",
    )
    st.caption("In brackets AUPRO@30%: the area under the shaded part. Regions are 8-connected; maps at 256 × 256.")
    runs = data.runs_of(drawn, category)
    kept = {line: len(points_of_curve(store, run, category, "pixel_pro")) for line, run in runs.items()}
    without = [line for line in drawn if not kept.get(line.id)]
    if without:
        st.caption(f"No curve was kept of: {selection.tidy(', '.join(line.title for line in without), 300)}.")
    take_along.table(curve_points(curves), f"pro-{one.dataset}-{category}", "Points of the PRO curves", latex=False)


def show_recall(known: tuple[str, ...]) -> None:
    """What share of each defect is found, by its type and by its area."""
    recall = selection.choose(
        "recall", "Pixel threshold at", list(known), known[0], segmented=True, format_func=RECALL_LABELS.__getitem__
    )
    by_type = region_recall(store, drawn, category, recall, "type")
    by_area = region_recall(store, drawn, category, recall, "area")
    left, right = st.columns(2, gap="large")
    with left:
        drawing.plotly(recall_bars, by_type, "Defect type", alt="Share found by defect type")
    with right:
        drawing.plotly(recall_bars, by_area, "Area of the defect", alt="Share found by defect area")
    both = pd.concat([by_type.assign(by="type"), by_area.assign(by="area")])
    take_along.table(both, f"recall-{one.dataset}-{category}", "Share of each defect that is found")


def show_gallery(line: Entry) -> None:
    """Maps of one method over defective images, on one scale."""
    run = line.run_with(category)
    scale = data.rarity(run.id, category) if run else None
    if run is None or scale is None:
        grids = store.grids(run.id, category) if run else Missing("Not finished for this category.")
        st.caption(grids.reason if isinstance(grids, Missing) else "There are no normal images to compare with.")
        return
    images = store.images(run.id, category)
    images = images[(images["split"] == "test") & (images["label"] == 1)].sort_values(["defect_type", "image_id"])
    types = sorted(set(images["defect_type"]))
    with choosers:
        kind = selection.choose(
            "defect", "Defect type", [ALL, *types], ALL, width=180,
            format_func=lambda name: "All" if name == ALL else category_label(name),
        )  # fmt: skip
    images = images if kind == ALL else images[images["defect_type"] == kind]
    last = max(1, -(-len(images) // PER_PAGE))
    st.session_state["gallery"] = min(st.session_state.get("gallery", 1), last)
    page = st.session_state["gallery"]
    tiles = []
    for image_id in images["image_id"].iloc[(page - 1) * PER_PAGE : page * PER_PAGE]:
        drawn = pictures.drawn_map(run.id, category, image_id, scale, OPACITY, True)
        name = pictures.short_name(image_id)
        tiles.append(
            pictures.Tile(
                name,
                drawn if isinstance(drawn, Missing) else drawn.content,
                f"Anomaly map of {selection.tidy(line.title)} over {name}",
            )
        )
    pictures.show_tiles(tiles)
    pictures.show_colour_bar(scale, OPACITY)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("One scale for all; the line is the outline of the true defect.", width="content")
        if st.button("See images and scores", icon=":material/arrow_forward:", type="tertiary"):
            selection.open_page("failures", category=category, method=line.id, shots=str(shots))
    if last > 1:
        st.pagination(last, key="gallery")


st.subheader("PRO curves", anchor=False)
show_curves()
recalls = recalls_known(store, drawn, category)
if recalls:
    st.subheader("What share of each defect is found", anchor=False)
    show_recall(recalls)
st.subheader("Maps", anchor=False)
in_order = [(entry.id, entry.run_with(category)) for entry in (*start.shown, *lines)]
with_maps = [name for name, run in in_order if run and store.keeps_maps(run.id, category)]
choosers = st.container(horizontal=True, vertical_alignment="bottom")
with choosers:
    chosen = frame.choose_method(lines, with_maps[0] if with_maps else None)
show_gallery(chosen)
