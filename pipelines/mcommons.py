"""Load Mobile Commons into a warehouse: ``python pipelines/mcommons.py --help``."""

from __future__ import annotations

import sys
from pathlib import Path

# A scheduler runs this file by its path, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from dlt.extract import DltSource

from pipelines.command import Job, end, main
from sources.mcommons import MobileCommonsCredentials, mcommons_source
from sources.mcommons.endpoints import ENDPOINTS


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
)

if __name__ == "__main__":
    end(main(JOB))
