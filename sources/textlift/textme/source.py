"""The dlt source of TextMe."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import dlt
from dlt.common.configuration import configspec
from dlt.extract import DltResource
from requests.auth import AuthBase

from textlift.codec.xml import XmlCodec
from textlift.credentials import LoginOrToken
from textlift.dlt_setup import set_up_dlt
from textlift.extract.fetch import Service
from textlift.http.client import Client
from textlift.load.resources import build_resources
from textlift.settings import (
    HeaderAuth,
    account_name,
    basic_auth,
    parse_ids,
    read_settings,
    runtime_retries,
)
from textlift.textme.endpoints import CAMPAIGNS, DIALECT, ENDPOINTS, PAGE_SIZE
from textlift.textme.errors import check

BASE_URL = "https://app.interactivemediums.com/"


@configspec
class TextMeCredentials(LoginOrToken):
    """The e-mail address and password of a login, or an API token."""

    def auth(self) -> AuthBase:
        """Return the authentication for requests.

        Raises:
            CredentialsError: The credentials are missing or incomplete.
        """
        if self.token:
            return HeaderAuth("api_token", self.token)
        return basic_auth("textme", self.username, self.password, instead="token")


@dlt.source(name="textme", section="textme", max_table_nesting=0)
def textme_source(
    credentials: TextMeCredentials = dlt.secrets.value,
    base_url: str = BASE_URL,
    accounts: list[int] | None = None,
    campaign_statuses: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    concurrency: int = 8,
    page_size: int = PAGE_SIZE,
    privacy: dict[str, str] | None = None,
    retention_days: dict[str, float] | None = None,
    schema_contract: str | dict[str, str] | None = None,
    package_rows: int | None = None,
    isolate_failures: bool = False,
) -> Iterable[DltResource]:
    """Return the resources of a TextMe account, one for each endpoint.

    Every argument can be set as ``sources.textme.<argument>`` in ``.dlt/config.toml`` or
    ``.dlt/secrets.toml``, or as ``SOURCES__TEXTME__<ARGUMENT>`` in the environment. ``since``,
    ``until`` and ``package_rows`` have no effect: each run replaces all tables.

    Args:
        credentials: Login or token, see :class:`TextMeCredentials`.
        base_url: Root of the service. Plain http is accepted only for loopback addresses.
        accounts: Ids of the accounts with the campaigns. The default is the primary account.
        campaign_statuses: Statuses to request the campaigns with, one request for each. The
            default is two requests: one without a status, and one for ``deleted``.
        concurrency: Limit of concurrent requests of all resources together, 1 to 160.
        page_size: Number of participants that the service puts on a page. It is not sent.
        privacy: What is hashed, shortened or left out: a kind of personal data, a table or a column
            → an action, see :class:`.Action`.
        retention_days: Days after which something is removed: a kind of personal data, whose columns
            are emptied, or a table, whose rows are deleted → days.
        schema_contract: A schema contract of dlt: a mode, or a mode for each kind of entity.
        isolate_failures: Whether a failed resource only sets ``failed`` in its report.

    Raises:
        ConfigurationError: A setting is missing or invalid.
        ServiceError: The service cannot be read. Raised when a resource is extracted.
    """
    set_up_dlt()
    settings = read_settings(
        ENDPOINTS,
        since=since,
        until=until,
        page_size=page_size,
        package_rows=package_rows,
        isolate_failures=isolate_failures,
        account=account_name(base_url),
        privacy=privacy,
        retention_days=retention_days,
    )
    retries = runtime_retries()
    client = Client(base_url, credentials.auth(), check, concurrency=concurrency, retries=retries)
    service = Service(client, partial(XmlCodec, dialect=DIALECT), limit_param=None)
    ids = ",".join(map(str, parse_ids("accounts", accounts or [])))
    campaigns = replace(
        CAMPAIGNS,
        params={"accounts": ids} if ids else {},
        variants=tuple({"status": each} for each in campaign_statuses or ()) or CAMPAIGNS.variants,
    )
    endpoints = [campaigns if each is CAMPAIGNS else each for each in ENDPOINTS]
    return build_resources(service, settings, endpoints, schema_contract)
