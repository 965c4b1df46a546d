"""Put the data dictionary into a dlt schema, from which destinations write comments."""

from __future__ import annotations

from collections.abc import Iterable

from dlt.common.schema import Schema
from dlt.common.schema.typing import TColumnSchema

from textlift.dictionary import LOAD_ID, Table


def describe(schema: Schema, tables: Iterable[Table]) -> None:
    """Add the meaning of each table and column to the schema as its description."""
    for table in tables:
        known = schema.tables.get(table.name, {"columns": {}})
        # Update only what differs: an update is slow. dlt describes its own column.
        columns: dict[str, TColumnSchema] = {
            name: {"name": name, "description": column.meaning}
            for name, column in table.columns.items()
            if name != LOAD_ID
            and known["columns"].get(name, {}).get("description") != column.meaning
        }
        if columns or known.get("description") != table.meaning:
            schema.update_table(
                {"name": table.name, "description": table.meaning, "columns": columns}
            )
