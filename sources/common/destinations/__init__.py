"""dlt's destinations, those among them changed that lose, double or waste something as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dlt import Pipeline
from dlt.common.destination import Destination

from ._duckdb import duckdb, is_locked
from ._lakes import filesystem, open_table_rows

__all__ = ["destination", "is_locked", "stored_rows"]


def destination(name: str, **settings: Any) -> Destination[Any, Any]:
    """A destination by its name.

    Args:
        name: That of any destination of dlt, or ``delta`` or ``iceberg`` for tables of that format
            in dlt's ``filesystem``.
        settings: What dlt's destination takes, such as ``credentials`` or ``bucket_url``; dlt's
            configuration says the rest.

    Raises:
        UnknownDestinationModule: There is none of that name.
    """
    if name == "duckdb":
        return duckdb(**settings)
    if name in ("delta", "iceberg"):
        return filesystem(preferred_table_format=name, **settings)
    if name == "postgres":
        # Its driver is there only for those who asked for it.
        from ._postgres import postgres

        return postgres(**settings)
    found: Destination[Any, Any] | None = Destination.from_reference(name, **settings)
    assert found, name
    return found


def stored_rows(
    pipeline: Pipeline, table: str, column: str, value: str
) -> Iterable[Mapping[str, Any]]:
    """The rows of a table that have ``value`` in ``column``, as the destination has them now.

    Raises:
        DestinationUndefinedEntity: There is no such table; or any other error of the destination.
    """
    with pipeline.destination_client() as client:
        rows = open_table_rows(client, table, column, value)
        if rows is not None:
            return rows
        # Every destination that can be queried has it.
        sql: Any = client.sql_client  # type: ignore[attr-defined]
        naming = client.schema.naming.normalize_identifier
        with sql.execute_query(
            f"SELECT * FROM {sql.make_qualified_table_name(naming(table))} "
            f"WHERE {sql.escape_column_name(naming(column))} = %s",
            value,
        ) as cursor:
            # Some write names in capitals.
            names = [name.lower() for name, *_ in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]
