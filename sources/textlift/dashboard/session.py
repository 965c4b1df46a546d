"""A page that is open in a browser: its filters, its address, and what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import marimo as mo
from dlt.common.destination.exceptions import DestinationException

from textlift import clock
from textlift.dashboard import figures, pages
from textlift.dashboard.filters import Campaign, Filters, from_address
from textlift.dashboard.warehouse import Warehouse
from textlift.destinations import reason

_FIRST = date(2000, 1, 1)
_ALL = "All campaigns"

#: The warehouse that the process shows. marimo starts the app by its file, without arguments.
shown: Warehouse | None = None


class Opened:
    """A page that is open.

    Args:
        warehouse: The warehouse.
        query: The query of the page's address.
    """

    def __init__(self, warehouse: Warehouse, query: Any) -> None:
        self._query = query
        self._warehouse = warehouse
        self._contents = pages.contents(warehouse)
        given = {name: str(query.get(name) or "") for name in ("service", "from", "to", "campaign")}
        contents = self._contents
        self._filters = from_address(
            given, contents.services, contents.campaigns, clock.now().date()
        )
        self._broadcast = str(query.get("broadcast") or "") or None
        self._campaigns = {one.label: one for one in contents.campaigns}

    def inputs(self) -> tuple[Any, Any, Any]:
        """Return the inputs of the filters: services, days, and the campaign."""
        filters = self._filters
        services = mo.ui.multiselect(
            list(self._contents.services), value=list(filters.services), label="Services"
        )
        days = mo.ui.date_range(
            start=min(_FIRST, filters.start),
            stop=max(clock.now().date(), filters.end),
            value=(filters.start, filters.end),
            label="Days (UTC)",
        )
        campaign = mo.ui.dropdown(
            [_ALL, *self._campaigns],
            value=filters.campaign.label if filters.campaign else _ALL,
            label="Campaign",
            searchable=True,
        )
        return services, days, campaign

    def tabs(self) -> Any:
        """Return the tabs of the pages, without their contents: only the chosen one is read."""
        page = self._query.get("page")
        return mo.ui.tabs(
            dict.fromkeys(pages.PAGES, ""),
            value=page if page in pages.PAGES else next(iter(pages.PAGES)),
        )

    def head(self, *inputs: Any) -> mo.Html:
        """Return the title and the filters."""
        return mo.hstack(
            [figures.text("textlift", "h1"), mo.hstack(inputs, justify="end", wrap=True)],
            justify="space-between",
            align="center",
            wrap=True,
        )

    def page(
        self, name: str, services: Sequence[str], days: tuple[date, date], campaign: str | None
    ) -> mo.Html:
        """Return a page for chosen filters, and note them in its address."""
        chosen: Campaign | None = self._campaigns.get(campaign or "")
        filters = Filters(tuple(services), *days, chosen)
        if name != "Broadcasts":
            self._broadcast = None
        self._note({**filters.address(), "page": name, "broadcast": self._broadcast or ""})
        try:
            view = pages.View(self._warehouse, self._contents, filters)
            return pages.page(name, view, self._broadcast)
        except DestinationException as error:
            return failed(error)

    def _note(self, address: dict[str, str]) -> None:
        for name, value in address.items():
            if value and self._query.get(name) != value:
                self._query.set(name, value)
            elif not value and name in self._query:
                self._query.remove(name)


def open_page() -> Opened:
    """Return the page that a browser has just opened."""
    assert shown is not None
    return Opened(shown, mo.query_params())


def failed(error: DestinationException) -> mo.Html:
    """Return what a page shows if the warehouse cannot be read."""
    return mo.callout(
        figures.text(
            f"The warehouse cannot be read: {reason(error)}. Reload the page to try again."
        ),
        kind="danger",
    )
