"""The data dictionary of a service: its tables and columns, derived from the declaration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from textlift.declare import ChildList, Column, Columns, ColumnType, Endpoint, Personal

#: Column with the id of a row's load package. dlt adds it.
LOAD_ID = "_dlt_load_id"
#: Column with the position of an entry in its list.
LIST_INDEX = "_dlt_list_idx"
#: Column that marks a delete row: it removes the rows with its merge key and is not loaded.
DELETED = "_deleted"


@dataclass(frozen=True)
class Table:
    """A table of a dataset.

    Attributes:
        name: Name of the table.
        meaning: What a row is.
        loaded_by: Which rows a run loads.
        key: Columns that identify a row. Empty if the rows have no key.
        columns: Column name → column.
    """

    name: str
    meaning: str
    loaded_by: str
    key: tuple[str, ...]
    columns: Columns


_LOAD_ID = {LOAD_ID: Column(ColumnType.TEXT, "Load package that wrote the row: _dlt_loads.load_id")}

REJECTED_RECORDS = Table(
    name="rejected_records",
    meaning=(
        "One value or record that could not be loaded as it should, or one span of time that the "
        "service dropped before it was read. A healthy account has no row without resolved_at."
    ),
    loaded_by="what each run rejects",
    key=("rejection_key",),
    columns={
        "rejection_key": Column(ColumnType.TEXT, "Key of the row, computed from what is rejected"),
        "resource": Column(ColumnType.TEXT, "Table that the record belongs to"),
        "window_start": Column(ColumnType.TIMESTAMP, "First second of the window, UTC"),
        "window_end": Column(ColumnType.TIMESTAMP, "Last second of the window, UTC"),
        "row_key": Column(
            ColumnType.TEXT,
            "Key of the record, as far as it could be read; parts are joined by a slash",
            Personal.IDENTIFIER,
        ),
        "column_name": Column(
            ColumnType.TEXT, "Column of the value; NULL if the whole record is rejected"
        ),
        "reason": Column(ColumnType.TEXT, "Why it could not be loaded"),
        "payload": Column(ColumnType.TEXT, "The original value or record", Personal.FREE_TEXT),
        "rejected_at": Column(ColumnType.TIMESTAMP, "Time of the run that rejected it, UTC"),
        "resolved_at": Column(
            ColumnType.TIMESTAMP, "Time of the run that loaded it well, UTC; NULL until then"
        ),
        **_LOAD_ID,
    },
)

LOAD_RUNS = Table(
    name="load_runs",
    meaning=(
        "One resource in one run, also if the run failed. A run that was killed before its last "
        "load package has no row."
    ),
    loaded_by="one row for each resource of each run",
    key=("run_id", "resource"),
    columns={
        "run_id": Column(ColumnType.TEXT, "Id of the run; all resources of a run share it"),
        "resource": Column(ColumnType.TEXT, "Resource, named as its table"),
        "started_at": Column(ColumnType.TIMESTAMP, "When the run started, UTC"),
        "ended_at": Column(
            ColumnType.TIMESTAMP, "When the run had read everything, or failed, UTC"
        ),
        "version": Column(ColumnType.TEXT, "Version of textlift"),
        "rows": Column(
            ColumnType.BIGINT, "Number of rows loaded into the table, without those of its lists"
        ),
        "requests": Column(
            ColumnType.BIGINT, "Number of requests sent to the service, with the repeated ones"
        ),
        "retries": Column(ColumnType.BIGINT, "Number of requests that repeated a failed one"),
        "rejected": Column(ColumnType.BIGINT, "Number of rows for rejected_records"),
        "window_start": Column(
            ColumnType.TIMESTAMP,
            "First second read, UTC; NULL without a window, or if the resource failed",
        ),
        "window_end": Column(
            ColumnType.TIMESTAMP,
            "Last second read, UTC; NULL without a window, or if the resource failed",
        ),
        "outcome": Column(
            ColumnType.TEXT, "Outcome: loaded, failed, or skipped if nothing was to be read"
        ),
        "message": Column(
            ColumnType.TEXT, "Why the resource failed or was skipped, or what it could not read"
        ),
        **_LOAD_ID,
    },
)

ERASURES = Table(
    name="erasures",
    meaning=(
        "One number or id of a person who was erased, as a keyed hash. Loads leave out their rows. "
        "The table is there after the first textlift forget."
    ),
    loaded_by="textlift forget",
    key=("erasure_id", "kind", "value_hash"),
    columns={
        "erasure_id": Column(ColumnType.TEXT, "Id of the erasure; its numbers and ids share it"),
        "kind": Column(
            ColumnType.TEXT,
            "What is hashed: phone, or the name of a foreign key such as profile_id",
        ),
        "value_hash": Column(
            ColumnType.TEXT,
            "HMAC-SHA256 of the number in E.164 or of the id, with sources.privacy_key",
        ),
        "key_id": Column(ColumnType.TEXT, "Name of the key, which tells nothing about it"),
        "erased_at": Column(ColumnType.TIMESTAMP, "When the person was erased, UTC"),
        "tables": Column(ColumnType.TEXT, "JSON: table → number of rows erased from it"),
        **_LOAD_ID,
    },
)

#: The tables that datasets have for all services.
SHARED_TABLES = (REJECTED_RECORDS, LOAD_RUNS, ERASURES)


def all_tables(endpoints: Iterable[Endpoint]) -> list[Table]:
    """Return all tables of a service, with the shared tables last."""
    own = [table for endpoint in endpoints for table in tables_of(endpoint)]
    return [*own, *SHARED_TABLES]


def tables_of(endpoint: Endpoint) -> list[Table]:
    """Return the table of an endpoint, followed by the tables of its lists."""
    computed = {name: _computed_key(endpoint) for name in endpoint.key if endpoint.identity}
    columns = {**computed, **endpoint.columns}
    own = Table(
        endpoint.name,
        endpoint.meaning,
        _loaded_by(endpoint),
        # Several rows can have the same key.
        () if endpoint.repeats else endpoint.key,
        {**columns, **_LOAD_ID},
    )
    keys = _foreign_keys(endpoint.name, endpoint.entity, endpoint.foreign_keys, columns)
    return [own, *_list_tables(endpoint, endpoint.name, endpoint.lists, keys)]


def _list_tables(
    endpoint: Endpoint, name: str, lists: Mapping[str, ChildList], keys: Columns
) -> Iterator[Table]:
    for path, declared in lists.items():
        owner = declared.owner
        named = f"{owner.table if owner else name}__{declared.table or path}"
        table = declared.table_name or named
        own, how = keys, f"the rows of one {_words(endpoint.entity)} are replaced as a set"
        if owner:
            own = {owner.column: endpoint.columns[owner.column]}
            how = f"once for each {owner.column}"
        columns = {**own, **declared.columns, LIST_INDEX: _LIST_INDEX}
        if endpoint.merges:
            columns[DELETED] = _DELETED
        yield Table(
            table,
            declared.meaning,
            f"with {endpoint.name}; {how}",
            (*own, *(declared.key or (LIST_INDEX,))),
            {**columns, **_LOAD_ID},
        )
        below = _foreign_keys(table, declared.item, declared.foreign_keys, declared.columns)
        yield from _list_tables(endpoint, table, declared.lists, {**own, **below})


_LIST_INDEX = Column(ColumnType.BIGINT, "Position of the row in its list, from 0")
_DELETED = Column(ColumnType.BOOLEAN, "Always NULL; used while rows are loaded")


def _foreign_keys(
    table: str, entity: str, names: Mapping[str, str], columns: Columns
) -> dict[str, Column]:
    """Return the key columns of a table, as foreign keys in the tables of its lists."""
    return {
        name: Column(
            columns[key].type,
            f"The {_words(entity)} that the row belongs to: {table}.{key}",
            columns[key].personal,
        )
        for key, name in names.items()
    }


def _words(name: str) -> str:
    return name.replace("_", " ")


def _computed_key(endpoint: Endpoint) -> Column:
    personal = any(endpoint.columns[name].personal for name in endpoint.identity)
    return Column(
        ColumnType.TEXT,
        f"Key of the row, computed from {', '.join(endpoint.identity)} and a number that tells "
        "equal rows apart",
        Personal.IDENTIFIER if personal else None,
    )


def _loaded_by(endpoint: Endpoint) -> str:
    if endpoint.webhook:
        return f"what the service has posted to …/{endpoint.name} since the last run"
    window = endpoint.incremental
    each = ""
    if endpoint.parent:
        each = f", for each row of {endpoint.parent.endpoint}"
        if endpoint.parent.where:
            each += " with {} {}".format(*endpoint.parent.where)
    if endpoint.configured:
        each = f", for each configured {' and '.join(endpoint.configured)}"
    if window is None:
        return f"the complete list in each run{each}"
    parts = [f"by {window.cursor}{each}", f"the last {_span(window.lookback)} again"]
    if endpoint.full_read_every:
        parts.append(f"all rows every {_span(endpoint.full_read_every)}")
        if endpoint.parent and endpoint.parent.size:
            parent = endpoint.parent
            parts.append(f"all rows when {parent.endpoint}.{parent.size} has changed")
    return "; ".join(parts)


def _span(time: timedelta) -> str:
    count, unit = (time.days, "day") if time.days else (time.seconds // 3600, "hour")
    return f"{count} {unit}s" if count > 1 else unit
