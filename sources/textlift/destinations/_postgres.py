"""PostgreSQL, also where many runs load the same tables at once.

A merge deletes the rows that are there and inserts those that came. Of two at once, both could find
nothing to delete, and the row would be there twice. So a merge has its table to itself until it is
committed; who reads it does not notice. Likewise tables are made and altered by one run at a time.
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

from textlift.destinations._comments import WithComments


class _Merge(SqlMergeFollowupJob):
    @classmethod
    def generate_sql(
        cls, table_chain: Sequence[PreparedTableSchema], sql_client: SqlClientBase[Any]
    ) -> list[str]:
        """Lock the tables, and merge what is staged."""
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
    # A user who may write to a table and does not own it cannot comment it.
    others_query = (
        "SELECT relname FROM pg_class WHERE NOT pg_has_role(relowner, 'USAGE') "
        "AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)"
    )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait for other runs that change the dataset's tables, and keep them out."""
        client = self.sql_client
        # A connection of its own: an error resets dlt's, and gives up every lock that it holds.
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
        """Make the dataset that is not there."""
        with self.alone():
            super().initialize_storage(*args, **settings)

    def update_stored_schema(self, *args: Any, **settings: Any) -> TSchemaTables | None:
        """Make and alter tables."""
        with self.alone():
            return super().update_stored_schema(*args, **settings)

    def _create_merge_followup_jobs(
        self, table_chain: Sequence[PreparedTableSchema]
    ) -> list[FollowupJobRequest]:
        return [_Merge.from_table_chain(table_chain, self.sql_client)]


class postgres(dlt.destinations.postgres):
    """dlt's own ``postgres`` destination, with what is said above."""

    @property
    def client_class(self) -> type[PostgresClient]:
        """The client that does it."""
        return _Client
