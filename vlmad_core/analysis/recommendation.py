"""A decision in words: which method to use and why, what would make it surer, how long a photo takes."""

from __future__ import annotations

import math

from vlmad_core.analysis.decision import Card, Recommended, SharedScores
from vlmad_core.analysis.entries import Entry
from vlmad_core.analysis.speed import cost_table
from vlmad_core.metrics import MetricValue
from vlmad_core.metrics.rules import Bounded, Costs, Promise, Rule, at_least, at_most, least_promise
from vlmad_core.metrics.uncertainty import LEVEL

ENOUGH_FOUND = 0.9
"""A share of defects found that enough photos of defects should be able to show."""
USUAL_RATE = 0.05
"""A share of false alarms that enough photos of good parts should be able to show, where none was promised."""


def sentence(choice: Recommended, scored: SharedScores) -> str:
    """The recommendation, with its reason and who is as good, in one sentence.

    Args:
        choice: The method to use.
        scored: The scores it was chosen on.
    """
    photos = f"{_count(scored.good, 'good')} and {_count(scored.defects, 'defective')} photos"
    expected = _with_interval(choice.auroc)
    if not choice.sure:
        return (
            f"None can be recommended yet: the best of {_count(choice.methods, 'method')}, {choice.name}, may be no "
            f"better than chance on {photos} (image AUROC {expected})."
        )
    if choice.methods == 1:
        return f"Use {choice.name}, the only method tried: image AUROC {expected} on {photos}."
    best = "highest image AUROC" if choice.by == "image AUROC" else "least expected cost"
    others = "; all others are clearly behind"
    if choice.tied:
        more = len(choice.tied) - 1
        who = f"{choice.tied[0]} and {_count(more, 'other')} are" if more else f"{choice.tied[0]} is"
        others = f"; {who} as good as far as these photos can tell"
    return (
        f"Use {choice.name}: of {choice.methods} methods it has the {best} on {photos}, and of a method chosen like "
        f"this an image AUROC of {expected} is to be expected{others}."
    )


def surer(choice: Recommended | None, scored: SharedScores, rule: Rule) -> tuple[str, ...]:
    """What would make the decision surer, most important first.

    Args:
        choice: The method to use; None where none could be chosen.
        scored: The scores.
        rule: What sets the threshold.
    """
    said = []
    if choice is not None and not choice.sure:
        said.append(
            "Other methods, normal references, or a larger backbone: none of these is surely better than chance."
        )
    if choice is not None and choice.tied:
        said.append(f"More photos of both kinds: {len(choice.tied) + 1} methods can't be told apart on these.")
    rate = rule.rate if isinstance(rule, Promise) else USUAL_RATE
    needed = math.ceil(round(1 / rate, 9)) - 1
    shown = math.ceil(math.log(1 - LEVEL) / math.log(1 - rate))
    if isinstance(rule, Promise) and scored.good < needed:
        said.append(f"More good parts: it takes {needed} to promise {_percent(rate)}; {promise_limit(scored.good)}")
    elif scored.good < shown:
        now = math.ceil(100 * at_most(0, scored.good).bound)
        said.append(
            f"More good parts: even if none of {scored.good} is flagged, that shows at most {now} % false alarms; "
            f"{shown} would show {_percent(rate)}."
        )
    wanted = math.ceil(math.log(1 - LEVEL) / math.log(ENOUGH_FOUND))
    if scored.defects < wanted:
        now = math.floor(100 * at_least(scored.defects, scored.defects).bound) if scored.defects else 0
        said.append(
            f"More defects: even if all {scored.defects} are found, that shows at least {now} %; {wanted} would show "
            f"{100 * ENOUGH_FOUND:.0f} %."
            if scored.defects
            else "Photos of defects: without any nobody knows what would be found."
        )
    if not scored.masks:
        said.append("Masks of the defects: they would show whether the maps point at them.")
    return tuple(said)


def promise_limit(normals: int) -> str:
    """What no threshold from so many good parts can promise, in a sentence.

    >>> promise_limit(24)
    'with 24 good photos no threshold can promise less than 4 % false alarms.'
    """
    photos, least = _count(normals, "good photo"), _percent(least_promise(normals))
    return f"with {photos} no threshold can promise less than {least} false alarms."


def found_line(card: Card | Recommended) -> str:
    """What is found, with its bound; or why that is not known."""
    return "no defects to find" if card.found is None else _share(card.found, "found")


def alarm_line(card: Card | Recommended) -> str:
    """What is flagged of the good parts, with its bound; or why that is not known."""
    return "too few good parts" if card.alarms is None else _share(card.alarms, "flagged")


def cost_line(cost: float | None, costs: Costs) -> str:
    """The expected cost of a thousand parts, beside that of letting all pass and of stopping all."""
    if cost is None:
        return "not known"
    idle = min(costs.miss * costs.defective, 1 - costs.defective)
    return f"{1000 * cost:.0f} false alarms' worth per 1,000 parts (without inspection {1000 * idle:.0f})"


def time_line(entry: Entry, machine: str) -> str:
    """How long a photo takes, as its run measured it.

    Args:
        entry: The method.
        machine: Id of this machine's hardware; a time from another is marked.
    """
    table = cost_table([entry])
    if table.empty or math.isnan(table["latency_ms"][0]):
        return "not timed" + (f": {table['reason'][0]}" if len(table) and table["reason"][0] else "")
    row = table.iloc[0]
    took = float(row["latency_ms"])
    words = f"{took:.0f} ms per photo" if took < 1000 else f"{took / 1000:.1f} s per photo"
    words += ", its share of a batch" if row["shared"] else ""
    return words if row["hardware_id"] == machine else f"{words}, on another machine"


def _share(one: Bounded, done: str) -> str:
    count, _, bound = str(one).partition(":")
    return f"{count} {done}:{bound}"


def _with_interval(value: MetricValue) -> str:
    if value.value is None:
        return "not known"
    if value.low is None or value.high is None:
        return f"{100 * value.value:.1f} %"
    return f"{100 * value.value:.1f} % ({100 * value.low:.1f} to {100 * value.high:.1f})"


def _count(number: int, noun: str) -> str:
    plural = noun if number == 1 or noun in ("good", "defective") else f"{noun}s"
    return f"{number} {plural}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
