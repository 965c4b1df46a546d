"""``textlift models``: build the models for analysts from the loaded tables, with dbt.

dlt's runner of dbt packages is not used. It writes into the folder of the package, which can be
read-only; its profile of DuckDB installs extensions from the internet; its profile of PostgreSQL knows
neither sockets nor certificates; and it starts dbt four times for what ``dbt build`` does at once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dlt import Pipeline
from dlt.common import logger
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials
from dlt.destinations.impl.postgres.configuration import PostgresCredentials

from textlift.cli import command
from textlift.cli.tables import PACKAGE
from textlift.destinations import checked, turn
from textlift.errors import ConfigurationError, DestinationFailed, quote
from textlift.load.loading import alone
from textlift.registry import SERVICES

#: Schema of the models.
DATASET = "texting"
#: Variable by which dbt gets a password. dbt keeps variables with this prefix out of its messages.
_PASSWORD = "DBT_ENV_SECRET_TEXTLIFT_PASSWORD"
#: Settings of a connection to PostgreSQL that both dlt and dbt know.
_POSTGRES_OPTIONS = ("sslmode", "sslcert", "sslkey", "sslrootcert")
#: Attempts to open a DuckDB file; the pauses between them double, so about a minute.
_ATTEMPTS = 6
_EXAMPLE = '{"textlift_custom_columns": ["Language"]}'
_BAD = ("error", "fail", "runtime error")


@dataclass(frozen=True)
class Built:
    """What was built.

    Attributes:
        rows: Table with its schema → its rows.
        tests: Number of tests.
        warnings: Tests that found something that need not be wrong, and what.
        failed: Models and tests that failed, and why.
        skipped: Number of models and tests that were not tried, because of those that failed.
    """

    rows: dict[str, int]
    tests: int
    warnings: list[str]
    failed: list[str]
    skipped: int


def main(argv: Sequence[str]) -> int:
    """Build the models, test them, and print what was built.

    Returns:
        The exit code: 0 built; 1 a model or a test failed; 2 usage or configuration.
    """
    options = _parse(argv)
    return command.run_private(lambda: _run(options))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="textlift models",
        description=f"Build the models for analysts in the schema {DATASET}, from the tables of all "
        "loaded services or of some, and test them. Run this after a load.",
    )
    parser.add_argument(
        "services",
        nargs="*",
        metavar="SERVICE",
        type=_service,
        help="model only these services; rows of the others leave the models",
    )
    parser.add_argument(
        "--destination",
        metavar="NAME",
        default="duckdb",
        help="duckdb or postgres (default: duckdb); for others, use the package in a dbt project",
    )
    parser.add_argument(
        "--sandbox", action="store_true", help=f"model the tables in {command.SANDBOX_FILE}"
    )
    parser.add_argument(
        "--full-refresh", action="store_true", help="build the incremental models anew, too"
    )
    parser.add_argument(
        "--vars",
        metavar="JSON",
        type=_variables,
        default={},
        help=f"variables of the dbt package, for example '{_EXAMPLE}'",
    )
    options = parser.parse_args(argv)
    if options.sandbox and options.destination != "duckdb":
        parser.error("--sandbox models a DuckDB file of its own; leave --destination out")
    return options


def _service(name: str) -> str:
    # With nargs="*", argparse compares its default, too, with choices.
    if name not in SERVICES:
        raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(SERVICES)}")
    return name


def _variables(text: str) -> dict[str, Any]:
    with suppress(ValueError):
        variables = json.loads(text)
        if isinstance(variables, dict):
            return variables
    raise argparse.ArgumentTypeError(
        f"{text} is no JSON object. Write names and values, for example --vars '{_EXAMPLE}'"
    )


def _run(options: argparse.Namespace) -> int:
    target = argparse.Namespace(
        destination=options.destination, dataset=DATASET, sandbox=options.sandbox
    )
    pipeline = command.open_pipeline("models", target)
    built = build(pipeline, options.services, options.vars, options.full_refresh)
    for name, rows in built.rows.items():
        print(f"{name}: {rows:,} rows")
    for line in (*built.warnings, *built.failed):
        print(line, file=sys.stderr)
    print(
        f"{len(built.rows)} models, {built.tests} tests; {len(built.failed)} failed, "
        f"{built.skipped} not tried; {len(built.warnings)} warnings"
    )
    return command.FAILED if built.failed else command.LOADED


def build(
    pipeline: Pipeline,
    services: Sequence[str] = (),
    variables: Mapping[str, Any] | None = None,
    full_refresh: bool = False,
) -> Built:
    """Build and test the models in the pipeline's destination.

    Args:
        pipeline: A pipeline with the destination, DuckDB or PostgreSQL. It is not run.
        services: Services to model. The default is all that are loaded.
        variables: Variables of the dbt package.
        full_refresh: Whether the incremental models are built anew, too.

    Raises:
        ConfigurationError: dbt is not installed, nothing is loaded, or dbt cannot build there.
        DestinationFailed: The destination cannot be used, or dbt could not start to build.
    """
    if not find_spec("dbt"):
        raise ConfigurationError(
            "textlift models needs dbt, which is not installed.\n"
            "Install it: pip install 'textlift[dbt]'."
        )
    client: Any = pipeline.destination_client()
    credentials = client.config.credentials
    output, password = _output(pipeline, credentials)
    if isinstance(credentials, DuckDbCredentials):
        _check_name(Path(str(credentials.database)), variables or {})
    services = list(services) or _loaded(pipeline, variables or {})
    if not services:
        raise ConfigurationError(
            f"{pipeline.destination.destination_name} holds no tables of a service.\n"
            "Load one first: textlift load --help"
        )
    with ExitStack() as opened:
        opened.enter_context(alone(pipeline))
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="textlift-dbt-")))
        if isinstance(credentials, DuckDbCredentials):
            opened.enter_context(turn(str(credentials.database)))
        wanted = {**(variables or {}), "textlift_services": services}
        results = _run_dbt(folder, output, password, wanted, full_refresh)
    return _summarize(pipeline, results)


def _check_name(file: Path, variables: Mapping[str, Any]) -> None:
    """Raise ConfigurationError if views in a DuckDB file could not name its schemas.

    DuckDB drops the database from the names in a view, and then cannot tell a schema from it.
    """
    schemas = {variables.get(f"textlift_{name}_schema", name) for name in SERVICES}
    name = file.name.partition(".")[0]
    if name in {*schemas, DATASET, f"{DATASET}_staging"}:
        raise ConfigurationError(
            f"{file.name} is named like its schema {name}, and DuckDB cannot tell the two apart.\n"
            "Rename the file, and set DESTINATION__DUCKDB__CREDENTIALS to its new name."
        )


def _loaded(pipeline: Pipeline, variables: Mapping[str, Any]) -> list[str]:
    """Return the services that have tables in the destination."""
    with checked(pipeline) as client:
        rows = client.sql_client.execute_sql(
            "SELECT DISTINCT table_schema FROM information_schema.tables "
            "WHERE table_name = '_dlt_loads'"
        )
    schemas = {schema for (schema,) in rows}
    return [name for name in SERVICES if variables.get(f"textlift_{name}_schema", name) in schemas]


def _run_dbt(
    folder: Path,
    output: Mapping[str, Any],
    password: str,
    variables: Mapping[str, Any],
    full_refresh: bool,
) -> list[dict[str, Any]]:
    """Run dbt in a process of its own, so that its connections and its memory end with it.

    Returns the results of the models and tests, as dbt writes them.

    Raises:
        DestinationFailed: dbt could not start to build.
    """
    profiles = {"textlift": {"target": "textlift", "outputs": {"textlift": output}}}
    # JSON is YAML.
    (folder / "profiles.yml").write_text(json.dumps(profiles), encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dbt.cli.main", "--quiet", "--no-use-colors"),
            *("--no-send-anonymous-usage-stats", "--log-level-file", "none"),
            *("build", "--exclude-resource-type", "unit_test"),
            *("--project-dir", str(PACKAGE.resolve()), "--profiles-dir", str(folder)),
            *("--target-path", str(folder / "target"), "--log-path", str(folder)),
            *("--vars", json.dumps(variables)),
            *(["--full-refresh"] if full_refresh else []),
        ],
        cwd=folder,
        env={**os.environ, _PASSWORD: password},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    logger.debug(quote(done.stdout))
    file = folder / "target" / "run_results.json"
    if not file.is_file():
        raise DestinationFailed(
            f"dbt could not build the models: {quote(_last_line(done.stdout))}\n"
            "Nothing was changed."
        )
    results: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["results"]
    return results


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"


def _output(pipeline: Pipeline, credentials: Any) -> tuple[dict[str, Any], str]:
    """Return dbt's settings for the destination that dlt's credentials are for, and the password.

    Raises:
        ConfigurationError: It is another destination.
    """
    if isinstance(credentials, DuckDbCredentials):
        duckdb = {
            "type": "duckdb",
            "path": os.path.abspath(str(credentials.database)),
            "schema": "main",
            "retries": {"connect_attempts": _ATTEMPTS},
        }
        return duckdb, ""
    # Redshift's are a kind of PostgreSQL's.
    if type(credentials) is not PostgresCredentials:
        raise ConfigurationError(
            f"textlift models builds in DuckDB and PostgreSQL, not in "
            f"{pipeline.destination.destination_name}.\n"
            "Use the dbt package in a dbt project: docs/models.md says how."
        )
    query = credentials.query or {}
    postgres = {
        "type": "postgres",
        "host": query.get("host", credentials.host),
        "port": credentials.port,
        "user": credentials.username,
        "password": f"{{{{ env_var('{_PASSWORD}') }}}}",
        "dbname": credentials.database,
        "schema": "public",
        "threads": 4,
        "connect_timeout": credentials.connect_timeout,
        **{name: query[name] for name in _POSTGRES_OPTIONS if name in query},
    }
    return postgres, str(credentials.password or "")


def _summarize(pipeline: Pipeline, results: Sequence[Mapping[str, Any]]) -> Built:
    by_status: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for result in results:
        by_status[result["status"]].append(result)
    marts = sorted(
        str(result["relation_name"])
        for result in by_status["success"]
        if result["unique_id"].startswith(f"model.textlift.{DATASET}__")
    )
    rows: dict[str, int] = {}
    with pipeline.sql_client() as client:
        for relation in marts:
            counted = client.execute_sql(f"SELECT count(*) FROM {relation}") or ((0,),)
            rows[relation.replace('"', "").partition(".")[2]] = int(counted[0][0])
    return Built(
        rows=rows,
        tests=sum(result["unique_id"].startswith("test.") for result in results),
        warnings=[_line(result) for result in by_status["warn"]],
        failed=[_line(result) for status in _BAD for result in by_status[status]],
        skipped=len(by_status["skipped"]),
    )


def _line(result: Mapping[str, Any]) -> str:
    name = result["unique_id"].split(".")[2]
    # Later lines can hold rows.
    message = (result["message"] or "").strip().splitlines()[:2]
    return f"{name}: {quote(' '.join(message))}"
