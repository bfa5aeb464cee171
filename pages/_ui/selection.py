"""What the visitor has chosen: kept in the address, checked on the way in, the same on every page.

The address is the one truth. A value it does not hold comes from what was chosen earlier in the session, and
else from the page's default. A value that does not exist falls back with a notice and is taken out again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import streamlit as st

OWN_PHOTOS = "own-photos"
"""The last entry of every chooser of a data set: it leads to the page for parts of one's own."""

DEPENDENTS: Mapping[str, tuple[str, ...]] = {
    "dataset": ("conditions", "parts", "category", "method", "shots", "shown", "image", "threshold"),
    "conditions": ("parts", "category", "method", "shots", "shown", "image", "threshold"),
    "parts": ("category",),
    "category": ("image", "threshold"),
    "method": ("threshold",),
    "shots": ("shown", "threshold"),
}
"""Choices that lose their meaning when another one changes."""


def current(
    name: str,
    options: Sequence[str],
    default: str,
    *,
    slot: str = "",
    known: Sequence[str] = (),
    quiet: bool = False,
) -> str:
    """The chosen value of a parameter: always one of the options.

    Args:
        name: Name of the query parameter.
        options: What exists; anything else falls back.
        default: The page's default.
        slot: Tells choosers of the same parameter on one page apart.
        known: Values that another chooser of the parameter takes; they are passed over without a notice.
        quiet: Whether to fall back without a notice.
    """
    given = st.query_params.get_all(name)
    memory = _memory()
    if len(given) == 1 and given[0] in options:
        memory[name] = memory[name + slot] = given[0]
        return given[0]
    if given and given[-1] not in known:
        if not quiet:
            del st.query_params[name]
            notice(f"This link asks for {name} `{tidy(given[-1])}`, which is not here. Showing what is.")
        given = []
    remembered = memory.get(name + slot, default)
    if remembered not in options or name + slot not in memory:
        return default
    if not given and not slot:
        st.query_params[name] = remembered
    return remembered


def choose(
    name: str,
    label: str,
    options: Sequence[str],
    default: str,
    *,
    format_func: Callable[[str], str] = str,
    segmented: bool = False,
    slot: str = "",
    known: Sequence[str] = (),
    help: str | None = None,
    width: int | Literal["stretch"] = "stretch",
) -> str:
    """A widget for one parameter, and its value.

    Args:
        name: Name of the query parameter.
        label: What the widget is called.
        options: What exists.
        default: The page's default.
        format_func: How an option is written.
        segmented: Whether all options are shown side by side.
        slot: As for ``current``.
        known: As for ``current``.
        help: A word of explanation.
        width: As Streamlit takes it.
    """
    if st.session_state.pop("to_your_parts", False):
        open_page("your_parts")
    value = current(name, options, default, slot=slot, known=known)
    key = f"choose_{name}{slot}"
    st.session_state[key] = value
    if name == "dataset":
        st.selectbox(
            label, [*options, OWN_PHOTOS], key=key, help=help, width=width, on_change=_changed, args=(name, key),
            format_func=lambda one: "Your own images…" if one == OWN_PHOTOS else format_func(one),
        )  # fmt: skip
    elif segmented:
        st.segmented_control(
            label, options, key=key, format_func=format_func, help=help, required=True,
            on_change=_changed, args=(name, key),
        )  # fmt: skip
    else:
        st.selectbox(
            label, options, key=key, format_func=format_func, help=help, width=width,
            on_change=_changed, args=(name, key),
        )  # fmt: skip
    return value


def remember(name: str, value: str) -> None:
    """Choose a value from code: from a button, a click in a figure, a slider. Call it before the widget is drawn."""
    if value != _memory().get(name):
        forget(*DEPENDENTS.get(name, ()))
    _memory()[name] = value
    st.query_params[name] = value


def forget(*names: str) -> None:
    """Let parameters fall back to the page's default."""
    for name in names:
        _memory().pop(name, None)
        if name in st.query_params:
            del st.query_params[name]


def notice(message: str) -> None:
    """Say at the top of the page that something is not as the link asked for."""
    slot = st.session_state.get("notices")
    (slot or st).warning(message, icon=":material/link_off:")


def open_page(page: str, **choices: str) -> None:
    """Go to a page with these choices and those that hold everywhere (data set, conditions)."""
    forget(*(name for name in ("image", "threshold") if name not in choices))
    for name, value in choices.items():
        remember(name, value)
    parameters: dict[str, str] = {name: _memory()[name] for name in ("dataset", "conditions") if name in _memory()}
    st.switch_page(f"pages/{page}.py", query_params=parameters | choices)


def tidy(text: str, longest: int = 60) -> str:
    """A text from outside, made safe to show inside backticks."""
    plain = re.sub(r"[^\w .,:;=+/()%@·≥≤'–-]", "?", text)
    return plain if len(plain) <= longest else f"{plain[:longest]}…"


def shown(text: str, longest: int = 400) -> str:
    """A message with typed words in it, made safe: what is typed stands in backticks and is no markdown."""
    plain = text if len(text) <= longest else f"{text[:longest]}…"
    return plain.replace("<", "‹").replace(">", "›").replace("$", "＄").replace("[", "(").replace("]", ")")


def _changed(name: str, key: str) -> None:
    if st.session_state[key] == OWN_PHOTOS:
        st.session_state["to_your_parts"] = True
        return
    remember(name, st.session_state[key])


def _memory() -> dict[str, str]:
    if "selection" not in st.session_state:
        st.session_state["selection"] = dict[str, str]()
    memory: dict[str, str] = st.session_state["selection"]
    return memory
