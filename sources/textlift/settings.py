"""Read the arguments of a source, with the same names, checks and messages for every service."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from inspect import signature
from typing import Any, cast, get_args
from urllib.parse import urlsplit

import dlt
from dlt.common.configuration import configspec, resolve_configuration
from dlt.common.configuration.specs import (
    BaseConfiguration,
    RuntimeConfiguration,
    known_sections,
)
from dlt.common.schema.typing import TSchemaContract, TSchemaEvolutionMode
from dlt.common.typing import TSecretStrValue
from dlt.extract import DltResource
from requests import PreparedRequest
from requests.auth import AuthBase, HTTPBasicAuth

from textlift import clock
from textlift.declare import Endpoint
from textlift.errors import ConfigurationError, CredentialsError
from textlift.extract.settings import Settings
from textlift.http.client import Retries
from textlift.http.signature import SignedPath
from textlift.http.urls import check_base_url
from textlift.privacy.columns import KeyedHash
from textlift.privacy.erased import Recognition
from textlift.privacy.people import People
from textlift.privacy.policy import read_policy
from textlift.privacy.retention import read_retention
from textlift.windows import format_time, parse_time

#: Settings that dlt itself reads below a source.
_SETTINGS_OF_DLT = {value for name, value in vars(known_sections).items() if name.isupper()}
_SETTINGS_OF_DLT |= {"runtime", "max_table_nesting", "root_key"}


class HeaderAuth(AuthBase):
    """Authentication by a header of its own.

    This is an auth object, because requests lets ~/.netrc replace a plain header.
    """

    def __init__(self, name: str, value: str) -> None:
        self._name = name
        self._value = value

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the header to a request."""
        request.headers[self._name] = self._value
        return request


def basic_auth(
    source: str, username: str | None, password: str | None, instead: str = ""
) -> AuthBase:
    """Return HTTP Basic authentication.

    Args:
        source: Name of the source, for the error message.
        username: The login.
        password: Its password.
        instead: Name of the setting that can replace both.

    Raises:
        CredentialsError: The username or the password is missing.
    """
    if username and password:
        # Pass bytes in UTF-8: requests encodes text as Latin-1.
        return HTTPBasicAuth(username.encode(), password.encode())
    missing = "password" if username else "username"
    both = f"username and password{f' (or {instead})' if instead else ''}"
    raise CredentialsError(
        f"Missing credential: sources.{source}.credentials.{missing}\n"
        f"Set {both} under [sources.{source}.credentials] in .dlt/secrets.toml, or "
        f"SOURCES__{source.upper()}__CREDENTIALS__USERNAME and __PASSWORD in the environment."
    )


def parse_ids(name: str, values: Iterable[Any]) -> list[int]:
    """Return the ids in a setting, each once.

    Raises:
        ConfigurationError: A value is no id.
    """
    try:
        ids = [int(str(value)) for value in values]
    except ValueError:
        ids = [0]
    if min(ids, default=1) < 1:
        raise ConfigurationError(
            f"An entry of {name} is no id: {values!r}\nWrite them as [121811, 121812]."
        )
    return list(dict.fromkeys(ids))


def signed_path(source: str, public_key: str | None, private_key: str | None) -> SignedPath:
    """Return authentication by signed paths.

    Raises:
        CredentialsError: A key is missing.
    """
    if public_key and private_key:
        return SignedPath(public_key, private_key)
    raise CredentialsError(
        f"Missing credential: sources.{source}.credentials."
        f"{'private_key' if public_key else 'public_key'}\n"
        f"Set public_key and private_key under [sources.{source}.credentials] in "
        f".dlt/secrets.toml, or SOURCES__{source.upper()}__CREDENTIALS__PUBLIC_KEY and "
        "__PRIVATE_KEY in the environment."
    )


def required(source: str, name: str, value: str | None, what: str) -> str:
    """Return the value of a setting.

    Args:
        source: Name of the source, for the error message.
        name: Name of the setting.
        value: Its value.
        what: What to write there, with an example.

    Raises:
        ConfigurationError: The setting is missing.
    """
    if value:
        return str(value)
    raise ConfigurationError(
        f"Missing setting: sources.{source}.{name}\n"
        f"Write {what} under [sources.{source}] in .dlt/config.toml, or in the environment, "
        f"SOURCES__{source.upper()}__{name.upper()}."
    )


def check_number(name: str, value: Any, least: int) -> None:
    """Raise ConfigurationError if a setting is not a number or is less than ``least``."""
    if not isinstance(value, (int, float)) or value < least:
        raise ConfigurationError(f"{name} is {value!r}.\nIt must be a number, at least {least}.")


def check_names(name: str, source: Callable[..., Any], resources: Iterable[str]) -> None:
    """Check that a source has no unknown settings.

    Args:
        name: Name of the source.
        source: The source, whose arguments are its settings.
        resources: Names of its resources, which can have settings of dlt.

    Raises:
        ConfigurationError: A setting is unknown, which can only be a mistake.
    """
    own = set(signature(source).parameters)
    prefix = f"{known_sections.SOURCES}__{name}__".upper()
    found = {
        variable.removeprefix(prefix).partition("__")[0].lower()
        for variable in os.environ
        if variable.startswith(prefix)
    }
    for provider in dlt.config.config_providers:
        section, _ = provider.get_value(name, dict, None, known_sections.SOURCES)
        found.update(section if isinstance(section, dict) else ())
    for unknown in sorted(found - own - _SETTINGS_OF_DLT - {name, *resources}):
        near = difflib.get_close_matches(unknown, own, 1)
        meant = f"Do you mean {near[0]}? " if near else ""
        raise ConfigurationError(
            f"Unknown setting: sources.{name}.{unknown}\n"
            f"{meant}Its settings are {', '.join(sorted(own))}."
        )


def account_name(base_url: str, company: str | None = None) -> str:
    """Return the name of an account, which is stored with its rows.

    It is the host and, if there is a company key, a hash of it. The port is left out, because it
    differs for each sandbox.

    Raises:
        ConfigurationError: ``base_url`` cannot be used.
    """
    host = urlsplit(check_base_url(base_url)).hostname or ""
    return f"{host}/{hashlib.sha256(company.encode()).hexdigest()[:12]}" if company else host


def host_of(account: str) -> str:
    """Return the host in the name of an account."""
    return account.partition("/")[0]


def read_settings(
    endpoints: Sequence[Endpoint],
    *,
    since: str | None,
    until: str | None,
    page_size: int,
    package_rows: int | None,
    isolate_failures: bool,
    account: str,
    start_date: str | None = None,
    lookback_hours: Mapping[str, float] | None = None,
    configured: Mapping[str, Sequence[Mapping[str, int | str]]] | None = None,
    whole_read_days: float | None = None,
    refresh_hours: Mapping[str, float] | None = None,
    scope: str = "",
    only: Mapping[str, str] | None = None,
    privacy: Mapping[str, Any] | None = None,
    retention_days: Mapping[str, Any] | None = None,
) -> Settings:
    """Return the arguments of a source, parsed and checked.

    Raises:
        ConfigurationError: An argument cannot be used.
    """
    windowed = {endpoint.name for endpoint in endpoints if endpoint.incremental}
    refreshed = {endpoint.name for endpoint in endpoints if endpoint.full_read_every}
    lookback = _spans("lookback_hours", lookback_hours, windowed, "a lookback")
    refresh = _spans("refresh_hours", refresh_hours, refreshed, "complete reads")
    check_number("page_size", page_size, 1)
    if whole_read_days is not None:
        check_number("whole_read_days", whole_read_days, 0)
    keys = privacy_keys()
    settings = Settings(
        start_date=parse_time(start_date, "start_date") if start_date is not None else None,
        since=parse_time(since, "since") if since else None,
        until=parse_time(until, "until", end=True) if until else None,
        page_size=page_size,
        lookback=lookback,
        full_read_every=timedelta(days=whole_read_days) if whole_read_days is not None else None,
        refresh=refresh,
        configured=configured or {},
        account=account,
        scope=scope,
        only=only or {},
        package_rows=package_rows,
        isolate_failures=isolate_failures,
        policy=read_policy(endpoints, privacy, keys[0] if keys else None),
        retention=read_retention(endpoints, retention_days),
        recognition=Recognition(People(endpoints), [KeyedHash(key.encode()) for key in keys]),
    )
    if settings.since and settings.until and settings.since > settings.until:
        raise ConfigurationError(f"since {since} lies after until {until}.\nSwap them.")
    now = clock.now()
    for name, start in (("since", settings.since), ("start_date", settings.start_date)):
        if start and start > now:
            raise ConfigurationError(
                f"{name} {format_time(start)} lies in the future: it is {format_time(now)}.\n"
                "Choose a time that has been."
            )
    return settings


def _spans(
    setting: str, hours: Mapping[str, float] | None, known: Collection[str], what: str
) -> Mapping[str, timedelta]:
    """Return resource → time.

    Args:
        setting: Name of the setting.
        hours: Resource → hours.
        known: Resources that it can name.
        what: What these have.

    Raises:
        ConfigurationError: A resource is unknown, or its hours are no number.
    """
    unknown = sorted(set(hours or {}) - set(known))
    if unknown:
        raise ConfigurationError(
            f"{setting} names what has no {what.removeprefix('a ')}: {', '.join(unknown)}\n"
            f"Resources with {what}: {', '.join(sorted(known))}."
        )
    for name, number in (hours or {}).items():
        check_number(f"{setting}.{name}", number, 0)
    return {name: timedelta(hours=number) for name, number in (hours or {}).items()}


@configspec
class _PrivacyKeys(BaseConfiguration):
    privacy_key: TSecretStrValue | None = None
    earlier_privacy_keys: list[TSecretStrValue] | None = None


@configspec
class _Privacy(BaseConfiguration):
    privacy: dict[str, Any] | None = None


def check_privacy(service: str, endpoints: Sequence[Endpoint]) -> None:
    """Check the settings ``privacy`` and ``privacy_key`` of a service.

    Raises:
        ConfigurationError: A rule cannot be followed, or the key is missing.
    """
    sections = (known_sections.SOURCES, service)
    keys = privacy_keys()
    rules = resolve_configuration(_Privacy(), sections=sections).privacy
    read_policy(endpoints, rules, keys[0] if keys else None)


def privacy_keys() -> list[str]:
    """Return ``sources.privacy_key`` if it is set, followed by ``sources.earlier_privacy_keys``.

    dlt keeps a secret out of the files it writes.

    Raises:
        ConfigurationError: There are earlier keys, and no key.
    """
    found = resolve_configuration(_PrivacyKeys(), sections=(known_sections.SOURCES,))
    earlier = found.earlier_privacy_keys or []
    if earlier and not found.privacy_key:
        raise ConfigurationError(
            "sources.earlier_privacy_keys is set, and sources.privacy_key is not.\n"
            "Set privacy_key to the key that is in use."
        )
    return [found.privacy_key, *earlier] if found.privacy_key else []


def apply_contract(resources: Iterable[DltResource], setting: str | Mapping[str, str]) -> None:
    """Set the schema contract of the resources.

    A contract is one mode, or one each for tables, columns and data_type.

    Raises:
        ConfigurationError: A mode is unknown.
    """
    modes = get_args(TSchemaEvolutionMode)
    try:
        # In the environment, a contract with several modes is JSON.
        contract = json.loads(setting) if isinstance(setting, str) else setting
    except ValueError:
        contract = setting
    wanted = [contract] if isinstance(contract, str) else list(dict(contract).values())
    if not set(wanted) <= set(modes):
        raise ConfigurationError(
            f"schema_contract is {setting!r}.\nIts modes are {', '.join(modes)}."
        )
    for resource in resources:
        resource.apply_hints(schema_contract=cast("TSchemaContract", contract))


def runtime_retries() -> Retries:
    """Return the retries that dlt's ``runtime.request_*`` settings configure."""
    config = resolve_configuration(RuntimeConfiguration())
    return Retries(
        attempts=config.request_max_attempts,
        backoff=config.request_backoff_factor,
        max_pause=config.request_max_retry_delay,
        timeout=config.request_timeout,
    )
