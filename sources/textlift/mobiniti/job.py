"""The pipeline of Mobiniti: its source, sandbox, and account for ``textlift check``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlt.extract import DltSource

from textlift import clock
from textlift.errors import CredentialsError, ServiceError
from textlift.load.report import report_of
from textlift.mobiniti.endpoints import ENDPOINTS, REQUESTED, SCOPES
from textlift.mobiniti.source import MobinitiCredentials, mobiniti_source
from textlift.registry import Job
from textlift.webhooks.settings import WebhookSettings


def describe_account(source: Callable[..., DltSource]) -> list[str]:
    """Return lines that name the resources that the token can read, and the scopes that it lacks.

    This reads the lists, and the contacts and messages of the current second.

    Raises:
        CredentialsError: The token can read nothing.
        ServiceError: The service cannot be read.
    """
    now = clock.now().isoformat()
    found = source(since=now, until=now, isolate_failures=True)
    readable, denied = [], []
    for endpoint in REQUESTED:
        # The members of a group need the scope of the groups.
        resource = found.resources[endpoint.parent.endpoint if endpoint.parent else endpoint.name]
        for _ in resource if not endpoint.parent else ():
            pass
        report = report_of(resource)
        if report.denied:
            denied.append(endpoint.name)
        elif report.failed:
            raise ServiceError(report.failed)
        else:
            readable.append(endpoint.name)
    if not readable:
        raise CredentialsError(
            "The token can read nothing.\nCheck sources.mobiniti.credentials.token."
        )
    lines = [f"the token can read {', '.join(readable)}"]
    return lines + [
        f"it cannot read {name}: the scope {SCOPES[name]} is missing" for name in denied
    ]


def sandbox_source(url: str, **settings: Any) -> DltSource:
    """Return the source for a sandbox.

    Its token and an empty storage of webhooks replace configured ones.
    """
    return mobiniti_source(
        base_url=url,
        credentials=MobinitiCredentials(token="sandbox-token"),
        start_date="2024-01-01",
        **{
            "requests_per_second": 1000.0,
            "webhooks": WebhookSettings(storage="memory://sandbox"),
            **settings,
        },
    )


JOB = Job(
    name="mobiniti",
    title="Mobiniti",
    source=mobiniti_source,
    sandbox_source=sandbox_source,
    describe_account=describe_account,
    endpoints=ENDPOINTS,
    example="SELECT carriers.name AS carrier, count(*) AS sent, "
    "count(*) FILTER (receipt__success) AS delivered\n"
    "FROM mobiniti.messages\n"
    "LEFT JOIN mobiniti.carriers ON carriers.id = carrier_id\n"
    "WHERE type = 'OUTGOING'\n"
    "GROUP BY ALL ORDER BY sent DESC",
)
