"""Links with any parameters: a page falls back to what is there, and shows no traceback and no markup of the link.

By default a few links, the same each time; ``FUZZ=200`` tries so many, other ones each time.
"""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

PAGES = (
    "overview", "leaderboard", "categories", "accuracy", "segmentation", "efficiency", "shots", "transfer", "failures",
    "study", "live_demo", "methods", "reproduction", "runs", "prompt_lab", "your_parts",
)  # fmt: skip
NAMES = (
    "dataset", "category", "method", "metric", "shots", "image", "threshold", "conditions", "shown", "parts", "prompts",
    "demo", "list", "shared", "type", "area", "tag", "run", "view", "against", "versus", "seed", "machine", "question",
)  # fmt: skip
KNOWN = (
    "gadgets", "widgets", "bolt", "clip_ac", "winclip", "winclip:canonical", "image_auroc", "pixel_auroc", "0", "4",
    "image_f1max", "missed", "auto", "all", "canonical", "visa@published",
)  # fmt: skip
HOSTILE = (
    "", " ", "nan", "-inf", "1e999", "1_0", "１０", "-1", "9" * 40, "x" * 5000, "\0", "\ufffd",
    "../../etc/passwd", "%00", "<script>alert(1)</script>", "[x](javascript:alert(1))", "$\\alpha$", "`", "|", "None",
    "[]", "{}", "true", "🔧", "gadgets ", "GADGETS", "bolt/test", "winclip:", ":", "a,b", "@published",
)  # fmt: skip
EXAMPLES = int(os.environ.get("FUZZ", "6"))

links = st.dictionaries(
    st.sampled_from(NAMES),
    st.lists(st.one_of(st.sampled_from(KNOWN), st.sampled_from(HOSTILE), st.text(max_size=30)), min_size=1, max_size=3),
    min_size=3,
    max_size=12,
)


def test_any_link_opens_a_page(open_app, measured: Path, workspace: Path) -> None:
    apps: dict[str, AppTest] = {}

    @settings(
        max_examples=EXAMPLES,
        derandomize="FUZZ" not in os.environ,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.sampled_from(PAGES), links)
    def visit(page: str, link: dict[str, list[str]]) -> None:
        app = apps.get(page) or open_app(measured, page)
        apps[page] = app
        app.query_params.clear()
        for name, values in link.items():
            app.query_params[name] = values
        app.run()
        assert not app.exception
        assert not any("<script>" in element.value for element in (*app.markdown, *app.warning))

    visit()
