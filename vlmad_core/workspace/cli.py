"""The jobs command: what the dashboard starts, started, looked at and ended from the command line."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from pathlib import Path

from vlmad_core import paths
from vlmad_core.errors import VlmadError
from vlmad_core.workspace import queue
from vlmad_core.workspace.jobs import Job, find_job, list_jobs, log_lines

LOOK_EVERY = 0.5
"""Seconds between two looks at a job that is waited for."""

CODES = {"done": 0, "cancelled": 1, "failed": 2, "stopped": 2}
"""Exit codes of ``jobs run --wait``; 2 also where some units failed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from vlmad_core.engine.options import add_options

    parser.description = (
        "A job runs in a process of its own, one at a time; others wait in a queue. It outlives whoever started it. "
        "What is finished is kept whatever happens, and going on computes the rest."
    )
    actions = parser.add_subparsers(dest="action", metavar="list|run|cancel|log", required=True)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        one: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text)
        one.add_argument(
            "--workspace", type=Path, metavar="DIR", help=f"where jobs lie (default: {paths.WORKSPACE}, or workspace)"
        )
        one.add_argument("--json", action="store_true", help="print json")
        return one

    action("list", "list the jobs: the running one, those that wait, those that ended")
    run = action("run", "put a plan, a download or a job that did not end well into the queue, and start it")
    run.add_argument("job", nargs="?", metavar="ID", help="a job to go on with; without one, a plan as for precompute")
    run.add_argument("--plan", type=Path, metavar="FILE", help="a yaml plan; arguments override it")
    run.add_argument("--download", metavar="HUB_ID", help="fetch a backbone from the Hugging Face hub instead")
    run.add_argument("--title", metavar="WORDS", help="what to call the job (default: its data sets)")
    run.add_argument("--wait", action="store_true", help="wait for its end and say how far it is")
    add_options(run)
    for name, text in (
        ("cancel", "end a job after the batch or unit it is at; what is done is kept"),
        ("log", "show what happened in a job"),
    ):
        action(name, text).add_argument("job", metavar="ID", help="its identifier; the beginning or the end is enough")


def run(args: argparse.Namespace) -> int:
    """Do it.

    Returns:
        0; with ``run --wait`` 1 if it was cancelled, 2 if it did not end well.

    Raises:
        VlmadError: If the plan can't be made of what was asked, or there is no such job.
    """
    workspace = (args.workspace or paths.workspace()).resolve()
    if args.action == "list":
        queue.ensure_worker(workspace)
        jobs = list_jobs(workspace)
        text = "\n".join(map(_line, jobs)) or f"There are no jobs in {workspace}."
        print(json.dumps([job.to_json() for job in jobs], indent=1) if args.json else text)
        return 0
    if args.action == "log":
        job = find_job(workspace, args.job)
        lines = log_lines(job)
        print(json.dumps({**job.to_json(), "log": lines}, indent=1) if args.json else "\n".join([_line(job), *lines]))
        return 0
    job = queue.cancel(workspace, args.job) if args.action == "cancel" else _started(workspace, args)
    queue.ensure_worker(workspace)
    job = _ended(workspace, job) if getattr(args, "wait", False) else find_job(workspace, job.id)
    print(json.dumps(job.to_json(), indent=1) if args.json else _line(job))
    if job.open or args.action == "cancel":
        return 0
    return CODES[job.state.stands] or (2 if job.state.reason else 0)


def _started(workspace: Path, args: argparse.Namespace) -> Job:
    """The job that is asked for, in the queue."""
    from vlmad_core.engine.options import given_options, make_options, read_plan

    given = given_options(args)
    if sum([args.job is not None, args.download is not None, bool(given or args.plan)]) != 1:
        raise VlmadError(
            "What is to be run is not clear.",
            "Name a job to go on with, a plan (--dataset NAME --method M, or --plan FILE), or --download HUB_ID.",
        )
    if args.job is not None:
        return queue.go_on(workspace, args.job)
    if args.download is not None:
        return queue.submit_download(workspace, args.download)
    options = read_plan(args.plan, given) if args.plan else make_options(given, "The command line")
    words = shlex.join(getattr(args, "command_line", []))
    title = args.title or ", ".join(options.datasets)
    return queue.submit(workspace, options, title, command=f"python -m vlmad_core jobs {words}".strip())


def _ended(workspace: Path, job: Job) -> Job:
    """Wait for a job's end, saying how far it is."""
    said = ""
    while True:
        job = find_job(workspace, job.id)
        if not job.open:
            return job
        if (line := _line(job)) != said:
            print(line, file=sys.stderr, flush=True)
            said = line
        queue.ensure_worker(workspace)
        time.sleep(LOOK_EVERY)


def _line(job: Job) -> str:
    """A job in a line."""
    return f"{job.id}  {job.record.title}: {job.words}"
