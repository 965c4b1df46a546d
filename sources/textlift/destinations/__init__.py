"""dlt's destinations, those among them changed that lose, double or waste something as they are."""

from __future__ import annotations

from typing import Any

from dlt.common.destination import Destination

from textlift.destinations._check import check, checked, installed, reason
from textlift.destinations._contents import contents
from textlift.destinations._duckdb import duckdb, is_locked
from textlift.destinations._lakes import filesystem

__all__ = ["check", "checked", "contents", "destination", "is_locked", "reason"]


def destination(name: str, **settings: Any) -> Destination[Any, Any]:
    """A destination by its name.

    Args:
        name: That of any destination of dlt, ``postgresql``, or ``delta`` or ``iceberg`` for tables of that format
            in dlt's ``filesystem``.
        settings: What dlt's destination takes, such as ``credentials`` or ``bucket_url``; dlt's
            configuration says the rest.

    Raises:
        ConfigurationError: The destination's client is not installed.
        UnknownDestinationModule: There is none of that name.
    """
    if name == "duckdb":
        return duckdb(**settings)
    if name in ("delta", "iceberg"):
        return filesystem(preferred_table_format=name, **settings)
    if name in ("postgres", "postgresql"):
        # Its driver is there only for those who asked for it.
        with installed("postgres"):
            from textlift.destinations._postgres import postgres

        return postgres(**settings)
    found: Destination[Any, Any] | None = Destination.from_reference(name, **settings)
    assert found, name
    return found
