"""The dlt source of Messangi."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import dlt
from dlt.common.configuration import configspec
from dlt.common.configuration.specs import CredentialsConfiguration
from dlt.common.typing import TSecretStrValue
from dlt.extract import DltResource

from textlift.codec.xml import XmlCodec
from textlift.dlt_setup import set_up_dlt
from textlift.extract.fetch import Service
from textlift.extract.sync import SyncContext
from textlift.http.client import Client
from textlift.http.signature import SignedPath
from textlift.load.resources import build_resource
from textlift.messangi.endpoints import DIALECT, ENDPOINTS, UNUSED
from textlift.messangi.errors import check
from textlift.settings import (
    account_name,
    apply_contract,
    check_number,
    read_settings,
    required,
    runtime_retries,
    signed_path,
)

#: Before the service existed. Years without rows need very few requests.
START_DATE = "2005-01-01"


@configspec
class MessangiCredentials(CredentialsConfiguration):
    """The key pair of an instance. Both are secret: the public key is a part of each URL."""

    public_key: TSecretStrValue | None = None
    private_key: TSecretStrValue | None = None

    def auth(self) -> SignedPath:
        """Return the authentication for requests. Raise CredentialsError if a key is missing."""
        return signed_path("messangi", self.public_key, self.private_key)


@dlt.source(name="messangi", section="messangi", max_table_nesting=0)
def messangi_source(
    credentials: MessangiCredentials = dlt.secrets.value,
    base_url: str | None = None,
    instance_id: str | None = None,
    user_names: list[str] | None = None,
    broadcast_types: list[str] | None = None,
    first_page: int = 1,
    start_date: str = START_DATE,
    since: str | None = None,
    until: str | None = None,
    concurrency: int = 8,
    page_size: int = 500,
    lookback_hours: dict[str, float] | None = None,
    privacy: dict[str, str] | None = None,
    retention_days: dict[str, float] | None = None,
    schema_contract: str | dict[str, str] | None = None,
    package_rows: int | None = None,
    isolate_failures: bool = False,
) -> Iterable[DltResource]:
    """Return the resources of a Messangi instance: messages, broadcasts and short codes.

    Each argument can be set as ``sources.messangi.<argument>`` in ``.dlt``, or as
    ``SOURCES__MESSANGI__<ARGUMENT>`` in the environment. Times are ISO 8601, in UTC without offset.

    Args:
        credentials: Key pair, see :class:`MessangiCredentials`.
        base_url: Root of the platform. Plain http is accepted only for loopback addresses.
        instance_id: Id of the instance (workspace).
        user_names: Users whose short codes to read.
        broadcast_types: Types of broadcasts to read, each with its own requests. The default is
            requests that name no type.
        first_page: Number of the first page of the message report.
        start_date: Start of a first load or of a full refresh.
        since: Start of this load. The default is to continue from the cursors.
        until: End of this load, the whole day of a date. The default is now. ``since`` and ``until``
            together load exactly that range and do not change the cursors; of broadcasts, whole
            days, and one more at each end.
        concurrency: Limit of concurrent requests of all resources together, 1 to 160.
        page_size: Messages on a page, up to 1000.
        lookback_hours: Resource → lookback in hours, which each run reads again.
        privacy: What is hashed, shortened or left out: a kind of personal data, a table or a column
            → an action, see :class:`.Action`.
        retention_days: Days after which something is removed: a kind of personal data, whose columns
            are emptied, or a table, whose rows are deleted → days.
        schema_contract: A schema contract of dlt, one mode or several.
        package_rows: Approximate number of rows of a resource in one run. The default is no limit.
        isolate_failures: Whether a failed resource only sets ``failed`` in its report.

    Returns:
        Resources that yield Arrow tables: messages and broadcasts to merge, short codes to replace.

    Raises:
        ConfigurationError: A setting is missing or invalid, or a key is missing.
    """
    set_up_dlt()
    example = "the root of the platform, https://flow.messangi.me/mmc,"
    base_url = required("messangi", "base_url", base_url, example)
    instance_id = required("messangi", "instance_id", instance_id, 'the id, "7",')
    check_number("first_page", first_page, 0)
    settings = read_settings(
        ENDPOINTS,
        start_date=start_date,
        since=since,
        until=until,
        page_size=page_size,
        lookback_hours=lookback_hours,
        configured={
            "broadcasts": [{"type": name} for name in broadcast_types or [UNUSED]],
            "shortcodes": [{"user_name": name} for name in user_names or ()],
        },
        package_rows=package_rows,
        isolate_failures=isolate_failures,
        account=account_name(base_url, instance_id),
        privacy=privacy,
        retention_days=retention_days,
    )
    auth = credentials.auth()
    client = Client(
        base_url,
        auth,
        partial(check, hide=auth.hide),
        params={"instanceId": instance_id},
        concurrency=concurrency,
        retries=runtime_retries(),
    )
    codec = partial(XmlCodec, dialect=DIALECT)
    service = Service(client, codec, limit_param="resultsPerPage", first_page=first_page)
    context = SyncContext(service, settings, ENDPOINTS)
    resources = [build_resource(context, endpoint) for endpoint in ENDPOINTS]
    if schema_contract is not None:
        apply_contract(resources, schema_contract)
    return resources
