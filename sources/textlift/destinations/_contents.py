"""Find the tables of a dataset that are missing or empty."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
from dlt.destinations.job_client_impl import SqlJobClientBase


def contents(client: Any, tables: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the missing tables and the empty tables.

    Args:
        client: An open client of the destination, with the schema of the tables.
        tables: Names of tables that were loaded before.
    """
    names = list(tables)
    if not names:
        return [], []
    if isinstance(client, SqlJobClientBase):
        return _of_database(client, names)
    if isinstance(client, FilesystemClient):
        rows = {name: _rows_of_files(client, name) for name in names}
        return [n for n in names if rows[n] is None], [n for n in names if rows[n] == 0]
    # dlt cannot tell for other destinations.
    return [], []


def _of_database(client: SqlJobClientBase, names: list[str]) -> tuple[list[str], list[str]]:
    missing: list[str] = []
    try:
        filled = _filled(client, names)
    except DestinationUndefinedEntity:
        missing = [name for name, columns in client.get_storage_tables(names) if not columns]
        filled = _filled(client, [name for name in names if name not in missing])
    return missing, [name for name in names if name not in missing and name not in filled]


def _filled(client: SqlJobClientBase, names: list[str]) -> set[str]:
    """Return the tables that hold a row, with one query."""
    if not names:
        return set()
    columns = ", ".join(
        f"CASE WHEN EXISTS (SELECT 1 FROM {client.sql_client.make_qualified_table_name(name)}) "
        "THEN 1 ELSE 0 END"
        for name in names
    )
    found = client.sql_client.execute_sql(f"SELECT {columns}")
    return {name for name, is_filled in zip(names, found[0] if found else ()) if is_filled}


def _rows_of_files(client: FilesystemClient, name: str) -> int | None:
    """Return the least number of rows that a table can have; ``None`` if it is missing."""
    try:
        if client.is_open_table("delta", name):
            table = client.load_open_table("delta", name)
            return int(table.to_pyarrow_dataset().count_rows())
        if client.is_open_table("iceberg", name):
            return int(client.load_open_table("iceberg", name).scan().count())
        return len(client.list_table_files(name)) or None
    except DestinationUndefinedEntity:
        return None
