"""The dlt source of Mobile Commons."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import dlt
import requests
from dlt.common.configuration import configspec
from dlt.common.configuration.specs import CredentialsConfiguration
from dlt.common.typing import TSecretStrValue
from dlt.extract import DltResource
from requests.auth import AuthBase

from textlift.codec.xml import XmlCodec
from textlift.dlt_setup import set_up_dlt
from textlift.errors import ConfigurationError
from textlift.extract.fetch import Service
from textlift.extract.sync import SyncContext
from textlift.http.client import Client
from textlift.load.resources import build_resource
from textlift.mcommons.endpoints import DIALECT, ENDPOINTS
from textlift.mcommons.errors import check
from textlift.mcommons.settings import BASE_URL, CONCURRENCY, PAGE_SIZE, START_DATE
from textlift.settings import (
    account_name,
    apply_contract,
    basic_auth,
    read_settings,
    runtime_retries,
)


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
        return basic_auth("mcommons", self.username, self.password, instead="token")


class _BearerAuth(AuthBase):
    """``Authorization: Bearer``; as an auth object, because requests lets ~/.netrc replace a header."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


@dlt.source(name="mcommons", section="mcommons", max_table_nesting=0)
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
    ISO 8601, in UTC where they have no offset; a date alone is its first second, and as ``until``
    its last.

    Args:
        credentials: Login or token, see :class:`MobileCommonsCredentials`.
        base_url: Root of the API. Plain http is accepted for this machine only.
        company: Key of the company to read; the login's own firm if left out.
        start_date: From when on a first load or a full refresh reads.
        since: Read from here instead of from the cursors.
        until: Read up to here instead of up to now. ``since`` and ``until`` together load exactly
            that range and leave the cursors alone.
        concurrency: Most calls under way at a time, over all resources; 1 to 160.
        page_size: Rows on a page, up to 1000; an endpoint that allows fewer gets fewer.
        lookback_hours: Resource → hours before its cursor that each run reads again.
        whole_read_days: How often all profiles, and all subscribers of each campaign, are read
            again, for what changes or goes without a trace; 0 is in every run.
        fundraising_ids: Fundraising campaigns for ``donation_summaries``.
        mdata_entries: Questions for ``mdata_entries``, each a table with ``mdata_id`` and ``input``.
        schema_contract: What may become of the schema, as dlt's schema contracts have it: a mode
            for all, or one each for ``tables``, ``columns`` and ``data_type``.
        package_rows: About how many rows of a resource one run takes; the next goes on from there.
            All of them if left out.
        isolate_failures: Whether a resource that cannot be read says so in its report and
            lets the others go on, instead of ending the run.

    Returns:
        Resources that yield Arrow tables, merged by key where they are read by time, and replaced
        by each complete answer where they are not.

    Raises:
        ConfigurationError: A setting is missing or cannot be used.
        CredentialsError: The service refuses the credentials or the company.
        ServiceError: The service could not be read; raised when a resource is extracted.
    """
    set_up_dlt()
    settings = read_settings(
        ENDPOINTS,
        start_date=start_date,
        since=since,
        until=until,
        page_size=page_size,
        lookback_hours=lookback_hours,
        configured={
            "donation_summaries": [_fundraising(number) for number in fundraising_ids or ()],
            "mdata_entries": [_mdata_entry(entry) for entry in mdata_entries or ()],
        },
        package_rows=package_rows,
        isolate_failures=isolate_failures,
        account=account_name(base_url, company),
        whole_read_days=whole_read_days,
    )
    client = Client(
        base_url,
        credentials.auth(),
        check,
        params={"company": company} if company else {},
        concurrency=concurrency,
        retries=runtime_retries(),
    )
    context = SyncContext(Service(client, partial(XmlCodec, dialect=DIALECT)), settings, ENDPOINTS)
    resources = [build_resource(context, endpoint) for endpoint in ENDPOINTS]
    if schema_contract is not None:
        apply_contract(resources, schema_contract)
    return resources


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
