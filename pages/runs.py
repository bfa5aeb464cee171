from __future__ import annotations

from dataclasses import asdict

import pandas as pd
import streamlit as st

from pages._ui import data, frame, selection, take_along
from vlmad_core.analysis.comparable import as_texts, comparable, protocol_differences, runs_table
from vlmad_core.analysis.contamination import SEEN, run_contamination
from vlmad_core.analysis.entries import entries_of
from vlmad_core.reading import printable

KINDS = {
    "newer_schema": "written by a newer version",
    "damaged_run": "damaged run",
    "damaged_unit": "damaged unit",
    "damaged_file": "damaged file",
    "foreign": "not a result",
}


def _chosen() -> None:
    """A row was clicked: its run goes into the address."""
    rows = st.session_state["runs_table"]["selection"]["rows"]
    every = runs_table(data.store())["id"].tolist()
    if rows and rows[0] < len(every):
        selection.remember("run", every[rows[0]])


frame.begin("runs")
store = data.store()
if not store.runs:
    frame.nothing_yet()
else:
    table = runs_table(store)
    ids = table["id"].tolist()
    st.caption(f"{len(table)} runs, each of one data set, method, number of references, seed and backbone. Choose one.")
    st.dataframe(
        table.drop(columns=["id", "conditions"]),
        hide_index=True,
        on_select=_chosen,
        selection_default={"selection": {"rows": [ids.index(selection.current("run", ids, ids[0]))]}},
        selection_mode="single-row",
        key="runs_table",
        column_config={
            "dataset": "Data set", "title": st.column_config.TextColumn("Method", pinned=True), "preset": "Preset",
            "shots": "References", "seed": "Seed", "backbone": "Backbone", "mode": "Mode", "categories": "Categories",
            "failed": st.column_config.NumberColumn("Failed", help="Categories that could not be finished."),
            "images": "Images", "errors": st.column_config.NumberColumn("Unreadable", help="Images, not read."),
            "hardware": "Machine",
            "finished": st.column_config.DatetimeColumn("Finished (UTC)", format="YYYY-MM-DD HH:mm"),
        },
        alt="All runs with what they are of, how far they are and where they were computed",
    )  # fmt: skip
    take_along.table(table, "runs", "All runs")
    titles = {
        row["id"]: f"{row['dataset']} · {row['title']} · {row['shots']} references · seed {row['seed']}"
        for row in table.to_dict("records")
    }
    chosen = store.run(selection.current("run", ids, ids[0]))

    st.subheader("Provenance", anchor=False)
    verdict = run_contamination(chosen)
    st.markdown(f"**{selection.tidy(titles[chosen.id], 200)}** &ensp; {frame.SEEN[SEEN[verdict.verdict]]}")
    st.caption(selection.tidy(verdict.reason, 200))
    made = {
        "Command": chosen.provenance.command,
        "Code": chosen.provenance.code_version,
        "Machine": ", ".join(f"{k} {v}" for k, v in as_texts(chosen.provenance.hardware).items()),
        "Packages": ", ".join(f"{k} {v}" for k, v in chosen.provenance.packages.items()),
        "Data": ", ".join(f"{k}: {v}" for k, v in as_texts(chosen.provenance.data).items() if v not in ("", "None")),
        "Fingerprint of the data": str(chosen.fingerprint),
        "Started": chosen.provenance.started_at,
        "Folder": chosen.id,
    }
    st.table(
        {name: selection.tidy(text, 600) for name, text in made.items()}, border="horizontal",
        alt="Provenance of the run",
    )  # fmt: skip
    with st.expander("Protocol: every choice that moves a number", icon=":material/rule:"):
        settings = as_texts(asdict(chosen.protocol))
        st.dataframe(
            pd.DataFrame({"Setting": list(settings), "Value": list(settings.values())}), hide_index=True,
            alt="Protocol of the run",
        )  # fmt: skip
        st.caption(f"Hash {chosen.protocol.hash}; conditions {chosen.protocol.conditions}.")

    st.subheader("What differs between two runs", anchor=False)
    others = [run_id for run_id in ids if run_id != chosen.id]
    if not others:
        st.caption("There is only one run.")
    else:
        other = store.run(
            selection.choose(
                "against", "Compared with", others, others[0], known=ids, format_func=lambda run_id: titles[run_id]
            )
        )
        differences = protocol_differences(chosen.protocol, other.protocol)
        fair = comparable([*entries_of([chosen]), *entries_of([other])])
        if fair:
            st.success("These two may be ranked together.", icon=":material/balance:")
        else:
            reason = selection.tidy(" ".join(fair.reasons), 400)
            st.warning(f"These two are never ranked together. {reason}", icon=":material/balance:")
        st.dataframe(
            differences, hide_index=True, placeholder="–", alt="Settings in which the two runs differ",
            column_config={"setting": "Setting", "first": "Chosen run", "second": "Compared with"},
        )  # fmt: skip

if store.failed:
    st.subheader("Not finished", anchor=False)
    st.caption("These are tried again the next time the same command is started.")
    failed = pd.DataFrame([asdict(unit) for unit in store.failed])
    st.dataframe(
        failed, hide_index=True, alt="Units that could not be finished",
        column_config={"run_id": "Run", "category": "Category", "reason": "Reason", "traceback": "Traceback",
                       "at": "When", "attempts": "Attempts"},
    )  # fmt: skip
if store.problems:
    st.subheader("Left out", anchor=False)
    st.caption("These could not be read; everything else is shown.")
    problems = pd.DataFrame(
        [{"kind": KINDS.get(p.kind, p.kind), "message": p.message, "path": printable(p.path)} for p in store.problems]
    )
    st.dataframe(
        problems, hide_index=True, alt="Damaged or foreign files in the results folder",
        column_config={"kind": "What", "message": "Message", "path": "Where"},
    )  # fmt: skip
