"""The effect side of the prompt lab: what the words reach, what changed, and what each phrase adds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from pages._lab import asking
from pages._ui import drawing, frame, selection
from vlmad_core.analysis.statistics import INTERVAL_NAMES
from vlmad_core.figures.grid import category_label
from vlmad_core.figures.variants import change_figure, effect_figure
from vlmad_core.metrics import METRICS
from vlmad_core.prompts import PromptEnsemble

if TYPE_CHECKING:
    from vlmad_core.prompt_lab import Change, Changes, Effect, LabResult
    from vlmad_core.prompt_lab.remote import LabPlace

HEADLINE = ("image_auroc", "pixel_auroc", "aupro_30")
KINDS = {"States": ("normal state", "abnormal state"), "Templates": ("template",), "Prompts": ("prompt",)}


def headline(changes: dict[str, Changes], category: str) -> None:
    """The three numbers that matter most, with what changed."""
    with st.container(horizontal=True):
        for metric in HEADLINE:
            one = _of(changes[metric], category)
            gap = one.gap.value
            same = gap is None or abs(gap) < 5e-4
            delta = None if gap is None else "no change" if same else f"{100 * gap:+.1f} points"
            st.metric(
                METRICS[metric].label.partition(" (")[0], frame.percent(one.value), delta,
                delta_color="off" if same else "normal", delta_arrow="off" if same else "auto", border=True,
            )  # fmt: skip


def sentence(changes: Changes, category: str, against: str) -> None:
    """What changed, in a sentence that says how sure it is."""
    one = _of(changes, category)
    label = METRICS[changes.metric].label
    if one.gap.value is None:
        st.markdown(f"**{label}** has no value here: {selection.tidy(one.reason or 'not computed', 200)}")
        return
    gap = 100 * one.gap.value
    if abs(gap) < 0.05:
        st.markdown(f"**{label}** is the same as with {selection.tidy(against)}, to a tenth of a point.")
        return
    word = "more" if gap > 0 else "less"
    text = f"**{label}: {abs(gap):.1f} points {word}** than {selection.tidy(against)}"
    if one.gap.low is not None and one.gap.high is not None:
        sure = "a clear difference" if one.gap.clear else "not a clear difference"
        text += f" [{100 * one.gap.low:+.1f}, {100 * one.gap.high:+.1f}]: {sure}, {one.gap.design}."
    else:
        text += ", without an interval."
    st.markdown(text)


def by_category(changes: Changes, base: PromptEnsemble) -> None:
    """Figure and table of all categories, the mean first."""
    rows = [_row("Mean", changes.mean)] + [_row(category_label(k), v) for k, v in changes.categories.items()]
    table = pd.DataFrame(rows)
    label = METRICS[changes.metric].label.partition(" (")[0]
    if table["difference"].notna().any():
        st.plotly_chart(
            change_figure(table, label, frame.is_dark()), config=drawing.PLOT, key="lab_changes",
            alt=f"Change in {label} for each category and on the mean",
        )  # fmt: skip
    st.caption(
        f"Lines: 95 % interval of the difference, {INTERVAL_NAMES[changes.design]}. "
        "Pixel metrics are exact, on maps of 256 x 256."
    )
    with st.expander("The numbers", icon=":material/table:"):
        st.dataframe(
            table, hide_index=True, placeholder="–", alt=f"{label} by category for both ensembles",
            column_order=["name", "base", "value", "difference", "low", "high", "n", "reason"],
            column_config={
                "name": st.column_config.TextColumn("Category", pinned=True),
                "base": st.column_config.NumberColumn(base.title, format="%.1f"),
                "value": st.column_config.NumberColumn("These words", format="%.1f"),
                "difference": st.column_config.NumberColumn("Difference", format="%+.1f"),
                "low": st.column_config.NumberColumn("from", format="%+.1f"),
                "high": st.column_config.NumberColumn("to", format="%+.1f"),
                "n": "Images", "reason": "Why blank",
            },
        )  # fmt: skip


def by_phrase(place: LabPlace, ensemble: PromptEnsemble, category: str) -> None:
    """What each state, template or prompt adds."""
    st.subheader("What each phrase adds", anchor=False)
    whole = category == frame.ALL
    options = [name for name in KINDS if not (whole and name == "Prompts")]
    part = st.segmented_control("Phrases", options, default="States", key="lab_part", required=True)
    effects = asking.effects(place, ensemble, None if whole else category, part == "Prompts")
    chosen = [effect for effect in effects if effect.kind in KINDS.get(part or "States", ())]
    chosen.sort(key=lambda effect: -(effect.adds if effect.adds is not None else -9.0))
    where = "mean over categories" if whole else category_label(category)
    if part != "Prompts":
        st.plotly_chart(
            effect_figure(
                [effect.phrase for effect in chosen],
                [None if effect.adds is None else 100 * effect.adds for effect in chosen], frame.is_dark(),
            ),
            config=drawing.PLOT, key="lab_effects", alt=f"Image AUROC that each phrase adds, {where}",
        )  # fmt: skip
        st.caption(
            f"Image AUROC with all phrases minus that without this one ({where}); "
            "a bar to the left means the ensemble does better without it."
        )
    with st.expander(
        "Similarities" if part != "Prompts" else "All prompts", part == "Prompts", icon=":material/table:"
    ):
        _similarities(chosen)
    if whole:
        st.caption(":material/info: Choose a category above to see every single prompt.")


def cost(result: LabResult, images: int) -> None:
    """How long it took."""
    seconds = sum(result.seconds.values())
    st.caption(
        f":material/timer: {images} images in {len(result.categories)} categories scored in **{seconds:.2f} s**, "
        f"all metrics included; {result.new_prompts} prompts were new to the text tower."
    )


def _similarities(effects: list[Effect]) -> None:
    rows = [
        {
            "kind": effect.kind, "phrase": effect.phrase, "normal": effect.to_normal,
            "defective": effect.to_defective, "leans": effect.leans,
            "adds": None if effect.adds is None else 100 * effect.adds, "reason": effect.why_blank,
        }
        for effect in effects
    ]  # fmt: skip
    st.dataframe(
        pd.DataFrame(rows), hide_index=True, placeholder="–", alt="Similarity of each phrase to the images",
        column_config={
            "kind": "Kind", "phrase": st.column_config.TextColumn("Phrase", pinned=True),
            "normal": st.column_config.NumberColumn("To normal images", format="%.4f"),
            "defective": st.column_config.NumberColumn("To defective images", format="%.4f"),
            "leans": st.column_config.NumberColumn("Leans to defective", format="%+.4f"),
            "adds": st.column_config.NumberColumn("Adds (points)", format="%+.2f"), "reason": "Why blank",
        },
    )  # fmt: skip
    st.caption("Cosine similarity, mean over the images and over the prompts a phrase stands in.")


def _of(changes: Changes, category: str) -> Change:
    return changes.mean if category == frame.ALL else changes.categories[category]


def _row(name: str, change: Change) -> dict[str, object]:
    def points(value: float | None) -> float:
        return float("nan") if value is None else 100 * value

    numbers = {
        "base": change.base, "value": change.value,
        "difference": change.gap.value, "low": change.gap.low, "high": change.gap.high,
    }  # fmt: skip
    return {"name": name, **{k: points(v) for k, v in numbers.items()}, "n": change.n, "reason": change.reason}
