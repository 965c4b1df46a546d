"""The pages of the dashboard, from a warehouse and filters to what marimo shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import marimo as mo

from textlift import clock
from textlift.dashboard import MODELS, figures, queries
from textlift.dashboard.figures import (
    count,
    duration,
    month,
    named,
    percent,
    plain,
    short,
    table,
    time,
)
from textlift.dashboard.filters import Campaign, Filters
from textlift.dashboard.warehouse import Row, Warehouse
from textlift.load.rejects import REJECTED_RECORDS
from textlift.load.runs import LOAD_RUNS

_STAGING = "_staging"


@dataclass(frozen=True)
class Contents:
    """What a warehouse has, when a page is opened.

    Attributes:
        datasets: Schema with ``load_runs`` → its name in SQL.
        rejects: Those of them with ``rejected_records``.
        has_models: Whether the models are built.
        services: The services that can be chosen.
        campaigns: The campaigns that can be chosen.
    """

    datasets: Mapping[str, str]
    rejects: Mapping[str, str]
    has_models: bool
    services: tuple[str, ...]
    campaigns: tuple[Campaign, ...]


def contents(warehouse: Warehouse) -> Contents:
    """Return what a warehouse has."""
    tables = warehouse.tables()
    database = warehouse.name()
    datasets = {
        # DuckDB cannot tell a schema from a database of the same name.
        schema: f'"{schema}"."{schema}"' if schema == database else f'"{schema}"'
        for schema, names in sorted(tables.items())
        if LOAD_RUNS in names and not schema.endswith(_STAGING)
    }
    has_models = tables.get(MODELS, set()) >= queries.USED
    modelled, campaigns = [], []
    if has_models:
        modelled = [row["service"] for row in warehouse.rows(queries.known_services())]
        campaigns = [
            Campaign(row["service"], row["campaign_id"], row["campaign_name"])
            for row in warehouse.rows(queries.campaigns())
        ]
    return Contents(
        datasets,
        {schema: name for schema, name in datasets.items() if REJECTED_RECORDS in tables[schema]},
        has_models,
        tuple(sorted({*datasets, *modelled})),
        tuple(campaigns),
    )


@dataclass(frozen=True)
class View:
    """What a page is made from."""

    warehouse: Warehouse
    contents: Contents
    filters: Filters

    def rows(self, sql: str) -> list[Row]:
        """Return the rows of a query."""
        return self.warehouse.rows(sql)

    def chosen(self, datasets: Mapping[str, str]) -> dict[str, str]:
        """Return the datasets of the chosen services."""
        services = self.filters.services
        return {
            schema: name for schema, name in datasets.items() if not services or schema in services
        }

    def figure(
        self, title: str, sql: str, show: Callable[[list[Row]], Any], note: str = ""
    ) -> mo.Html:
        """Return a figure of the rows of a query."""
        return figures.figure(title, sql, show(self.rows(sql)), note)


def health(view: View) -> list[mo.Html]:
    """Return the page about runs: it reads the tables of each dataset, not the models."""
    datasets = view.chosen(view.contents.datasets)
    if not datasets:
        return [
            _callout(
                "No run has ended in this warehouse yet. Load a service: textlift load SERVICE"
            )
        ]
    parts = [
        view.figure("Last run of each service", queries.services(datasets), _last_runs),
        view.figure(
            "Failures",
            queries.failures(datasets, view.filters),
            lambda rows: table(
                rows,
                {
                    "started_at": ("run", time),
                    **named(plain, "service", "resource", "message"),
                },
            ),
            "Resources that were not loaded, in the chosen days.",
        ),
    ]
    rejecting = view.chosen(view.contents.rejects)
    if rejecting:
        parts.append(
            view.figure(
                "Rejects by reason",
                queries.rejects(rejecting),
                lambda rows: table(
                    rows,
                    {
                        **named(plain, "service", "resource"),
                        "column_name": ("column", plain),
                        "reason": ("reason", plain),
                        **named(count, "unresolved", "resolved"),
                        "last_rejected_at": ("last rejected", time),
                    },
                ),
                "Values and records that could not be loaded. A healthy account has none unresolved.",
            )
        )
    return [
        *parts,
        view.figure(
            "Freshness",
            queries.freshness(datasets),
            lambda rows: table(
                [{**row, "age": _age(row["loaded_at"])} for row in rows],
                {
                    **named(plain, "service", "resource"),
                    "age": ("age", duration),
                    "loaded_at": ("last loaded", time),
                    "read_up_to": ("read up to", time),
                    "failed_at": ("last failed", time),
                },
            ),
            "Each resource, the one that was not loaded for the longest time first.",
        ),
        view.figure(
            "Recent runs",
            queries.recent_runs(datasets, view.filters),
            lambda rows: table(
                [
                    {**row, "seconds": (row["ended_at"] - row["started_at"]).total_seconds()}
                    for row in rows
                ],
                {
                    "started_at": ("run", time),
                    "service": ("service", plain),
                    "seconds": ("time", duration),
                    **named(count, "resources", "failed"),
                    "loaded_rows": ("rows", count),
                    **named(count, "requests", "retries", "rejected"),
                },
            ),
        ),
    ]


def _age(loaded: Any) -> float | None:
    return None if loaded is None else (clock.now().replace(tzinfo=None) - loaded).total_seconds()


def _last_runs(rows: list[Row]) -> mo.Html:
    if not rows:
        return figures.empty()

    def caption(row: Row) -> str:
        failed = row["failed_resources"]
        return (
            f"{failed:,} {'resources' if failed > 1 else 'resource'} failed"
            if failed
            else f"all loaded, {row['loaded_rows']:,} rows"
        )

    return figures.numbers(
        {row["service"]: (f"{duration(_age(row['last_run']))} ago", caption(row)) for row in rows}
    )


def audience(view: View) -> list[mo.Html]:
    """Return the page about who joined and left."""
    filters = view.filters
    total = queries.audience(filters)
    return [
        view.figure(
            "Subscribers",
            total,
            lambda rows: figures.numbers(
                {
                    "subscribed at the end": (count(rows[0]["active"]), ""),
                    "gained": (count(rows[0]["gained"]), ""),
                    "lost": (count(rows[0]["lost"]), ""),
                    "net": (_signed(rows[0]["net"]), ""),
                }
            ),
            "Each person counts once for each service. mGage and Messangi list no subscribers; TextMe "
            "does not list who left."
            if filters.campaign is None
            else "People who were subscribed to this campaign.",
        ),
        view.figure(
            "Gained, lost and net by month", queries.audience_by_month(filters), figures.gains
        ),
        view.figure(
            f"Subscribers by {filters.step}",
            queries.subscribers(filters),
            lambda rows: figures.lines(rows, filters.step, "active", "service", "people"),
        ),
        view.figure(
            "By campaign and month",
            queries.audience_by_campaign(filters),
            lambda rows: table(
                rows,
                {
                    "month": ("month", month),
                    **named(plain, "service", "campaign"),
                    **named(count, "gained", "lost", "net"),
                },
            ),
            "A person can be in several campaigns.",
        ),
    ]


def _signed(value: int | None) -> str:
    return f"{value:+,}" if value else count(value)


def messages(view: View) -> list[mo.Html]:
    """Return the page about messages."""
    filters = view.filters
    step = filters.step
    by_carrier = queries.messages_by_carrier(filters)
    carriers = view.rows(by_carrier)
    return [
        view.figure("Messages", queries.activity(filters), _message_numbers),
        view.figure(
            f"Sent messages by {step} and status",
            queries.messages_by_status(filters),
            lambda rows: figures.bars(
                rows, step, "messages", "status", figures.STATUSES, "messages"
            ),
        ),
        figures.figure(
            "Failed messages by carrier",
            by_carrier,
            mo.vstack(
                [
                    figures.shares(
                        [
                            {"carrier": f"{row['carrier']} ({row['service']})", **_rate(row)}
                            for row in carriers
                        ],
                        "carrier",
                        "failure rate",
                        "failed",
                    ),
                    table(
                        carriers,
                        {
                            **named(plain, "service", "carrier"),
                            **named(count, "sent", "delivered", "failed"),
                            "failure_rate": ("failure rate", percent),
                        },
                    ),
                ]
            )
            if carriers
            else figures.empty(),
        ),
        view.figure(
            f"Messages by {step}",
            queries.messages_by_day(filters),
            lambda rows: table(
                rows,
                {
                    step: (step, plain if step == "day" else month),
                    **named(count, "sent", "delivered", "failed", "received", "segments"),
                },
            ),
        ),
    ]


def _rate(row: Row) -> Row:
    return {"failure rate": row["failure_rate"]}


def _message_numbers(rows: list[Row]) -> mo.Html:
    row = rows[0]

    def of_sent(name: str) -> tuple[str, str]:
        rate = row[name] / row["sent"] if row["sent"] else None
        return count(row[name]), f"{percent(rate)} of sent" if rate is not None else ""

    return figures.numbers(
        {
            "sent": (count(row["sent"]), f"{count(row['segments'])} segments"),
            "delivered": of_sent("delivered"),
            "failed": of_sent("failed"),
            "received": (count(row["received"]), ""),
            "opt-outs": (count(row["opt_outs"]), ""),
        }
    )


def broadcasts(view: View) -> list[mo.Html]:
    """Return the page with all broadcasts."""
    filters = view.filters
    sql = queries.broadcasts(filters)
    rows = view.rows(sql)

    def address(row: Row) -> str:
        return "?" + urlencode(
            {**filters.address(), "page": "Broadcasts", "broadcast": row["broadcast_key"]}
        )

    return [
        figures.figure(
            "Opt-out rate of each broadcast",
            sql,
            figures.points(rows, "opt_out_rate", "opt-outs"),
            "Share of the recipients who opted out within 24 hours. Mobiniti does not say to which "
            "broadcast a message belongs.",
        ),
        figures.figure(
            "Broadcasts",
            sql,
            table(
                rows,
                {
                    "sent_at": ("sent", time),
                    "service": ("service", plain),
                    "name": ("name", short),
                    "campaign": ("campaign", short),
                    "recipients": ("recipients", count),
                    "delivery_rate": ("delivered", percent),
                    "reply_rate": ("reply rate", percent),
                    "opt_out_rate": ("opt-out rate", percent),
                    "clicks": ("clicks", count),
                    "median_response_seconds": ("response time", duration),
                },
                address,
            ),
            "Sort by a column. Open a broadcast for its page.",
        ),
    ]


def broadcast(view: View, key: str) -> list[mo.Html]:
    """Return the page of a broadcast."""
    sql = queries.broadcast(key)
    found = view.rows(sql)
    back = "?" + urlencode({**view.filters.address(), "page": "Broadcasts"})
    link = figures.link(back, "← All broadcasts", **{"class": "textlift-back"})
    if not found:
        return [link, _callout("This broadcast is not in the warehouse.")]
    row = found[0]
    what = [row["service"], time(row["sent_at"]), row["campaign_name"]]
    return [
        link,
        figures.text(row["name"] or "Broadcast", "h2"),
        figures.text(" · ".join(part for part in what if part), name="note"),
        figures.text(row["text"] or "", "blockquote"),
        figures.figure("Response", sql, _response(row)),
        view.figure(
            "Messages from its recipients, by hour",
            queries.broadcast_answers(key),
            figures.hours,
            "Everything that they wrote in the 24 hours after it. Replies and opt-outs above belong to "
            "the last broadcast before them.",
        ),
        view.figure(
            "Messages by carrier",
            queries.broadcast_messages(key),
            lambda rows: table(
                rows,
                {
                    "carrier": ("carrier", plain),
                    **named(count, "sent", "delivered", "failed"),
                },
            ),
        ),
    ]


def _response(row: Row) -> mo.Html:
    def reported(name: str) -> str:
        value = row[f"reported_{name}"]
        return "" if value is None else f"{value:,} as the service says"

    return figures.numbers(
        {
            "recipients": (count(row["recipients"]), reported("recipients")),
            "delivered": (percent(row["delivery_rate"]), f"{count(row['delivered'])} people"),
            "failed": (count(row["failed"]), ""),
            "reply rate": (percent(row["reply_rate"]), f"{count(row['replies'])} replies"),
            "opt-out rate": (percent(row["opt_out_rate"]), f"{count(row['opt_outs'])} opt-outs"),
            "clicks": (count(row["clicks"]), ""),
            "response time": (duration(row["median_response_seconds"]), "median of the replies"),
        }
    )


def all_services(view: View) -> list[mo.Html]:
    """Return the page that compares services."""
    filters = view.filters
    return [
        view.figure(
            "Services",
            queries.all_services(filters),
            lambda rows: table(
                rows,
                {
                    "service": ("service", plain),
                    **named(count, "people", "active", "sent", "delivered", "failed", "received"),
                    "opt_outs": ("opt-outs", count),
                    **named(count, "clicks", "calls"),
                },
            ),
            "People are all that a service knows today; the other columns are of the chosen days.",
        ),
        view.figure(
            "Sent messages by month",
            queries.activity_by_service(filters),
            lambda rows: figures.bars(
                rows,
                "month",
                "sent",
                "service",
                figures.of_services(view.contents.services),
                "messages",
            ),
        ),
        view.figure(
            "People in several services",
            queries.shared_people(filters),
            lambda rows: table(
                rows, {"services": ("services", count), "people": ("people", count)}
            ),
            "A phone number, or its hash, is one person.",
        ),
    ]


#: Name of a page → what returns its parts.
PAGES: dict[str, Callable[[View], list[mo.Html]]] = {
    "Health": health,
    "Audience": audience,
    "Messages": messages,
    "Broadcasts": broadcasts,
    "All services": all_services,
}
#: Pages that read no models.
_WITHOUT_MODELS = ("Health",)


def page(name: str, view: View, key: str | None = None) -> mo.Html:
    """Return a page.

    Args:
        name: A name of ``PAGES``.
        view: What it is made from.
        key: The broadcast to show instead of all.
    """
    if not view.contents.has_models and name not in _WITHOUT_MODELS:
        parts = [_callout("This page reads the models, which are not built. Run: textlift models")]
    elif key and name == "Broadcasts":
        parts = broadcast(view, key)
    else:
        parts = PAGES[name](view)
    read_at = f"Read at {time(clock.now())}. All times are UTC."
    return mo.vstack([*parts, figures.text(read_at, name="read-at")], gap=1.5)


def _callout(message: str) -> mo.Html:
    return mo.callout(figures.text(message), kind="info")
