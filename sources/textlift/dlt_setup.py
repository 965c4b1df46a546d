"""Default settings of dlt for these sources, in a project, a scheduler or a script.

Settings in a file or in the environment take precedence.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import CustomLoaderDocProvider
from dlt.common.configuration.specs import RuntimeConfiguration
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.runtime.anon_tracker import disable_anon_tracker
from dlt.common.storages.load_storage import LoadItemStorage
from dlt.extract.storage import ExtractorItemStorage

PROVIDER = "textlift defaults"

#: Destinations whose tables can be replaced from a staging copy.
STAGED_REPLACE = (
    "bigquery",
    "clickhouse",
    "databricks",
    "dremio",
    "duckdb",
    "ducklake",
    "fabric",
    "motherduck",
    "mssql",
    "postgres",
    "redshift",
    "snowflake",
    "sqlalchemy",
    "synapse",
)

#: Settings of dlt, with the structure of its ``config.toml``.
DEFAULTS: dict[str, Any] = {
    # A run sends no telemetry.
    "runtime": {"dlthub_telemetry": False},
    "load": {
        # People's messages must not stay on the disk of the machine that loaded them.
        "delete_completed_jobs": True,
        # A second copy in the warehouse only takes time and space.
        "truncate_staging_dataset": True,
    },
    # Rows arrive as Arrow tables, which get a load id only if this is set.
    "normalize": {"parquet_normalizer": {"add_dlt_load_id": True}},
    # A snapshot replaces its table in one step: queries see the old rows or the new ones.
    "destination": {name: {"replace_strategy": "insert-from-staging"} for name in STAGED_REPLACE},
    # Read one Airflow variable, dlt_secrets_toml, not one for each of hundreds of settings.
    "providers": {"airflow_secrets": {"only_secrets": True, "only_toml_fragments": True}},
}


def set_up_dlt() -> None:
    """Add ``DEFAULTS`` to dlt as the last provider, after all other configuration."""
    container = Container()
    started = PluggableRunContext in container
    context = container[PluggableRunContext] if started else PluggableRunContext()
    configured = context.providers.providers
    if configured[-1].name == PROVIDER:
        return
    ours = [one for one in configured if one.name == PROVIDER]
    for one in ours:
        configured.remove(one)
    default = ours[0] if ours else CustomLoaderDocProvider(PROVIDER, lambda: DEFAULTS, False, [])
    configured.append(default)
    if not started:
        # Now dlt reads its own settings and adds the providers of its scheduler.
        container[PluggableRunContext] = context
    elif not ours and not resolve_configuration(RuntimeConfiguration()).dlthub_telemetry:
        # dlt switched telemetry on when it read its settings, before ours were added.
        disable_anon_tracker()
    configured.append(configured.pop(configured.index(default)))
    for storage in (ExtractorItemStorage, LoadItemStorage):
        template = storage._get_data_item_path_template
        if not hasattr(template, "__wrapped__"):
            storage._get_data_item_path_template = _any_folder(template)  # type: ignore[method-assign]


def _any_folder(template: Callable[..., str]) -> Callable[..., str]:
    """Return a template of file paths that also works for folders with a percent sign."""

    @wraps(template)
    def escaped(*args: Any) -> str:
        folder, name = os.path.split(template(*args))
        return os.path.join(folder.replace("%", "%%"), name)

    return escaped
