"""``textlift tables``: print the data dictionary."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from textlift.declare import Column, ColumnType
from textlift.dictionary import Table, all_tables
from textlift.registry import SERVICES, endpoints_of, job_of

_MARKDOWN_HEAD = """\
# Tables

`textlift tables --format markdown > docs/tables.md` writes this page; do not edit it.

Each service has a dataset (a schema) of its name. Every TIMESTAMP is with time zone, in UTC. TEXT is as
the service sent it. Empty values and `0000-00-00 00:00:00` are NULL. *Personal* says what a column can
tell about a person. An element or attribute that is not listed here becomes a TEXT column named by its
path, and an unlisted list becomes a table. A table from which a run has deleted rows has one more
column, `_deleted`, which is always NULL."""


#: The dbt package.
PACKAGE = Path(__file__).parents[1] / "dbt"
#: dlt's own table of a dataset, with one row for each load package. It tells how fresh the others are.
_LOADS = Table(
    name="_dlt_loads",
    meaning="One load package, which dlt has committed.",
    loaded_by="",
    key=("load_id",),
    columns={
        "load_id": Column(ColumnType.TEXT, "Id of the load package"),
        "schema_name": Column(ColumnType.TEXT, "Name of dlt's schema"),
        "status": Column(ColumnType.BIGINT, "Always 0: complete"),
        "inserted_at": Column(ColumnType.TIMESTAMP, "When the load package was committed, UTC"),
        "schema_version_hash": Column(ColumnType.TEXT, "Version of dlt's schema"),
    },
)
_DBT_HEAD = """\
# textlift tables {service} --format dbt > dbt/models/staging/{service}/{service}.yml
# writes this file; do not edit it.
version: 2

sources:
  - name: {service}
    description: {description}
    database: "{{{{ var('textlift_database') or target.database }}}}"
    schema: "{{{{ var('textlift_{service}_schema') }}}}"
    loader: dlt
    tables:"""
_DBT_FRESHNESS = """\
        config:
          enabled: "{{{{ '{service}' in var('textlift_services') }}}}"
          loaded_at_field: inserted_at
          freshness:
            warn_after: {{count: 1, period: day}}
            error_after: {{count: 3, period: day}}"""


def main(argv: Sequence[str]) -> int:
    """Print the tables and columns of one service or of all, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="textlift tables",
        description="Print the tables of a service with their columns, types, meanings and "
        "personal data.",
    )
    parser.add_argument("service", nargs="?", choices=SERVICES, help="default: all services")
    parser.add_argument("--personal", action="store_true", help="personal columns only")
    parser.add_argument("--format", choices=("text", "markdown", "json", "dbt"), default="text")
    options = parser.parse_args(argv)
    if options.format == "dbt" and (options.personal or not options.service):
        parser.error("--format dbt is of all columns of one service; name it")
    services = [options.service] if options.service else SERVICES
    tables = {service: all_tables(endpoints_of(service)) for service in services}
    if options.personal:
        tables = {service: _personal(each) for service, each in tables.items()}
    if options.format == "markdown":
        print("\n".join(_personal_lines(tables)) if options.personal else as_markdown(tables))
    elif options.format == "json":
        print(as_json(tables))
    elif options.format == "dbt":
        print(as_dbt(options.service, tables[options.service]))
    else:
        _print(tables)
    return 0


def _personal(tables: Iterable[Table]) -> list[Table]:
    """Return the tables that have personal columns, with these columns only."""
    found = [
        replace(table, columns={n: each for n, each in table.columns.items() if each.personal})
        for table in tables
    ]
    return [table for table in found if table.columns]


def as_json(tables: Mapping[str, Sequence[Table]]) -> str:
    """Return JSON: service → table → meaning, loaded_by, key and columns."""
    document = {
        service: {
            table.name: {
                "meaning": table.meaning,
                "loaded_by": table.loaded_by,
                "key": table.key,
                "columns": {
                    name: {
                        "type": column.type.name,
                        "meaning": column.meaning,
                        "personal": column.personal.value if column.personal else None,
                    }
                    for name, column in table.columns.items()
                },
            }
            for table in each
        }
        for service, each in tables.items()
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def as_dbt(service: str, tables: Sequence[Table]) -> str:
    """Return YAML for dbt: the tables as sources, and the staging models of the package."""
    return "\n".join(_dbt_lines(service, [*tables, _LOADS]))


def _dbt_lines(service: str, tables: Sequence[Table]) -> Iterator[str]:
    yield _DBT_HEAD.format(service=service, description=_quoted(job_of(service).title))
    for table in tables:
        yield f"      - name: {table.name}"
        yield f"        description: {_quoted(table.meaning)}"
        if table is _LOADS:
            yield _DBT_FRESHNESS.format(service=service)
        yield f"        columns: &{table.name}"
        for name, column in table.columns.items():
            yield f"          - name: {name}"
            yield f"            description: {_quoted(column.meaning)}"
            yield f"            data_type: {column.type.name.lower()}"
    yield "\nmodels:"
    staged = {path.stem for path in (PACKAGE / "models" / "staging" / service).glob("*.sql")}
    for table in tables:
        model = f"stg_{service}__{table.name.lstrip('_')}"
        if model in staged:
            yield f"  - name: {model}"
            yield f"    description: {_quoted(table.meaning)}"
            yield f"    columns: *{table.name}"


def _quoted(text: str) -> str:
    """Return a text as a string of YAML, which a string of JSON is."""
    return json.dumps(text, ensure_ascii=False)


def as_markdown(tables: Mapping[str, Sequence[Table]]) -> str:
    """Return the page ``docs/tables.md``."""
    return "\n".join([_MARKDOWN_HEAD, *_markdown_lines(tables)])


def _markdown_lines(tables: Mapping[str, Sequence[Table]]) -> Iterator[str]:
    for service, each in tables.items():
        yield f"\n## {job_of(service).title}"
        for table in each:
            yield f"\n### {service}.{table.name}\n\n{table.meaning}\n"
            yield f"Key: {_key(table, '`')}. Loaded: {table.loaded_by}.\n"
            yield "| column | type | personal | meaning |"
            yield "|---|---|---|---|"
            for row in _rows(table):
                yield "| `{}` | {} | {} | {} |".format(*row)


def _personal_lines(tables: Mapping[str, Sequence[Table]]) -> Iterator[str]:
    """Yield the lines of one Markdown table for each service."""
    for service, each in tables.items():
        yield f"\n### {job_of(service).title}\n"
        yield "| column | kind | meaning |"
        yield "|---|---|---|"
        for table in each:
            for name, _, personal, meaning in _rows(table):
                yield f"| `{table.name}.{name}` | {personal} | {meaning} |"


def _print(tables: Mapping[str, Sequence[Table]]) -> None:
    console = Console(highlight=False)
    for service, each in tables.items():
        for table in each:
            console.print(f"[bold]{service}.{table.name}[/bold]")
            console.print(escape(table.meaning))
            console.print(f"Key: {_key(table)}. Loaded: {table.loaded_by}.")
            grid = Grid("column", "type", "personal", "meaning")
            for row in _rows(table):
                grid.add_row(*map(escape, row))
            console.print(grid)
            console.print()


def _key(table: Table, quote: str = "") -> str:
    return ", ".join(f"{quote}{name}{quote}" for name in table.key) or "none"


def _rows(table: Table) -> Iterator[tuple[str, str, str, str]]:
    for name, column in table.columns.items():
        personal = column.personal.value if column.personal else ""
        yield name, column.type.name, personal, column.meaning
