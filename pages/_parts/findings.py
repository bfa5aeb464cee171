"""What was found in a part's photos, in plain words, with a few of them to see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from pages._ui import machine, selection
from vlmad_core.datasets import Dataset, Sample
from vlmad_core.datasets.check import CheckReport, check_dataset, sizes_in_words
from vlmad_core.datasets.fingerprint import listing_hash
from vlmad_core.datasets.inspecting import Content
from vlmad_core.datasets.parts import Part
from vlmad_core.errors import VlmadError

SHOWN = 4
"""Photos of each label that are shown small."""
MOST_TOLD = 8
"""Findings of one kind, and problems of an upload, that are shown one by one."""


def checked(dataset: Dataset) -> CheckReport:
    """What is found in photos on disk; each state of them is checked once."""
    return _checked(_state(dataset.samples), dataset)


@st.cache_resource(max_entries=16, show_spinner="Checking the photos …")
def _checked(state: str, _dataset: Dataset) -> CheckReport:
    return check_dataset(_dataset)


def _state(samples: Sequence[Sample]) -> str:
    """Changes with the photos: which there are, and when the files were written. An upload is like no other."""
    paths_and_times = [
        (str(path), path.stat().st_mtime_ns if path.is_file() else 0)
        for sample in samples
        for path in (sample.image_path, sample.mask_path)
        if path is not None
    ]
    return f"{listing_hash(samples)} {hash(tuple(paths_and_times))}"


def show_check(report: CheckReport, read: Content, titled: Part | None = None) -> None:
    """Findings in plain words: numbers first, then what is wrong, then what so few photos can show."""
    train, good, bad = (sum(column) for column in zip(*report.counts.values(), strict=True))
    masks = sum(report.masks.values())
    name = f"**{selection.tidy(titled.title)}**: " if titled else ""
    st.markdown(
        f"{name}**{train + good} good** photos, {train} of them for references and never tested on, and "
        f"**{bad} defective** ones, {masks or 'none'} with a mask."
    )
    errors = [remark for remark in report.remarks if remark.severity == "error"]
    others = [remark for remark in report.remarks if remark.severity != "error"]
    _show_some(report.dataset, read)
    for remark in errors:
        st.warning(_told(remark.sentence, remark.items), icon=":material/report:")
    with st.expander("What the check says", icon=":material/fact_check:", expanded=not titled and bool(errors)):
        lines = [
            sizes_in_words(report.sizes),
            *report.dataset.notes,
            *(one.sentence for one in others),
            *report.outlook,
        ]
        st.markdown("\n".join(f"- {selection.tidy(line, 400)}" for line in lines))


def _show_some(dataset: Dataset, read: Content) -> None:
    """A few photos of each label, so that one sees whether the labels are right."""
    with st.container(horizontal=True, gap="xsmall"):
        for label, words in ((0, "good"), (1, "defective")):
            own = [sample for sample in dataset.samples if sample.label == label]
            for sample in own[:: max(1, len(own) // SHOWN)][:SHOWN]:
                picture = _small(_state([sample]), sample.image_path, read)
                if picture:
                    name = selection.tidy(sample.id, 100)
                    st.image(picture, width=84, caption=words, alt=f"A {words} photo: {name}")


@st.cache_data(max_entries=200, show_spinner=False)
def _small(state: str, _path: Path, _read: Content) -> bytes | None:
    try:
        return machine.small_copy(_read(_path))
    except VlmadError:
        return None


def _told(sentence: str, items: Sequence[str]) -> str:
    more = f"\n- and {len(items) - MOST_TOLD} more" if len(items) > MOST_TOLD else ""
    return "\n".join([sentence, "", *(f"- {selection.tidy(item, 300)}" for item in items[:MOST_TOLD])]) + more
