"""PostgreSQL, safe for several runs at the same time, and with indexes for its merges.

A merge deletes stored rows and inserts new ones. Two merges at the same time could both find
nothing to delete and insert the same row twice. So a merge locks its tables against other writers
until it is committed. Readers are not blocked. In the same way, only one run at a time creates or
alters tables.

A merge looks up the keys of its rows, and without an index it scans the whole table. So each table
that is merged gets an index on its key, also a table that an earlier version created. Creating one
blocks writers, which are our own runs, but no readers; ``CONCURRENTLY`` would leave an invalid
index after a kill. The planner uses an index only if it knows how many rows have the same key, and
the server's own ANALYZE can come minutes after the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import dlt
from dlt.common import logger
from dlt.common.destination import PreparedTableSchema
from dlt.common.destination.client import FollowupJobRequest
from dlt.common.schema.typing import TSchemaTables
from dlt.destinations.impl.postgres.postgres import PostgresClient
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient
from dlt.destinations.sql_client import SqlClientBase

from textlift.destinations._capabilities import FixedCapabilities
from textlift.destinations._comments import WithComments
from textlift.destinations._lookups import LookupMerge, lookups_of


class _Merge(LookupMerge):
    @classmethod
    def generate_sql(
        cls, table_chain: Sequence[PreparedTableSchema], sql_client: SqlClientBase[Any]
    ) -> list[str]:
        """Return SQL that locks the tables, and looks up and merges the staged rows."""
        locks = [
            f"LOCK TABLE {sql_client.make_qualified_table_name(str(table['name']))} "
            "IN SHARE ROW EXCLUSIVE MODE"
            for table in table_chain
        ]
        root = table_chain[0]
        staged = sql_client.get_qualified_table_names(str(root["name"]))[1]
        # What is known of the staging table is about the rows of an earlier merge.
        known = [
            f"ANALYZE {staged} ({', '.join(map(sql_client.escape_column_name, key))})"
            for key in lookups_of(root)
        ]
        return locks + known + super().generate_sql(table_chain, sql_client)


class _Client(WithComments, PostgresClient):
    comments_query = (
        "SELECT relname, attname, description FROM pg_description "
        "JOIN pg_class ON objoid = pg_class.oid AND classoid = 'pg_class'::regclass "
        "LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attnum = objsubid AND attnum > 0 "
        "WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)"
    )
    # A user who may write to a table but does not own it cannot comment on it.
    others_query: ClassVar[str] = (
        "SELECT relname FROM pg_class WHERE NOT pg_has_role(relowner, 'USAGE') "
        "AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)"
    )

    # Columns of each index that finds rows by their key, in the order of the index.
    indexes_query = (
        "SELECT relname, ARRAY(SELECT attname::text FROM unnest(indkey) WITH ORDINALITY AS k(n, i) "
        "JOIN pg_attribute ON attrelid = indrelid AND attnum = n ORDER BY i) "
        "FROM pg_index JOIN pg_class ON pg_class.oid = indrelid WHERE indisvalid "
        "AND indpred IS NULL AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)"
    )
    # Tables with rows of which the planner knows nothing.
    unknown_query = (
        "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
        "WHERE nspname = %s AND relkind = 'r' AND pg_relation_size(pg_class.oid) > 0 AND NOT EXISTS "
        "(SELECT FROM pg_stats WHERE schemaname = nspname AND tablename = relname)"
    )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait for other runs that change the dataset's tables, and lock them out in the block."""
        client = self.sql_client
        # Use a separate connection: an error resets dlt's connection and releases its locks.
        opened = Psycopg2SqlClient(
            client.dataset_name,
            client.staging_dataset_name,
            self.config.credentials,
            self.capabilities,
        )
        with opened, opened.begin_transaction():
            opened.execute_sql("SELECT pg_advisory_xact_lock(hashtext(%s))", client.dataset_name)
            yield

    def initialize_storage(self, *args: Any, **settings: Any) -> None:
        """Create the dataset, one run at a time."""
        with self.alone():
            super().initialize_storage(*args, **settings)

    def update_stored_schema(
        self, only_tables: Any = None, *args: Any, **settings: Any
    ) -> TSchemaTables | None:
        """Create, alter and index tables, one run at a time."""
        with self.alone():
            update = super().update_stored_schema(only_tables, *args, **settings)
            # A merge reads its staging table as a whole.
            if self.config.create_indexes and not self.in_staging_dataset_mode:
                self._index(only_tables or self.schema.tables)
        return update

    def _index(self, tables: Iterable[str]) -> None:
        """Create the indexes that merges into ``tables`` need, and analyze tables that never were."""
        client = self.sql_client

        def rows(query: str) -> list[Any]:
            return list(client.execute_sql(query, client.dataset_name) or ())

        # Only its owner can index or analyze a table.
        others = {name for (name,) in rows(self.others_query)}
        merged = {name: self.prepare_load_table(name) for name in tables if name not in others}
        keys = {
            name: lookups_of(table)
            for name, table in merged.items()
            if table["write_disposition"] == "merge"
        }
        indexes = rows(self.indexes_query)
        unknown = {name for (name,) in rows(self.unknown_query)}
        for name, lookups in keys.items():
            qualified = client.make_qualified_table_name(name)
            for key in lookups:
                if not any(
                    table == name and set(columns[: len(key)]) == set(key)
                    for table, columns in indexes
                ):
                    logger.info(f"Creating an index on {', '.join(key)} of {name}")
                    columns = ", ".join(map(client.escape_column_name, key))
                    client.execute_sql(f"CREATE INDEX ON {qualified} ({columns})")
            if name in unknown:
                client.execute_sql(f"ANALYZE {qualified}")

    def _create_merge_followup_jobs(
        self, table_chain: Sequence[PreparedTableSchema]
    ) -> list[FollowupJobRequest]:
        return [_Merge.from_table_chain(table_chain, self.sql_client)]


class postgres(FixedCapabilities, dlt.destinations.postgres):
    """dlt's ``postgres`` destination, with the locks and indexes that this module describes."""

    @property
    def client_class(self) -> type[PostgresClient]:
        """The client with these locks and indexes."""
        return _Client
