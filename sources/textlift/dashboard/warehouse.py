"""Queries on a warehouse, each on a connection of its own that can only read."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials

Row = dict[str, Any]


class Warehouse:
    """A warehouse that is read.

    Nobody can write to a DuckDB file that another process has open. So it is open for the time of
    one query. A query waits while a load has it open, and a load waits for a query.

    Args:
        client: dlt's client of the warehouse. Its connections can only read from now on.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._is_duckdb = isinstance(self._client.credentials, DuckDbCredentials)
        if self._is_duckdb:
            self._client.credentials.read_only = True

    def rows(self, sql: str) -> list[Row]:
        """Return the rows of a query.

        Raises:
            DestinationException: The warehouse cannot be opened, or the query fails.
        """
        own = self._client
        # A client has one connection, and each open page has its own thread.
        client = type(own)(
            own.dataset_name, own.staging_dataset_name, own.credentials, own.capabilities
        )
        with client:
            if not self._is_duckdb:
                client.execute_sql("SET default_transaction_read_only = on")
            with client.execute_query(sql) as cursor:
                names = [column[0] for column in cursor.description]
                return [dict(zip(names, map(_plain, row))) for row in cursor.fetchall()]

    def name(self) -> str:
        """Return the name of the database. In DuckDB, it is that of the file."""
        return str(self.rows("SELECT current_database() AS name")[0]["name"])

    def tables(self) -> dict[str, set[str]]:
        """Return the names of the tables in each schema."""
        found: dict[str, set[str]] = {}
        for row in self.rows(
            "SELECT table_schema, table_name FROM information_schema.tables "
            "WHERE table_catalog = current_database()"
        ):
            found.setdefault(row["table_schema"], set()).add(row["table_name"])
        return found


def _plain(value: Any) -> Any:
    """Return a value of a query; a decimal, which sums are in PostgreSQL, as a number."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value
