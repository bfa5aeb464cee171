"""One image of the failures page, with what every method says of it; and the list it was chosen from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages._shared import data, pictures, selection
from pages._shared.pictures import Picture, Tile
from pages._shared.threshold import Chosen
from vlmad_core.figures.overlay import OPACITY
from vlmad_core.figures.scale import ColourScale
from vlmad_core.results.comparison import Comparison, Line
from vlmad_core.results.store import Missing
from vlmad_core.results.verdicts import VERDICT_LABELS, image_thresholds, judge

BADGES = {"missed": "red", "false_alarm": "orange", "found": "green", "passed": "green"}
MAP_SIZE = (256, 256)
SCALE_HELP = (
    "The same for all methods shown. Compared with normal pixels: how many pixels of normal test images, of the same "
    "method and category, score as high; like the metrics it depends on the order of scores only. Raw scores: the "
    "same number has the same colour for every method."
)


def show(
    one: Comparison, shots: int, line: Line, category: str, listed: pd.DataFrame, opened: str, threshold: Chosen
) -> None:
    """The opened image: original, truth and each method's map side by side; scores against thresholds."""
    ids = listed["image_id"].tolist()
    row = listed.iloc[ids.index(opened)]
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            verdict = f":{BADGES[row['verdict']]}-badge[{VERDICT_LABELS[row['verdict']]}]"
            st.markdown(f"**{short_name(opened)}** {verdict} :gray[{row['rank']} of {len(ids)}]", width="content")
            with st.container(horizontal=True, width="content"):
                opacity, with_outline, shared_raw = _display_options()
                _step("Previous", ids, opened, -1, ":material/chevron_left:", "P")
                _step("Next", ids, opened, +1, ":material/chevron_right:", "N")
        lines = one.lines(shots)
        own_run = line.run_with(category)
        picture = pictures.picture(own_run.id if own_run else "", category, opened)
        tiles, scale = _tiles(lines, category, opened, picture, opacity, with_outline, shared_raw)
        pictures.show_tiles(tiles)
        if scale is not None:
            pictures.show_colour_bar(scale, opacity)
        _scores(lines, line, category, opened, threshold)
        _reasons(line, category, opened)


def show_list(run_id: str, category: str, listed: pd.DataFrame, opened: str, per_page: int) -> None:
    """Small pictures of the listed images, clearest mistake first; a button opens each."""
    ids = listed["image_id"].tolist()
    last = -(-len(ids) // per_page)
    if st.session_state.get("list_of") != opened:
        st.session_state["list_of"] = opened
        st.session_state["list_page"] = ids.index(opened) // per_page + 1
    st.session_state["list_page"] = min(st.session_state.get("list_page", 1), last)
    page = st.session_state["list_page"]
    part = listed.iloc[(page - 1) * per_page : page * per_page]
    small = pictures.thumbnails(run_id, category, part["image_id"].tolist())
    grid = st.grid("auto", min_column_width=104, gap="xsmall")
    for row in part.to_dict("records"):
        image_id = row["image_id"]
        with grid.cell():
            if image_id in small:
                st.image(small[image_id], width="stretch", alt=f"{short_name(image_id)}, score {row['score']:.3g}")
            st.button(
                f"{row['rank']} · {row['margin']:+.2g}",
                key=f"open-{image_id}",
                type="primary" if image_id == opened else "secondary",
                on_click=selection.remember,
                args=("image", image_id),
                width="stretch",
                help=f"{short_name(image_id)}: score {row['score']:.4g}, {row['margin']:+.4g} from the threshold",
            )
    if last > 1:
        st.pagination(last, key="list_page")


def _display_options() -> tuple[float, bool, bool]:
    with st.popover("Display", icon=":material/tune:"):
        opacity = st.slider("Opacity of the maps", 0.2, 1.0, OPACITY, 0.05, key="opacity", persist_state="session")
        with_outline = st.toggle("Outline of the true defect", True, key="outline", persist_state="session")
        scale = st.segmented_control(
            "Colour scale", ["rarity", "raw"], default="rarity", required=True, key="scale", persist_state="session",
            format_func=lambda name: "Compared with normal pixels" if name == "rarity" else "Raw scores",
            help=SCALE_HELP,
        )  # fmt: skip
    return float(opacity), bool(with_outline), scale == "raw"


def _step(label: str, ids: list[str], opened: str, by: int, icon: str, shortcut: str) -> None:
    target = ids.index(opened) + by
    inside = 0 <= target < len(ids)
    st.button(
        label, icon=icon, disabled=not inside, shortcut=shortcut, key=f"step-{by}", on_click=selection.remember,
        args=("image", ids[target] if inside else opened),
    )  # fmt: skip


def _tiles(
    lines: tuple[Line, ...],
    category: str,
    image_id: str,
    picture: Picture,
    opacity: float,
    with_outline: bool,
    raw: bool,
) -> tuple[list[Tile], ColourScale | None]:
    name = short_name(image_id)
    tiles = [
        Tile("Original", picture.pixels, f"Image {name}"),
        Tile("Ground truth", pictures.truth(picture), f"True defect of {name}, light"),
    ]
    runs = data.runs_of(lines, category)
    common = data.raw(tuple(runs.values()), category) if raw else None
    shown: ColourScale | None = None
    for line in lines:
        title = selection.tidy(line.title)
        if line.id not in runs:
            tiles.append(Tile(title, Missing("Not finished for this category."), ""))
            continue
        found = data.store().anomaly_map(runs[line.id], category, image_id, MAP_SIZE)
        scale = common if raw else data.rarity(runs[line.id], category)
        if isinstance(found, Missing) or scale is None:
            reason = found if isinstance(found, Missing) else Missing("There are no normal images to compare with.")
            tiles.append(Tile(title, reason, ""))
            continue
        shown = scale
        pixels = pictures.mapped(picture, scale.place(found), opacity, with_outline)
        highest = f"highest pixel {float(np.max(found)):.3g}"
        tiles.append(Tile(title, pixels, f"Anomaly map of {title} over {name}; {highest}"))
    return tiles, shown


def _scores(lines: tuple[Line, ...], chosen: Line, category: str, image_id: str, threshold: Chosen) -> None:
    """Score, threshold and verdict of each method as a table."""
    rows: list[dict[str, Any]] = []
    for line in lines:
        run, title = line.run_with(category), selection.tidy(line.title)
        if run is None:
            continue
        images = data.store().images(run.id, category)
        own = images[(images["image_id"] == image_id) & images["score"].notna()]
        stored = image_thresholds(run, category, images)
        at: Any = (
            threshold if line.same_as(chosen) else stored.get(threshold.name or "", next(iter(stored.values()), None))
        )
        if own.empty or at is None:
            rows.append({"Method": title, "Verdict": "–", "Score": "–", "Threshold": "–", "From": "no score"})
            continue
        judged = judge(own, at.value).iloc[0]
        rows.append(
            {
                "Method": f"**{title}**" if line.same_as(chosen) else title,
                "Verdict": f":{BADGES[judged['verdict']]}-badge[{VERDICT_LABELS[judged['verdict']]}]",
                "Score": f"{judged['score']:.4g}",
                "Threshold": f"{at.value:.4g}",
                "From": f":gray[{at.label}]",
            }
        )
    st.table(pd.DataFrame(rows).set_index("Method"), border="horizontal", alt="Scores against thresholds by method")


def _reasons(line: Line, category: str, image_id: str) -> None:
    """What moved the score, where the run kept it."""
    run = line.run_with(category)
    reasons = data.store().explain(run.id, category) if run else pd.DataFrame()
    if reasons.empty:
        return
    own = reasons[reasons["image_id"] == image_id]
    if own.empty:
        return
    with st.expander(f"Why: what moved the score of {line.title}", icon=":material/psychology:"):
        columns = [name for name in ("kind", "towards", "text", "value") if name in own.columns]
        st.dataframe(
            own[columns], hide_index=True, alt=f"Prompts and places that moved the score of {line.title}",
            column_config={"value": st.column_config.NumberColumn("Strength", format="%.3f"), "text": "What"},
        )  # fmt: skip


def short_name(image_id: str) -> str:
    """An image's name without the parts that are the same for all: defect type and number."""
    parts = image_id.replace("\\", "/").split("/")
    return selection.tidy(" / ".join(parts[-2:]).rsplit(".", 1)[0], 80)
