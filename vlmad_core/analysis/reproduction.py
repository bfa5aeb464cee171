"""The paper, the public runs of others, and this program side by side, with what explains their differences.

Numbers come from the reported results and from the store; what is known about the causes stands in
``reproduction.yaml``. Nothing is resolved here: a difference without an established cause stays one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from vlmad_core.analysis.leaderboard import mean_over_categories
from vlmad_core.analysis.reported import CATEGORY_COUNTS, reported_leaderboard
from vlmad_core.analysis.sources import Source
from vlmad_core.errors import StoreError
from vlmad_core.metrics.spec import MEAN
from vlmad_core.store.reader import Store
from vlmad_core.store.schema import RunRecord

KNOWLEDGE = Path(__file__).with_name("reproduction.yaml")

PAPER = "paper"
PUBLIC = "public"
HERE = "here"

REPORTED_NAMES: Mapping[str, str] = {"aupro_legacy200": "aupro_reported"}
"""Metrics of this program by the name of the reported metric they are held against."""

COLUMNS = [
    "dataset", "method", "method_id", "shots", "metric", "who", "label", "variant", "value", "std", "difference",
    "reason", "origin", "source", "url", "location", "n_categories", "protocol", "note",
]  # fmt: skip


@dataclass(frozen=True)
class Implementation:
    """What is known of a code or table that numbers come from.

    Attributes:
        source: Key of the source.
        title: How it is called.
        how: How that is known.
        differences: Where it differs, as read in the code or text; none of it is a cause by itself.
        established: Causes that an experiment isolated.
        open: What could not be checked.
        preset: The preset of this program that follows it, or empty.
    """

    source: str
    title: str
    how: str
    differences: tuple[str, ...]
    established: tuple[str, ...]
    open: tuple[str, ...]
    preset: str


@dataclass(frozen=True)
class MethodKnowledge:
    """What was checked of a method here, and what could not be.

    Attributes:
        here: What this program's implementation is held against; empty if nothing.
        open: What could not be checked.
    """

    here: str
    open: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One number of the story, with what is known of its cause.

    Attributes:
        value: The number, a fraction.
        difference: From the first step's, a fraction; None for the first.
        label: Whose it is, as a citation.
        url: Where it is found, or None.
        location: Where in the source.
        implementation: What is known of the code.
    """

    value: float
    difference: float | None
    label: str
    url: str | None
    location: str
    implementation: Implementation


@dataclass(frozen=True)
class Story:
    """How one number of a paper fared.

    Attributes:
        dataset: Data set.
        method: Method, as papers call it.
        method_id: Its identifier in this program.
        metric: Metric.
        lead: First sentence.
        moral: Last sentence.
        steps: The paper first, then others.
    """

    dataset: str
    method: str
    method_id: str
    metric: str
    lead: str
    moral: str
    steps: tuple[Step, ...]


def reproduction_table(
    reported: pd.DataFrame,
    sources: Mapping[str, Source],
    dataset: str,
    store: Store | None = None,
    *,
    metrics: Iterable[str] | None = None,
    second_hand: bool = False,
) -> pd.DataFrame:
    """For every method, number of references and metric: the paper, others' runs, and runs of this program.

    Args:
        reported: As ``load_reported`` gives it.
        sources: As ``load_sources`` gives them.
        dataset: Key of a published data set, such as ``mvtec_ad``.
        store: Measured results; runs on that data set (or a part of it) are taken.
        metrics: Only these, by their reported names; None for all.
        second_hand: Also claims at second hand (``vlmad_core.analysis.reported.first_hand``).

    Returns:
        The columns of ``COLUMNS``. ``who`` is ``paper``, ``public`` (other people's runs, the authors' logs and
        listings) or ``here``. ``difference`` is value minus the paper's, over the same categories; where there is
        none, ``reason`` says why. ``protocol`` (tuple) is what is known to differ from the paper's protocol.
    """
    wanted = None if metrics is None else list(metrics)
    board = reported_leaderboard(reported, dataset, metrics=wanted, sources=sources, second_hand=second_hand)
    rows = [_reported_row(claim, sources) for claim in board.to_dict("records")]
    papers: dict[tuple[str, int, str], dict[str, Any]] = {}
    for row in sorted((row for row in rows if row["who"] == PAPER), key=lambda row: str(row["origin"])):
        papers.setdefault(_key(row), row)  # at first hand before quotations
    for row in rows:
        if row["who"] == PUBLIC:
            published = papers.get(_key(row))
            row |= {**_difference(row["value"], published), "protocol": _claim_differences(row, published)}
    if store is not None:
        for row in _measured_rows(store, dataset, wanted):
            paper, reason = _paper_over(reported, papers, row)
            found = _difference(row["value"], paper)
            if reason is not None and found["difference"] is None:
                found["reason"] = reason
            name = {"method": paper["method"]} if paper is not None else {}
            rows.append({**row, **found, **name, "protocol": _protocol_differences(row, paper)})
    frame = pd.DataFrame([{name: row.get(name) for name in COLUMNS} for row in rows], columns=COLUMNS)
    order = frame["who"].map({PAPER: 0, PUBLIC: 1, HERE: 2})
    frame = frame.assign(order=order, value=frame["value"].astype(float), difference=frame["difference"].astype(float))
    frame = frame.sort_values(
        ["method", "shots", "metric", "order", "value"], ascending=[True, True, True, True, False], ignore_index=True
    )
    return frame.drop(columns="order")


def story(reported: pd.DataFrame, sources: Mapping[str, Source]) -> Story:
    """What became of WinCLIP's image AUROC on MVTec AD, with causes only where they are established.

    Raises:
        StoreError: If the table lacks a number of the story.
    """
    told = knowledge()["story"]
    known = implementations()
    board = reported_leaderboard(
        reported, told["dataset"], metrics=[told["metric"]], shots=told["shots"], sources=sources
    )
    board = board[board["method"] == told["method"]]
    steps: list[Step] = []
    for source in told["steps"]:
        claims = board[(board["source"] == source) & ~board["variant"].str.startswith("re-run")]
        if len(claims) != 1:
            raise StoreError(
                f"The reported results have {len(claims)} numbers of {source} for the story, not one.",
                "Restore results/reported/results.csv.",
            )
        claim = claims.to_dict("records")[0]
        value = float(claim["value"])
        difference = value - steps[0].value if steps else None
        url = sources[source].url
        steps.append(Step(value, difference, claim["citation"], url, claim["location"], known[source]))
    method_id = str(board["method_id"].iloc[0])
    return Story(told["dataset"], told["method"], method_id, told["metric"], told["lead"], told["moral"], tuple(steps))


def steps_table(told: Story) -> pd.DataFrame:
    """The numbers of a story: title, value (a fraction), label, method (an id); one row each, the paper's first."""
    rows = [(step.implementation.title, step.value, step.label, told.method_id) for step in told.steps]
    return pd.DataFrame(rows, columns=["title", "value", "label", "method"])


@cache
def implementations() -> Mapping[str, Implementation]:
    """What is known of each public code or table, by source."""
    return {
        source: Implementation(
            source=source,
            title=raw["title"],
            how=raw["how"],
            differences=tuple(raw["differences"]),
            established=tuple(raw["established"]),
            open=tuple(raw["open"]),
            preset=raw.get("preset", ""),
        )
        for source, raw in knowledge()["implementations"].items()
    }


@cache
def method_knowledge() -> Mapping[str, MethodKnowledge]:
    """What was checked of each method, by its identifier, or its name where this program lacks it."""
    return {name: MethodKnowledge(raw["here"], tuple(raw["open"])) for name, raw in knowledge()["methods"].items()}


@cache
def knowledge() -> Mapping[str, Any]:
    """What ``reproduction.yaml`` holds."""
    return yaml.safe_load(KNOWLEDGE.read_text(encoding="utf-8"))


def _key(row: Mapping[str, Any]) -> tuple[str, int, str]:
    return row["method"], int(row["shots"]), row["metric"]


def _reported_row(claim: Mapping[Any, Any], sources: Mapping[str, Source]) -> dict[str, Any]:
    source = sources.get(claim["source"])
    is_paper = claim["variant"] == "paper" and claim["origin"] in ("primary", "secondary")
    return {
        **{name: claim[name] for name in COLUMNS if name in claim},
        "who": PAPER if is_paper else PUBLIC,
        "label": claim["citation"],
        "url": source.url if source else None,
        "n_categories": CATEGORY_COUNTS.get(claim["dataset"]),
        "protocol": (),
        "training_data": claim["training_data"],
        "backbone": claim["backbone"],
        "image_size": claim["image_size"],
        "difference": None,
        "reason": None,
    }


def _difference(value: float, paper: Mapping[str, Any] | None) -> dict[str, Any]:
    if paper is None:
        return {"difference": None, "reason": "The paper's number is not in the table."}
    if np.isnan(value):
        return {"difference": None, "reason": "There is no value."}
    return {"difference": value - paper["value"], "reason": None}


def _measured_rows(store: Store, dataset: str, metrics: Sequence[str] | None) -> Iterable[dict[str, Any]]:
    """Means over seeds of the runs on a published data set, one row per method, conditions and metric."""
    runs = [run for run in store.runs if run.units and run.provenance.data.get("official") == dataset]
    lines: dict[tuple[str, str, int, str, str], list[RunRecord]] = {}
    for run in runs:
        key = (run.key.method, run.key.preset, run.key.shots, run.protocol.conditions, run.title)
        lines.setdefault(key, []).append(run)
    for (method, preset, shots, _, title), group in sorted(lines.items()):
        categories = sorted(set.intersection(*(set(run.categories) for run in group)))
        if not categories:
            continue
        values = mean_over_categories(store.metrics([run.id for run in group]), categories)
        values["reported"] = values["metric"].replace(dict(REPORTED_NAMES))
        native = group[0].protocol.evaluation.get("native_size")
        for metric, rows in values.groupby("reported", sort=True):
            if str(metric) in ("aupro_30", "aupro_05") or (metrics is not None and metric not in metrics):
                continue
            sizes = rows["eval_size"].dropna().unique().tolist()
            size = native if native in sizes else (max(sizes) if sizes else None)
            at = rows if size is None else rows[rows["eval_size"] == size]
            numbers = at["value"].to_numpy(dtype=float)
            yield {
                "dataset": dataset,
                "method": title,
                "method_id": method,
                "shots": shots,
                "metric": str(metric),
                "who": HERE,
                "label": group[0].protocol.backbone.get("title") or group[0].key.backbone,
                "variant": f"{group[0].mode}, {method}:{preset}",
                "value": float(numbers.mean()) if len(numbers) else float("nan"),
                "std": float(numbers.std(ddof=1)) if len(numbers) > 1 else float("nan"),
                "origin": HERE,
                "source": group[0].id,
                "location": ", ".join(run.id for run in group),
                "n_categories": len(categories),
                "categories": tuple(categories),
                "run": group[0],
                "eval_size": size,
                "note": next((r for r in at["reason"] if isinstance(r, str)), ""),
            }


def _paper_over(
    reported: pd.DataFrame, papers: Mapping[tuple[str, int, str], Mapping[str, Any]], row: Mapping[str, Any]
) -> tuple[Mapping[str, Any] | None, str | None]:
    """The paper's number over the categories that were measured, or why there is none."""
    paper = next(
        (p for key, p in papers.items() if p["method_id"] == row["method_id"] and key[1:] == _key(row)[1:]), None
    )
    if paper is None:
        return None, "The paper's number is not in the table."
    total = CATEGORY_COUNTS.get(row["dataset"], row["n_categories"])
    if row["n_categories"] == total:
        return paper, None
    claims = reported[
        (reported["dataset"] == row["dataset"])
        & (reported["method"] == paper["method"])
        & (reported["variant"] == paper["variant"])
        & (reported["shots"] == row["shots"])
        & (reported["metric"] == row["metric"])
        & reported["category"].isin(row["categories"])
        & (reported["category"] != MEAN)
    ]
    if claims["category"].nunique() != len(row["categories"]):
        return None, (
            f"Measured on {row['n_categories']} of {total} categories, "
            "for which the paper's single numbers are not in the table."
        )
    return {**paper, "value": float(claims.groupby("category")["value"].mean().mean())}, None


def _claim_differences(row: Mapping[str, Any], paper: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What differs between a reported run and the paper's, as far as the table says."""
    if paper is None:
        return ()
    found = []
    for name, what in (("training_data", "trained on"), ("backbone", "backbone")):
        mine, published = str(row[name]), str(paper[name])
        if published and not mine:
            found.append("training data: not said" if name == "training_data" else f"{name}: not said")
        elif published and mine != published and not published.startswith(f"{mine} ("):
            found.append(f"{what} {mine} instead of {published}")
    if pd.isna(row["image_size"]):
        found.append("input size: not said")
    elif not pd.isna(paper["image_size"]) and row["image_size"] != paper["image_size"]:
        found.append(f"input of {row['image_size']} instead of {paper['image_size']} pixels")
    return tuple(found)


def _protocol_differences(row: Mapping[str, Any], paper: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What differs between a run here and the paper's, as far as both sides say."""
    run: RunRecord = row["run"]
    backbone, data = run.protocol.backbone, run.protocol.data
    found = []
    title = backbone.get("title") or run.key.backbone
    published = paper["backbone"] if paper is not None else ""
    if run.mode != "as_published":
        instead = f" instead of {published}" if published else ""
        found.append(f"backbone {title}{instead}, the same for all methods of the comparison")
    size = backbone.get("image_size")
    if paper is not None and not pd.isna(paper["image_size"]) and size != paper["image_size"]:
        found.append(f"input of {size} instead of {int(paper['image_size'])} pixels")
    total = CATEGORY_COUNTS.get(row["dataset"], row["n_categories"])
    if row["n_categories"] != total:
        found.append(f"{row['n_categories']} of {total} categories")
    if data.get("size") not in (None, "full"):
        found.append(f"a sample of the images ({data['size']})")
    if run.key.preset != "canonical":
        found.append(f"preset {run.key.preset}")
    if row["eval_size"] is not None:
        found.append(f"pixels compared at {int(row['eval_size'])} x {int(row['eval_size'])}")
    if run.protocol.method.get("imported"):
        found.append("scores and maps made by another program")
    return tuple(found)
