"""The current time. All code reads it here, so a whole run can be set to another time."""

from __future__ import annotations

from datetime import datetime, timezone


def now() -> datetime:
    """Return the current second in UTC."""
    return datetime.now(timezone.utc).replace(microsecond=0)
