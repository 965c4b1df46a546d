"""The pipeline of TextMe: its source, sandbox, and account for ``textlift check``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from dlt.extract import DltSource

from textlift.registry import Job
from textlift.textme.endpoints import ENDPOINTS
from textlift.textme.source import TextMeCredentials, textme_source


def describe_account(source: Callable[..., DltSource]) -> list[str]:
    """Return a line for each account of the login. Raise ServiceError if it cannot be read."""
    tables: list[pa.Table] = list(source().accounts)
    return [f"account {row['id']}: {row['name']!r}" for row in tables[0].to_pylist()]


def sandbox_source(url: str, **settings: Any) -> DltSource:
    """Return the source for a sandbox. Its credentials and accounts replace configured ones."""
    return textme_source(
        base_url=url,
        # A token has priority over a login, so a configured login of a real account is not used.
        credentials=TextMeCredentials(token="sandbox-token"),
        accounts=[10, 11],
        **settings,
    )


JOB = Job(
    name="textme",
    title="TextMe",
    source=textme_source,
    sandbox_source=sandbox_source,
    describe_account=describe_account,
    endpoints=ENDPOINTS,
    example="SELECT description, status, count(*) AS subscribers, count(confirmed_at) AS confirmed\n"
    "FROM textme.campaigns\n"
    "JOIN textme.subscriptions ON campaign_id = id\n"
    "GROUP BY ALL ORDER BY ALL",
)
