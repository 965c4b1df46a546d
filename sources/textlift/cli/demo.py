"""``textlift demo``: load invented data into a DuckDB file in the current directory."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import duckdb

from textlift.cli import command
from textlift.registry import SERVICES, job_of

#: A query across the services. It is also in docs/queries.md.
ACROSS = """\
WITH known AS (
    SELECT 'mcommons' AS service, phone_number AS phone, status = 'Opted-Out' AS opted_out
    FROM mcommons.profiles
    UNION ALL SELECT 'mgage', number, false FROM mgage.messages
    UNION ALL SELECT 'mobiniti', phone_number, unsubscribed_at IS NOT NULL FROM mobiniti.contacts
    UNION ALL SELECT 'messangi', "to", false FROM messangi.messages
    UNION ALL SELECT 'textme', mobile_phone, false FROM textme.subscriptions
), people AS (
    -- TextMe leaves out the country code.
    SELECT CASE WHEN length(phone) = 10 THEN '1' || phone ELSE ltrim(phone, '+') END AS phone,
           string_agg(DISTINCT service, ', ' ORDER BY service) AS services,
           bool_or(opted_out) AND NOT bool_and(opted_out) AS opted_out_of_some
    FROM known
    WHERE phone IS NOT NULL
    GROUP BY 1
    HAVING count(DISTINCT service) > 1
)
SELECT services, count(*) AS people, count(*) FILTER (WHERE opted_out_of_some) AS opted_out_of_some
FROM people
GROUP BY services
ORDER BY people DESC, services
LIMIT 10"""

_START = """\
This starts a local server for each service, with an invented account, and loads it into
{file} in this directory. It needs no credentials, and takes about a minute."""

_NEXT_STEPS = """\
Next steps:
  query the file            duckdb {file}   (or any client of DuckDB)
  see what a column means   textlift tables --help
  load what has changed     textlift demo
  test your credentials     textlift check --help
  load your account         textlift load --help"""


def main(argv: Sequence[str]) -> int:
    """Load the sandbox of each service, run example queries, and print next steps.

    Returns the exit code.
    """
    file = command.SANDBOX_FILE
    argparse.ArgumentParser(
        prog="textlift demo", description=f"Load invented data of every service into {file}."
    ).parse_args(argv)
    print(_START.format(file=file))
    for service in SERVICES:
        print(f"\n{job_of(service).title}", flush=True)
        code = command.main([service, "--sandbox"])
        if code:
            return code
    queries = {f"{job_of(service).title}:": job_of(service).example for service in SERVICES}
    queries["All services, with the people whom several of them know:"] = ACROSS
    print(f"\nQueries on {file}. Each service is a schema.")
    with duckdb.connect(file, read_only=True) as connection:
        for title, query in queries.items():
            print(f"\n{title}\n\n{query}\n\n{connection.sql(query)}", end="")
    print(f"\n{_NEXT_STEPS.format(file=file)}")
    return 0
