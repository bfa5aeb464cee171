from __future__ import annotations

from pathlib import Path

import numpy as np
import streamlit as st

from pages._ui import claims, data, drawing, frame, pictures, selection, take_along
from vlmad_core import paths
from vlmad_core.analysis.entries import Comparison
from vlmad_core.analysis.published import PublishedSet, reported_label
from vlmad_core.analysis.published_tables import published_shots
from vlmad_core.datasets.images import read_image
from vlmad_core.errors import VlmadError
from vlmad_core.figures.grid import category_label
from vlmad_core.figures.overlay import encode
from vlmad_core.figures.variants import shots_figure
from vlmad_core.metrics import METRICS
from vlmad_core.metrics.spec import MEAN
from vlmad_core.store.reader import Missing
from vlmad_core.store.schema import RunRecord

DRAWN = 8  # methods in the figure of a published set unless others are chosen
SIDE = 160  # of a reference's picture, the longer one, in pixels


def show_references(one: Comparison, category: str) -> None:
    """For each draw, the references of a category in the order they were drawn, so that fewer shots are the first."""
    by_seed: dict[int, RunRecord] = {}
    for run in sorted((run for run in one.runs if run.key.shots), key=lambda run: run.key.shots):
        by_seed[run.key.seed] = run
    st.subheader("Which references were used", anchor="references")
    st.caption(
        f"References of **{category_label(category)}**, the same for all methods. They are drawn from the normal "
        "training images in a fixed order, so the references of one shot are among those of two."
    )
    counts = [k for k in one.shots if k]
    for seed, run in sorted(by_seed.items()):
        found = pictures.drawn_references(run.id, category)
        if isinstance(found, Missing):
            st.caption(f"Seed {seed}: {selection.tidy(found.reason, 160)}")
            continue
        st.markdown(f":gray[Seed {seed}]")
        with st.grid("auto", min_column_width=110, gap="small"):
            for place, sample in enumerate(found, start=1):
                first = next((k for k in counts if k >= place), run.key.shots)
                drawing.picture(
                    _small(data.signature(paths.stores()), str(sample.image_path)), width=110,
                    caption=f"from {first} shot{'' if first == 1 else 's'} on",
                    alt=f"Reference {place} of seed {seed}: a normal {category_label(category)}",
                )  # fmt: skip


@st.cache_data(max_entries=256, show_spinner=False)
def _small(mark: str, path: str) -> bytes:
    """An image of a listed sample, made small; grey if it can't be read."""
    try:
        image = read_image(Path(path))
    except VlmadError:
        return encode(np.full((SIDE, SIDE, 3), 128, np.uint8))
    image.thumbnail((SIDE, SIDE))
    return encode(np.asarray(image))


def show_published(one: PublishedSet) -> None:
    """What references add, as sources report it."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = claims.choose_metric(list(one.metrics), "reported", "image_auroc")
        category = MEAN
        if one.categories:
            picked = frame.choose_category_or_all(one.categories)
            category = MEAN if picked == frame.ALL else picked
        wanted = claims.choose_wanted(one)
    rows = published_shots(one, metric, category, wanted)
    titles = dict(zip(rows["method"], rows["title"], strict=True))  # that with the most references
    label = reported_label(metric)
    if rows.empty:
        st.info(f"No source reports {label} with normal references here.", icon=":material/exposure_plus_1:")
        return
    shown = st.multiselect(
        "Methods", list(titles), default=list(titles)[:DRAWN], format_func=titles.__getitem__,
        key=f"published_shots-{one.key}-{metric}",
    )  # fmt: skip
    rows = rows[rows["method"].isin(shown)]
    if len(rows):
        drawing.plotly(
            shots_figure, rows, label,
            alt=f"{label} over the number of normal references, as reported, for each method",
        )  # fmt: skip
    st.caption(
        f"Methods that are reported with references. Bars: standard deviation between seeds, where a source gives one. "
        f"{claims.RULE}"
    )
    take_along.table(
        rows.assign(evidence="reported"), f"shots-{one.key}-published-{metric}", "Values behind the figure",
        {"title": "Method", "evidence": "Number is", "shots": "References", "value": label, "sd": "sd between seeds",
         "citation": "Source"},
    )  # fmt: skip
    st.dataframe(
        rows.assign(value=100 * rows["value"], sd=100 * rows["sd"]), hide_index=True, placeholder="–",
        column_order=["title", "shots", "value", "sd", "kind", "citation"], alt="The values behind the figure",
        column_config={
            "title": st.column_config.TextColumn("Method", pinned=True), "shots": "References",
            "value": st.column_config.NumberColumn(label, format="%.1f"), "citation": "Source",
            "sd": st.column_config.NumberColumn("± seeds", format="%.1f"), "kind": "Whose number",
        },
    )  # fmt: skip


frame.begin("shots")
if (benchmark := frame.published()) is not None:
    show_published(benchmark)
    frame.nothing_measured()
    st.stop()
one = frame.comparison()
with st.container(horizontal=True, vertical_alignment="bottom"):
    names = [name for name in METRICS if name in data.metric_names(one)]
    metric = selection.choose("metric", "Metric", names, names[0], format_func=lambda n: METRICS[n].label, width=240)
    categories = frame.choose_parts(one)
    category = frame.choose_category_or_all(categories)
if one.shots == (0,):
    st.info(
        "Every run here is zero-shot: no method was given normal reference images. "
        "This command adds runs with 1, 2 and 4 references, three draws each:",
        title="No few-shot results yet",
        icon=":material/exposure_plus_1:",
    )
    st.code(
        frame.precompute_command(one, "winclip", 0).replace("--shots 0", "--shots 1 2 4 --seeds 3"),
        language="bash", wrap_lines=True,
    )  # fmt: skip
board = data.board(one, categories if category == frame.ALL else (category,))
board = board[board["name"].isin([entry.name for entry in one.entries() if not entry.variant])]
rows = board[board["metric"] == metric]
label = METRICS[metric].label
if rows["value"].notna().any():
    drawing.plotly(
        shots_figure, rows, label,
        alt=f"{label} over the number of normal references, for each method",
    )  # fmt: skip
    st.caption(
        "Mean over categories and draws of references; bars: standard deviation between draws (seeds). A method with "
        "one number of references only is a single point."
    )
    single = rows[(rows["n_seeds"] == 1) & (rows["shots"] > 0)]
    if len(single):
        st.caption(
            f":material/info: {len(single)} of {int((rows['shots'] > 0).sum())} few-shot points rest on a single draw "
            "of references; they have no bar, which does not mean no spread. `--seeds 3` draws three times."
        )
else:
    st.caption("No method has a value in this metric.")
st.dataframe(
    rows.assign(value=100 * rows["value"], sd=100 * rows["sd"]).sort_values(["title", "preset", "shots"]),
    column_order=["title", "shots", "value", "sd", "n_seeds", "n_categories", "preset", "reason"],
    hide_index=True, placeholder="–", alt="The values behind the figure",
    column_config={
        "title": st.column_config.TextColumn("Method", pinned=True), "preset": "Preset", "shots": "References",
        "value": st.column_config.NumberColumn(label, format="%.1f"),
        "sd": st.column_config.NumberColumn("Between draws (sd)", format="%.1f"),
        "n_seeds": "Draws", "n_categories": "Categories", "reason": "Why blank",
    },
)  # fmt: skip
take_along.table(
    rows.drop(columns="run_ids"), f"shots-{one.dataset}-{metric}", "Values behind the figure",
    {"title": "Method", "evidence": "Number is", "shots": "References", "value": label, "sd": "sd between draws"},
)  # fmt: skip
if one.shots != (0,):
    show_references(one, categories[0] if category == frame.ALL else category)
    if category == frame.ALL:
        st.caption("Choose a category above to see its references.")
