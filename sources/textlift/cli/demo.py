"""``textlift demo``: load invented data into a DuckDB file in the current directory."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import duckdb

from textlift.cli import command
from textlift.registry import SERVICES, job_of

_NEXT_STEPS = """\
Next steps:
  query the file            duckdb {file}   (or any client of DuckDB)
  load an account           textlift load --help
  test your credentials     textlift check --help"""


def main(argv: Sequence[str]) -> int:
    """Load the sandbox of each service, run an example query on each, and print next steps.

    Returns the exit code.
    """
    argparse.ArgumentParser(
        prog="textlift demo",
        description=f"Load invented data of every service into {command.SANDBOX_FILE}.",
    ).parse_args(argv)
    for service in SERVICES:
        code = command.main([service, "--sandbox"])
        if code:
            return code
    print(f"\nA query to try on each service, in {command.SANDBOX_FILE}:")
    with duckdb.connect(command.SANDBOX_FILE, read_only=True) as connection:
        for service in SERVICES:
            query = job_of(service).example
            print(f"\n{query}\n{connection.sql(query)}")
    print(_NEXT_STEPS.format(file=command.SANDBOX_FILE))
    return 0
