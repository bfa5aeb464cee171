"""What every page shares: the head that says what was measured with what, empty states, and how numbers look."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from pages._ui import data, selection, take_along
from vlmad_core import paths
from vlmad_core.analysis.entries import Comparison, Entry
from vlmad_core.analysis.published import PublishedSet
from vlmad_core.analysis.slices import KINDS, of_kind
from vlmad_core.cards import first_choices
from vlmad_core.figures.grid import category_label

ALL = "all"
PRECOMPUTE = (
    f"python -m vlmad_core precompute --dataset bundled_a --method {' '.join(first_choices())} "
    "--shots 0 --backbone bundled"
)
DEMONSTRATION = (
    "A small demonstration backbone: its numbers show how the program works and decide nothing about real parts."
)

SEEN = {
    "no": ":green-badge[:material/verified: not seen in training]",
    "yes": ":red-badge[:material/warning: seen in training]",
    "not recorded": ":orange-badge[:material/help: training data not recorded]",
}

ONLY_REPORTED = "aupro_reported"
"""A metric that no run has."""
OWN_CHOOSER = ("your_parts", "live_demo", "prompt_lab")
"""Pages that have their own chooser of the data set, with more in it."""
NEEDS_RUNS = {
    "accuracy": "scores of single images, so there are no curves and no thresholds",
    "segmentation": "anomaly maps",
    "study": "the runs that would answer these questions",
    "failures": "images, scores and maps",
}
"""Pages that show nothing of a published set, and what it lacks."""
SHOWS_PUBLISHED = (
    ("leaderboard", "Leaderboard", "leaderboard"),
    ("categories", "Categories", "grid_view"),
    ("shots", "Shots", "exposure_plus_1"),
    ("efficiency", "Efficiency", "speed"),
    ("transfer", "Transfer", "swap_horiz"),
    ("reproduction", "Reproduction", "compare_arrows"),
)
EVIDENCE = {
    "measured": ":blue-badge[:material/straighten: measured here]",
    "imported": ":yellow-badge[:material/move_to_inbox: imported]",
    "reported": ":violet-badge[:material/menu_book: reported]",
}
"""Where an entry's numbers come from, as a badge."""

VERDICT_BADGES = {"anomalous": "red", "normal": "green", "no verdict": "gray", "failed": "orange"}
"""Colours of the live demo's verdicts."""


def head(page: Any) -> None:
    """Draw the head of a page: title, data set, backbone; and keep places for notices and for what is taken along."""
    found = data.all_comparisons()
    own = page.url_path in OWN_CHOOSER
    one = None if page.url_path == "your_parts" else _choice(found, measured=own)
    benchmark = None if own else published()
    if one is not None and page.url_path != "reproduction" and st.query_params.get("metric") == ONLY_REPORTED:
        selection.forget("metric")
    top, st.session_state["notices"] = st.container(), st.container()
    with top, st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.title(page.title, anchor=False, width="content")
        with st.container(horizontal=True, vertical_alignment="bottom", width="content"):
            if datasets(found) and not own:
                _choosers(found, one)
            about = benchmark.id.replace("@", "-") if benchmark else one.dataset if one else ""
            take_along.begin(st.container(width="content"), f"{page.url_path}-{about}".strip("-"))
    if benchmark is not None:
        top.markdown(_reported_on(benchmark))
    if problem := data.published()[1]:
        top.caption(f":material/report: Published numbers can't be read: {selection.tidy(problem, 200)}")
    if one is not None:
        top.markdown(_measured_with(one))
        if one.backbone.get("demonstration"):
            top.caption(f":material/warning: {DEMONSTRATION}")
        problems = len(data.store().problems)
        if problems and page.url_path != "runs":
            items = "1 item" if problems == 1 else f"{problems} items"
            top.caption(f":material/report: {items} in the results folder could not be read; the page Runs names them.")


_AHEAD = ("PlotlyChart", "loadVegaEmbed", "ArrowVegaLiteChart", "DataFrame", "Slider")
"""Parts of Streamlit's frontend that most pages need and the browser fetches with the first of them."""


def fetch_ahead() -> None:
    """Let an idle browser fetch and read what draws figures, so that the first page with one need not wait for it."""
    fetch = f"{json.dumps(_frontend_scripts())}.forEach(name => import(new URL(name, document.baseURI)))"
    st.html(
        f"<script>setTimeout(() => requestIdleCallback(() => {fetch}), 1000)</script>",
        unsafe_allow_javascript=True,
        width="content",
    )


@cache
def _frontend_scripts() -> list[str]:
    folder = Path(st.__file__).parent / "static"
    found = (path for name in _AHEAD for path in sorted(folder.glob(f"static/js/{name}.*.js")))
    return [path.relative_to(folder).as_posix() for path in found]


def begin(page: str) -> None:
    """First line of every page: see that the router has run.

    Until the router's first run, Streamlit takes the files of ``pages/`` for pages of their own. The first
    visitor after a start who opens a link to a page would get it without head and navigation; he is sent
    through the router, which brings him back.

    Args:
        page: Name of the page's file.
    """
    if "notices" not in st.session_state:
        st.session_state["landing"] = (page, st.query_params.to_dict())
        st.switch_page("app.py")
    if page in NEEDS_RUNS and published() is not None and data.all_comparisons():
        _runs_only(NEEDS_RUNS[page])


def land() -> None:
    """Bring a visitor who came round by the router to the page he asked for."""
    if "landing" in st.session_state:
        page, parameters = st.session_state.pop("landing")
        st.switch_page(f"pages/{page}.py", query_params=parameters)


def comparison() -> Comparison:
    """The chosen comparison; ends the page with a word of help if there are no results."""
    one = chosen()
    if one is None:
        nothing_yet()
        st.stop()
    if data.board(one).empty:
        st.error("No metric of these runs could be read; the page Runs names the files.", icon=":material/report:")
        st.stop()
    return one


def chosen() -> Comparison | None:
    """The chosen comparison; None if there are no results, or a published set was chosen."""
    return _choice(data.all_comparisons())


def published() -> PublishedSet | None:
    """The chosen published set; None if measured results were chosen."""
    sets, _ = data.published()
    names = datasets(data.all_comparisons())
    return sets.get(selection.current("dataset", names, names[0], quiet=True)) if names else None


def datasets(found: tuple[Comparison, ...]) -> list[str]:
    """What the data set chooser offers: measured sets, then published ones by their ids."""
    return [*dict.fromkeys(one.dataset for one in found), *data.published()[0]]


def dataset_title(name: str) -> str:
    """A data set as pages show it: a part of the user's own by its name in words."""
    one = data.published()[0].get(name)
    return one.name if one else selection.tidy(data.own_parts().get(name, name))


def nothing_measured() -> None:
    """Below published numbers: say how to measure some, where there are none."""
    if not data.all_comparisons():
        nothing_yet()


def nothing_yet() -> None:
    """Say that there are no results, where they were looked for, and how to make some."""
    st.info(
        f"No measured results were found in `{selection.tidy(str(paths.store_root()), 200)}`. "
        "Make some with the command below; they appear here unit by unit as they are finished.",
        title="Nothing has been measured yet",
        icon=":material/hourglass_empty:",
    )
    st.code(PRECOMPUTE, language="bash", wrap_lines=True)
    problems = data.store().problems
    if problems:
        st.warning(f"{len(problems)} item(s) in the results folder could not be read.", icon=":material/report:")
        st.page_link("pages/runs.py", label="See what is damaged", icon=":material/arrow_forward:")


def precompute_command(comparison: Comparison, method: str, shots: int) -> str:
    """The command that would fill a blank."""
    backbone = comparison.runs[0].key.backbone
    return (
        f"python -m vlmad_core precompute --dataset {comparison.dataset} --method {method} "
        f"--shots {shots} --backbone {backbone}"
    )


def choose_shots(comparison: Comparison) -> int:
    """A chooser for the number of references, drawn only where there is a choice."""
    options = [str(k) for k in comparison.shots]
    if len(options) == 1:
        selection.current("shots", options, options[0])
        return int(options[0])
    picked = selection.choose(
        "shots", "Normal references", options, options[0], segmented=True, format_func=shots_label
    )
    return int(picked)


def choose_method(lines: tuple[Entry, ...], default: str | None = None) -> Entry:
    """A chooser for one of the methods; the first is the default if no other is given."""
    by_id = {line.id: line for line in lines}
    given = st.query_params.get("method", "")
    if given.endswith(":canonical") and given.removesuffix(":canonical") in by_id:
        st.query_params["method"] = given.removesuffix(":canonical")
    picked = selection.choose(
        "method",
        "Method",
        list(by_id),
        default or next(iter(by_id)),
        width=180,
        format_func=lambda name: by_id[name].title,
    )
    return by_id[picked]


def choose_category(categories: tuple[str, ...], default: str | None = None, help: str | None = None) -> str:
    """A chooser for one category; the first is the default if no other is given."""
    return selection.choose(
        "category", "Category", list(categories), default or categories[0], format_func=category_label, help=help,
        width=180,
    )  # fmt: skip


def choose_parts(comparison: Comparison) -> tuple[str, ...]:
    """A chooser for the kind of part; the categories of that kind, or all where nothing is known of them."""
    kinds = data.kinds(comparison)
    options = [ALL, *(kind for kind in KINDS if kind in kinds.values())]
    if len(options) < 3:
        selection.current("parts", [ALL, *KINDS], ALL)
        return comparison.categories
    picked = selection.choose(
        "parts", "Parts like", options, ALL, segmented=True,
        format_func=lambda kind: "All" if kind == ALL else KINDS[kind],
        help="Objects have a shape; textures are surfaces without one.",
    )  # fmt: skip
    return comparison.categories if picked == ALL else of_kind(comparison.categories, kinds, picked)


def choose_category_or_all(categories: tuple[str, ...]) -> str:
    """A chooser for one category, or the mean over all of them (``ALL``)."""
    return selection.choose(
        "category", "Category", [ALL, *categories], ALL, width=210,
        format_func=lambda name: f"All {len(categories)}, mean" if name == ALL else category_label(name),
    )  # fmt: skip


def shots_label(shots: str) -> str:
    """``0`` becomes ``none``, ``4`` becomes ``4``."""
    return "none (zero-shot)" if shots == "0" else shots


def first_of(options: list[str], *preferred: str) -> str:
    """The first preferred option that exists, or else the first option."""
    return next((name for name in preferred if name in options), options[0])


def is_dark() -> bool:
    """Whether the visitor's page is dark."""
    return st.context.theme.type == "dark"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as a percentage without the sign; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.{digits}f}"


def _choice(found: tuple[Comparison, ...], *, measured: bool = False) -> Comparison | None:
    """The chosen comparison; None where a published set is chosen, unless only ``measured`` ones are asked for."""
    if not found:
        return None
    names = list(dict.fromkeys(one.dataset for one in found)) if measured else datasets(found)
    dataset = selection.current("dataset", names, found[0].dataset, quiet=True)
    candidates = {one.conditions: one for one in found if one.dataset == dataset}
    if not candidates:
        return None
    return candidates[selection.current("conditions", list(candidates), next(iter(candidates)), quiet=True)]


def _choosers(found: tuple[Comparison, ...], chosen: Comparison | None) -> None:
    """Choosers in the head: the data set, and the conditions of measured results."""
    titles = {name: dataset_title(name) for name in datasets(found)}
    names = list(titles)
    selection.choose("dataset", "Data set", names, names[0], format_func=titles.__getitem__, width=230)
    if chosen is None:
        return
    candidates = {one.conditions: one for one in found if one.dataset == chosen.dataset}
    if len(candidates) > 1:
        selection.choose(
            "conditions",
            "Imported from" if chosen and chosen.imported else "Measured with",
            list(candidates),
            next(iter(candidates)),
            format_func=lambda key: conditions_title(candidates[key]),
            width=230,
            help="Runs are ranked together only where everything but the method is equal.",
        )
    else:
        selection.current("conditions", list(candidates), next(iter(candidates)))


def conditions_title(one: Comparison) -> str:
    """What a comparison was measured with, in a few words."""
    protocol = one.runs[0].protocol
    size, view = protocol.data.get("size", "full"), protocol.reading.get("view")
    details = [_input_size(one.backbone)]
    if view:
        columns, rows = view["tiles"]
        details.append(f"{columns} x {rows} tiles" if columns * rows > 1 else "a region of the photo")
    details += [] if size == "full" else [f"{size} size"]
    details += ["as published"] if one.mode == "as_published" and not one.imported else []
    return f"{backbone_title(one.backbone)}, {', '.join(details)}"


def _input_size(backbone: Mapping[str, Any]) -> str:
    """Side of the input, or that it is not known, as with imported results."""
    side = backbone.get("image_size")
    return f"{side} px" if side else "input size not known"


def backbone_title(backbone: Mapping[str, Any]) -> str:
    """A backbone's name, as text that is safe to show."""
    return selection.tidy(str(backbone.get("title") or backbone.get("id") or "unknown backbone"))


def _reported_on(one: PublishedSet) -> str:
    claims = one.claims
    sources = len({claim.source for claim in claims})
    return (
        f"{EVIDENCE['reported']} :gray[:material/photo_library:] **{selection.tidy(one.title)}** "
        f":gray[{len(claims):,} values from {sources} sources, read in papers and repositories, not measured here]"
    )


def _runs_only(what: str) -> None:
    """Say that a page needs runs, offer those that show published numbers and the measured sets, and end the page."""
    st.info(f"Published numbers come without {what}. These pages show them:", icon=":material/menu_book:")
    with st.container(horizontal=True):
        for name, title, icon in SHOWS_PUBLISHED:
            if st.button(title, key=f"to-{name}", icon=f":material/{icon}:"):
                selection.open_page(name)
    st.markdown("Or choose what was measured here:")
    with st.container(horizontal=True):
        for name in dict.fromkeys(one.dataset for one in data.all_comparisons()):
            st.button(
                dataset_title(name), key=f"measured-{name}", icon=":material/straighten:",
                on_click=selection.remember, args=("dataset", name),
            )  # fmt: skip
    st.stop()


def _measured_with(one: Comparison) -> str:
    backbone = one.backbone
    details = ", ".join(part for part in (_input_size(backbone), backbone.get("precision")) if part)
    synthetic = one.runs[0].provenance.data.get("synthetic")
    kind = " · rendered images" if synthetic else ""
    size = str(one.runs[0].protocol.data.get("size", "full"))
    kind += "" if size == "full" else f" · {selection.tidy(size)} size, not all images"
    mode = "as published" if one.mode == "as_published" else "equal conditions"
    mode = EVIDENCE["imported"] if one.imported else f":gray[:material/balance: {mode}]"
    badge = " :orange-badge[:material/science: demonstration]" if backbone.get("demonstration") else ""
    count = len(one.categories)
    return (
        f":gray[:material/memory:] **{backbone_title(backbone)}**{badge} :gray[{details}] &ensp; "
        f":gray[:material/photo_library:] **{dataset_title(one.dataset)}** "
        f":gray[{count} {'category' if count == 1 else 'categories'}{kind}] &ensp; {mode}"
    )
