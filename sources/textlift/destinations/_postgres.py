"""PostgreSQL, safe for several runs that load the same tables at the same time.

A merge deletes stored rows and inserts new ones. Two merges at the same time could both find
nothing to delete and insert the same row twice. So a merge locks its tables against other writers
until it is committed. Readers are not blocked. In the same way, only one run at a time creates or
alters tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dlt
from dlt.common.destination import PreparedTableSchema
from dlt.common.destination.client import FollowupJobRequest
from dlt.common.schema.typing import TSchemaTables
from dlt.destinations.impl.postgres.postgres import PostgresClient
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient
from dlt.destinations.sql_client import SqlClientBase
from dlt.destinations.sql_jobs import SqlMergeFollowupJob

from textlift.destinations._capabilities import FixedCapabilities
from textlift.destinations._comments import WithComments


class _Merge(SqlMergeFollowupJob):
    @classmethod
    def generate_sql(
        cls, table_chain: Sequence[PreparedTableSchema], sql_client: SqlClientBase[Any]
    ) -> list[str]:
        """Return SQL that locks the tables and merges the staged rows."""
        locks = [
            f"LOCK TABLE {sql_client.make_qualified_table_name(str(table['name']))} "
            "IN SHARE ROW EXCLUSIVE MODE"
            for table in table_chain
        ]
        return locks + super().generate_sql(table_chain, sql_client)


class _Client(WithComments, PostgresClient):
    comments_query = (
        "SELECT relname, attname, description FROM pg_description "
        "JOIN pg_class ON objoid = pg_class.oid AND classoid = 'pg_class'::regclass "
        "LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attnum = objsubid AND attnum > 0 "
        "WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)"
    )
    # A user who may write to a table but does not own it cannot comment on it.
    others_query = (
        "SELECT relname FROM pg_class WHERE NOT pg_has_role(relowner, 'USAGE') "
        "AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)"
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

    def update_stored_schema(self, *args: Any, **settings: Any) -> TSchemaTables | None:
        """Create and alter tables, one run at a time."""
        with self.alone():
            return super().update_stored_schema(*args, **settings)

    def _create_merge_followup_jobs(
        self, table_chain: Sequence[PreparedTableSchema]
    ) -> list[FollowupJobRequest]:
        return [_Merge.from_table_chain(table_chain, self.sql_client)]


class postgres(FixedCapabilities, dlt.destinations.postgres):
    """dlt's ``postgres`` destination, with the locks that this module describes."""

    @property
    def client_class(self) -> type[PostgresClient]:
        """The client with these locks."""
        return _Client
