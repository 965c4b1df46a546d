"""The pipeline of mGage: its source, sandbox, and account for ``textlift check``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlt.extract import DltSource

from textlift import clock
from textlift.errors import ServiceError
from textlift.load.report import report_of
from textlift.mgage.endpoints import ENDPOINTS
from textlift.mgage.source import MGageCredentials, mgage_source
from textlift.registry import Job


def describe_account(source: Callable[..., DltSource]) -> list[str]:
    """Return lines that describe the programs. This reads their messages of the current second.

    Raises:
        CredentialsError: The service rejects the credentials.
        ServiceError: The service cannot be read, or a program does not exist.
    """
    now = clock.now().isoformat()
    messages = source(since=now, until=now).messages
    for _ in messages:
        pass
    report = report_of(messages)
    if report.missing:
        raise ServiceError("\n".join(report.missing))
    return [
        f"program {program}: {about['program_name']!r} ({about['program_type']}), "
        f"campaign {about['campaign_name']!r}"
        for program, about in report.envelope_columns.items()
    ]


def sandbox_source(url: str, **settings: Any) -> DltSource:
    """Return the source for a sandbox. Its credentials and programs replace configured ones."""
    return mgage_source(
        base_url=url,
        credentials=MGageCredentials(username="sandbox@example.org", password="sandbox-password"),
        programs=[121811, 121812, 121813],
        **settings,
    )


JOB = Job(
    name="mgage",
    title="mGage",
    source=mgage_source,
    sandbox_source=sandbox_source,
    describe_account=describe_account,
    endpoints=ENDPOINTS,
    example="SELECT program_name, delivery_status, count(*) AS messages\n"
    "FROM mgage.messages\n"
    "WHERE type = 'MT'\n"
    "GROUP BY ALL ORDER BY ALL",
)
