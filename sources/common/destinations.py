"""DuckDB, also where the file and the dataset have the same name.

DuckDB calls a file's catalog by the file's name. In ``mcommons.duckdb``, ``mcommons.profiles`` can
then mean the catalog or the dataset of that name, and DuckDB refuses to choose. So the catalog is
named as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.schema import Schema
from dlt.destinations.impl.duckdb.configuration import DuckDbClientConfiguration
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient


class _SqlClient(DuckDbSqlClient):
    def catalog_name(self, quote: bool = True, casefold: bool = True) -> str | None:
        catalog = Path(str(self.credentials.database)).name.split(".")[0]
        if catalog.lower() != self.dataset_name.lower():
            return None
        return self.capabilities.escape_identifier(catalog) if quote else catalog

    def warn_if_catalog_equals_dataset_name(self) -> None:
        """Nothing to warn of: every name is qualified."""


class _Client(DuckDbClient):
    def __init__(
        self,
        schema: Schema,
        config: DuckDbClientConfiguration,
        capabilities: DestinationCapabilitiesContext,
    ) -> None:
        super().__init__(schema, config, capabilities)
        names = self.create_dataset_names(schema, config)
        self.sql_client: DuckDbSqlClient = _SqlClient(*names, config.credentials, capabilities)


class duckdb(dlt.destinations.duckdb):
    """dlt's own ``duckdb`` destination, with the catalog named where that is needed."""

    @property
    def client_class(self) -> type[Any]:
        """The client that names the catalog."""
        return _Client
