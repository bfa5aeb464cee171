"""The report as one html file: no script, no font, no picture from elsewhere; everything shown is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import pandas as pd

from vlmad_core.analysis.tables import interval_text
from vlmad_core.figures.grid import category_label
from vlmad_core.figures.style import ink_on, interpolate, sequential
from vlmad_core.metrics.spec import METRICS
from vlmad_core.report.content import Report, Section, Task
from vlmad_core.report.drawing import Bar, interval_chart
from vlmad_core.report.mistakes import Mistake
from vlmad_core.report.style import STYLE

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What the page may load: nothing from anywhere."""

QUESTION = "Which method finds defects best on these parts, how sure is that, and where does it fail?"


def render(report: Report) -> str:
    """The html text of a report."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(report.title)}</title><style>{STYLE}</style></head><body>",
        f"<header><h1>{escape(report.title)}</h1>",
        f'<p class="quiet">Written {escape(report.written_at)} by VLM-AD; measured with version '
        f"{escape(report.version)}.</p></header>",
        f'<section class="question"><h2>The question</h2><p class="lead">{escape(QUESTION)}</p></section>',
    ]
    if len(report.sections) > 1:
        links = "".join(
            f'<li><a href="#part-{i}">{escape(section.heading)}</a></li>' for i, section in enumerate(report.sections)
        )
        parts.append(f'<nav><p class="quiet">Measured here:</p><ul>{links}</ul></nav>')
    parts += [_section(section, index) for index, section in enumerate(report.sections)]
    parts.append(_metrics(report.sections))
    if report.problems:
        items = "".join(f"<li>{escape(text)}</li>" for text in report.problems)
        parts.append(f"<section><h2>What could not be read</h2><ul>{items}</ul></section>")
    return "\n".join([*parts, "</body></html>", ""])


def _section(section: Section, index: int) -> str:
    cautions = "".join(f"<li>{escape(text)}</li>" for text in section.caveats)
    parts = [
        f'<section class="part" id="part-{index}"><h2>{escape(section.heading)}</h2>',
        _pairs(section.facts, "facts"),
        f'<div class="caution"><h3>Before you rely on it</h3><ul>{cautions}</ul></div>' if cautions else "",
        "<h3>The answer</h3>",
        '<div class="answers">',
        *(
            f'<article><p class="quiet">{escape(answer.question)}</p><p class="headline">{escape(answer.headline)}</p>'
            f"<p>{escape(answer.detail)}</p></article>"
            for answer in section.answers
        ),
        "</div>",
        "<h3>The evidence</h3>",
        *(_task(task) for task in section.tasks),
        f'<h4>Where it fails</h4><p class="quiet">{escape(section.mistakes_note)}</p>',
        '<div class="mistakes">' + "".join(_mistake(one) for one in section.mistakes) + "</div>",
        _reported(section.reported),
        "<h3>The protocol</h3>",
        '<p class="quiet">Equal for all methods ranked together above.</p>',
        _pairs(section.protocol, "protocol"),
        "<h3>Where it comes from</h3>",
        _pairs(section.provenance, "protocol"),
        _table(section.runs.columns, section.runs.to_dict("records"), "runs"),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _task(task: Task) -> str:
    label = METRICS[task.metric].label
    parts = [f"<h4>{escape(task.question)}</h4>"]
    if task.blank is not None:
        return "".join([*parts, f"<p>{escape(label)} has no value: {escape(task.blank)}</p>"])
    rows = task.board[(task.board["metric"] == task.metric) & task.board["value"].notna()]
    rows = rows.sort_values(["shots", "value"], ascending=[True, False])
    bars = [
        Bar(_named(row), str(row["method"]), float(row["value"]), float(row["low"]), float(row["high"]))
        for row in rows.to_dict("records")
    ]
    chance = 0.5 if task.metric.endswith("auroc") else None
    axis = f"{label}, mean over categories with 95% interval"
    parts.append(f"<figure>{interval_chart(bars, axis, chance=chance)}</figure>")
    parts.append(_board(task.board))
    parts += [f'<p class="quiet">{escape(text)}</p>' for text in _blanks(task.board)]
    how = _with(task.shots) or ", without references"
    parts.append(f'<p class="quiet">{escape(label)} by category{how}, in percent:</p>')
    parts.append(_grid(task.categories))
    return "".join(parts)


def _board(board: pd.DataFrame) -> str:
    """All metrics of all lines, in percent, the best of each bold."""
    names = list(dict.fromkeys(board["metric"]))
    best = board.groupby("metric")["value"].max()
    head = "".join(f"<th>{escape(METRICS[name].label)}</th>" for name in names)
    body = []
    for _, line in board.groupby(["title", "preset", "shots"], sort=False):
        values = {row["metric"]: row for row in line.to_dict("records")}
        tds = "".join(_value(values.get(name), best.get(name)) for name in names)
        body.append(f"<tr><th>{escape(_named(line.iloc[0].to_dict()))}</th>{tds}</tr>")
    return _framed(f"<th>Method</th>{head}", "".join(body), "board")


def _blanks(board: pd.DataFrame) -> list[str]:
    """Why values are missing, once for each line."""
    empty = board[board["value"].isna()].drop_duplicates(["title", "preset", "shots", "reason"])
    return [f"– {_named(row)}: {row['reason']}" for row in empty.to_dict("records") if isinstance(row["reason"], str)]


def _value(row: dict[Any, Any] | None, best: float | None) -> str:
    if row is None or pd.isna(row["value"]):
        reason = row["reason"] if row is not None and isinstance(row["reason"], str) else "not measured"
        return f'<td title="{escape(reason, quote=True)}">–</td>'
    number = f"{100 * row['value']:.1f}"
    interval = interval_text(row["low"], row["high"])
    strong = f"<b>{number}</b>" if row["value"] == best else number
    return f'<td>{strong}<span class="interval">{interval}</span></td>'


def _grid(cells: pd.DataFrame) -> str:
    """Categories down, lines across, coloured by value; the number stands in every cell."""
    lines = list(dict.fromkeys(cells["line"]))
    titles = dict(zip(cells["line"], cells["title"], strict=False))
    known = cells["value"].dropna()
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    colours = sequential(dark=False)
    head = "".join(f"<th>{escape(str(titles[line]))}</th>" for line in lines)
    body = []
    for category, group in cells.groupby("category", sort=False):
        rows = {row["line"]: row for row in group.to_dict("records")}
        tds = []
        for line in lines:
            row = rows.get(line)
            if row is None or pd.isna(row["value"]):
                reason = str(row["reason"]) if row is not None else "not measured"
                tds.append(f'<td title="{escape(reason, quote=True)}">–</td>')
                continue
            colour = interpolate(colours, (row["value"] - low) / max(high - low, 1e-9))
            tds.append(f'<td style="background:{colour};color:{ink_on(colour)}">{100 * row["value"]:.1f}</td>')
        body.append(f"<tr><th>{escape(category_label(str(category)))}</th>{''.join(tds)}</tr>")
    return _framed(f"<th>Category</th>{head}", "".join(body), "grid")


def _mistake(one: Mistake) -> str:
    pictures = "".join(
        f'<figure><img alt="{escape(f"{picture.caption}: {one.image_id}", quote=True)}" '
        f'src="data:image/webp;base64,{base64.b64encode(picture.content).decode()}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
        for picture in one.pictures
    )
    shown = pictures or f'<p class="quiet">{escape(one.reason)}</p>'
    what = f", {one.defect_type}" if one.kind == "missed defect" else ""
    return (
        f"<article><p><b>{escape(one.kind)}</b> {escape(one.category)}{escape(what)}</p>"
        f'<div class="pictures">{shown}</div>'
        f'<p class="quiet">{escape(one.image_id)}: score {one.score:.4g}, threshold {one.threshold:.4g}</p></article>'
    )


def _reported(board: pd.DataFrame) -> str:
    if board.empty:
        return ""
    rows = [
        {
            "Method": f"{row['method']}{_with(int(row['shots']))}",
            "Metric": METRICS[row["metric"]].label,
            "Percent": f"{100 * row['value']:.1f}",
            "Backbone": row["backbone"],
            "Source": row["citation"],
            "Where": row["location"],
        }
        for row in board.to_dict("records")
    ]
    return (
        "<h3>What papers report on this data set</h3>"
        '<p class="quiet">Not measured here; other backbones, input sizes and evaluation code. '
        "Not to be ranked together with the numbers above.</p>" + _table(rows[0].keys(), rows, "reported")
    )


def _metrics(sections: Sequence[Section]) -> str:
    used = {name for section in sections for task in section.tasks for name in task.board["metric"]}
    items = "".join(
        f"<dt>{escape(spec.label)}</dt><dd>{escape(spec.definition)} <i>{escape(spec.source)}</i></dd>"
        for name, spec in METRICS.items()
        if name in used
    )
    return (
        f"<section><h2>What the numbers mean</h2><dl>{items}</dl>"
        "<p>Intervals of means come from resampling the categories, those of a single category from resampling its "
        "images.</p></section>"
    )


def _pairs(pairs: Iterable[tuple[str, str]], name: str) -> str:
    rows = "".join(f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>" for key, value in pairs)
    return f'<div class="wide"><table class="{name}"><tbody>{rows}</tbody></table></div>'


def _table(columns: Iterable[Any], rows: Iterable[dict[Any, Any]], name: str) -> str:
    names = list(columns)
    head = "".join(f"<th>{escape(str(column))}</th>" for column in names)
    cells = ("".join(f"<td>{escape(str(row[column]))}</td>" for column in names) for row in rows)
    return _framed(head, "".join(f"<tr>{row}</tr>" for row in cells), name)


def _framed(head: str, body: str, name: str) -> str:
    table = f'<table class="{name}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="wide">{table}</div>'


def _named(row: dict[Any, Any]) -> str:
    preset = "" if row["preset"] == "canonical" or f"({row['preset']})" in str(row["title"]) else f" ({row['preset']})"
    return f"{row['title']}{preset}{_with(int(row['shots']))}"


def _with(shots: int) -> str:
    """What follows a method's name: its number of references, if it has any."""
    return "" if shots == 0 else f", {shots} reference" + ("" if shots == 1 else "s")
