"""Forget a person: find all rows about one person in a dataset, delete them, and skip them later."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dlt
import pyarrow as pa
import sqlglot
from dlt import Pipeline
from dlt.common.schema import Schema
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.extract import DltSource

from textlift import clock, dictionary
from textlift.arrow.types import schema_of
from textlift.codec.records import Reject
from textlift.destinations import checked, contents
from textlift.destinations.erase import Change, Store, statement, store_of
from textlift.dlt_setup import set_up_dlt
from textlift.errors import ConfigurationError
from textlift.load.describe import describe
from textlift.load.loading import alone, drop_local_state
from textlift.privacy.columns import KeyedHash, normalized_phone
from textlift.privacy.erased import key_id
from textlift.privacy.people import PHONE, NamingColumns, People, ids_in, numbers_in

REJECTED = dictionary.REJECTED_RECORDS.name
ERASURES = dictionary.ERASURES.name
#: Tables without rows about people.
_OTHERS = (dictionary.LOAD_RUNS.name, ERASURES, REJECTED)
#: Last digits of a number, which are there however it is written.
_LAST_DIGITS = 7
_HASH = re.compile(r"[0-9a-f]{64}")
#: Digits of a number in E.164 of the country code 1.
_NANP = re.compile(r"\+1(\d{3})(\d{3})(\d{4})")

#: Table → column → values that name a person.
_Named = dict[str, dict[str, list[str]]]


@dataclass(frozen=True)
class Person:
    """A person, as one service names people.

    Attributes:
        numbers: Phone numbers in E.164, or hashes of them.
        ids: Foreign key, such as ``profile_id`` → ids of the person.
    """

    numbers: frozenset[str]
    ids: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Found:
    """The rows about a person in a dataset.

    Attributes:
        person: The person, with all numbers and ids that were found.
        counts: Table → number of rows.
        changes: What deletes them.
        others: Number of ids that have had the number, and have another one now.
        tables: Tables that can have rows about people.
        is_noted: Whether the person was erased before, perhaps not to the end.
        store: Where the rows are.
    """

    person: Person
    counts: Mapping[str, int]
    changes: Sequence[Change]
    others: int
    tables: Sequence[str]
    is_noted: bool
    store: Store


@dataclass(frozen=True)
class Dataset:
    """The dataset of a service, in which a person is to be found.

    Attributes:
        pipeline: A pipeline for the dataset; it may never have run here.
        schema: Name of the schema, which is that of the source.
        people: How the tables of the service name people.
        keys: The secret key first, then earlier ones.
    """

    pipeline: Pipeline
    schema: str
    people: People
    keys: Sequence[KeyedHash]

    def find(self, person: Person) -> Found | str | None:
        """Return the rows about a person.

        Args:
            person: A number or an id.

        Returns:
            The rows; or SQL that deletes them, if this destination is not supported; or ``None`` if
            nothing was loaded into the dataset.

        Raises:
            ConfigurationError, DestinationFailed: The destination cannot be used.
        """
        with checked(self.pipeline) as client:
            return self._find(client, person)

    def forget(self, person: Person) -> Found | str | None:
        """Delete the rows about a person, and let later loads skip them.

        First the person is noted in ``erasures``. So a run that begins meanwhile skips them, and if
        this is interrupted, doing it again completes it.

        Returns:
            What :meth:`find` returns.

        Raises:
            AlreadyRunning: A load of this pipeline is under way.
            ConfigurationError, DestinationFailed: The destination cannot be used.
            PipelineStepFailed: The table ``erasures`` could not be written.
        """
        set_up_dlt()
        with alone(self.pipeline), checked(self.pipeline) as client:
            found = self._find(client, person)
            if isinstance(found, str):
                self._note(person, {})
            if isinstance(found, Found):
                self._note(found.person, found.counts)
                if found.changes:
                    found.store.change(found.changes)
                if found.changes or found.is_noted:
                    found.store.purge(found.tables)
            return found

    def _find(self, client: Any, person: Person) -> Found | str | None:
        stored = getattr(client, "get_stored_schema", lambda _: None)(self.schema)
        if stored is None:
            return None
        client.schema = Schema.from_dict(json.loads(stored.schema))
        tables = _tables(client)
        store = store_of(client)
        if store is not None:
            return _Search(store, tables, self.people, self.keys).find(person)
        if not isinstance(client, SqlJobClientBase):
            raise ConfigurationError(
                f"Rows in {self.pipeline.destination.destination_name} cannot be deleted from "
                "here.\nDelete them with a tool of the destination."
            )
        name = client.sql_client.make_qualified_table_name
        dialect = client.capabilities.sqlglot_dialect
        return ";\n".join(
            sqlglot.transpile(statement(each, name(each.table)), "duckdb", dialect)[0]
            for each in _Conditions(name, tables, self.people, self.keys).usual(person)
        )

    def _note(self, person: Person, counts: Mapping[str, int]) -> None:
        keyed = self.keys[0]
        names = [(PHONE, number) for number in person.numbers]
        names += [(kind, value) for kind, values in person.ids.items() for value in values]
        row = {
            "erasure_id": uuid.uuid4().hex,
            "key_id": key_id(keyed),
            "erased_at": clock.now(),
            "tables": json.dumps(counts),
        }
        rows = [
            {**row, "kind": kind, "value_hash": value if _HASH.fullmatch(value) else keyed(value)}
            for kind, value in sorted(names)
        ]
        schema = Schema(self.schema)
        describe(schema, [dictionary.ERASURES])
        table = pa.Table.from_pylist(rows, schema_of(dictionary.ERASURES))
        resource = dlt.resource([table], name=ERASURES, write_disposition="append")
        drop_local_state(self.pipeline)
        self.pipeline.run(DltSource(schema, self.schema, [resource]))


def _tables(client: Any) -> dict[str, Any]:
    """Return the loaded tables that exist, by name."""
    found = {str(table["name"]): table for table in client.schema.data_tables(seen_data_only=True)}
    missing, _ = contents(client, found)
    return {name: table for name, table in found.items() if name not in missing}


class _Conditions:
    """SQL conditions for the rows about a person.

    Args:
        name: Returns the name of a table in SQL.
        tables: The tables that exist, with the resource and the columns of each.
        people: How the tables name people.
        keys: The secret keys.
    """

    def __init__(
        self,
        name: Callable[[str], str],
        tables: Mapping[str, Any],
        people: People,
        keys: Sequence[KeyedHash],
    ) -> None:
        self._name = name
        self._people = people
        self._keys = keys
        self._tables = tables
        self._naming: dict[str, NamingColumns] = {}
        for table, hints in tables.items():
            columns = hints["columns"]
            texts = [each for each, hint in columns.items() if hint.get("data_type") == "text"]
            found = people.columns(table, columns, texts)
            if found and table not in _OTHERS:
                self._naming[table] = found

    def usual(self, person: Person) -> list[Change]:
        """Return changes for the usual spellings of a number, without a look at the rows."""
        numbers = [each for number in person.numbers for each in self._spellings(number)]
        named: _Named = {
            table: dict.fromkeys(columns.phones, numbers) if numbers else {}
            for table, columns in self._naming.items()
        }
        more = {}
        for kind, (table, key) in self._people.tables.items():
            if numbers and table in self._naming:
                own = self._own(table, named, {})
                more[kind] = f'SELECT CAST("{key}" AS VARCHAR) FROM {self._name(table)} WHERE {own}'
        return self._changes(named, person.ids, more)

    def _spellings(self, number: str) -> list[str]:
        found = [number, number[1:], *(keyed(number) for keyed in self._keys)]
        if parts := _NANP.fullmatch(number):
            area, exchange, line = parts.groups()
            found += [f"{area}{exchange}{line}", f"({area}) {exchange}-{line}"]
            found += [mark.join((area, exchange, line)) for mark in "-. "]
        return found

    def _hashes(self, values: Iterable[str]) -> set[str]:
        return {keyed(value) for value in values for keyed in self._keys}

    def _own(self, table: str, named: _Named, ids: Mapping[str, frozenset[str]]) -> str:
        """Return the condition for rows of a table that name the person; empty if none can."""
        terms = [_among(column, values) for column, values in named.get(table, {}).items()]
        for column, kind in self._naming[table].ids.items():
            values = ids.get(kind, frozenset())
            terms.append(_among(column, {*values, *self._hashes(values)}))
        return " OR ".join(term for term in terms if term)

    def _changes(
        self,
        named: _Named,
        ids: Mapping[str, frozenset[str]],
        more: Mapping[str, str] | None = None,
    ) -> list[Change]:
        """Return the changes: lists before their records, and tables of people last.

        Args:
            named: The values that name the person.
            ids: The ids of the person.
            more: Foreign key → a query for more ids.
        """
        emptied = []
        conditions: dict[str, str] = {}
        for table, columns in self._naming.items():
            if columns.stays:
                found = named.get(table, {}).items()
                emptied += [Change(table, _among(c, v), (c,)) for c, v in found if v]
                continue
            terms = [self._own(table, named, ids)]
            for column, kind in columns.ids.items():
                if more and kind in more:
                    terms.append(f'CAST("{column}" AS VARCHAR) IN ({more[kind]})')
            if condition := " OR ".join(term for term in terms if term):
                conditions[table] = condition
        lists = sorted(self._lists(), key=lambda each: each[0].count("__"))
        for table, above, columns_there, columns_here in lists:
            if above in conditions:
                here = ", ".join(f'"{column}"' for column in columns_here)
                there = ", ".join(f'"{column}"' for column in columns_there)
                within = f"SELECT {there} FROM {self._name(above)} WHERE {conditions[above]}"
                terms = [conditions.get(table, ""), f"({here}) IN ({within})"]
                conditions[table] = " OR ".join(term for term in terms if term)
        roots, own = self._people.endpoints, {table for table, _ in self._people.tables.values()}
        order = sorted(conditions, key=lambda t: (t in own, t in roots, -t.count("__")))
        return [*emptied, *(Change(table, conditions[table]) for table in order)]

    def _lists(self) -> Iterator[tuple[str, str, list[str], list[str]]]:
        """Yield each list with the table above it, and the columns by which it names its rows."""
        for table, hints in self._tables.items():
            endpoint = self._people.endpoints.get(str(hints.get("resource")))
            if endpoint is None or table == endpoint.name:
                continue
            keys, here = endpoint.foreign_keys, hints["columns"]
            if any(endpoint.list_table(suffix) == table for suffix in endpoint.owners):
                continue
            if keys and here.keys() >= {*keys.values()}:
                yield table, endpoint.name, [*keys], [*keys.values()]
            for above, inner in self._people.inner_keys.items():
                names = [*keys.values(), *inner.values()]
                if inner and table.startswith(f"{above}__") and here.keys() >= {*names}:
                    yield table, above, [*keys.values(), *inner], names


class _Search(_Conditions):
    """Finds the rows about a person in a dataset."""

    def __init__(
        self,
        store: Store,
        tables: Mapping[str, Any],
        people: People,
        keys: Sequence[KeyedHash],
    ) -> None:
        super().__init__(store.name, tables, people, keys)
        self._store = store

    def find(self, person: Person) -> Found:
        """Return the rows about a person.

        An id leads to the number of its person, and numbers lead to ids. It goes no further: a number
        that has moved from one person to another must not lead from one to the other. For this
        reason a number does not lead to an id that has another number now.
        """
        numbers = {*person.numbers, *self._numbers_of(person.ids)}
        named = self._spelled(numbers)
        ids = {kind: {*person.ids.get(kind, ())} for kind in self._people.tables}
        others = 0
        for kind, known in ids.items():
            for value in self._ids_with(named, kind) - known:
                own = self._numbers_of({kind: frozenset({value})}, only_own=True)
                if own and own.isdisjoint({*numbers, *self._hashes(numbers)}):
                    others += 1
                else:
                    known.add(value)
        found = Person(
            frozenset(numbers), {kind: frozenset(values) for kind, values in ids.items() if values}
        )
        changes = self._changes(named, found.ids)
        if REJECTED in self._tables and (rejects := self._rejects(found, changes)):
            changes.insert(0, Change(REJECTED, _among("rejection_key", rejects)))
        counts: dict[str, int] = {}
        for each in changes:
            query = f"SELECT count(*) FROM {self._name(each.table)} WHERE {each.condition}"
            ((count,),) = self._store.rows(query)
            counts[each.table] = counts.get(each.table, 0) + count
        counts = {table: count for table, count in counts.items() if count}
        changes = [each for each in changes if each.table in counts]
        tables = [table for table in self._tables if table not in _OTHERS[:2]]
        return Found(found, counts, changes, others, tables, self._is_noted(found), self._store)

    def _is_noted(self, person: Person) -> bool:
        if ERASURES not in self._tables:
            return False
        hashes = self._hashes([*person.numbers, *(v for ids in person.ids.values() for v in ids)])
        query = f"SELECT count(*) FROM {self._name(ERASURES)} WHERE {_among('value_hash', hashes)}"
        ((count,),) = self._store.rows(query)
        return bool(count)

    def _numbers_of(self, ids: Mapping[str, frozenset[str]], only_own: bool = False) -> set[str]:
        """Return the numbers in the rows of people; of those without a row, in all of their rows."""
        found: set[str] = set()
        for kind, values in ids.items():
            own, _ = self._people.tables[kind]
            tables = [own, *([] if only_own else sorted({*self._naming} - {own}))]
            for table in tables:
                if kind in self._telling(table):
                    found |= self._numbers_in(table, self._own(table, {}, {kind: values}))
                if found:
                    break
        return found

    def _telling(self, table: str) -> dict[str, str]:
        """Return foreign key → column, of a table whose rows tell the number of an id.

        A row with two numbers, such as a call, does not say which one belongs to the id.
        """
        columns = self._naming.get(table)
        if columns is None or len(columns.phones) != 1:
            return {}
        return {kind: column for column, kind in columns.ids.items()}

    def _numbers_in(self, table: str, condition: str) -> set[str]:
        found: set[str] = set()
        for column in self._naming[table].phones:
            query = (
                f'SELECT DISTINCT "{column}" FROM {self._name(table)} '
                f'WHERE ({condition}) AND "{column}" IS NOT NULL'
            )
            found |= {normalized_phone(value) for (value,) in self._store.rows(query)}
        return {number for number in found if number[0] == "+" or _HASH.fullmatch(number)}

    def _spelled(self, numbers: Iterable[str]) -> _Named:
        """Return all spellings of the numbers, and their hashes, in the columns that have them."""
        numbers = {*numbers}
        wanted = {*numbers, *self._hashes(numbers)}
        if not numbers:
            return {}
        found: _Named = {}
        for table, columns in self._naming.items():
            for column in columns.numbers:
                digits = f"regexp_replace(\"{column}\", '[^0-9]', '', 'g')"
                query = (
                    f'SELECT DISTINCT "{column}" FROM {self._name(table)} '
                    f"WHERE {_like(digits, numbers)} OR {_among(column, wanted)}"
                )
                values = [value for (value,) in self._store.rows(query)]
                same = [v for v in values if v in wanted or normalized_phone(v) in numbers]
                if same:
                    found.setdefault(table, {})[column] = same
        return found

    def _ids_with(self, named: _Named, kind: str) -> set[str]:
        """Return the ids in rows that name the person by number."""
        found: set[str] = set()
        for table in named:
            for its_kind, column in self._telling(table).items():
                if its_kind == kind:
                    query = (
                        f'SELECT DISTINCT CAST("{column}" AS VARCHAR) FROM {self._name(table)} '
                        f'WHERE ({self._own(table, named, {})}) AND "{column}" IS NOT NULL'
                    )
                    found |= {value for (value,) in self._store.rows(query)}
        return found

    def _rejects(self, person: Person, changes: Sequence[Change]) -> set[str]:
        """Return the keys of the rows of ``rejected_records`` that are about the person."""
        ids = {value for values in person.ids.values() for value in values}
        digits = "regexp_replace(payload, '[^0-9]', '', 'g')"
        terms = [_like(digits, person.numbers)] if person.numbers else []
        for value in sorted(ids):
            inside = _literal(f"%{value}%")
            terms += [f"row_key LIKE {inside}", f"payload LIKE {inside}"]
        condition = " OR ".join(term for term in terms if term)
        query = "SELECT rejection_key, resource, row_key, payload "
        query += f"FROM {self._name(REJECTED)} WHERE {condition}"
        found = set()
        for key, resource, row_key, payload in self._store.rows(query):
            endpoint = self._people.endpoints.get(resource)
            reject = Reject(row_key, None, "", payload or "")
            own = self._people.ids_of(reject, endpoint) if endpoint else ()
            if (
                any(value in person.ids.get(kind, ()) for kind, value in own)
                or numbers_in(reject.payload) & person.numbers
                or ids_in(reject.payload) & ids
            ):
                found.add(key)
        for each in changes:
            endpoint = self._people.endpoints.get(each.table)
            if endpoint and endpoint.key and not each.empty:
                key = " || '/' || ".join(f'CAST("{name}" AS VARCHAR)' for name in endpoint.key)
                query = (
                    f"SELECT rejection_key FROM {self._name(REJECTED)} "
                    f"WHERE resource = {_literal(each.table)} AND row_key IN "
                    f"(SELECT {key} FROM {self._name(each.table)} WHERE {each.condition})"
                )
                found |= {value for (value,) in self._store.rows(query)}
        return found


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _among(column: str, values: Iterable[str]) -> str:
    """Return the condition that a column has one of the values; empty without values."""
    listed = ", ".join(map(_literal, sorted(values)))
    return f'CAST("{column}" AS VARCHAR) IN ({listed})' if listed else ""


def _like(digits: str, numbers: Iterable[str]) -> str:
    """Return the condition that an expression has the last digits of one of the numbers."""
    ends = sorted({number[-_LAST_DIGITS:] for number in numbers})
    return "(" + " OR ".join(f"{digits} LIKE '%{end}%'" for end in ends) + ")"
