"""The dlt source of Mobile Commons."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import dlt
from dlt.common.configuration import configspec
from dlt.extract import DltResource
from requests.auth import AuthBase

from textlift.codec.xml import XmlCodec
from textlift.credentials import LoginOrToken
from textlift.dlt_setup import set_up_dlt
from textlift.errors import ConfigurationError
from textlift.extract.fetch import Service
from textlift.http.client import Client
from textlift.load.resources import build_resources
from textlift.mcommons.endpoints import DIALECT, ENDPOINTS
from textlift.mcommons.errors import check
from textlift.mcommons.settings import BASE_URL, CONCURRENCY, PAGE_SIZE, START_DATE
from textlift.settings import (
    HeaderAuth,
    account_name,
    basic_auth,
    read_settings,
    runtime_retries,
)


@configspec
class MobileCommonsCredentials(LoginOrToken):
    """The e-mail and password of a login, or the token of an account migrated to UCM."""

    def auth(self) -> AuthBase:
        """Return the authentication for requests.

        Raises:
            CredentialsError: The credentials are missing or incomplete.
        """
        if self.token:
            return HeaderAuth("Authorization", f"Bearer {self.token}")
        return basic_auth("mcommons", self.username, self.password, instead="token")


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
    refresh_hours: dict[str, float] | None = None,
    fundraising_ids: list[int] | None = None,
    mdata_entries: list[dict[str, Any]] | None = None,
    privacy: dict[str, str] | None = None,
    retention_days: dict[str, float] | None = None,
    schema_contract: str | dict[str, str] | None = None,
    package_rows: int | None = None,
    isolate_failures: bool = False,
) -> Iterable[DltResource]:
    """Return the resources of a Mobile Commons account, one for each endpoint.

    Every argument can be set as ``sources.mcommons.<argument>`` in ``.dlt/config.toml`` or
    ``.dlt/secrets.toml``, or as ``SOURCES__MCOMMONS__<ARGUMENT>`` in the environment. Times are
    ISO 8601. A time without an offset is in UTC. A date alone means its first second, or its last
    second as ``until``.

    Args:
        credentials: Login or token, see :class:`MobileCommonsCredentials`.
        base_url: Root of the API. Plain http is accepted only for loopback addresses.
        company: Key of the company to read. The default is the company of the login.
        start_date: Start of a first load or of a full refresh.
        since: Start of this load. The default is to continue from the cursors.
        until: End of this load. The default is now. ``since`` and ``until`` together load exactly
            that range and do not change the cursors.
        concurrency: Limit of concurrent requests of all resources together, 1 to 160.
        page_size: Rows on a page, up to 1000. An endpoint with a lower limit uses its own limit.
        lookback_hours: Resource → lookback in hours: the time before its cursor that each run reads
            again.
        whole_read_days: Interval in days at which all profiles, subscribers of each campaign and
            members of each group are read again. This finds changes and deletions that no window
            finds. 0 means in every run. The default is 7, and 1 for members.
        refresh_hours: Resource → the same interval in hours, for this resource.
        fundraising_ids: Ids of the fundraising campaigns for ``donation_summaries``.
        mdata_entries: Requests for ``mdata_entries``: tables with ``mdata_id`` and ``input``.
        privacy: What is hashed, shortened or left out: a kind of personal data, a table or a column
            → an action, see :class:`.Action`.
        retention_days: Days after which something is removed: a kind of personal data, whose columns
            are emptied, or a table, whose rows are deleted → days.
        schema_contract: A schema contract of dlt: a mode for everything, or a mode for each of
            ``tables``, ``columns`` and ``data_type``.
        package_rows: Approximate number of rows of a resource in one run. The next run continues
            from there. The default is no limit.
        isolate_failures: Whether a failed resource only sets ``failed`` in its report, so that the
            other resources continue. Otherwise it ends the run.

    Returns:
        Resources that yield Arrow tables. Resources with windows are merged by key. All others are
        replaced by each complete response.

    Raises:
        ConfigurationError: A setting is missing or invalid.
        CredentialsError: The service rejects the credentials or the company.
        ServiceError: The service cannot be read. Raised when a resource is extracted.
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
        refresh_hours=refresh_hours,
        privacy=privacy,
        retention_days=retention_days,
    )
    client = Client(
        base_url,
        credentials.auth(),
        check,
        params={"company": company} if company else {},
        concurrency=concurrency,
        retries=runtime_retries(),
    )
    service = Service(client, partial(XmlCodec, dialect=DIALECT))
    return build_resources(service, settings, ENDPOINTS, schema_contract)


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
