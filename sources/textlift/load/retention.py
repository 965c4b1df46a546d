"""Apply the retention to rows in the destination, at the end of each run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from dlt import Pipeline
from dlt.common.schema import Schema

from textlift import dictionary
from textlift.destinations import checked
from textlift.destinations.erase import Change, any_store
from textlift.privacy.retention import Aging

REJECTED = dictionary.REJECTED_RECORDS.name


def apply_retention(
    pipeline: Pipeline, schema: str, agings: Iterable[Aging], now: datetime
) -> dict[str, int]:
    """Empty columns and delete rows that are too old.

    Args:
        pipeline: The pipeline of the dataset.
        schema: Name of the schema, which is that of the source.
        agings: How the endpoints age.
        now: The time of the run.

    Returns:
        Table → number of rows that were changed.

    Raises:
        ConfigurationError, DestinationFailed: The destination cannot be used.
    """
    with checked(pipeline) as client:
        stored = getattr(client, "get_stored_schema", lambda _: None)(schema)
        store = any_store(client)
        if stored is None or store is None:
            return {}
        client.schema = Schema.from_dict(json.loads(stored.schema))
        tables = {str(each["name"]): each for each in client.schema.data_tables(True)}
        counts: dict[str, int] = {}
        changes = []
        for aging in agings:
            for change in _changes(aging, tables, store.name, now):
                query = f"SELECT count(*) FROM {store.name(change.table)} WHERE {change.condition}"
                ((count,),) = store.rows(query)
                if count:
                    changes.append(change)
                    counts[change.table] = counts.get(change.table, 0) + count
        if changes:
            store.change(changes)
    return counts


def _changes(
    aging: Aging, tables: Mapping[str, Any], name: Callable[[str], str], now: datetime
) -> Iterator[Change]:
    """Yield the changes in the tables of an endpoint, of its lists first."""
    endpoint = aging.endpoint
    if endpoint.name not in tables:
        return

    def older(days: float) -> str:
        return f'"{aging.time}" < {_moment(now - timedelta(days=days))}'

    for table, hints in sorted(tables.items(), reverse=True):
        names = hints["columns"]
        if hints.get("resource") != endpoint.name or table in (endpoint.name, REJECTED):
            continue
        keys = endpoint.foreign_keys
        owner = next(
            (o for s, o in endpoint.owners.items() if endpoint.list_table(s) == table), None
        )
        if owner:
            keys = {owner.column: owner.column}
        if not keys or not names.keys() >= {*keys.values()}:
            continue
        yield from _of_table(
            aging, table, names, partial(_within, keys, name(endpoint.name), older)
        )
    yield from _of_table(aging, endpoint.name, tables[endpoint.name]["columns"], older)
    if REJECTED in tables:
        limit = _moment(now - timedelta(days=aging.days))
        yield Change(REJECTED, f"resource = '{endpoint.name}' AND rejected_at < {limit}")


def _within(keys: Mapping[str, str], root: str, older: Callable[[float], str], days: float) -> str:
    """Return the condition for entries of a list whose records are old."""
    here = ", ".join(f'"{column}"' for column in keys.values())
    there = ", ".join(f'"{column}"' for column in keys)
    return f"({here}) IN (SELECT {there} FROM {root} WHERE {older(days)})"


def _of_table(
    aging: Aging, table: str, columns: Mapping[str, Any], old: Callable[[float], str]
) -> Iterator[Change]:
    rows = aging.rows.get(table, aging.rows.get(aging.endpoint.name))
    texts = [name for name, hint in columns.items() if hint.get("data_type") == "text"]
    by_days: dict[float, list[str]] = {}
    for column, days in aging.columns(table, columns, texts).items():
        by_days.setdefault(days, []).append(column)
    for days, names in by_days.items():
        filled = " OR ".join(f'"{column}" IS NOT NULL' for column in names)
        yield Change(table, f"{old(days)} AND ({filled})", names)
    if rows is not None:
        yield Change(table, old(rows))


def _moment(time: datetime) -> str:
    return f"CAST('{time.isoformat(sep=' ')}' AS TIMESTAMPTZ)"
