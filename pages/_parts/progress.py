"""Step 3: the part's jobs, waiting, running and done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from pages._parts.plan import method_title
from pages._ui import data, machine, selection, visitor
from vlmad_core import paths
from vlmad_core.datasets.parts import Part
from vlmad_core.errors import VlmadError
from vlmad_core.workspace import queue
from vlmad_core.workspace.jobs import Job, list_jobs, log_lines

LOOK_EVERY = 1.5
"""Seconds between two looks at jobs that wait or run."""

MOST_SHOWN = 4
"""Jobs shown that have ended; the command line lists all."""

ICONS = {
    "queued": "hourglass_empty", "running": "progress_activity", "done": "check_circle", "failed": "error",
    "cancelled": "cancel", "stopped": "report",
}  # fmt: skip


def show_progress(part: Part) -> None:
    """Show how far the part's jobs and downloads are; draws nothing where there are none.

    Args:
        part: Kept in the workspace, or not yet (``part.kept``).
    """
    jobs = _jobs(part)
    if jobs:
        st.subheader("3. Progress", anchor=False)
        open_ones = any(job.open for job in jobs)
        seen = data.signature(paths.stores()), {job.id for job in jobs if job.open}
        st.fragment(_show, run_every=LOOK_EVERY if open_ones else None)(part, *seen)


def _jobs(part: Part) -> list[Job]:
    """The part's jobs and all downloads: those that wait or run, then the latest that have ended."""
    jobs = [job for job in list_jobs(paths.workspace()) if job.record.part in (part.slug, None)]
    return [job for job in jobs if job.open] + [job for job in jobs if not job.open][:MOST_SHOWN]


def _show(part: Part, results: str, were_open: set[str]) -> None:
    """The jobs as they are now; where a unit has come or a job has ended, the whole page is drawn anew."""
    allowed = not visitor.why_not_jobs()
    if allowed:
        try:
            queue.ensure_worker(paths.workspace())
        except VlmadError as error:  # a full or read-only disk: what is there is shown
            st.warning(selection.tidy(str(error), 400), icon=":material/block:")
    jobs = _jobs(part)
    if {job.id for job in jobs if job.open} != were_open:
        machine.backbones.clear()
        data.signature.clear()
        st.rerun()
    if data.signature(paths.stores()) != results:
        st.rerun()
    for job in jobs:
        with st.container(border=True):
            _show_job(job, allowed)


def _show_job(job: Job, allowed: bool) -> None:
    """One job, with what can be done about it."""
    stands = job.state.stands
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f":material/{ICONS[stands]}: **{selection.tidy(job.record.title)}** "
            f":gray[{'fetched from the hub' if job.record.doing == 'download' else ', '.join(_methods(job))}] &ensp; "
            f"{selection.tidy(job.words, 400)}"
        )
        if allowed and job.open and not job.ending:
            if st.button("Cancel", icon=":material/stop:", key=f"cancel-{job.id}", help="What is done is kept."):
                _tried(queue.cancel, job)
        elif allowed and job.can_go_on and st.button("Continue", icon=":material/replay:", key=f"go-on-{job.id}"):
            _tried(queue.go_on, job)
        logged = st.toggle("Log", key=f"log-{job.id}")
    if stands == "running":
        st.progress(job.progress.share, text=job.progress.left or "The time left is not known yet.")
    if logged:
        st.code("\n".join(log_lines(job)) or "Nothing yet.", language=None, wrap_lines=True, height=240)


def _methods(job: Job) -> list[str]:
    return [method_title(str(choice["id"]).partition(":")[0]) for choice in job.record.options.get("methods", ())]


def _tried(action: Callable[[Path, str], object], job: Job) -> None:
    """Do something to a job, and draw the page anew; another visitor may have been quicker."""
    try:
        visitor.check_jobs()
        action(paths.workspace(), job.id)
    except VlmadError as error:
        st.toast(selection.tidy(str(error), 300))
        return
    st.rerun()
