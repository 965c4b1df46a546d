"""Time windows: pure functions over UTC times in whole seconds.

Both ends of a window are inclusive, as the services document it. Neighbouring windows share the
second at which they meet. A service may store fractions of a second that it does not print, so a
row between two whole seconds would otherwise fall between two windows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import cast

import numpy as np
import numpy.typing as npt
import pendulum

from textlift.errors import ConfigurationError

SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LAST = datetime.max.replace(microsecond=0, tzinfo=timezone.utc)
#: Pattern of a date that is longer than a day → its unit.
_LONGER_THAN_A_DAY = {r"\d{4}": "year", r"\d{4}-\d{2}": "month", r"\d{4}-?W\d{2}": "week"}


@dataclass(frozen=True)
class Window:
    """The seconds from ``start`` to ``end``, both inclusive, in UTC.

    Attributes:
        start: First second.
        end: Last second.
        step: Length of the shortest window that the service can select.
        is_open: Whether all rows after ``end`` belong to it too.
    """

    start: datetime
    end: datetime
    step: timedelta = SECOND
    is_open: bool = False

    def __post_init__(self) -> None:
        if self.start > self.end:
            raise ValueError(f"A window cannot end before it starts: {self}")

    def __str__(self) -> str:
        return f"{format_time(self.start)} to {format_time(self.end)}"

    def contains(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return for each of some times, in microseconds since 1970, whether it is in the window."""
        start, end = ((time - EPOCH) // MICROSECOND for time in (self.start, self.end))
        inside: npt.NDArray[np.bool_] = times >= start
        return inside if self.is_open else inside & (times < end + SECOND // MICROSECOND)

    @property
    def splittable(self) -> bool:
        """Whether the window holds two steps, between which it can be split."""
        return self.end - self.start >= 2 * self.step

    def split(self, parts: int) -> Sequence[Window]:
        """Split the window into up to ``parts`` windows of about equal length.

        Args:
            parts: Number of windows wanted; fewer are returned if there are fewer steps.

        Returns:
            Windows in order of time. Each starts in the second in which the one before ends.
        """
        steps = (self.end - self.start) // self.step
        parts = max(1, min(parts, steps))
        cuts = [self.start + self.step * (steps * n // parts) for n in range(parts)]
        ends = [replace(self, start=a, end=b, is_open=False) for a, b in zip(cuts, cuts[1:])]
        return [*ends, replace(self, start=cuts[-1])]

    def cut(self, seconds: float) -> Sequence[Window]:
        """Cut the window into one of about ``seconds`` and the rest, of a step or more each.

        The window must be splittable.
        """
        steps = (self.end - self.start) // self.step
        front = max(1, min(int(timedelta(seconds=seconds) / self.step), steps - 1))
        at = self.start + self.step * front
        return [replace(self, end=at, is_open=False), replace(self, start=at)]

    def widened(self, margin: timedelta) -> Window:
        """Return the window with ``margin`` added at each end."""
        end = self.end + min(margin, _LAST - self.end)
        return replace(self, start=self.start - margin, end=end)


def floor_time(time: datetime, step: timedelta) -> datetime:
    """Return the last whole step since 1970 up to ``time``."""
    return time - (time - EPOCH) % step


def parse_time(value: str | datetime, setting: str, *, end: bool = False) -> datetime:
    """Return the time that a user wrote in ISO 8601; it is UTC if it has no offset.

    Args:
        value: For example ``2024-01-31``, ``2024-01-31T12:00:00``, ``2024-01-31T12:00:00-05:00``.
        setting: Name of the option or setting, for the error message.
        end: Whether a date alone means its last second instead of its first.

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
    # AttributeError: pendulum also parses durations and intervals, which have no time zone.
    except (AttributeError, OverflowError, ValueError):
        raise ConfigurationError(
            f"{setting} is not a time: {value!r}\n"
            "Write a date or an ISO 8601 time, for example 2024-01-31 or 2024-01-31T12:00:00Z."
        ) from None


def _end_of_date(value: str, time: datetime) -> datetime:
    """Return the last second of ``value`` if it is a date alone, and ``time`` if not."""
    if type(pendulum.parse(value, exact=True)) is not pendulum.Date:
        return time
    spans = [span for form, span in _LONGER_THAN_A_DAY.items() if re.fullmatch(form, value)]
    return pendulum.instance(time).end_of(spans[0] if spans else "day")


def format_time(value: datetime) -> str:
    """Return a UTC time in whole seconds as ``2024-01-31T12:00:00Z``."""
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")
