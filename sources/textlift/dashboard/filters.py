"""What the reader of a page has chosen: services, days and a campaign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

#: Days of a page that is opened without dates.
DAYS = 365
#: With more days than this, figures by day are by month.
MOST_DAYS = 400


@dataclass(frozen=True)
class Campaign:
    """A campaign, a group or a program of a service."""

    service: str
    id: str
    name: str

    @property
    def key(self) -> str:
        """The campaign in the address of a page."""
        return f"{self.service}:{self.id}"

    @property
    def label(self) -> str:
        """The campaign in a list."""
        return f"{self.name} ({self.service} {self.id})"


@dataclass(frozen=True)
class Filters:
    """The rows to count.

    Attributes:
        services: Names of services; empty for all.
        start: First day, UTC.
        end: Last day, UTC.
        campaign: The only campaign, or ``None`` for all.
    """

    services: tuple[str, ...]
    start: date
    end: date
    campaign: Campaign | None = None

    @property
    def step(self) -> str:
        """``day``, or ``month`` where days would be too many to tell apart."""
        return "day" if (self.end - self.start).days <= MOST_DAYS else "month"

    def of_service(self) -> str:
        """Return a condition on the service."""
        return f"service IN ({', '.join(map(literal, self.services))})" if self.services else ""

    def of_campaign(self) -> str:
        """Return a condition on the service and the campaign."""
        if self.campaign is None:
            return self.of_service()
        one = f"service = {literal(self.campaign.service)}"
        one += f" AND campaign_id = {literal(self.campaign.id)}"
        return conditions(self.of_service(), one)

    def on(self, day: str) -> str:
        """Return a condition on a column of days."""
        return f"{day} BETWEEN DATE '{self.start}' AND DATE '{self.end}'"

    def at(self, moment: str) -> str:
        """Return a condition on a column of times."""
        return (
            f"{moment} >= TIMESTAMPTZ '{self.start} 00:00:00+00'"
            f" AND {moment} < TIMESTAMPTZ '{self.end + timedelta(days=1)} 00:00:00+00'"
        )

    def address(self) -> dict[str, str]:
        """Return the filters as the query of an address."""
        return {
            "service": ",".join(self.services),
            "from": str(self.start),
            "to": str(self.end),
            "campaign": self.campaign.key if self.campaign else "",
        }


def from_address(
    query: Mapping[str, str], services: Sequence[str], campaigns: Sequence[Campaign], today: date
) -> Filters:
    """Return the filters of an address. What the warehouse does not have is left out.

    Args:
        query: The query of the address.
        services: The services that can be chosen.
        campaigns: The campaigns that can be chosen.
        today: The last day of an address without one.
    """
    chosen = query.get("service", "").split(",")
    key = query.get("campaign", "")
    end = _day(query.get("to"), today)
    start = _day(query.get("from"), end - timedelta(days=DAYS - 1))
    return Filters(
        tuple(name for name in services if name in chosen),
        min(start, end),
        end,
        next((one for one in campaigns if one.key == key), None),
    )


def _day(text: str | None, default: date) -> date:
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        return default


def literal(text: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def conditions(*each: str) -> str:
    """Return conditions that must all hold; empty ones always do."""
    return " AND ".join(one for one in each if one) or "1 = 1"
