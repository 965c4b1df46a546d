"""The pipeline of Messangi: its source, sandbox, and account for ``textlift check``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from dlt.extract import DltSource

from textlift import clock
from textlift.load.report import report_of
from textlift.messangi.endpoints import ENDPOINTS
from textlift.messangi.source import MessangiCredentials, messangi_source
from textlift.registry import Job


def describe_account(source: Callable[..., DltSource]) -> list[str]:
    """Return a line that describes the instance. This reads its newest broadcasts.

    Raises:
        TextliftError: The keys are rejected, or the service cannot be read.
    """
    broadcasts = source(since=(clock.now() - timedelta(days=30)).isoformat()).broadcasts
    for _ in broadcasts:
        pass
    count = report_of(broadcasts).progress.rows
    return [f"{count} broadcasts of the last 30 days, or scheduled"]


def sandbox_source(url: str, **settings: Any) -> DltSource:
    """Return the source for a sandbox. What is configured of a real instance is not used."""
    return messangi_source(
        base_url=url,
        credentials=MessangiCredentials("sandbox-public-key", "sandbox-private-key"),
        instance_id="7",
        user_names=["sandbox", "outreach"],
        start_date="2024-01-01",
        **settings,
    )


JOB = Job(
    name="messangi",
    title="Messangi",
    source=messangi_source,
    sandbox_source=sandbox_source,
    describe_account=describe_account,
    endpoints=ENDPOINTS,
    example="SELECT status, count(*) AS messages\n"
    "FROM messangi.messages\n"
    "GROUP BY ALL ORDER BY ALL",
)
