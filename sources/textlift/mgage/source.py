"""The dlt source of mGage."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import dlt
from dlt.common.configuration import configspec
from dlt.common.configuration.specs import CredentialsConfiguration
from dlt.common.typing import TSecretStrValue
from dlt.extract import DltResource
from requests.auth import AuthBase

from textlift.codec.json import JsonCodec
from textlift.dlt_setup import set_up_dlt
from textlift.errors import ConfigurationError
from textlift.extract.fetch import Service
from textlift.http.client import Client
from textlift.load.resources import build_resources
from textlift.mgage.endpoints import DIALECT, ENDPOINTS
from textlift.mgage.errors import check
from textlift.mgage.settings import BASE_URL, CONCURRENCY, PAGE_SIZE
from textlift.settings import (
    account_name,
    basic_auth,
    parse_ids,
    read_settings,
    runtime_retries,
)

MESSAGE_TYPES = ("MO", "MT")


@configspec
class MGageCredentials(CredentialsConfiguration):
    """The username and password from mGage's Provisioning."""

    username: str | None = None
    password: TSecretStrValue | None = None

    def auth(self) -> AuthBase:
        """Return the authentication for requests.

        Raises:
            CredentialsError: The username or the password is missing.
        """
        return basic_auth("mgage", self.username, self.password)


@dlt.source(name="mgage", section="mgage", max_table_nesting=0)
def mgage_source(
    credentials: MGageCredentials = dlt.secrets.value,
    programs: list[int] | None = None,
    base_url: str = BASE_URL,
    message_type: str | None = None,
    start_date: str | None = None,
    since: str | None = None,
    until: str | None = None,
    concurrency: int = CONCURRENCY,
    page_size: int = PAGE_SIZE,
    lookback_hours: dict[str, float] | None = None,
    privacy: dict[str, str] | None = None,
    retention_days: dict[str, float] | None = None,
    schema_contract: str | dict[str, str] | None = None,
    package_rows: int | None = None,
    isolate_failures: bool = False,
) -> Iterable[DltResource]:
    """Return the resource for the messages of the configured programs, incoming and outgoing.

    The vendor's page on exporting SMS messages describes the API. Every argument can be set as
    ``sources.mgage.<argument>`` in ``.dlt/config.toml`` or ``.dlt/secrets.toml``, or as
    ``SOURCES__MGAGE__<ARGUMENT>`` in the environment. Times are ISO 8601. A time without an offset
    is in UTC. A date alone means its first second, or its last second as ``until``.

    Args:
        credentials: Login, see :class:`MGageCredentials`.
        programs: Ids of the programs to read.
        base_url: Root of the API. Plain http is accepted only for loopback addresses.
        message_type: ``MO`` for incoming messages, ``MT`` for outgoing messages. The default is
            both.
        start_date: Start of a first load. The default is the retention of the service, one year.
        since: Start of this load. The default is to continue from the cursors.
        until: End of this load. The default is now. ``since`` and ``until`` together load exactly
            that range and do not change the cursors.
        concurrency: Limit of concurrent requests of all programs together, 1 to 160.
        page_size: Rows on a page, up to 500.
        lookback_hours: ``messages`` → lookback in hours: the time before its cursor that each run
            reads again.
        privacy: What is hashed, shortened or left out: a kind of personal data, a table or a column
            → an action, see :class:`.Action`.
        retention_days: Days after which something is removed: a kind of personal data, whose columns
            are emptied, or a table, whose rows are deleted → days.
        schema_contract: A schema contract of dlt: a mode for everything, or a mode for each of
            ``tables``, ``columns`` and ``data_type``.
        package_rows: Approximate number of rows in one run. The next run continues from there. The
            default is no limit.
        isolate_failures: Whether a failed resource only sets ``failed`` in its report. Otherwise it
            ends the run.

    Returns:
        A resource that yields Arrow tables, merged by key.

    Raises:
        ConfigurationError: A setting is missing or invalid.
        CredentialsError: The service rejects the credentials.
        ServiceError: The service cannot be read. Raised when the resource is extracted.
    """
    set_up_dlt()
    if message_type is not None and message_type not in MESSAGE_TYPES:
        raise ConfigurationError(
            f"message_type is {message_type!r}.\nIt is MO, MT, or left out for both."
        )
    settings = read_settings(
        ENDPOINTS,
        start_date=start_date,
        since=since,
        until=until,
        page_size=page_size,
        lookback_hours=lookback_hours,
        configured={"messages": [{"program_id": id} for id in _program_ids(programs)]},
        package_rows=package_rows,
        isolate_failures=isolate_failures,
        # Without the login: two logins can read the same program, and its id identifies it.
        account=account_name(base_url),
        # Each message type has its own cursors.
        scope=message_type or "",
        only={"type": message_type} if message_type else {},
        privacy=privacy,
        retention_days=retention_days,
    )
    client = Client(
        base_url,
        credentials.auth(),
        check,
        params={"messageType": message_type} if message_type else {},
        concurrency=concurrency,
        retries=runtime_retries(),
    )
    codec = partial(JsonCodec, dialect=DIALECT)
    service = Service(client, codec, limit_param="pageSize")
    return build_resources(service, settings, ENDPOINTS, schema_contract)


def _program_ids(programs: list[Any] | None) -> list[int]:
    if not programs:
        raise ConfigurationError(
            "Missing setting: sources.mgage.programs\n"
            "List the ids of the programs to read under [sources.mgage] in .dlt/config.toml, "
            "programs = [121811, 121812], or in the environment, "
            'SOURCES__MGAGE__PROGRAMS="[121811, 121812]".'
        )
    return parse_ids("programs", programs)
