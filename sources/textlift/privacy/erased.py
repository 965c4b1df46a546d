"""People who were erased: later loads leave out their rows.

The table ``erasures`` has keyed hashes of their numbers and ids. Without the key, nobody can find
the number behind a hash by trying all numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textlift.arrow.pages import ROW, SKIPPED, Page
from textlift.codec.records import Reject
from textlift.declare import Endpoint
from textlift.errors import ConfigurationError
from textlift.privacy.columns import KeyedHash, normalized_phone
from textlift.privacy.people import PHONE, People, ids_in, numbers_in

#: Its hash tells keys apart, and nothing else.
_KEY_NAME = "textlift: which key"
#: Digits of the name of a key.
_KEY_DIGITS = 16
#: Undeclared columns are compared as numbers if their values have so many characters.
_NUMBER_LENGTH = range(7, 33)


def key_id(keyed: KeyedHash) -> str:
    """Return the name of a key, which tells nothing about it."""
    return keyed(_KEY_NAME)[:_KEY_DIGITS]


@dataclass(frozen=True)
class Recognition:
    """What it takes to recognize people who were erased.

    Attributes:
        people: How the tables of the service name people.
        keys: The secret key ``sources.privacy_key`` first, then earlier ones.
    """

    people: People = field(default_factory=lambda: People(()))
    keys: Sequence[KeyedHash] = ()

    def erased(self, rows: Iterable[Mapping[str, Any]]) -> Erased | None:
        """Return the people in rows of ``erasures``; ``None`` if there are none.

        Raises:
            ConfigurationError: A key of the rows is not configured.
        """
        keys = {key_id(keyed): keyed for keyed in self.keys}
        hashes: dict[tuple[str, str], set[str]] = {}
        for row in rows:
            if row["key_id"] not in keys:
                raise ConfigurationError(
                    "People were erased from this dataset with a key that is not configured, so "
                    "they cannot be recognized. Nothing was loaded.\n"
                    "Set that key as sources.privacy_key, or add it to "
                    "sources.earlier_privacy_keys."
                )
            hashes.setdefault((row["kind"], row["key_id"]), set()).add(row["value_hash"])
        if not hashes:
            return None
        return Erased(self.people, [(k, keys[id], found) for (k, id), found in hashes.items()])


class Erased:
    """Recognizes people who were erased.

    Args:
        people: How the tables of the service name people.
        hashes: Kind, hash, and the hashes of the people, for each kind and key.
    """

    def __init__(self, people: People, hashes: Iterable[tuple[str, KeyedHash, set[str]]]) -> None:
        self._people = people
        self._hashes = list(hashes)

    def _is(self, kind: str, value: str) -> bool:
        return any(keyed(value) in found for name, keyed, found in self._hashes if name == kind)

    def page(self, endpoint: Endpoint, page: Page) -> Page:
        """Return the page with the rows of these people marked in the column ``SKIPPED``.

        They are removed after paging has counted them, see :func:`.without_skipped`. Entries of lists
        and rejects are removed here.
        """
        table, gone = self._named(endpoint.name, page.table)
        children = dict(page.children)
        for suffix in page.children:
            left, named = self._named(endpoint.list_table(suffix), children[suffix])
            children[suffix] = left if named is None else left.filter(pa.array(~named))
            if named is not None:
                self._remove_inner(endpoint, suffix, left.filter(pa.array(named)), children)
        if gone is not None:
            table = table.append_column(SKIPPED, pa.array(gone))
        kept = [one for one in page.rejects if not self._rejected(endpoint, one, gone)]
        return replace(page, table=table, children=children, rejects=kept)

    def _remove_inner(
        self, endpoint: Endpoint, suffix: str, removed: pa.Table, children: dict[str, pa.Table]
    ) -> None:
        """Remove the lists inside of removed entries, as far as they name the entry."""
        keys = self._people.inner_keys.get(endpoint.list_table(suffix), {})
        named = {ROW: ROW, **keys}
        gone = {*zip(*(removed[key].to_pylist() for key in named))}
        for inner, entries in children.items():
            if keys and inner.startswith(f"{suffix}__"):
                rows = zip(*(entries[name].to_pylist() for name in named.values()))
                children[inner] = entries.filter(pa.array([row not in gone for row in rows]))

    def _named(self, name: str, table: pa.Table) -> tuple[pa.Table, np.ndarray | None]:
        """Return a table, and which rows name one of these people; ``None`` if none does.

        Of rows that are not about people, only the number is removed.
        """
        texts = {each.name for each in table.schema if pa.types.is_string(each.type)}
        columns = self._people.columns(name, table.column_names, texts)
        gone = np.zeros(table.num_rows, np.bool_)
        for column in columns.numbers:
            found = _where(table[column], self._is_number)
            if columns.stays and found.any():
                kept = pc.if_else(pa.array(~found), table[column], None)
                table = table.set_column(table.schema.get_field_index(column), column, kept)
            elif not columns.stays:
                gone |= found
        for column, kind in columns.ids.items():
            gone |= _where(table[column], partial(self._is, kind))
        return table, gone if gone.any() else None

    def _is_number(self, text: str) -> bool:
        return len(text) in _NUMBER_LENGTH and self._is(PHONE, normalized_phone(text))

    def _rejected(self, endpoint: Endpoint, reject: Reject, gone: np.ndarray | None) -> bool:
        """Return whether a rejected value or record is of one of these people."""
        if reject.row is not None and gone is not None and gone[reject.row]:
            return True
        if any(self._is(kind, value) for kind, value in self._people.ids_of(reject, endpoint)):
            return True
        if any(self._is(PHONE, number) for number in numbers_in(reject.payload)):
            return True
        kinds = [*self._people.tables]
        words = ids_in(reject.payload) if kinds else set()
        return any(self._is(kind, word) for word in words for kind in kinds)


def _where(values: pa.ChunkedArray, found: Callable[[str], bool]) -> np.ndarray:
    """Return for each value whether it is found, equal ones at once."""
    encoded = values.cast(pa.string()).combine_chunks().dictionary_encode()
    each = pa.array([found(text) for text in encoded.dictionary.to_pylist()], pa.bool_())
    found_at: np.ndarray = (
        each.take(encoded.indices).fill_null(False).to_numpy(zero_copy_only=False)
    )
    return found_at
