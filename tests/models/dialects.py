"""Compile the models and their tests for a warehouse that is not there.

    python -m tests.models.dialects bigquery FOLDER

The adapters of dbt for these warehouses need packages whose versions exclude ours, and accounts. So
the adapter is that of DuckDB under another name: what it answers the package, its relations and its
macros are as in dbt-bigquery 1.12.1, dbt-snowflake 1.12.4 and dbt-redshift 1.11.2. It finds all tables of
the data dictionary, but for one table and one column, and the table of an incremental model.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import yaml
from dbt.adapters.base import AdapterPlugin
from dbt.adapters.base.column import Column
from dbt.adapters.base.relation import BaseRelation
from dbt.adapters.contracts.relation import Policy
from dbt.adapters.duckdb import DuckDBAdapter, DuckDBCredentials
from dbt.adapters.duckdb import __version__ as duckdb_version
from dbt.cli.main import dbtRunner

from tests.conftest import PROJECT

CUSTOM = ["Language", "Volunteer's shift"]
MISSING_TABLE = ("mcommons", "clicks")
MISSING_COLUMN = ("mcommons", "profiles", "email")

_ESCAPED = """
{% macro NAME__escape_single_quotes(expression) -%}
{{ expression | replace("'", "\\\\'") }}
{%- endmacro %}
"""
#: Warehouse → the macros of its adapter among those that the package calls.
MACROS = {
    "bigquery": _ESCAPED
    + """
{% macro bigquery__dateadd(datepart, interval, from_date_or_timestamp) %}
    datetime_add(cast( {{ from_date_or_timestamp }} as datetime), interval {{ interval }} {{ datepart }})
{% endmacro %}
{% macro bigquery__test_unique(model, column_name) %}
with dbt_test__target as (
  select {{ column_name }} as unique_field
  from {{ model }}
  where {{ column_name }} is not null
)
select unique_field, count(*) as n_records
from dbt_test__target
group by unique_field
having count(*) > 1
{% endmacro %}
""",
    "snowflake": _ESCAPED,
    "redshift": """
{% macro redshift__dateadd(datepart, interval, from_date_or_timestamp) %}
    dateadd({{ datepart }}, {{ interval }}, {{ from_date_or_timestamp }})
{% endmacro %}
""",
}


class _BigQueryColumn(Column):
    TYPE_LABELS: ClassVar[dict[str, str]] = {
        "TEXT": "STRING",
        "FLOAT": "FLOAT64",
        "INTEGER": "INT64",
    }

    @classmethod
    def numeric_type(cls, dtype: str, precision: Any, scale: Any) -> str:
        return dtype


@dataclass(frozen=True, eq=False, repr=False)
class _BigQueryRelation(BaseRelation):
    quote_character: str = "`"


@dataclass(frozen=True, eq=False, repr=False)
class _SnowflakeRelation(BaseRelation):
    quote_policy: Policy = field(default_factory=lambda: Policy(False, False, False))


def _columns() -> dict[tuple[str, str], list[str]]:
    """Columns of each table in the data dictionary."""
    return {
        (source["name"], table["name"]): [column["name"] for column in table["columns"]]
        for file in (PROJECT / "dbt" / "models" / "staging").glob("*/*.yml")
        for source in yaml.safe_load(file.read_text(encoding="utf-8"))["sources"]
        for table in source["tables"]
    }


def plugin(kind: str, folder: Path) -> AdapterPlugin:
    """The adapter of a warehouse."""
    known = _columns()

    class Credentials(DuckDBCredentials):
        @property
        def type(self) -> str:
            return kind

    class Adapter(DuckDBAdapter):
        Column = _BigQueryColumn if kind == "bigquery" else Column
        Relation = {"bigquery": _BigQueryRelation, "snowflake": _SnowflakeRelation}.get(
            kind, BaseRelation
        )

        @classmethod
        def type(cls) -> str:
            return kind

        @classmethod
        def quote(cls, identifier: str) -> str:
            return f"`{identifier}`" if kind == "bigquery" else f'"{identifier}"'

        def get_relation(self, database: str, schema: str, identifier: str) -> BaseRelation | None:
            if (schema, identifier) == MISSING_TABLE:
                return None
            return self.Relation.create(
                database=database, schema=schema, identifier=identifier, type="table"
            )

        def get_columns_in_relation(self, relation: Any) -> list[Column]:
            names = known[relation.schema, relation.identifier]
            return [
                self.Column(name.upper() if kind == "snowflake" else name, "text")
                for name in names
                if (relation.schema, relation.identifier, name) != MISSING_COLUMN
            ]

    # dbt takes the name of the package from that of its folder.
    package = folder / kind
    (package / "macros").mkdir(parents=True)
    (package / "dbt_project.yml").write_text(
        f"name: dbt_{kind}\nversion: '1.0'\nconfig-version: 2\n"
    )
    (package / "macros" / "macros.sql").write_text(MACROS[kind].replace("NAME", kind))
    return AdapterPlugin(
        adapter=Adapter,  # type: ignore[arg-type]
        credentials=Credentials,
        include_path=str(package),
        dependencies=["postgres"] if kind == "redshift" else [],
    )


def main(kind: str, folder: Path) -> None:
    """Compile, and write what dbt writes into the folder ``target``."""
    name = f"dbt.adapters.{kind}"
    sys.modules[name] = module = ModuleType(name)
    module.Plugin = plugin(kind, folder)  # type: ignore[attr-defined]
    sys.modules[f"{name}.__version__"] = duckdb_version
    output = {"type": kind, "path": ":memory:", "schema": "main"}
    profiles = {"textlift": {"target": "it", "outputs": {"it": output}}}
    (folder / "profiles.yml").write_text(json.dumps(profiles))
    done = dbtRunner().invoke(
        [
            *("--quiet", "--no-use-colors", "--no-populate-cache"),
            *("compile", "--exclude", "test_type:unit", "--project-dir", str(PROJECT / "dbt")),
            *("--vars", json.dumps({"textlift_custom_columns": CUSTOM})),
            *("--profiles-dir", str(folder), "--log-path", str(folder)),
            *("--target-path", str(folder / "target")),
        ]
    )
    if not done.success:
        raise SystemExit(str(done.exception or "dbt could not compile"))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
