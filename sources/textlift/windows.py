"""Time windows: pure functions over UTC times in whole seconds.

Both ends of a window are inclusive, as the services document it. Neighbouring windows share the
second at which they meet: a service may keep fractions of a second it does not print, and a row
stamped between two whole seconds would otherwise fall between the windows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import cast

import pendulum

from textlift.errors import ConfigurationError

SECOND = timedelta(seconds=1)
#: What a person may write instead of a day, and how long it is.
_LONGER_THAN_A_DAY = {r"\d{4}": "year", r"\d{4}-\d{2}": "month", r"\d{4}-?W\d{2}": "week"}


@dataclass(frozen=True)
class Window:
    """The seconds from ``start`` to ``end``, both inclusive, in UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start > self.end:
            raise ValueError(f"A window cannot end before it starts: {self}")

    def __str__(self) -> str:
        return f"{format_time(self.start)} to {format_time(self.end)}"

    @property
    def splittable(self) -> bool:
        """Whether there is a whole second inside the window at which it can be cut."""
        return self.end - self.start > SECOND

    def split(self, parts: int) -> Sequence[Window]:
        """Cut the window into up to ``parts`` windows of about equal length.

        Args:
            parts: How many windows are wanted; fewer come back if there are fewer seconds.

        Returns:
            Windows in order of time, each starting in the second in which the one before ends.
        """
        seconds = int((self.end - self.start) / SECOND)
        parts = max(1, min(parts, seconds))
        cuts = [self.start + SECOND * (seconds * n // parts) for n in range(parts)] + [self.end]
        return [Window(start, end) for start, end in zip(cuts, cuts[1:])]


def parse_time(value: str | datetime, setting: str, *, end: bool = False) -> datetime:
    """Read a time a person wrote: ISO 8601, UTC where no offset is given.

    Args:
        value: For example ``2024-01-31``, ``2024-01-31T12:00:00``, ``2024-01-31T12:00:00-05:00``.
        setting: The name of the option or setting, for the message.
        end: Whether a date alone is its last second, and not its first.

    Raises:
        ConfigurationError: ``value`` is not a time.
    """
    try:
        parsed = pendulum.parse(value, tz="UTC", exact=False) if isinstance(value, str) else value
        time = cast("datetime", parsed)
        if end and isinstance(value, str):
            time = _end_of_date(value, time)
        if time.tzinfo is None:
            time = time.replace(tzinfo=timezone.utc)
        return datetime.fromtimestamp(int(time.timestamp()), timezone.utc)
    # A duration or an interval is no time either, and has no zone.
    except (AttributeError, OverflowError, ValueError):
        raise ConfigurationError(
            f"{setting} is not a time: {value!r}\n"
            "Write a date or an ISO 8601 time, for example 2024-01-31 or 2024-01-31T12:00:00Z."
        ) from None


def _end_of_date(value: str, time: datetime) -> datetime:
    """The last second of what ``value`` names, if that is a date alone."""
    if type(pendulum.parse(value, exact=True)) is not pendulum.Date:
        return time
    spans = [span for form, span in _LONGER_THAN_A_DAY.items() if re.fullmatch(form, value)]
    return pendulum.instance(time).end_of(spans[0] if spans else "day")


def format_time(value: datetime) -> str:
    """A UTC time in whole seconds as ``2024-01-31T12:00:00Z``."""
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")
