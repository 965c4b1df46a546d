"""Schema contracts: what is declared is always let in, and what a contract discards is left out."""

from __future__ import annotations

from dataclasses import replace

import dlt
import numpy as np
import pyarrow as pa
from dlt.common.configuration.container import Container
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.capabilities import adjust_schema_to_capabilities
from dlt.common.libs.pyarrow import py_arrow_to_table_schema_columns
from dlt.common.schema.schema import DEFAULT_SCHEMA_CONTRACT_MODE
from dlt.common.schema.typing import TSchemaContractDict
from dlt.common.schema.utils import is_complete_column
from dlt.extract import DltResource
from dlt.extract.items import DataItemWithMeta

from textlift import dictionary
from textlift.arrow.build import empty_page
from textlift.arrow.pages import ROW, Page, filter_page
from textlift.declare import Endpoint
from textlift.load.describe import describe
from textlift.load.items import Batch, tables_of
from textlift.load.rejects import SCHEMA

#: Modes of a schema contract that discard new tables, columns or rows.
DISCARDS = ("discard_row", "discard_value")


def _contract(resource: DltResource) -> tuple[str, TSchemaContractDict]:
    """Return the name of a resource's table, and the schema contract of it and its list tables."""
    own = resource.compute_table_schema()
    name = str(own["name"])
    return name, dlt.current.source_schema().resolve_contract_settings_for_table(name, own)


def declare(resource: DltResource, endpoint: Endpoint) -> None:
    """Add the declarations of the endpoint to the schema.

    These are the meanings of tables and columns. The columns themselves are added if a contract
    would reject them: a contract applies to undeclared tables and columns only, also in the first
    load.
    """
    tables = [*dictionary.tables_of(endpoint), dictionary.REJECTED_RECORDS]
    describe(dlt.current.source_schema(), tables)
    root, contract = _contract(resource)
    if contract == DEFAULT_SCHEMA_CONTRACT_MODE:
        return
    container = Container()
    capabilities = (
        container[DestinationCapabilitiesContext]
        if DestinationCapabilitiesContext in container
        else DestinationCapabilitiesContext.generic_capabilities()
    )
    for item in tables_of(Batch(endpoint, empty_page(endpoint), SCHEMA.empty_table())):
        name, table = root, item
        if isinstance(item, DataItemWithMeta):
            name, table = item.meta.hints["table_name"], item.data
        known = _known_columns(name)
        columns = adjust_schema_to_capabilities(
            py_arrow_to_table_schema_columns(table.schema), capabilities
        )
        new = {column: hints for column, hints in columns.items() if column not in known}
        dlt.current.source_schema().update_table({"name": name, "columns": new})


def _known_columns(table: str) -> set[str]:
    """Return the columns that a table has in the schema; none for an unknown table."""
    found = dlt.current.source_schema().tables.get(table)
    columns = found["columns"] if found else {}
    return {name for name, column in columns.items() if is_complete_column(column)}


def within_contract(endpoint: Endpoint, page: Page) -> Page:
    """Return the page without what a schema contract discards.

    dlt does not do this, because it would search the list tables for the discarded columns of their
    records.
    """
    root, contract = _contract(dlt.current.resource())
    tables, columns = contract["tables"], contract["columns"]
    kept = {
        suffix: entries
        for suffix, entries in page.children.items()
        if tables not in DISCARDS or _known_columns(endpoint.list_table(suffix))
    }
    page = replace(page, children=kept)
    if columns not in DISCARDS:
        return page
    keep, table = _without_new(page.table, root, columns)
    page = filter_page(replace(page, table=table), keep) if keep else replace(page, table=table)
    children = {}
    for suffix, entries in page.children.items():
        keep, table = _without_new(entries, endpoint.list_table(suffix), columns)
        children[suffix] = table.filter(keep) if keep else table
    return replace(page, children=children)


def _without_new(table: pa.Table, name: str, mode: str) -> tuple[list[bool] | None, pa.Table]:
    """Return which rows to keep, ``None`` for all, and the table without new columns.

    A column is new if it is not in the schema. ``discard_row`` keeps rows that have none of them.
    """
    known = _known_columns(name)
    new = [column for column in table.column_names if known and column not in known | {ROW}]
    keep = None
    if new and mode == "discard_row":
        keep = np.all([table[column].is_null().to_numpy() for column in new], axis=0).tolist()
    return keep, table.drop_columns(new)
