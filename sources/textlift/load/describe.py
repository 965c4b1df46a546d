"""Puts the data dictionary into a dlt schema; destinations write comments from there."""

from __future__ import annotations

from dlt.common.schema import Schema
from dlt.common.schema.typing import TColumnSchema

from textlift.declare import Endpoint
from textlift.dictionary import LOAD_ID, SHARED_TABLES, tables_of


def describe(schema: Schema, endpoint: Endpoint) -> None:
    """Describe the tables of ``endpoint``, the shared tables, and the columns of both."""
    for table in (*tables_of(endpoint), *SHARED_TABLES):
        known = schema.tables.get(table.name, {"columns": {}})
        # An update is slow, and most runs have none. dlt describes its own column.
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
