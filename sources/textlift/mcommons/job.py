"""Mobile Commons as a pipeline: its source, its sandbox, and what ``check`` says of an account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from dlt.extract import DltSource

from textlift.mcommons.endpoints import ENDPOINTS
from textlift.mcommons.source import MobileCommonsCredentials, mcommons_source
from textlift.registry import Job


def describe_account(source: Callable[..., DltSource]) -> list[str]:
    """What account the source reads, by asking it for its campaigns.

    Raises:
        CredentialsError: The service refuses the credentials or the company.
        ServiceError: The service could not be read.
    """
    tables: list[pa.Table] = list(source().campaigns)
    campaigns = tables[0]
    active = campaigns["active"].to_pylist().count(True)
    lines = [f"{campaigns.num_rows} campaigns, {active} of them active"]
    names = [name for name in campaigns["name"].to_pylist() if name]
    if names:
        lines.append("for example " + ", ".join(repr(name) for name in names[:3]))
    return lines


def sandbox_source(url: str, **settings: Any) -> DltSource:
    """The source for a sandbox with its own credentials, whatever is configured."""
    return mcommons_source(
        base_url=url,
        # A token goes before a login, also before one that is configured for the real account.
        credentials=MobileCommonsCredentials(token="sandbox-token"),
        company="COSANDBOX00000000000000000000000001",
        start_date="2024-01-01",
        fundraising_ids=[501, 502],
        **settings,
    )


JOB = Job(
    name="mcommons",
    title="Mobile Commons",
    source=mcommons_source,
    sandbox_source=sandbox_source,
    describe_account=describe_account,
    endpoints=ENDPOINTS,
    example="SELECT name, estimated_recipients_count AS recipients, opt_outs_count AS opt_outs "
    "FROM mcommons.broadcasts ORDER BY opt_outs DESC LIMIT 5",
)
