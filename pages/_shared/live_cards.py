"""What each method says of one image, side by side, card by card as results come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from pages._shared import live, pictures, selection
from vlmad_core.figures.overlay import OPACITY, encode, enlarge
from vlmad_core.figures.scale import ColourScale
from vlmad_core.metrics import Threshold, Verdict
from vlmad_core.metrics.thresholds import user_threshold
from vlmad_core.results.store import Missing

if TYPE_CHECKING:
    from vlmad_core.live import LivePrediction

Pixels = NDArray[np.uint8]
SHARED = ("preprocess", "vision", "references")
"""Stages that are spent once for all methods."""


@dataclass(frozen=True)
class Card:
    """One method's card.

    Attributes:
        prediction: What the method says.
        rule: The stored run that gives thresholds and scale, if there is one.
        slot: Where its map is drawn.
    """

    prediction: LivePrediction
    rule: live.Yardstick | None
    slot: Any


class Cards:
    """Cards of one image; made anew with every run of the page.

    Args:
        pixels: The image, [H, W, 3].
        category: The part in words.
        info: The backbone's info.
    """

    def __init__(self, pixels: Pixels, category: str, info: Any) -> None:
        self._picture = pictures.Picture(_fit(pixels), Missing("No ground truth."))
        self._category = category
        self._info = info
        self._cards: list[Card] = []
        self._grid = st.grid("auto", min_column_width=190, gap="small")
        with self._grid.cell():
            st.markdown("**Image**")
            st.image(
                encode(enlarge(_fit(pixels), pictures.SHORTEST)), width="stretch", alt=f"The image to judge: {category}"
            )

    def add(self, prediction: LivePrediction) -> None:
        """Add the card of a method that has finished."""
        rule = None
        if prediction.error is None:
            rule = live.yardstick(self._info, prediction.method_id, prediction.shots, self._category)
        with self._grid.cell():
            st.markdown(f"**{selection.tidy(prediction.title)}**")
            if prediction.error is not None:
                st.error(prediction.error, icon=":material/error:")
                return
            card = Card(prediction, rule, st.empty())
            self._cards.append(card)
            if prediction.anomaly_map is None:
                card.slot.caption("Gives a score for the whole image, and no map.")
            else:
                self._draw(card)
            _verdict(prediction, rule)

    def finish(self, known: str, seconds: float) -> None:
        """Bring all maps to one scale, and show the colour bar, what is known, the times and the reasons."""
        with_map = [card for card in self._cards if card.prediction.anomaly_map is not None]
        for card in with_map:
            self._draw(card)
        if with_map:
            pictures.show_colour_bar(self._scale(with_map[0]), OPACITY)
        if known:
            st.caption(f":material/fact_check: {known}")
        _times([card.prediction for card in self._cards], seconds)
        _reasons([card.prediction for card in self._cards if card.prediction.reasons])

    def _draw(self, card: Card) -> None:
        assert card.prediction.anomaly_map is not None
        places = self._scale(card).place(card.prediction.anomaly_map)
        pixels = pictures.mapped(self._picture, places, OPACITY, with_outline=False)
        card.slot.image(encode(pixels), width="stretch", alt=f"Anomaly map of {card.prediction.title} over the image")

    def _scale(self, card: Card) -> ColourScale:
        """How rare a value is, if every map so far has a run to compare with; else one scale in raw units."""
        with_map = [c for c in self._cards if c.prediction.anomaly_map is not None]
        scales = {id(c): c.rule.scale for c in with_map if c.rule is not None and c.rule.scale is not None}
        if len(scales) == len(with_map):
            return scales[id(card)]
        return live.common_scale([c.prediction.anomaly_map for c in with_map if c.prediction.anomaly_map is not None])


def _fit(pixels: Pixels) -> Pixels:
    """At most ``pictures.LONGEST`` pixels along the longer side."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((pictures.LONGEST, pictures.LONGEST))
    return np.asarray(image)


def _verdict(prediction: LivePrediction, rule: live.Yardstick | None) -> None:
    """Score, verdict and where its threshold comes from; or why there is no verdict."""
    assert prediction.image_score is not None
    threshold: Threshold | None = None
    key = f"own-{prediction.method_id}-{prediction.shots}"
    own = st.session_state.get(key)
    if own is not None:
        threshold = user_threshold(float(own))
    elif rule is not None and rule.thresholds:
        stored = next(iter(rule.thresholds.values()))
        threshold = Threshold(stored.value, "stored_run", f"{stored.label}; {stored.origin}")
    if threshold is None:
        st.markdown(f":gray-badge[no verdict] score **{prediction.image_score:.4g}**")
        st.caption("No stored run of this method, backbone and category to take a threshold from.")
    else:
        verdict = Verdict(prediction.image_score >= threshold.value, prediction.image_score, threshold)
        badge = ":red-badge[anomalous]" if verdict.anomalous else ":green-badge[normal]"
        sign = "≥" if verdict.anomalous else "<"
        st.markdown(f"{badge} score **{verdict.score:.4g}** {sign} {threshold.value:.4g}")
        origin = {"user": "set by you", "stored_run": "stored run"}.get(threshold.origin, threshold.origin)
        st.caption(f"Threshold: {origin}" + (f", {threshold.detail}" if threshold.origin == "stored_run" else ""))
    with st.popover("Own threshold", icon=":material/tune:", width="stretch"):
        st.number_input(
            "Anomalous from a score of", value=None, format="%.4f", step=0.001, key=key, persist_state="session"
        )


def _times(done: list[LivePrediction], seconds: float) -> None:
    """Where the time went."""
    if not done:
        return
    shared = {name: done[0].seconds[name] for name in SHARED if name in done[0].seconds}
    stages = [(f"{name}, once for all methods", 1000 * value) for name, value in shared.items()]
    for one in done:
        stages += [(f"{one.title}: {name}", 1000 * v) for name, v in one.seconds.items() if name not in SHARED]
    frame = pd.DataFrame(stages, columns=["Stage", "ms"])
    with st.expander(f"Latency: {frame['ms'].sum():.0f} ms for {len(done)} methods", icon=":material/timer:"):
        bar = st.column_config.ProgressColumn(
            "Milliseconds", format="%.0f", min_value=0, max_value=float(frame["ms"].max())
        )
        st.dataframe(frame, hide_index=True, alt="Latency by stage", column_config={"ms": bar})
        st.caption(f"One image, batch of one. The page took {seconds:.2f} s, drawing included.")


def _reasons(done: list[LivePrediction]) -> None:
    """What moved each score most."""
    rows = [(one.title, reason.towards, reason.text, reason.value) for one in done for reason in one.reasons]
    if not rows:
        return
    with st.expander("Why: what moved the scores", icon=":material/psychology:"):
        st.dataframe(
            pd.DataFrame(rows, columns=["Method", "Towards", "What", "Strength"]),
            hide_index=True,
            alt="Prompts and places that moved the scores",
            column_config={"Strength": st.column_config.NumberColumn(format="%.3f")},
        )
