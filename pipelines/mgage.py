"""Load mGage into a warehouse: ``python pipelines/mgage.py --help``."""

from __future__ import annotations

import sys
from pathlib import Path

# A scheduler runs this file by its path, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from collections.abc import Callable
from typing import Any

from dlt.extract import DltSource

from pipelines.command import Job, end, main
from sources.common import clock
from sources.common.errors import ServiceError
from sources.mgage import MGageCredentials, mgage_source
from sources.mgage.endpoints import ENDPOINTS


def describe_account(source: Callable[..., DltSource]) -> list[str]:
    """What account the source reads, by asking each program for the messages of this second.

    Raises:
        CredentialsError: The service refuses the credentials.
        ServiceError: The service could not be read, or does not know a program.
    """
    now = clock.now().isoformat()
    messages = source(since=now, until=now).messages
    for _ in messages:
        pass
    metrics = messages.custom_metrics
    if metrics["missing"]:
        raise ServiceError("\n".join(metrics["missing"]))
    return [
        f"program {program}: {about['program_name']!r} ({about['program_type']}), "
        f"campaign {about['campaign_name']!r}"
        for program, about in metrics["about"].items()
    ]


def sandbox_source(url: str, **settings: Any) -> DltSource:
    """The source for a sandbox with its own credentials and programs, whatever is configured."""
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
)

if __name__ == "__main__":
    end(main(JOB))
