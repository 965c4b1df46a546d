"""The pipeline of Mobile Commons: its source, sandbox, and account for ``textlift check``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from dlt.extract import DltSource

from textlift.mcommons.endpoints import ENDPOINTS
from textlift.mcommons.source import MobileCommonsCredentials, mcommons_source
from textlift.registry import Job


def describe_account(source: Callable[..., DltSource]) -> list[str]:
    """Return lines that describe the account. This reads its campaigns.

    Raises:
        CredentialsError: The service rejects the credentials or the company.
        ServiceError: The service cannot be read.
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
    """Return the source for a sandbox, with the sandbox credentials instead of configured ones."""
    return mcommons_source(
        base_url=url,
        # A token has priority over a login, so a configured login of a real account is not used.
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
    example="SELECT name, estimated_recipients_count AS recipients, opt_outs_count AS opt_outs\n"
    "FROM mcommons.broadcasts\n"
    "ORDER BY opt_outs DESC\n"
    "LIMIT 5",
)
