"""A clock that tests can set, and times as ISO-8601 text."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone


def moment(time: int) -> datetime:
    """Seconds since 1970 as a datetime in UTC."""
    return datetime.fromtimestamp(time, timezone.utc)


_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:T(\d\d):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?(Z|[+-]\d\d(?::?\d\d)?)?)?"
)


def parse_time(text: str) -> int:
    """ISO-8601 text as seconds since 1970; UTC without an offset, midnight without a time of day.

    Raises ValueError.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not an ISO-8601 time: {text!r}")
    *numbers, offset = match.groups()
    year, month, day, hour, minute, second = (int(number or 0) for number in numbers)
    zone = timezone.utc
    if offset not in (None, "Z"):
        digits = offset[1:].replace(":", "").ljust(4, "0")
        shift = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        zone = timezone(-shift if offset[0] == "-" else shift)
    return int(datetime(year, month, day, hour, minute, second, tzinfo=zone).timestamp())


def seconds(time: str | datetime) -> int:
    """A time as seconds since 1970; UTC without an offset. Raises ValueError."""
    if isinstance(time, str):
        return parse_time(time)
    if time.tzinfo is None:
        time = time.replace(tzinfo=timezone.utc)
    return int(time.timestamp())


class Clock:
    """Shows the time it was set to until `advance` moves it, or the real time."""

    def __init__(self, now: str | datetime | None) -> None:
        """Set the clock; None means the real time."""
        self._set = None if now is None else moment(seconds(now))

    def now(self) -> datetime:
        """The time, in UTC and whole seconds."""
        return self._set or datetime.now(timezone.utc).replace(microsecond=0)

    def advance(self, seconds: float) -> None:
        """Move a clock forward that was set. Raises ValueError if it shows the real time."""
        if self._set is None:
            raise ValueError("the clock is the real one; give now= to have one that can be set")
        if seconds < 0:
            raise ValueError("the clock moves forward only")
        self._set += timedelta(seconds=seconds)
