"""What is reported of the cost of methods, and the command that checks the tables and cites a source.

Costs lie in ``results/reported/efficiency.csv``; its README explains the columns. They were measured by others on
their hardware, which sources often do not name, so they are never ranked or averaged with costs measured here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from vlmad_core.analysis.claims import FIRST_HAND, KIND_NAMES, UNASKED, Claim, Wanted
from vlmad_core.analysis.published import PublishedSet, claims_of, method_key, wanted_claims
from vlmad_core.analysis.reported import first_hand, load_reported
from vlmad_core.analysis.sources import Source, bibtex, load_sources, read_claims, refuse_wrong_rows
from vlmad_core.analysis.speed import pareto
from vlmad_core.errors import StoreError
from vlmad_core.paths import reported_folder

COST_COLUMNS = (
    "method", "method_id", "variant", "shots", "metric", "value", "unit", "hardware", "backbone", "image_size",
    "source", "location", "origin", "read", "note",
)  # fmt: skip
COST_UNITS: Mapping[str, tuple[str, ...]] = {
    "latency": ("ms/image",),
    "throughput": ("images/s",),
    "params_total": ("million",),
    "params_frozen": ("million",),
    "params_learnable": ("million",),
    "gpu_memory_allocated": ("MiB", "MB"),
    "gpu_memory_reserved": ("MiB",),
    "size_backbone": ("MB",),
    "size_added": ("MB",),
    "training_time_per_epoch": ("min/epoch",),
    "training_epochs": ("epochs",),
}
"""What is reported of costs, and the units it may have."""
COST_LABELS: Mapping[str, str] = {
    "latency": "Latency (ms per image)",
    "throughput": "Throughput (images per second)",
    "params_total": "Parameters (millions)",
    "params_frozen": "Frozen parameters (millions)",
    "params_learnable": "Learnable parameters (millions)",
    "gpu_memory_allocated": "GPU memory, allocated (MiB or MB)",
    "gpu_memory_reserved": "GPU memory, reserved (MiB)",
    "size_backbone": "Size of the backbone (MB)",
    "size_added": "Size of what is added (MB)",
    "training_time_per_epoch": "Training (minutes per epoch)",
    "training_epochs": "Training (epochs)",
}
NOT_SAID = "not said"
"""What stands for hardware that a source does not name."""


def load_efficiency(folder: str | Path | None = None) -> pd.DataFrame:
    """Read the table of reported costs.

    Args:
        folder: The folder with ``efficiency.csv`` and ``sources.json``; ``paths.reported_folder()`` if None.

    Returns:
        One row per value with the columns of ``COST_COLUMNS`` and ``whose``; ``value`` is in ``unit``, ``shots``
        may be missing, unknown texts are empty (an empty ``hardware``: not said).

    Raises:
        StoreError: If the table is missing or not as it should be; names the first row that is wrong.
    """
    path = Path(folder or reported_folder()) / "efficiency.csv"
    frame = read_claims(path, COST_COLUMNS)
    frame["value"] = pd.to_numeric(frame["value"], errors="coerce")
    frame["shots"] = pd.to_numeric(frame["shots"], errors="coerce").astype("Int64")
    fits = [
        unit in COST_UNITS.get(metric, (unit,)) for metric, unit in zip(frame["metric"], frame["unit"], strict=True)
    ]
    wrong = {
        "a value that is no number of zero or more": ~frame["value"].ge(0),
        "an unknown metric": ~frame["metric"].isin(list(COST_UNITS)),
        "a unit that its metric has not": ~pd.Series(fits, index=frame.index),
    }
    refuse_wrong_rows(frame, path, wrong, set(load_sources(folder)))
    return frame


def cost_claims(
    costs: pd.DataFrame,
    sources: Mapping[str, Source],
    metric: str,
    *,
    methods: Collection[str] | None = None,
    second_hand: bool = False,
) -> pd.DataFrame:
    """What is reported of one kind of cost, one row per claim; nothing is averaged or ranked.

    Args:
        costs: As ``load_efficiency`` gives them.
        sources: As ``load_sources`` gives them.
        metric: One of ``COST_UNITS``.
        methods: Only methods with these identifiers, as entries have them; None for all.
        second_hand: Also those that were read in a digest only, or that nobody says whose they are.

    Returns:
        method (its identifier), name, shots, value, unit, hardware (``not said`` where the
        source does not), whose, variant, backbone, image_size, citation, source, location, url, note; the method with
        the least value first.
    """
    rows = costs[costs["metric"] == metric]
    rows = rows if second_hand else first_hand(rows)
    rows = rows.assign(key=rows["method_id"].where(rows["method_id"] != "", rows["method"].map(method_key)))
    if methods is not None:
        rows = rows[rows["key"].isin(list(methods))]
    rows = rows.assign(
        name=rows["method"],
        method=rows["key"],
        hardware=rows["hardware"].where(rows["hardware"] != "", NOT_SAID),
        whose=rows["whose"].map(KIND_NAMES),
        citation=[sources[key].label for key in rows["source"]],
        url=rows["source"].map({key: source.url for key, source in sources.items()}),
        least=rows.groupby("method")["value"].transform("min"),
    )
    columns = [
        "method", "name", "shots", "value", "unit", "hardware", "whose", "variant", "backbone", "image_size",
        "citation", "source", "location", "url", "note",
    ]  # fmt: skip
    return rows.sort_values(["least", "name", "value"])[columns].reset_index(drop=True)


def cost_points(claims: pd.DataFrame, one: PublishedSet, metric: str, wanted: Wanted = UNASKED) -> pd.DataFrame:
    """What one source reports of one cost, beside what is reported of the methods' accuracy on a published set.

    Args:
        claims: As ``cost_claims`` gives them, of one source (so of one machine, as far as it says).
        one: The set.
        metric: Metric of the accuracy.
        wanted: Which claims on the accuracy.

    Returns:
        The rows of which an accuracy is reported with that number of references, not trained on the set: method, name
        (with references, and input size where that tells rows apart), value (the accuracy, a fraction), low and high
        (the same), cost, unit, accuracy_of (its source in short), front (no other row is cheaper and better).
    """
    fair: dict[tuple[str, int], Claim] = {}
    for entry in one.entries:
        found = () if claims_of(entry).contaminated else wanted_claims(entry, metric, wanted=wanted)
        if found:
            fair.setdefault((entry.method, entry.shots), found[0])
    rows = []
    for row in claims[claims["shots"].notna()].to_dict("records"):
        accuracy = fair.get((str(row["method"]), int(row["shots"])))
        if accuracy is not None:
            name = f"{row['name']}, {int(row['shots'])} ref." if row["shots"] else str(row["name"])
            several = (claims["name"].eq(row["name"]) & claims["shots"].eq(row["shots"])).sum() > 1
            size = f", {row['image_size']} px" if several and row["image_size"] else ""
            value = accuracy.value
            rows.append(
                {"method": row["method"], "name": f"{name}{size}", "value": value, "low": value, "high": value}
                | {"cost": row["value"], "unit": row["unit"], "accuracy_of": accuracy.citation}
            )
    columns = ["method", "name", "value", "low", "high", "cost", "unit", "accuracy_of"]
    points = pd.DataFrame(rows, columns=columns).astype({"value": float, "cost": float})
    return points.assign(front=pareto(points["cost"], points["value"]))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    every = {"check": "check the tables: every row has a source and where in it", "cite": "print sources as BibTeX"}
    for name, text in every.items():
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("--folder", type=Path, default=None, metavar="DIR", help="default: what comes along")
        if name == "check":
            action.add_argument("--json", action="store_true", help="print json")
        else:
            action.add_argument("source", nargs="*", help="keys of sources; all if none is given")


def run(args: argparse.Namespace) -> int:
    """Do what was asked.

    Raises:
        StoreError: If a table is wrong, or a source unknown.
    """
    sources = load_sources(args.folder)
    if args.action == "cite":
        unknown = [key for key in args.source if key not in sources]
        if unknown:
            raise StoreError(f"There is no source {unknown[0]!r}.", f"Known are {', '.join(sources)}.")
        print("\n\n".join(bibtex(sources[key]) for key in args.source or sources))
        return 0
    results, costs = load_reported(args.folder), load_efficiency(args.folder)
    found = {
        "results": len(results),
        "second_hand": int((~results["whose"].isin(FIRST_HAND)).sum()),
        "datasets": int(results["dataset"].nunique()),
        "methods": int(results["method"].nunique()),
        "costs": len(costs),
        "sources": len(sources),
        "unused": sorted(set(sources) - set(results["source"]) - set(costs["source"])),
    }
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        print(
            f"{found['results']} results of {found['methods']} methods on {found['datasets']} data sets "
            f"({found['second_hand']} second hand), {found['costs']} costs, {found['sources']} sources: each row has "
            "its source and where in it."
        )
    return 0
