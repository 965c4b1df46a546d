"""Default settings of dlt for these sources, in a project, a scheduler or a script.

Settings in a file or in the environment take precedence.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from dlt.common import validation
from dlt.common.configuration import is_secret_hint, resolve, resolve_configuration
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import CustomLoaderDocProvider, environ, vault
from dlt.common.configuration.specs import RuntimeConfiguration
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.destination import DestinationCapabilitiesContext, client, utils
from dlt.common.destination.utils import prepare_load_table, resolve_merge_strategy
from dlt.common.normalizers.json import helpers
from dlt.common.runtime.anon_tracker import disable_anon_tracker
from dlt.common.schema.typing import TSchemaTables, TTableSchema
from dlt.common.storages.load_storage import LoadItemStorage
from dlt.common.typing import get_type_hints  # type: ignore[attr-defined]
from dlt.extract.storage import ExtractorItemStorage
from dlt.normalize import worker

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
    for module in (resolve, environ, vault):
        setattr(module, is_secret_hint.__name__, _is_secret)
    setattr(validation, get_type_hints.__name__, _hints_of)
    # These modules pass all arguments; dlt would still look for them in the configuration.
    for module in (client, utils, worker):
        setattr(module, prepare_load_table.__name__, inspect.unwrap(prepare_load_table))
    setattr(helpers, resolve_merge_strategy.__name__, _merge_strategy)


# dlt looks at the same type hints hundreds of times in a run. That is a tenth of the time of a small one.
_known_secret = cache(is_secret_hint)
_known_hints: dict[type, dict[str, Any]] = {}


def _is_secret(hint: Any) -> bool:
    try:
        return _known_secret(hint)
    except TypeError:  # some hints have no hash
        return is_secret_hint(hint)


def _hints_of(spec: type, globalns: dict[str, Any] | None) -> dict[str, Any]:
    if spec not in _known_hints:
        _known_hints[spec] = get_type_hints(spec, globalns=globalns)
    return _known_hints[spec]


def _merge_strategy(tables: TSchemaTables, table: TTableSchema) -> str | None:
    """Return the merge strategy of a table with the capabilities that dlt would inject."""
    container = Container()
    known = DestinationCapabilitiesContext in container
    capabilities = container[DestinationCapabilitiesContext] if known else None
    strategy: str | None = inspect.unwrap(resolve_merge_strategy)(tables, table, capabilities)
    return strategy


def _any_folder(template: Callable[..., str]) -> Callable[..., str]:
    """Return a template of file paths that also works for folders with a percent sign."""

    @wraps(template)
    def escaped(*args: Any) -> str:
        folder, name = os.path.split(template(*args))
        return os.path.join(folder.replace("%", "%%"), name)

    return escaped
