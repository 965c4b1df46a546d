"""Mobile Commons (Upland): profiles, messages, broadcasts, calls, clicks and mData, as dlt resources.

import dlt
from sources.mcommons import mcommons_source

pipeline = dlt.pipeline("mcommons", destination="duckdb", dataset_name="mcommons")
pipeline.run(mcommons_source().with_resources("profiles", "campaigns"))
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, cast, get_args

import dlt
import requests
from dlt.common.configuration import configspec
from dlt.common.configuration.specs import CredentialsConfiguration
from dlt.common.schema.typing import TSchemaContract, TSchemaEvolutionMode
from dlt.common.typing import TSecretStrValue
from dlt.extract import DltResource
from requests.auth import AuthBase, HTTPBasicAuth

from ..common.client import Client
from ..common.errors import ConfigurationError, CredentialsError
from ..common.reading import Service
from ..common.resources import Run, Settings, build_resource, runtime_retries
from ..common.windows import parse_time
from .answers import check, decode, gone
from .endpoints import ENDPOINTS
from .settings import BASE_URL, CONCURRENCY, PAGE_SIZE, START_DATE

__all__ = ["MobileCommonsCredentials", "mcommons_source"]


@configspec
class MobileCommonsCredentials(CredentialsConfiguration):
    """A login's e-mail and password or, for an account migrated to UCM, a token."""

    username: str | None = None
    password: TSecretStrValue | None = None
    token: TSecretStrValue | None = None

    def auth(self) -> AuthBase:
        """What puts these credentials on a request.

        Raises:
            CredentialsError: There are none, or only half of them.
        """
        if self.token:
            return _BearerAuth(self.token)
        if self.username and self.password:
            # As bytes, or requests would send Latin-1.
            return HTTPBasicAuth(self.username.encode(), self.password.encode())
        missing = "password" if self.username else "username"
        raise CredentialsError(
            f"Missing credential: sources.mcommons.credentials.{missing}\n"
            "Set username and password (or token) under [sources.mcommons.credentials] in "
            ".dlt/secrets.toml, or SOURCES__MCOMMONS__CREDENTIALS__USERNAME and __PASSWORD in the "
            "environment."
        )


class _BearerAuth(AuthBase):
    """``Authorization: Bearer``; as an auth object, because requests lets ~/.netrc replace a header."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


@dlt.source(name="mcommons", max_table_nesting=0)
def mcommons_source(
    credentials: MobileCommonsCredentials = dlt.secrets.value,
    base_url: str = BASE_URL,
    company: str | None = None,
    start_date: str = START_DATE,
    since: str | None = None,
    until: str | None = None,
    concurrency: int = CONCURRENCY,
    page_size: int = PAGE_SIZE,
    lookback_hours: dict[str, float] | None = None,
    whole_read_days: float | None = None,
    fundraising_ids: list[int] | None = None,
    mdata_entries: list[dict[str, Any]] | None = None,
    schema_contract: str | dict[str, str] | None = None,
    package_rows: int | None = None,
    isolate_failures: bool = False,
) -> Iterable[DltResource]:
    """Everything that can be read from a Mobile Commons account, one resource for each table.

    Every argument can be set as ``sources.mcommons.<argument>`` in ``.dlt/config.toml`` or
    ``.dlt/secrets.toml``, or as ``SOURCES__MCOMMONS__<ARGUMENT>`` in the environment. Times are
    ISO 8601, in UTC where they have no offset; a date alone is its first second.

    Args:
        credentials: Login or token, see :class:`MobileCommonsCredentials`.
        base_url: Root of the API. Plain http is accepted for this machine only.
        company: Key of the company to read; the login's own firm if left out.
        start_date: From when on a first load reads.
        since: Read from here instead of from the cursors.
        until: Read up to here instead of up to now. ``since`` and ``until`` together load exactly
            that range and leave the cursors alone.
        concurrency: Most calls under way at a time, over all resources; 1 to 160.
        page_size: Rows on a page, up to 1000; an endpoint that allows fewer gets fewer.
        lookback_hours: Resource → hours before its cursor that each run reads again.
        whole_read_days: How often all subscribers of each campaign are read again.
        fundraising_ids: Fundraising campaigns for ``donation_summaries``.
        mdata_entries: Questions for ``mdata_entries``, each a table with ``mdata_id`` and ``input``.
        schema_contract: What may become of the schema, as dlt's schema contracts have it: a mode
            for all, or one each for ``tables``, ``columns`` and ``data_type``.
        package_rows: About how many rows of a resource one run takes; the next goes on from there.
            All of them if left out.
        isolate_failures: Whether a resource that cannot be read says so in its custom metrics and
            lets the others go on, instead of ending the run.

    Returns:
        Resources that yield Arrow tables, merged by key where they are read by time, and replaced
        by each complete answer where they are not.

    Raises:
        ConfigurationError: A setting is missing or cannot be used.
        CredentialsError: The service refuses the credentials or the company.
        ServiceError: The service could not be read; raised when a resource is extracted.
    """
    windowed = {endpoint.name for endpoint in ENDPOINTS if endpoint.window}
    unknown = sorted(set(lookback_hours or {}) - windowed)
    if unknown:
        raise ConfigurationError(
            f"lookback_hours names what has no lookback: {', '.join(unknown)}\n"
            f"Resources with a lookback: {', '.join(sorted(windowed))}."
        )
    for name, value, least in [
        ("page_size", page_size, 1),
        ("whole_read_days", whole_read_days or 0, 0),
        *((f"lookback_hours.{name}", hours, 0) for name, hours in (lookback_hours or {}).items()),
    ]:
        if not isinstance(value, (int, float)) or value < least:
            raise ConfigurationError(
                f"{name} is {value!r}.\nIt must be a number, at least {least}."
            )
    settings = Settings(
        start_date=parse_time(start_date, "start_date"),
        since=parse_time(since, "since") if since else None,
        until=parse_time(until, "until") if until else None,
        page_size=page_size,
        lookback={name: timedelta(hours=hours) for name, hours in (lookback_hours or {}).items()},
        whole_every=timedelta(days=whole_read_days) if whole_read_days is not None else None,
        configured={
            "donation_summaries": [_fundraising(number) for number in fundraising_ids or ()],
            "mdata_entries": [_mdata_entry(entry) for entry in mdata_entries or ()],
        },
        package_rows=package_rows,
        isolate_failures=isolate_failures,
    )
    if settings.since and settings.until and settings.since > settings.until:
        raise ConfigurationError(f"since {since} lies after until {until}.\nSwap them.")
    client = Client(
        base_url,
        credentials.auth(),
        check,
        params={"company": company} if company else {},
        concurrency=concurrency,
        retries=runtime_retries(),
    )
    run = Run(Service(client, decode, gone), settings, ENDPOINTS)
    resources = [build_resource(run, endpoint) for endpoint in ENDPOINTS]
    if schema_contract is not None:
        contract = _schema_contract(schema_contract)
        for resource in resources:
            resource.apply_hints(schema_contract=contract)
    return resources


def _schema_contract(setting: str | dict[str, str]) -> TSchemaContract:
    modes = get_args(TSchemaEvolutionMode)
    try:
        # The environment holds a table as JSON.
        contract = json.loads(setting) if isinstance(setting, str) else setting
    except ValueError:
        contract = setting
    wanted = [contract] if isinstance(contract, str) else list(dict(contract).values())
    if not set(wanted) <= set(modes):
        raise ConfigurationError(
            f"schema_contract is {setting!r}.\nIts modes are {', '.join(modes)}."
        )
    return cast("TSchemaContract", contract)


def _fundraising(number: Any) -> dict[str, Any]:
    try:
        return {"fundraising_id": int(number)}
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"An entry of fundraising_ids is no number: {number!r}\nWrite them as [501, 502]."
        ) from None


def _mdata_entry(entry: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"mdata_id": int(entry["mdata_id"]), "input": str(entry["input"])}
    except (KeyError, TypeError, ValueError):
        raise ConfigurationError(
            f"An entry of mdata_entries cannot be used: {entry!r}\n"
            'Write each as {mdata_id = 1, input = "the exact input"}.'
        ) from None
