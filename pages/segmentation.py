from __future__ import annotations

import streamlit as st

from pages._shared import data, frame, image_panel, pictures, selection
from vlmad_core.figures.bars import recall_bars
from vlmad_core.figures.curves import curve_figure
from vlmad_core.figures.overlay import OPACITY
from vlmad_core.results.comparison import cells
from vlmad_core.results.slices import RECALL_LABELS, recalls_known, region_recall
from vlmad_core.results.store import Missing

PER_PAGE = 6

frame.begin("segmentation")
one = frame.comparison()
with st.container(horizontal=True, vertical_alignment="bottom"):
    category = frame.choose_category(one.categories)
    shots = frame.choose_shots(one)
lines = one.lines(shots)
store = data.store()

st.subheader("PRO curves", anchor=False)
curves = data.named_curves(lines, category, "pixel_pro", "aupro_30")
if curves:
    st.plotly_chart(
        curve_figure(curves, "pro", limit=0.30),
        config=frame.PLOT,
        alt=f"PRO curves of {len(curves)} methods on {category}",
    )
    st.caption("In brackets AUPRO@30%: the area under the shaded part. Regions are 8-connected; maps at 256 × 256.")
else:
    values = cells(store, lines, "aupro_30")
    values = values[values["category"] == category]
    kept = values["value"].notna().any()
    reasons = [] if kept else [reason for reason in values["reason"] if isinstance(reason, str)]
    st.caption(f"No PRO curve for this category: {selection.tidy(reasons[0], 200) if reasons else 'none was kept.'}")

known = recalls_known(store, lines, category)
if known:
    st.subheader("What share of each defect is found", anchor=False)
    recall = st.segmented_control(
        "Pixel threshold at",
        known,
        default=known[0],
        required=True,
        key="recall",
        format_func=lambda n: RECALL_LABELS[n],
    )
    left, right = st.columns(2, gap="large")
    with left:
        by_type = region_recall(store, lines, category, recall, "type")
        st.plotly_chart(recall_bars(by_type, "Defect type"), config=frame.PLOT, alt="Share found by defect type")
    with right:
        by_area = region_recall(store, lines, category, recall, "area")
        st.plotly_chart(recall_bars(by_area, "Area of the defect"), config=frame.PLOT, alt="Share found by defect area")

st.subheader("Maps", anchor=False)
with_maps = [line.id for line in lines if (own := line.run_with(category)) and store.grids(own.id, category)]
chosen = frame.choose_method(lines, with_maps[-1] if with_maps else None)
run = chosen.run_with(category)
scale = data.rarity(run.id, category) if run else None
if run is None or scale is None:
    grids = store.grids(run.id, category) if run else Missing("Not finished for this category.")
    st.caption(grids.reason if isinstance(grids, Missing) else "There are no normal images to compare with.")
    st.stop()
images = store.images(run.id, category)
images = images[(images["split"] == "test") & (images["label"] == 1)].sort_values(["defect_type", "image_id"])
last = max(1, -(-len(images) // PER_PAGE))
st.session_state["gallery"] = min(st.session_state.get("gallery", 1), last)
page = st.session_state["gallery"]
tiles = []
for row in images.iloc[(page - 1) * PER_PAGE : page * PER_PAGE].to_dict("records"):
    found = store.anomaly_map(run.id, category, row["image_id"], image_panel.MAP_SIZE)
    picture = pictures.picture(run.id, category, row["image_id"])
    shown = found if isinstance(found, Missing) else pictures.mapped(picture, scale.place(found), OPACITY, True)
    name = image_panel.short_name(row["image_id"])
    tiles.append(pictures.Tile(f":gray[{name}]", shown, f"Anomaly map of {chosen.title} over {name}"))
pictures.show_tiles(tiles)
pictures.show_colour_bar(scale, OPACITY)
st.caption("One scale for all; the line is the outline of the true defect.")
if last > 1:
    st.pagination(last, key="gallery")
