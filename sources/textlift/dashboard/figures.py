"""Charts, tables and numbers, as marimo shows them.

Text of the warehouse is escaped: a name of a broadcast can be markup. Charts are SVG with a label
for each mark, so that a screen reader can read them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from html import escape
from typing import Any

import altair as alt
import marimo as mo

from textlift.dashboard.warehouse import Row

#: Colors that can be told apart on white and on black, also by those who see no red or green.
STATUSES = {
    "delivered": "#2a9d8f",
    "sent": "#8ab0d6",
    "queued": "#b9a5e0",
    "unknown": "#9aa0a6",
    "failed": "#e4572e",
}
CHANGES = {"gained": "#2a9d8f", "lost": "#e4572e"}
ANSWERS = {"other": "#4c8fd6", "opt-out": "#e4572e"}
_SERVICES = ("#4c8fd6", "#e9a03b", "#2a9d8f", "#b07cc6", "#e4572e")
_HEIGHT = 240
_BAR: dict[str, Any] = {"width": {"band": 0.85}}
#: A table of marimo does not have the style sheet of the page.
_LINK = "color: var(--blue-11, #0b68cb); text-decoration: underline"
#: A font that marimo serves.
_FONT = "PT Sans, sans-serif"
#: What a page shows for NULL.
NOTHING = "–"
#: Rows of a table on a page, and characters of a long text in one.
_PAGE, _SHORT = 15, 36


def text(content: str, tag: str = "p", name: str = "") -> mo.Html:
    """Return an element with text in it."""
    return mo.Html(f'<{tag} class="textlift-{name or tag}">{escape(content)}</{tag}>')


def figure(title: str, sql: str, content: Any, note: str = "") -> mo.Html:
    """Return a figure: a title, what is shown, and the SQL of it."""
    shown = (
        f'<details class="textlift-sql"><summary>SQL</summary><pre><code>{escape(sql)}</code></pre>'
        "</details>"
    )
    parts = [
        text(title, "h3"),
        *([text(note, name="note")] if note else []),
        content,
        mo.Html(shown),
    ]
    return mo.Html(f'<section class="textlift-figure">{mo.vstack(parts, gap=0.5).text}</section>')


def numbers(values: Mapping[str, tuple[str, str]]) -> mo.Html:
    """Return numbers side by side: label → value and caption."""
    each = (
        f'<div class="textlift-number"><span>{escape(label)}</span><b>{escape(value)}</b>'
        f"<small>{escape(caption)}</small></div>"
        for label, (value, caption) in values.items()
    )
    return mo.Html(f'<div class="textlift-numbers">{"".join(each)}</div>')


def count(value: Any) -> str:
    """Return a number for readers."""
    return NOTHING if value is None else f"{value:,}"


def percent(value: Any) -> str:
    """Return a rate for readers."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


def duration(seconds: Any) -> str:
    """Return seconds for readers, in the largest unit that fits."""
    if seconds is None:
        return NOTHING
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def time(value: datetime | None) -> str:
    """Return a time of UTC for readers, to the minute."""
    return value.strftime("%Y-%m-%d %H:%M") if value else NOTHING


def month(value: date) -> str:
    """Return a month for readers."""
    return value.strftime("%Y-%m")


def plain(value: Any) -> str:
    """Return a text."""
    return NOTHING if value is None else str(value)


def short(value: Any) -> str:
    """Return the beginning of a text."""
    # marimo would make a link of an address, and of one that is cut short, too.
    line = plain(value).replace("://", ":\u2060//")
    return line if len(line) <= _SHORT else f"{line[:_SHORT].rstrip()}…"


_NUMBERS = (count, percent, duration)
#: Key of a column in the rows → its title, and what shows a value.
Columns = Mapping[str, tuple[str, Callable[[Any], str]]]


def named(show: Callable[[Any], str], *keys: str) -> Columns:
    """Return columns whose titles are their keys, all shown in the same way."""
    return {key: (key, show) for key in keys}


def table(rows: Sequence[Row], columns: Columns, page: Callable[[Row], str] | None = None) -> Any:
    """Return a table, or a note without rows. One that is long or has links can be sorted.

    Args:
        rows: The rows, by the keys of ``columns``.
        columns: The columns, in order.
        page: Returns the address of a row's page.
    """
    if not rows:
        return empty()
    if page or len(rows) > _PAGE:
        return _sortable(rows, columns, page)
    heads = "".join(_cell("th", title, show) for title, show in columns.values())
    lines = (
        "".join(_cell("td", show(row[key]), show) for key, (_, show) in columns.items())
        for row in rows
    )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return mo.Html(
        f'<div class="textlift-table"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(tag: str, content: str, show: Callable[[Any], str]) -> str:
    return f"<{tag}{' class=number' if show in _NUMBERS else ''}>{escape(content)}</{tag}>"


def _sortable(rows: Sequence[Row], columns: Columns, page: Callable[[Row], str] | None) -> Any:
    data = [
        {
            **({"page": link(page(row), "Open", style=_LINK)} if page else {}),
            **{title: row[key] for key, (title, _) in columns.items()},
        }
        for row in rows
    ]
    numeric = [title for title, show in columns.values() if show in _NUMBERS]
    return mo.ui.table(
        data,
        selection=None,
        page_size=_PAGE,
        pagination=len(rows) > _PAGE,
        show_column_summaries=False,
        show_data_types=False,
        show_download=False,
        format_mapping=dict(columns.values()),
        column_widths={**({"page": 60} if page else {}), **dict.fromkeys(numeric, 96)},
        text_justify_columns=dict.fromkeys(numeric, "right"),
    )


def empty() -> mo.Html:
    """Return what stands where a figure has no rows."""
    return text("Nothing here for these filters.", name="nothing")


def bars(
    rows: Sequence[Row], x: str, y: str, kind: str, colors: Mapping[str, str], title: str
) -> Any:
    """Return stacked bars over days or months.

    Args:
        rows: The rows.
        x: The column of days, named after the step between them.
        y: The column of heights.
        kind: The column of colors.
        colors: Color of each kind, from the bottom up.
        title: Name of the heights.
    """
    order = list(colors)
    data = [
        {**_when(row, x), y: row[y], kind: row[kind], "order": order.index(row[kind])}
        for row in rows
        if row[y]
    ]
    if not data:
        return empty()
    chart = _over_time(data, x).mark_bar(**_BAR)
    return _shown(
        chart.encode(
            y=alt.Y(f"{y}:Q", title=title, axis=_counts()),
            color=_colors(
                kind, {name: colors[name] for name in order if name in _kinds(data, kind)}
            ),
            order=alt.Order("order:Q"),
            tooltip=_tooltip(x, kind, y),
        )
    )


def gains(rows: Sequence[Row]) -> Any:
    """Return bars up for who joined and down for who left in each month, and the net as a line."""
    if not rows:
        return empty()
    data = []
    for row in rows:
        when = _when(row, "month")
        data.append({**when, "change": "gained", "people": row["gained"]})
        data.append({**when, "change": "lost", "people": -row["lost"]})
    both = (
        _over_time(data, "month")
        .mark_bar(**_BAR)
        .encode(
            y=alt.Y("people:Q", title="people", axis=_counts()),
            color=_colors("change", CHANGES),
            tooltip=_tooltip("month", "change", "people"),
        )
    )
    nets = [{**_when(row, "month"), "net": row["net"]} for row in rows]
    net = (
        _over_time(nets, "month")
        .mark_line(point={"filled": True, "size": 30, "color": "#8a8f98"}, color="#8a8f98")
        .encode(y=alt.Y("net:Q", title="people"), tooltip=_tooltip("month", "net"))
    )
    return _shown(alt.layer(both, net))


def lines(rows: Sequence[Row], x: str, y: str, kind: str, title: str) -> Any:
    """Return a line over days or months for each kind."""
    if not rows:
        return empty()
    data = [{**_when(row, x), y: row[y], kind: row[kind]} for row in rows]
    mark: dict[str, Any] = {"point": True} if len({row[x] for row in rows}) == 1 else {}
    chart = _over_time(data, x).mark_line(strokeWidth=2, **mark)
    return _shown(
        chart.encode(
            y=alt.Y(f"{y}:Q", title=title, axis=_counts(), scale=alt.Scale(zero=False)),
            color=_colors(kind, of_services(_kinds(rows, kind))),
            tooltip=_tooltip(x, kind, y),
        )
    )


def points(rows: Sequence[Row], y: str, title: str) -> Any:
    """Return a point for each broadcast, by time and a rate; its size is that of the broadcast."""
    data = [
        {
            "sent at": row["sent_at"].isoformat(),
            "rate": row[y],
            "recipients": row["recipients"],
            "service": row["service"],
            "name": row["name"],
        }
        for row in rows
        if row[y] is not None
    ]
    if not data:
        return empty()
    chart = _chart(data).mark_circle(opacity=0.75)
    return _shown(
        chart.encode(
            x=alt.X("sent at:T", title=None, scale=alt.Scale(type="utc")),
            y=alt.Y("rate:Q", title=title, axis=alt.Axis(format=".0%", tickCount=5)),
            size=alt.Size("recipients:Q", scale=alt.Scale(range=[20, 400]), legend=None),
            color=_colors("service", of_services(_kinds(data, "service"))),
            tooltip=[
                alt.Tooltip("name:N"),
                alt.Tooltip("service:N"),
                alt.Tooltip("sent at:T", format="%Y-%m-%d %H:%M", formatType="utc"),
                alt.Tooltip("recipients:Q", format=","),
                alt.Tooltip("rate:Q", title=title, format=".2%"),
            ],
        )
    )


def shares(rows: Sequence[Row], name: str, value: str, title: str) -> Any:
    """Return horizontal bars of a rate, the largest first."""
    if not rows:
        return empty()
    data = [{name: row[name], value: row[value]} for row in rows]
    chart = _chart(data).mark_bar(color=STATUSES["failed"], cornerRadius=2)
    return _shown(
        chart.encode(
            x=alt.X(f"{value}:Q", title=title, axis=alt.Axis(format=".0%", tickCount=5)),
            y=alt.Y(f"{name}:N", title=None, sort="-x", axis=alt.Axis(labelLimit=260)),
            tooltip=[
                alt.Tooltip(f"{name}:N"),
                alt.Tooltip(f"{value}:Q", format=".2%", title=title),
            ],
        ),
        height=max(80, 24 * len({row[name] for row in rows})),
    )


def hours(rows: Sequence[Row]) -> Any:
    """Return bars of what was written in each hour after a broadcast."""
    if not rows:
        return empty()
    chart = _chart([dict(row) for row in rows]).mark_bar(cornerRadius=2)
    return _shown(
        chart.encode(
            x=alt.X(
                "hours:O",
                title="hours after",
                scale=alt.Scale(domain=list(range(24))),
                axis=alt.Axis(labelAngle=0),
            ),
            y=alt.Y("messages:Q", axis=_counts()),
            color=_colors("kind", ANSWERS),
            tooltip=_tooltip("hours", "kind", "messages"),
        )
    )


def of_services(names: Sequence[str]) -> dict[str, str]:
    """Return the color of each service."""
    return {name: _SERVICES[place % len(_SERVICES)] for place, name in enumerate(names)}


def _kinds(rows: Sequence[Row], kind: str) -> list[str]:
    return sorted({row[kind] for row in rows})


def link(address: str, label: str, **attributes: str) -> mo.Html:
    """Return a link to another address of the dashboard."""
    more = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
    return mo.Html(f'<a href="{escape(address)}"{more}>{escape(label)}</a>')


def _when(row: Row, x: str) -> Row:
    """Return the place of a mark on the axis, and what it says of it."""
    return {"date": str(row[x]), x: month(row[x]) if x == "month" else str(row[x])}


def _chart(data: Sequence[Row]) -> Any:
    return alt.Chart(alt.Data(values=data))  # type: ignore[no-untyped-call]


def _over_time(data: Sequence[Row], x: str) -> Any:
    unit = "yearmonth" if x == "month" else "yearmonthdate"
    axis = alt.Axis(format="%b %Y" if x == "month" else "%Y-%m-%d", labelOverlap=True, tickCount=8)
    return _chart(data).encode(
        x=alt.X(f"utc{unit}(date):T", title=None, axis=axis, bandPosition=0.5)
    )


def _counts() -> alt.Axis:
    return alt.Axis(format="~s", tickCount=5, tickMinStep=1)


def _colors(kind: str, colors: Mapping[str, str]) -> alt.Color:
    scale = alt.Scale(domain=list(colors), range=list(colors.values()))
    return alt.Color(f"{kind}:N", scale=scale, title=None, legend=alt.Legend(orient="top"))


def _tooltip(x: str, *fields: str) -> list[alt.Tooltip]:
    """Return what a mark says: the day or month, a kind if there are several, and a number."""
    kinds = [alt.Tooltip(f"{name}:N") for name in fields[:-1]]
    return [alt.Tooltip(f"{x}:N"), *kinds, alt.Tooltip(f"{fields[-1]}:Q", format=",")]


class _Chart:
    """A chart as marimo shows it; its own formatter for Altair looks for IPython first."""

    def __init__(self, chart: Any) -> None:
        self._spec = chart.to_json(indent=None)

    def _mime_(self) -> tuple[str, str]:
        return "application/vnd.vegalite.v6+json", self._spec


def _shown(chart: Any, height: int = _HEIGHT) -> mo.Html:
    options = {"renderer": "svg", "actions": False}
    styled = (
        chart.properties(width="container", height=height, usermeta={"embedOptions": options})
        # A theme has its own background, which is not that of the page.
        .configure(background="transparent", font=_FONT)
        .configure_view(stroke=None)
        .configure_axis(grid=True, gridOpacity=0.25, domainOpacity=0.4, tickOpacity=0.4)
        .configure_axisX(grid=False)
    )
    return mo.as_html(_Chart(styled))
