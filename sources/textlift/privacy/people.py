"""Which columns of a service's tables name a person, derived from its declarations.

A person is named by a phone number, or by the id that the service gives. The id is the key of a
table of people, such as ``profiles``, and a foreign key, such as ``profile_id``, in other tables.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from textlift.codec.records import Reject
from textlift.declare import ChildList, Endpoint, Personal
from textlift.dictionary import tables_of
from textlift.privacy.columns import normalized_phone

#: Kind of a phone number in the table ``erasures``; other kinds are names of foreign keys.
PHONE = "phone"
#: A number that stands in a text: as it is written in the USA, with a plus sign, or digits alone.
_NUMBERS = re.compile(
    r"(?<!\d)(?:\+?1[\s.-]?)?\(?[2-9]\d\d\)?[\s.-]?\d{3}[\s.-]?\d{4}(?!\d)"
    r"|\+\d[\d\s().-]{6,18}\d(?!\d)"
    r"|(?<!\d)\d{7,15}(?!\d)",
    re.ASCII,
)
#: What can be an id in a text. Shorter ones stand there by chance.
_IDS = re.compile(r"[\w-]{6,}", re.ASCII)


@dataclass(frozen=True)
class NamingColumns:
    """The columns of a table that name people.

    Attributes:
        phones: Columns with phone numbers.
        texts: Undeclared columns of text, which can have phone numbers.
        ids: Column → the name of the foreign key that it is, or that other tables have for it.
        stays: Whether a row is not about a person: other rows depend on it. Then only the number is
            removed from it.
    """

    phones: Sequence[str]
    texts: Sequence[str]
    ids: Mapping[str, str]
    stays: bool

    def __bool__(self) -> bool:
        return bool(self.numbers or self.ids)

    @property
    def numbers(self) -> Sequence[str]:
        """All columns that can have phone numbers."""
        return [*self.phones, *self.texts]


class People:
    """How the tables of a service name people.

    Args:
        endpoints: All endpoints of the service.

    Attributes:
        tables: Foreign key → the table of the people and its key column.
        endpoints: Resource → its endpoint.
    """

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self.endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self.tables: dict[str, tuple[str, str]] = {}
        for endpoint in self.endpoints.values():
            *others, key = endpoint.key or ("",)
            declared = endpoint.columns.get(key)
            if not others and declared and declared.personal is Personal.IDENTIFIER:
                self.tables[endpoint.foreign_keys[key]] = endpoint.name, key
        self._declared = {
            table.name: table.columns
            for endpoint in self.endpoints.values()
            for table in tables_of(endpoint)
        }
        #: Table of a list → key column of an entry → its name in the tables of the lists inside.
        self.inner_keys: dict[str, dict[str, str]] = {}
        for endpoint in self.endpoints.values():
            self._add_inner_keys(endpoint, endpoint.lists, "")
        parents = (each.parent.endpoint for each in self.endpoints.values() if each.parent)
        self._parents = frozenset(parents)

    def _add_inner_keys(
        self, endpoint: Endpoint, lists: Mapping[str, ChildList], prefix: str
    ) -> None:
        for path, declared in lists.items():
            suffix = prefix + (declared.table or path)
            self.inner_keys[endpoint.list_table(suffix)] = declared.foreign_keys
            self._add_inner_keys(endpoint, declared.lists, f"{suffix}__")

    def columns(self, table: str, names: Iterable[str], texts: Container[str]) -> NamingColumns:
        """Return which of the columns of a table name people.

        Args:
            table: Name of the table, which may be undeclared.
            names: Its columns.
            texts: Those that hold text.
        """
        declared = self._declared.get(table, {})
        ids = {name: name for name in self.tables}
        ids.update({key: name for name, (own, key) in self.tables.items() if own == table})
        phones, others, found = [], [], {}
        for name in names:
            if name in ids:
                found[name] = ids[name]
            elif name in declared:
                phones += [name] * (declared[name].personal is Personal.PHONE)
            elif name in texts and not name.startswith("_"):
                others.append(name)
        return NamingColumns(phones, others, found, table in self._parents)

    def ids_of(self, reject: Reject, endpoint: Endpoint) -> Iterator[tuple[str, str]]:
        """Yield the foreign key and the value of each id in the key of a rejected record."""
        columns = endpoint.record_key
        parts = (reject.row_key or "").split("/")[-len(columns) :] if columns else []
        for column, value in zip(columns, parts):
            ids = self.columns(endpoint.name, [column], ()).ids
            if column in ids:
                yield ids[column], value


def numbers_in(text: str) -> set[str]:
    """Return the phone numbers in a text, in E.164."""
    return {normalized_phone(found.strip()) for found in _NUMBERS.findall(text)}


def ids_in(text: str) -> set[str]:
    """Return what can be an id in a text: words and numbers of at least 6 characters."""
    return {*_IDS.findall(text)}
