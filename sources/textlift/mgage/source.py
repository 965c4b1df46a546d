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
from textlift.extract.sync import SyncContext
from textlift.http.client import Client
from textlift.load.resources import build_resource
from textlift.mgage.endpoints import DIALECT, ENDPOINTS
from textlift.mgage.errors import check
from textlift.mgage.settings import BASE_URL, CONCURRENCY, PAGE_SIZE
from textlift.settings import (
    account_name,
    apply_contract,
    basic_auth,
    read_settings,
    runtime_retries,
)

MESSAGE_TYPES = ("MO", "MT")


@configspec
class MGageCredentials(CredentialsConfiguration):
    """The username and password that mGage's Provisioning sent."""

    username: str | None = None
    password: TSecretStrValue | None = None

    def auth(self) -> AuthBase:
        """What puts these credentials on a request.

        Raises:
            CredentialsError: One of them is missing.
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
    schema_contract: str | dict[str, str] | None = None,
    package_rows: int | None = None,
    isolate_failures: bool = False,
) -> Iterable[DltResource]:
    """The messages of the configured programs, in and out.

    Follows the vendor's page on exporting SMS messages. Every argument can be set as
    ``sources.mgage.<argument>`` in ``.dlt/config.toml`` or ``.dlt/secrets.toml``, or as
    ``SOURCES__MGAGE__<ARGUMENT>`` in the environment. Times are ISO 8601, in UTC where they have no
    offset; a date alone is its first second, and as ``until`` its last.

    Args:
        credentials: Login, see :class:`MGageCredentials`.
        programs: Ids of the programs to read.
        base_url: Root of the API. Plain http is accepted for this machine only.
        message_type: ``MO`` for messages in, ``MT`` for messages out; both if left out.
        start_date: From when on a first load reads; all that the service keeps, which is one year,
            if left out.
        since: Read from here instead of from the cursors.
        until: Read up to here instead of up to now. ``since`` and ``until`` together load exactly
            that range and leave the cursors alone.
        concurrency: Most calls under way at a time, over all programs; 1 to 160.
        page_size: Rows on a page, up to 500.
        lookback_hours: ``messages`` → hours before its cursor that each run reads again.
        schema_contract: What may become of the schema, as dlt's schema contracts have it: a mode
            for all, or one each for ``tables``, ``columns`` and ``data_type``.
        package_rows: About how many rows one run takes; the next goes on from there. All of them if
            left out.
        isolate_failures: Whether a resource that cannot be read says so in its report,
            instead of ending the run.

    Returns:
        A resource that yields Arrow tables, merged by key.

    Raises:
        ConfigurationError: A setting is missing or cannot be used.
        CredentialsError: The service refuses the credentials.
        ServiceError: The service could not be read; raised when the resource is extracted.
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
        # Not the login: programs are named by their ids, and two logins can read the same one.
        account=account_name(base_url),
        # What one type was read up to says nothing of the other.
        scope=message_type or "",
        only={"type": message_type} if message_type else {},
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
    service = Service(client, codec, limit_param="pageSize", time_format="%Y-%m-%dT%H:%M:%S")
    context = SyncContext(service, settings, ENDPOINTS)
    resources = [build_resource(context, endpoint) for endpoint in ENDPOINTS]
    if schema_contract is not None:
        apply_contract(resources, schema_contract)
    return resources


def _program_ids(programs: list[Any] | None) -> list[int]:
    if not programs:
        raise ConfigurationError(
            "Missing setting: sources.mgage.programs\n"
            "List the ids of the programs to read under [sources.mgage] in .dlt/config.toml, "
            "programs = [121811, 121812], or in the environment, "
            'SOURCES__MGAGE__PROGRAMS="[121811, 121812]".'
        )
    try:
        ids = [int(str(program)) for program in programs]
    except ValueError:
        ids = [0]
    if min(ids) < 1:
        raise ConfigurationError(
            f"An entry of programs is no id: {programs!r}\nWrite them as [121811, 121812]."
        )
    return list(dict.fromkeys(ids))
