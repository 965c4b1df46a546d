"""dlt's destinations, with changes to those that would lose, double or waste something."""

from __future__ import annotations

from typing import Any

from dlt.common.destination import Destination

from textlift.destinations._check import check, checked, installed, reason
from textlift.destinations._contents import contents
from textlift.destinations._duckdb import duckdb, is_locked, open_while_loading, turn
from textlift.destinations._lakes import filesystem

__all__ = [
    "check",
    "checked",
    "contents",
    "destination",
    "is_locked",
    "open_while_loading",
    "reason",
    "turn",
]


def destination(name: str, **settings: Any) -> Destination[Any, Any]:
    """Return a destination by its name.

    Args:
        name: A destination of dlt, ``postgresql``, ``delta`` or ``iceberg``. The last two are
            dlt's ``filesystem`` with tables of that format.
        settings: Arguments of dlt's destination, such as ``credentials`` or ``bucket_url``. The
            rest comes from dlt's configuration.

    Raises:
        ConfigurationError: The destination's client is not installed.
        UnknownDestinationModule: No destination has that name.
    """
    if name == "duckdb":
        return duckdb(**settings)
    if name in ("delta", "iceberg"):
        return filesystem(preferred_table_format=name, **settings)
    if name in ("postgres", "postgresql"):
        # Its driver is an optional dependency.
        with installed("postgres"):
            from textlift.destinations._postgres import postgres

        return postgres(**settings)
    found: Destination[Any, Any] | None = Destination.from_reference(name, **settings)
    assert found, name
    return found
