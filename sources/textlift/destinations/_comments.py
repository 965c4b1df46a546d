"""Comments on tables and columns, from the descriptions in the schema.

dlt writes them in BigQuery, Snowflake and Databricks. This module writes them in other databases.
dlt compares tables with the schema only after the schema has changed, so a run with the same schema
costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from dlt.common.schema.typing import TSchemaTables, TTableSchemaColumns
from dlt.common.schema.utils import is_complete_column
from dlt.destinations.job_client_impl import SqlJobClientBase


class WithComments(SqlJobClientBase):
    """A client that comments on the tables it creates and changes.

    Attributes:
        comments_query: Query for the table, the column and the text of each comment in a dataset;
            the column is NULL for a comment on the table itself.
        others_query: Query for the tables of a dataset that this user may not comment on.
    """

    comments_query: ClassVar[str]
    others_query: ClassVar[str | None] = None

    def _build_schema_update_sql(
        self, storage_tables: Iterable[tuple[str, TTableSchemaColumns]]
    ) -> tuple[list[str], TSchemaTables]:
        tables = list(storage_tables)
        statements, update = super()._build_schema_update_sql(tables)
        # The staging dataset needs none: no user queries it.
        if not self.sql_client.is_staging_dataset_active:
            statements += self._new_comments([name for name, _ in tables])
        return statements, update

    def _new_comments(self, tables: Iterable[str]) -> Iterator[str]:
        """Yield statements for comments that are missing or differ."""
        client = self.sql_client
        rows = client.execute_sql(self.comments_query, client.dataset_name) or ()
        there = {(table, column): text for table, column, text in rows}
        others: set[str] = set()
        if self.others_query:
            found = client.execute_sql(self.others_query, client.dataset_name) or ()
            others = {name for (name,) in found}
        for name in tables:
            table = self.schema.tables[name]
            columns = [column for column in table["columns"].values() if is_complete_column(column)]
            if name in others or not columns:
                continue
            qualified = client.make_qualified_table_name(name)
            if (text := table.get("description")) and text != there.get((name, None)):
                yield f"COMMENT ON TABLE {qualified} IS {self._literal(text)}"
            for column in columns:
                text, own = column.get("description"), str(column["name"])
                if text and text != there.get((name, own)):
                    place = f"{qualified}.{client.escape_column_name(own)}"
                    yield f"COMMENT ON COLUMN {place} IS {self._literal(text)}"

    def _literal(self, text: str) -> str:
        return str(self.capabilities.escape_literal(text))
