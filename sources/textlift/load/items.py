"""The rows of a load package as dlt takes them: Arrow tables, each with the name and hints of its table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dlt
import numpy as np
import pyarrow as pa
from dlt.common.configuration.container import Container
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.schema.typing import TColumnSchema

from textlift.arrow.pages import ROW, Page, with_column
from textlift.declare import Endpoint
from textlift.dictionary import DELETED, LIST_INDEX
from textlift.load.rejects import REJECTED_RECORDS, disposition


@dataclass(frozen=True)
class Batch:
    """Rows that go to dlt together.

    Attributes:
        endpoint: The endpoint of the rows.
        page: The rows and the entries of their lists.
        rejected: Rows of ``rejected_records``, if there are any.
        deletes: Whether the rows hold only keys, of rows to delete with the entries of their lists.
    """

    endpoint: Endpoint
    page: Page
    rejected: pa.Table | None = None
    deletes: bool = False


def tables_of(batch: Batch) -> Iterator[Any]:
    """Yield the Arrow tables of a batch, each with the name and the hints of its dlt table."""
    endpoint, page = batch.endpoint, batch.page
    yield root_item(batch)
    for suffix, entries in page.children.items():
        yield _child_item(endpoint, suffix, page.table, entries)
    if batch.rejected is None:
        return
    hints = dlt.mark.make_hints(
        table_name=REJECTED_RECORDS,
        write_disposition=disposition(_merge_strategies()),
        primary_key="rejection_key",
    )
    yield dlt.mark.with_hints(batch.rejected, hints, create_table_variant=True)


def _merge_strategies() -> Sequence[str]:
    """Return the merge strategies of the destination."""
    container = Container()
    if DestinationCapabilitiesContext not in container:
        return ()
    return container[DestinationCapabilitiesContext].supported_merge_strategies or ()


def root_item(batch: Batch) -> Any:
    """Return the table of the endpoint's own rows, with the hints that it needs."""
    endpoint, table = batch.endpoint, _require(batch.page.table, batch.endpoint.key)
    columns: list[TColumnSchema] = []
    if batch.deletes:
        columns.append({"name": DELETED, "data_type": "bool", "hard_delete": True})
        table = table.append_column(DELETED, pa.repeat(pa.scalar(True), table.num_rows))
    if endpoint.full_read_every and endpoint.parent:
        # Version 0.1.0 replaced the rows of each parent as a set; its schema has the merge key.
        columns.append({"name": endpoint.parent.column, "merge_key": False})
    if not columns:
        return table
    # Use a table variant: hints on the resource itself would also apply to its list tables.
    hints = dlt.mark.make_hints(
        table_name=endpoint.name,
        write_disposition="merge",
        primary_key=list(endpoint.key),
        columns=columns,
        # The column that marks deletions is ours, so a contract must not discard it.
        schema_contract="evolve" if batch.deletes else None,
    )
    return dlt.mark.with_hints(table, hints, create_table_variant=True)


def _child_item(endpoint: Endpoint, suffix: str, roots: pa.Table, entries: pa.Table) -> Any:
    """Return the entries of a list with the keys of their records, or of their owners.

    Entries are replaced as a set for each record. A record without entries gets a row that deletes
    its earlier entries.
    """
    merge = endpoint.merges
    owner = endpoint.owners.get(suffix)
    foreign_keys = {owner.column: owner.column} if owner else endpoint.foreign_keys
    keys = {name: roots[key] for key, name in foreign_keys.items() if key in roots.schema.names}
    rows = entries[ROW]
    table = entries.drop_columns([ROW])
    for name, values in reversed(keys.items()):
        table = with_column(table, name, values.take(rows))
    table = table.append_column(LIST_INDEX, _positions(rows))
    if merge:
        table = table.append_column(DELETED, pa.nulls(table.num_rows, pa.bool_()))
        bare = np.ones(roots.num_rows, np.bool_)
        bare[rows.to_numpy()] = False
        marks = pa.table({name: values.filter(pa.array(bare)) for name, values in keys.items()})
        marks = marks.append_column(DELETED, pa.array([True] * marks.num_rows, pa.bool_()))
        marks = marks.append_column(LIST_INDEX, pa.array([0] * marks.num_rows, pa.int64()))
        table = pa.concat_tables([table, _conform(marks, table.schema)])
    hints = dlt.mark.make_hints(
        table_name=endpoint.list_table(suffix),
        write_disposition="merge" if merge else "replace",
        # After a crash dlt can load a file twice; it drops the second copy by the primary key.
        primary_key=[*keys, LIST_INDEX],
        merge_key=list(keys) if merge else (),
        columns=[{"name": DELETED, "data_type": "bool", "hard_delete": True}] if merge else None,
    )
    table = _require(table, [*keys, LIST_INDEX])
    return dlt.mark.with_hints(table, hints, create_table_variant=True)


def _positions(rows: pa.ChunkedArray) -> pa.Array:
    """Return the position of each entry in the list of its record."""
    numbers = rows.to_numpy()
    count = np.arange(len(numbers))
    starts = np.concatenate([[True], numbers[1:] != numbers[:-1]])[: len(numbers)]
    return pa.array(count - np.maximum.accumulate(np.where(starts, count, 0)))


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table with the columns of ``schema``; missing columns are NULL."""
    arrays = [
        table[field.name].cast(field.type)
        if field.name in table.schema.names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(arrays, schema)


def _require(table: pa.Table, names: Iterable[str]) -> pa.Table:
    """Return the table with the columns ``names`` not nullable, as dlt declares keys."""
    fields = [
        field.with_nullable(False) if field.name in set(names) else field for field in table.schema
    ]
    return table.cast(pa.schema(fields))
