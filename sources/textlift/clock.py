"""What time it is: asked here and nowhere else, so that a whole run can be set to another time."""

from __future__ import annotations

from datetime import datetime, timezone


def now() -> datetime:
    """The current second, in UTC."""
    return datetime.now(timezone.utc).replace(microsecond=0)
