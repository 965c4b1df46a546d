"""Delete rows, or empty columns, in a destination; and remove what it keeps of them.

Conditions are SQL that DuckDB and PostgreSQL read alike. Of a folder or a bucket, DuckDB evaluates
them, and the files that hold such rows are written anew.

What a destination keeps of deleted rows is removed too. The blocks of a DuckDB file hold them until
they are used again, so the file is copied. A Delta or Iceberg table keeps earlier versions, so these
are removed. PostgreSQL keeps them until a VACUUM, which is left to its administrator.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import sqlglot
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
from dlt.destinations.job_client_impl import SqlJobClientBase

from textlift.errors import DestinationFailed

#: End of the name of a file that is to take the place of another.
NEW = ".new"
#: Name of the number of a version in a file name of a Delta log.
_VERSION = re.compile(r"(\d{20})\.")


@dataclass(frozen=True)
class Change:
    """A change of the rows of a table that meet a condition.

    Attributes:
        table: The table.
        condition: The condition, as SQL.
        empty: Columns that are emptied; if none, the rows are deleted.
    """

    table: str
    condition: str
    empty: Sequence[str] = ()


class Store(Protocol):
    """The rows of a dataset."""

    def name(self, table: str) -> str:
        """Return the name of a table in SQL."""

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""

    def change(self, changes: Sequence[Change]) -> None:
        """Make changes in their order, in one transaction if the destination has them."""

    def purge(self, tables: Iterable[str]) -> None:
        """Remove what the destination keeps of changed rows in these tables."""


def store_of(client: Any) -> Store | None:
    """Return the rows of an open client's dataset; ``None`` if they cannot be changed here."""
    if isinstance(client, DuckDbClient):
        return _DuckDb(client)
    if isinstance(client, SqlJobClientBase) and client.capabilities.sqlglot_dialect == "postgres":
        return _Database(client)
    if isinstance(client, FilesystemClient):
        return _Files(client)
    return None


def any_store(client: Any) -> Store | None:
    """Return the rows of an open client's dataset, also of a database that :func:`store_of` leaves.

    Conditions must be SQL that sqlglot can translate.
    """
    return store_of(client) or (_Database(client) if isinstance(client, SqlJobClientBase) else None)


class _Database:
    def __init__(self, client: Any) -> None:
        self._client = client.sql_client
        self._dialect = client.capabilities.sqlglot_dialect

    def name(self, table: str) -> str:
        return str(self._client.make_qualified_table_name(table))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return list(self._client.execute_sql(self._translated(sql)) or ())

    def _translated(self, sql: str) -> str:
        if self._dialect in ("duckdb", "postgres"):
            return sql
        return sqlglot.transpile(sql, "duckdb", self._dialect)[0]

    def change(self, changes: Sequence[Change]) -> None:
        with self._client.begin_transaction():
            for each in changes:
                self._client.execute_sql(self._translated(statement(each, self.name(each.table))))

    def purge(self, tables: Iterable[str]) -> None:
        pass


def statement(change: Change, name: str) -> str:
    """Return the SQL statement of a change.

    Args:
        change: The change.
        name: Name of its table in SQL.
    """
    if not change.empty:
        return f"DELETE FROM {name} WHERE {change.condition}"
    emptied = ", ".join(f'"{column}" = NULL' for column in change.empty)
    return f"UPDATE {name} SET {emptied} WHERE {change.condition}"


class _DuckDb(_Database):
    def purge(self, tables: Iterable[str]) -> None:
        """Copy the file into a new one, which takes its place."""
        file = str(self._client.credentials.database)
        if not os.path.isfile(file):
            # In memory, or at a provider.
            return
        connection, new = self._client.native_connection, f"{file}{NEW}"
        Path(new).unlink(missing_ok=True)
        ((catalog,),) = self.rows("SELECT current_database()")
        quoted = new.replace("'", "''")
        try:
            connection.execute("CHECKPOINT")
            connection.execute(f"ATTACH '{quoted}' AS _erased")
            connection.execute(f'COPY FROM DATABASE "{catalog}" TO _erased')
            connection.execute("DETACH _erased")
            shutil.copymode(file, new)
            with open(new, "rb") as copied:
                os.fsync(copied.fileno())
            # This connection keeps other processes from writing to the old file.
            os.replace(new, file)
        except (duckdb.Error, OSError) as error:
            Path(new).unlink(missing_ok=True)
            raise DestinationFailed(
                f"The rows are deleted, but {Path(file).name} could not be copied to remove what is "
                f"left of them in it: {type(error).__name__}.\n"
                "Make room beside the file, and run this again."
            ) from None


class _Files:
    """Tables of a folder or a bucket: Delta, Iceberg, or Parquet files."""

    def __init__(self, client: FilesystemClient) -> None:
        self._client = client
        self._fs = client.fs_client
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")
        self._known: set[str] = set()

    def name(self, table: str) -> str:
        if table not in self._known:
            self._known.add(table)
            self._connection.register(table, self._dataset(table))
        return f'"{table}"'

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()

    def change(self, changes: Sequence[Change]) -> None:
        for each in changes:
            self._change(each)
            self._connection.unregister(each.table)
            self._known.discard(each.table)

    def _dataset(self, table: str) -> Any:
        client = self._client
        if client.is_open_table("delta", table):
            # All of it: its views of text cannot be compared with text.
            found = client.load_open_table("delta", table).to_pyarrow_table()
            return pa.table(found)
        if client.is_open_table("iceberg", table):
            return client.load_open_table("iceberg", table).scan().to_arrow()
        files = self._parquet(table)
        schemas = [pq.read_schema(file, filesystem=self._fs) for file in files]
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        return ds.dataset(files, schema=schema, filesystem=self._fs)

    def _parquet(self, table: str) -> list[str]:
        files = [str(file) for file in self._client.list_table_files(table)]
        for left in [file for file in files if file.endswith(f".parquet{NEW}")]:
            self._fs.rm_file(left)
            files.remove(left)
        others = [file for file in files if not file.endswith(".parquet")]
        if others:
            raise DestinationFailed(
                f"{table} has files of another format than Parquet, which cannot be changed here: "
                f"{posixpath.basename(others[0])}.\nChange them with a tool for that format."
            )
        return files

    def _change(self, change: Change) -> None:
        client, table = self._client, change.table
        if client.is_open_table("delta", table):
            from deltalake import write_deltalake

            delta = client.load_open_table("delta", table)
            schema = delta.to_pyarrow_dataset().schema
            # A predicate would stand in the log of the table, with what it names.
            write_deltalake(
                delta, self._changed(change, self.name(table), schema), mode="overwrite"
            )
        elif client.is_open_table("iceberg", table):
            iceberg = client.load_open_table("iceberg", table)
            schema = iceberg.schema().as_arrow()
            iceberg.overwrite(self._changed(change, self.name(table), schema))
        else:
            self._rewrite(change)

    def _rewrite(self, change: Change) -> None:
        """Write the Parquet files of a table anew that hold such rows."""
        for file in self._parquet(change.table):
            table = pq.read_table(file, filesystem=self._fs)
            columns = set(table.column_names)
            for field in self._dataset(change.table).schema:
                if field.name not in columns:
                    table = table.append_column(field, pa.nulls(table.num_rows, field.type))
            self._connection.register("_file", table)
            changed = self._changed(change, "_file", table.schema)
            if change.empty or changed.num_rows < table.num_rows:
                changed = changed.select([n for n in changed.column_names if n in columns])
                with self._replacing(file) as target:
                    pq.write_table(changed, target)
            self._connection.unregister("_file")

    @contextmanager
    def _replacing(self, file: str) -> Iterator[Any]:
        """Yield a file to write to, which takes the place of ``file`` after the block."""
        new = f"{file}{NEW}"
        with self._fs.open(new, "wb") as target:
            yield target
        self._fs.mv(new, file)

    def _changed(self, change: Change, name: str, schema: pa.Schema) -> pa.Table:
        condition = f"coalesce(({change.condition}), false)"
        query = f"SELECT * FROM {name} WHERE NOT {condition}"
        if change.empty:
            emptied = ", ".join(
                f'CASE WHEN {condition} THEN NULL ELSE "{column}" END AS "{column}"'
                for column in change.empty
            )
            query = f"SELECT * REPLACE ({emptied}) FROM {name}"
        return self._connection.sql(query).to_arrow_table().cast(schema)

    def purge(self, tables: Iterable[str]) -> None:
        for table in tables:
            if self._client.is_open_table("delta", table):
                self._purge_delta(table)
            elif self._client.is_open_table("iceberg", table):
                self._purge_iceberg(table)

    def _purge_delta(self, name: str) -> None:
        table = self._client.load_open_table("delta", name)
        table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
        table = self._client.load_open_table("delta", name)
        # The entries of the log state the least and the greatest value of each column in a file.
        table.create_checkpoint()
        log = posixpath.join(self._client.get_table_dir(name), "_delta_log")
        for path in self._fs.ls(log, detail=False):
            version = _VERSION.match(posixpath.basename(path))
            if version and int(version[1]) < table.version():
                self._fs.rm_file(path)

    def _purge_iceberg(self, name: str) -> None:
        table = self._client.load_open_table("iceberg", name)
        current = table.current_snapshot()
        earlier = [each.snapshot_id for each in table.snapshots() if each != current]
        if earlier:
            table.maintenance.expire_snapshots().by_ids(earlier).commit()
        used = {table.metadata_location}
        if current:
            used.add(current.manifest_list)
            for manifest in current.manifests(table.io):
                used.add(manifest.manifest_path)
                entries = manifest.fetch_manifest_entry(table.io)
                used.update(entry.data_file.file_path for entry in entries)
        names = {posixpath.basename(path) for path in used}
        for path in self._fs.find(self._client.get_table_dir(name)):
            if posixpath.basename(path) not in names:
                self._fs.rm_file(path)
