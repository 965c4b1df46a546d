"""The dlt source of Mobiniti."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import dlt
from dlt.common.configuration import configspec
from dlt.common.configuration.specs import CredentialsConfiguration
from dlt.common.typing import TSecretStrValue
from dlt.extract import DltResource
from requests.auth import AuthBase

from textlift.codec.json import JsonCodec
from textlift.dlt_setup import set_up_dlt
from textlift.errors import CredentialsError
from textlift.extract.fetch import Service
from textlift.http.client import Client
from textlift.load.resources import build_resources
from textlift.mobiniti.endpoints import DIALECT, ENDPOINTS, REQUESTED
from textlift.mobiniti.errors import check
from textlift.mobiniti.settings import (
    BASE_URL,
    CONCURRENCY,
    PAGE_SIZE,
    REQUESTS_PER_SECOND,
    START_DATE,
)
from textlift.mobiniti.webhooks import WEBHOOKS
from textlift.settings import (
    HeaderAuth,
    account_name,
    read_settings,
    runtime_retries,
)
from textlift.webhooks.resources import webhook_resources
from textlift.webhooks.settings import WebhookSettings


@configspec
class MobinitiCredentials(CredentialsConfiguration):
    """A personal access token, or the access token of an OAuth application."""

    token: TSecretStrValue | None = None

    def auth(self) -> AuthBase:
        """Return the authentication for requests.

        Raises:
            CredentialsError: The token is missing.
        """
        if not self.token:
            raise CredentialsError(
                "Missing credential: sources.mobiniti.credentials.token\n"
                "Set token under [sources.mobiniti.credentials] in .dlt/secrets.toml, or "
                "SOURCES__MOBINITI__CREDENTIALS__TOKEN in the environment."
            )
        return HeaderAuth("Authorization", f"Bearer {self.token}")


@dlt.source(name="mobiniti", section="mobiniti", max_table_nesting=0)
def mobiniti_source(
    credentials: MobinitiCredentials = dlt.secrets.value,
    base_url: str = BASE_URL,
    start_date: str = START_DATE,
    since: str | None = None,
    until: str | None = None,
    requests_per_second: float = REQUESTS_PER_SECOND,
    concurrency: int = CONCURRENCY,
    page_size: int = PAGE_SIZE,
    lookback_hours: dict[str, float] | None = None,
    whole_read_days: float | None = None,
    refresh_hours: dict[str, float] | None = None,
    webhooks: WebhookSettings = dlt.config.value,
    privacy: dict[str, str] | None = None,
    retention_days: dict[str, float] | None = None,
    schema_contract: str | dict[str, str] | None = None,
    package_rows: int | None = None,
    isolate_failures: bool = False,
) -> Iterable[DltResource]:
    """Return the resources of a Mobiniti account, one for each endpoint.

    Every argument can be set as ``sources.mobiniti.<argument>`` in ``.dlt/config.toml`` or
    ``.dlt/secrets.toml``, or as ``SOURCES__MOBINITI__<ARGUMENT>`` in the environment. Times are
    ISO 8601. A time without an offset is in UTC. A date alone means its first second, or its last
    second as ``until``.

    Args:
        credentials: Token, see :class:`MobinitiCredentials`.
        base_url: Root of the API. Plain http is accepted only for loopback addresses.
        start_date: Start of a first load of the messages. All contacts are loaded.
        since: Start of this load. The default is to continue from the cursors.
        until: End of this load. The default is now. ``since`` and ``until`` together load exactly
            that range and do not change the cursors.
        requests_per_second: Limit of requests per second for each route, in the whole process.
        concurrency: Limit of concurrent requests of all resources together, 1 to 160.
        page_size: Rows on a page, up to 100.
        lookback_hours: Resource → lookback in hours: the time before its cursor that each run reads
            again.
        whole_read_days: Interval in days at which all contacts are read again. This finds deleted
            contacts. 0 means in every run.
        refresh_hours: Resource → the same interval in hours, for this resource.
        webhooks: Storage of the webhooks, see :class:`.WebhookSettings`.
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
        Resources that yield Arrow tables. Contacts, messages and webhooks are merged by key. All
        others are replaced by each complete response.

    Raises:
        ConfigurationError: A setting is missing or invalid.
        CredentialsError: The token may read nothing.
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
        package_rows=package_rows,
        isolate_failures=isolate_failures,
        # Without the token: an account can have several, and its ids are unique at the service.
        account=account_name(base_url),
        whole_read_days=whole_read_days,
        refresh_hours=refresh_hours,
        privacy=privacy,
        retention_days=retention_days,
    )
    client = Client(
        base_url,
        credentials.auth(),
        check,
        concurrency=concurrency,
        requests_per_second=requests_per_second,
        retries=runtime_retries(),
    )
    service = Service(client, partial(JsonCodec, dialect=DIALECT))
    posted = webhook_resources("mobiniti", WEBHOOKS, webhooks, settings)
    return build_resources(service, settings, REQUESTED, schema_contract, posted)
