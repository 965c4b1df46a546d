"""The SQL of the models and their tests for warehouses on which no test runs.

It is read as the warehouse would read it, as far as sqlglot knows; and what differs between the
warehouses, and what a parser accepts of any of them, is held against what each has.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
import sqlglot
from sqlglot import exp
from sqlglot.dialects import BigQuery, Redshift
from sqlglot.tokens import TokenType

from tests.conftest import PROJECT
from tests.models.dialects import MACROS, MISSING_COLUMN

pytestmark = pytest.mark.real_clock
#: Functions that each of the warehouses has, with these arguments. ``chr`` and ``translate`` as well.
FUNCTIONS = {
    *("avg", "cast", "ceil", "chr", "coalesce", "count", "greatest", "lag", "length", "lower"),
    *("max", "min", "regexp_replace", "row_number", "substr", "sum", "translate", "upper"),
}
#: Functions of a warehouse that others do not have, or not with these arguments.
OWN_FUNCTIONS = {
    "bigquery": {"date", "datetime_add", "unix_micros"},
    "snowflake": {"convert_timezone", "date_part", "dateadd", "to_date"},
    "redshift": {"extract"},
}
TYPES = {
    "bigquery": {
        "bigint",
        "boolean",
        "date",
        "datetime",
        "float64",
        "numeric",
        "string",
        "timestamp",
    },
    "snowflake": {"bigint", "boolean", "date", "float", "numeric(28,6)", "text", "timestamp_tz"},
    "redshift": {
        *("bigint", "boolean", "date", "float", "integer", "numeric(28,6)", "text"),
        "timestamp with time zone",
    },
}
#: Words before a parenthesis that are no functions.
_NO_FUNCTIONS = {
    *("and", "as", "else", "exists", "from", "having", "in", "join", "not", "on", "or", "over"),
    *("select", "then", "union", "using", "values", "when", "where", "with"),
}
#: Words that the warehouse reserves. sqlglot has no list for Snowflake.
RESERVED = {
    "bigquery": BigQuery.Generator.RESERVED_KEYWORDS,
    "redshift": Redshift.Generator.RESERVED_KEYWORDS,
    "snowflake": {
        *("account", "all", "column", "connection", "current", "database", "following", "grant"),
        *(
            "group",
            "increment",
            "minus",
            "of",
            "order",
            "qualify",
            "regexp",
            "rlike",
            "row",
            "rows",
        ),
        *("sample", "schema", "set", "some", "start", "table", "tablesample", "to", "trigger"),
        *("unique", "view"),
    },
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=pytest.mark.xdist_group(kind)) for kind in MACROS],
)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def compiled(kind: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The SQL of each model and test."""
    folder = tmp_path_factory.mktemp(kind)
    done = subprocess.run(
        [sys.executable, "-m", "tests.models.dialects", kind, str(folder)],
        cwd=PROJECT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = json.loads((folder / "target" / "manifest.json").read_text())
    return {name: node["compiled_code"] for name, node in manifest["nodes"].items()}


def cast_types(sql: str, kind: str) -> Iterator[str]:
    """The types that values are cast to, as they are written."""
    opened: list[tuple[bool, int]] = []
    tokens = sqlglot.tokenize(sql, read=kind)
    for place, token in enumerate(tokens):
        if token.token_type == TokenType.L_PAREN:
            opened.append((place > 0 and tokens[place - 1].text.lower() == "cast", -1))
        elif token.token_type == TokenType.ALIAS and opened:
            opened[-1] = opened[-1][0], token.end + 1
        elif token.token_type == TokenType.R_PAREN:
            is_cast, begin = opened.pop()
            if is_cast:
                yield sql[begin : token.start].strip().lower()


def test_every_model_and_test_is_one_statement(kind: str, compiled: dict[str, str]) -> None:
    models = {file.stem for file in (PROJECT / "dbt" / "models").rglob("*.sql")}
    found = {name.split(".")[2] for name in compiled if name.startswith("model.")}
    assert found == models
    assert sum(name.startswith("test.") for name in compiled) > 50
    for name, sql in compiled.items():
        [statement] = sqlglot.parse(sql, read=kind)
        assert isinstance(statement, exp.Query), name


def test_each_function_is_one_that_the_warehouse_has(kind: str, compiled: dict[str, str]) -> None:
    called = set()
    for sql in compiled.values():
        tokens = sqlglot.tokenize(sql, read=kind)
        for token, after in zip(tokens, tokens[1:], strict=False):
            is_word = re.fullmatch(r"[A-Za-z_]\w*", sql[token.start : token.end + 1])
            if is_word and after.token_type == TokenType.L_PAREN:
                called.add(token.text.lower())
    assert called - _NO_FUNCTIONS - FUNCTIONS == OWN_FUNCTIONS[kind]


def test_each_type_is_one_that_the_warehouse_has(kind: str, compiled: dict[str, str]) -> None:
    found = {each for sql in compiled.values() for each in cast_types(sql, kind)}
    assert found <= TYPES[kind]


def test_names_are_quoted_as_the_warehouse_does(kind: str, compiled: dict[str, str]) -> None:
    for name, sql in compiled.items():
        tokens = sqlglot.tokenize(sql, read=kind)
        texts = [sql[token.start : token.end + 1] for token in tokens]
        # In BigQuery, what stands between double quotes is text.
        assert not any(text.startswith('"') for text in texts) or kind != "bigquery", name
        for quoted in (text for text in texts if text.startswith('"') and kind == "snowflake"):
            assert quoted == quoted.upper(), name
        bare = {text.lower() for text in texts if re.fullmatch(r"[A-Za-z_]\w*", text)}
        names = {
            each.name.lower()
            for each in sqlglot.parse_one(sql, read=kind).find_all(exp.Identifier)
            if not each.quoted and each.name.lower() in bare
        }
        assert names & RESERVED[kind] == set(), name


def test_what_the_warehouse_does_not_have_is_not_used(kind: str, compiled: dict[str, str]) -> None:
    if kind == "redshift":
        return
    for name, sql in compiled.items():
        assert not re.search(r"at\s+time\s+zone|extract\s*\(\s*epoch", sql, re.IGNORECASE), name
        # BigQuery has no UNION alone.
        plain = re.search(r"\bunion\b(?!\s+(all|distinct)\b)", sql, re.IGNORECASE)
        assert not plain or kind != "bigquery", name


def test_what_is_missing_is_null(kind: str, compiled: dict[str, str]) -> None:
    _, _, column = MISSING_COLUMN
    clicks, profiles = (
        sqlglot.parse_one(compiled[f"model.textlift.stg_mcommons__{table}"], read=kind)
        for table in ("clicks", "profiles")
    )
    assert "1 = 0" in clicks.sql()
    [email] = (each for each in profiles.find_all(exp.Alias) if each.alias.lower() == column)
    assert isinstance(email.this, exp.Cast)
    assert isinstance(email.this.this, exp.Null)
