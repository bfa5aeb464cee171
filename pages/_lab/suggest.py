"""Suggested words, with a gain that was measured on categories they were not chosen on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from pages._lab import desk
from pages._ui import selection
from vlmad_core.errors import VlmadError
from vlmad_core.figures.grid import category_label
from vlmad_core.prompts import PromptEnsemble

if TYPE_CHECKING:
    from vlmad_core.prompt_lab import LabData, Suggestion

WAYS = {"Add to these words": True, "From the pool alone": False}
"""How words are chosen; the first is the default, since it gains more on categories that were not chosen on."""


def show(mine: desk.Desk, data: LabData, ensemble: PromptEnsemble) -> None:
    """A button that looks for words, and what it found last for this data set and these words."""
    from vlmad_core.prompt_lab import default_pool, suggest

    st.subheader("Suggested words", anchor=False)
    pool = default_pool().with_words_of(ensemble)
    st.caption(
        f"Chosen one by one from your words and a pool ({len(pool.normal_states)} normal and "
        f"{len(pool.abnormal_states)} abnormal states, {len(pool.templates)} templates) by image AUROC, always on "
        "other categories than those the gain is reported on. Add phrases above to have them tried."
    )
    way = st.segmented_control("Choose", list(WAYS), default=next(iter(WAYS)), key="lab_way", required=True)
    build_on = WAYS.get(way or "", True)
    key = (data.dataset, ensemble.content_hash, build_on)
    if st.button("Suggest words", icon=":material/auto_awesome:", key="lab_suggest"):
        bar = st.progress(0.0, "Reading the pool …")
        try:
            bank = desk.bank()
            found = suggest(
                data, ensemble, pool, bank, lambda share, what: bar.progress(share, what), build_on=build_on
            )
            mine.suggestion = (key, found)
        except VlmadError as error:
            mine.suggestion = None
            st.info(str(error), icon=":material/info:")
        bar.empty()
    if mine.suggestion is not None and mine.suggestion[0][0] == data.dataset:
        _found(mine, mine.suggestion[1], fresh=mine.suggestion[0] == key)


def _found(mine: desk.Desk, found: Suggestion, *, fresh: bool) -> None:
    gain, count = found.held.mean, len(found.held.categories)
    if gain.difference is not None and gain.low is not None and gain.high is not None:
        clear = "a clear difference" if gain.clear else "not a clear difference"
        st.markdown(
            f"On {count} categories held apart: **{100 * gain.difference:+.1f} points of image AUROC** "
            f"[{100 * gain.low:+.1f}, {100 * gain.high:+.1f}], {clear}."
        )
    names = ", ".join(category_label(name) for name in found.folds[-1].fitted)
    if found.scheme == "split":
        st.caption(f"Chosen on {selection.tidy(names, 300)}; judged on the others.")
    else:
        st.caption(
            f"There are few categories, so each was judged with words chosen on the others ({len(found.folds)} "
            "choices); the gain is that of choosing this way. The words offered were chosen on all of them: "
            "their own numbers above are partly fitted."
        )
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Words offered**, in the order in which they were chosen")
        if not found.steps:
            st.caption("Nothing in the pool adds a tenth of a point where it is chosen: keep your words.")
            return
        steps = [(step.kind, step.phrase, 100 * step.fitted) for step in found.steps]
        st.dataframe(
            pd.DataFrame(steps, columns=["Kind", "Phrase", "fitted"]), hide_index=True,
            alt="Phrases as they were chosen",
            column_config={"fitted": st.column_config.NumberColumn("AUROC where chosen", format="%.1f")},
        )  # fmt: skip
    with right:
        st.markdown("**Judged on categories held apart**")
        rows = [
            (category_label(name), 100 * c.base, 100 * c.value, 100 * c.difference, len(_fold(found, name)))
            for name, c in found.held.categories.items()
            if c.base is not None and c.value is not None and c.difference is not None
        ]
        st.dataframe(
            pd.DataFrame(rows, columns=["Category", "before", "after", "gap", "on"]), hide_index=True,
            alt="Image AUROC of held categories before and after",
            column_config={
                "before": st.column_config.NumberColumn("Before", format="%.1f"),
                "after": st.column_config.NumberColumn("After", format="%.1f"),
                "gap": st.column_config.NumberColumn("Difference", format="%+.1f"),
                "on": st.column_config.NumberColumn("Words chosen on", format="%d other categories"),
            },
        )  # fmt: skip
    if not fresh:
        st.caption(":material/history: Found for other words than those of now; look again to compare with these.")
    st.button("Use these words", icon=":material/check:", on_click=desk.put, args=(mine, found.ensemble), key="lab_use")


def _fold(found: Suggestion, name: str) -> tuple[str, ...]:
    return next(fold.fitted for fold in found.folds if name in fold.held)
