"""Settings of webhooks: the part of the URL that nobody can guess, and the storage."""

from __future__ import annotations

import re
from pathlib import Path

import dlt
from dlt.common.configuration import configspec, resolve_configuration
from dlt.common.configuration.specs import BaseConfiguration, known_sections
from dlt.common.exceptions import MissingDependencyException
from dlt.common.storages.configuration import FilesystemConfiguration
from dlt.common.typing import TSecretStrValue

from textlift.errors import ConfigurationError
from textlift.settings import privacy_keys
from textlift.webhooks.cipher import SegmentCipher
from textlift.webhooks.storage import Storage

#: Name of the settings, below those of the service.
SECTION = "webhooks"
#: Least characters of a secret.
MIN_SECRET = 32
_SECRET = re.compile(rf"[A-Za-z0-9_-]{{{MIN_SECRET},}}")
#: Installs what the receiver needs.
EXTRA = "pip install 'textlift[webhooks]'"
_MAKE_ONE = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"


@configspec
class WebhookSettings(BaseConfiguration):
    """The settings ``sources.<service>.webhooks``.

    Attributes:
        storage: URL of the storage, as fsspec has it: a folder or a bucket. The default is the
            folder ``webhooks/<service>`` in the current directory. ``credentials`` beside it hold
            those of a bucket, as for dlt's ``filesystem``.
        secret: The part of the URL that nobody can guess. Only the receiver needs it.
    """

    storage: str | None = None
    secret: TSecretStrValue | None = None


def read_settings(service: str) -> WebhookSettings:
    """Return the settings of the webhooks of a service."""
    sections = (known_sections.SOURCES, service, SECTION)
    return resolve_configuration(WebhookSettings(), sections=sections)


def check_secret(service: str, secret: str | None) -> str:
    """Return the secret.

    Raises:
        ConfigurationError: It is missing, short, or has characters that a URL would change.
    """
    name = f"sources.{service}.{SECTION}.secret"
    if secret and _SECRET.fullmatch(secret):
        return secret
    problem = f"{name} cannot be used" if secret else f"Missing secret: {name}"
    raise ConfigurationError(
        f"{problem}. It is at least {MIN_SECRET} letters, digits, - and _, which nobody can guess.\n"
        f"Make one with {_MAKE_ONE}, and set it in .dlt/secrets.toml or as "
        f"{secret_variable(service)}."
    )


def secret_variable(service: str) -> str:
    """Return the name of the environment variable that sets the secret."""
    return f"SOURCES__{service}__{SECTION}__SECRET".upper()


def open_storage(service: str, url: str | None) -> Storage:
    """Return the storage of the webhooks of a service. It is encrypted if there is a privacy_key.

    Args:
        service: Name of the service.
        url: URL of the storage; ``None`` for the default folder.

    Raises:
        ConfigurationError: The client for the URL is not installed.
        StorageFailed: The storage cannot be opened.
    """
    config = FilesystemConfiguration(url or str(default_folder(service)))
    sections = (known_sections.SOURCES, service, SECTION)
    keys = privacy_keys()
    cipher = SegmentCipher(keys) if keys else None
    try:
        return Storage(resolve_configuration(config, sections=sections), cipher)
    except MissingDependencyException as error:
        raise ConfigurationError(
            f"sources.{service}.{SECTION}.storage needs a client that is not installed.\n"
            f"Install {' and '.join(error.dependencies)}."
        ) from None


def default_folder(service: str) -> Path:
    """Return the folder for the webhooks of a service, if no storage is configured."""
    return Path(dlt.current.run_context().local_dir).resolve() / SECTION / service
