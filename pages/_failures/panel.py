"""The opened image: maps side by side, scores against thresholds, and why a method gave the image its score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from pages._failures import judging
from pages._ui import data, pictures, selection
from pages._ui.pictures import Picture, Tile
from vlmad_core.analysis.entries import Comparison, Entry
from vlmad_core.analysis.failures import Explanation, corners, explanation, prompt_lead
from vlmad_core.analysis.verdicts import VERDICT_LABELS, image_thresholds
from vlmad_core.figures.grid import category_label
from vlmad_core.figures.overlay import OPACITY, cut_out, enlarge, framed
from vlmad_core.figures.scale import ColourScale
from vlmad_core.store.reader import Missing

BADGES = {"missed": "red", "false_alarm": "orange", "found": "green", "passed": "green"}
SCALE_HELP = (
    "The same for all methods shown. Compared with normal pixels: how many pixels of normal test images, of the same "
    "method and category, score as high; like the metrics it depends on the order of scores only. Raw scores: the "
    "same number has the same colour for every method."
)


def show(
    one: Comparison,
    lines: Sequence[Entry],
    line: Entry,
    listed: pd.DataFrame,
    opened: str,
    others: Mapping[str, pd.DataFrame],
) -> None:
    """The opened image: original, truth and each method's map side by side; scores against thresholds; why.

    Args:
        one: What is compared.
        lines: The methods.
        line: The method whose list this is.
        listed: The list, as ``verdicts.ranked`` gives it.
        opened: The image; one of the list.
        others: What the other methods say of the images, by line.
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
                opacity, with_outline, shared_raw = _display_options()
                judging.note_editor(one.dataset, line, run.id if run else "", row)
                _step("Previous", ids, opened, -1, ":material/chevron_left:", "P")
                _step("Next", ids, opened, +1, ":material/chevron_right:", "N")
        judging.show_other_notes(one.dataset, line, opened, titles)
        run_id = run.id if run else ""
        tiles, scale = _tiles(lines, run_id, category, opened, opacity, with_outline, shared_raw)
        pictures.show_tiles(tiles)
        if scale is not None:
            pictures.show_colour_bar(scale, opacity)
        _scores(lines, line, row, others)
        _why(line, category, opened)


def _headline(row: Mapping[Any, Any]) -> str:
    """Name, verdict, and what is known of the defect."""
    badge = f":{BADGES[row['verdict']]}-badge[{VERDICT_LABELS[row['verdict']]}]"
    area = row["defect_area"]
    share = f", {100 * area:.2g} % of the image" if row["label"] == 1 and pd.notna(area) else ""
    where = selection.tidy(category_label(str(row["category"])))
    return f"**{pictures.short_name(str(row['image_id']))}** {badge} :gray[{where}{share}]"


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
    lines: Sequence[Entry],
    run_id: str,
    category: str,
    image_id: str,
    opacity: float,
    with_outline: bool,
    raw: bool,
) -> tuple[list[Tile], ColourScale | None]:
    name = pictures.short_name(image_id)
    original, truth = pictures.shown(run_id, category, image_id)
    tiles = [
        Tile("Original", original, f"Image {name}"),
        Tile("Ground truth", truth, f"True defect of {name}, light"),
    ]
    runs = data.runs_of(lines, category)
    common = data.raw(tuple(runs.values()), category) if raw else None
    shown: ColourScale | None = None
    for line in lines:
        title = selection.tidy(line.title)
        if line.id not in runs:
            tiles.append(Tile(title, Missing("Not finished for this category."), ""))
            continue
        scale = common if raw else data.rarity(runs[line.id], category)
        if scale is None:
            found = data.store().grids(runs[line.id], category)
            reason = found.reason if isinstance(found, Missing) else "There are no normal images to compare with."
            tiles.append(Tile(title, Missing(reason), ""))
            continue
        drawn = pictures.drawn_map(runs[line.id], category, image_id, scale, opacity, with_outline)
        if isinstance(drawn, Missing):
            tiles.append(Tile(title, drawn, ""))
            continue
        shown = scale
        alt = f"Anomaly map of {title} over {name}; highest pixel {drawn.highest:.3g}"
        tiles.append(Tile(title, drawn.content, alt))
    return tiles, shown


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


AROUND = 2.0
"""How much of a patch's sides is shown around it."""


def _why(line: Entry, category: str, image_id: str) -> None:
    """What the run kept about the image's score, behind a headline that opens it."""
    title = selection.tidy(line.title)
    part = st.expander(f"Why {title} gives this score", icon=":material/psychology:", key="why", on_change="rerun")
    if not part.open:
        return
    with part:
        run = line.run_with(category)
        found = explanation(data.store().explain(run.id, category), image_id) if run else None
        if run is None or not found:
            st.caption(f"{title} kept no reasons for its scores.")
            return
        tiles = _places(run.id, category, found, pictures.picture(run.id, category, image_id))
        if tiles:
            pictures.show_tiles(tiles, width=180)
        if len(found.prompts):
            _prompts(found)


def _places(run_id: str, category: str, found: Explanation, picture: Picture) -> list[Tile]:
    """The image with its strongest windows, and the least familiar patch beside its nearest reference patch."""
    if isinstance(picture.pixels, Missing):
        return [Tile("Windows", picture.pixels, "")] if found.boxes or found.nearest else []
    image = enlarge(picture.pixels, pictures.SHORTEST)
    tiles = []
    if found.boxes:
        boxes = [corners(box, image.shape) for box in found.boxes]
        listed = ", ".join(
            f"{number}: {selection.tidy(row['text'])} ({row['value']:.3g})"
            for number, row in enumerate(found.windows.to_dict("records"), 1)
        )
        alt = f"The image with the {len(boxes)} places that look most abnormal"
        tiles.append(Tile("Most abnormal places", framed(image, boxes), alt, listed))
    near = found.nearest
    if near is not None:
        box = corners(near.patch, image.shape)
        patch = cut_out(framed(image, [box], numbered=False), box, AROUND)
        tiles.append(Tile("Least familiar patch", patch, "The patch that is least like the references, enlarged"))
        reference = pictures.reference(run_id, category, near.reference)
        title, note = f"Most like it: reference {near.reference + 1}", f"cosine similarity {near.similarity:.3f}"
        if isinstance(reference, Missing):
            tiles.append(Tile(title, reference, "", note))
        else:
            reference = enlarge(reference, pictures.SHORTEST)
            place = corners(near.place, reference.shape)
            marked = framed(reference, [place], numbered=False)
            tiles.append(Tile(title, cut_out(marked, place, AROUND), "The patch of a reference nearest to it", note))
            tiles.append(Tile("That reference", marked, "The whole reference with the patch marked"))
    return tiles


def _prompts(found: Explanation) -> None:
    lead = prompt_lead(found.prompts)
    shown = pd.DataFrame(
        {
            "Prompt": [selection.tidy(text, 120) for text in found.prompts["text"]],
            "Speaks for": found.prompts["towards"],
            "Similarity": [f"{value:.4f}" for value in found.prompts["value"]],
        }
    ).set_index("Prompt")
    st.markdown("Prompts most like the whole image")
    st.table(shown, border="horizontal", alt="The prompts most like the image, with their cosine similarity")
    if lead is not None:
        side = "an abnormal" if lead > 0 else "a normal"
        st.caption(f"The image is most like {side} prompt, by {abs(lead):.4f} of cosine similarity.")
