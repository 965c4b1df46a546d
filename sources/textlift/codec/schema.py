"""The fields of an endpoint's records: which column takes what a codec finds in a record.

A :class:`RecordSchema` is compiled once from the declaration and never changes, so threads share it.
What nobody declared is resolved for each page anew, by :class:`PageFields`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from dlt.common.normalizers.naming.snake_case import NamingConvention

from textlift.declare import ChildList, ColumnType, Endpoint

#: Undeclared fields on one page; a record that brings more is rejected.
MAX_NEW_FIELDS = 1000
#: PostgreSQL has columns of its own with these names in every table.
_SYSTEM_COLUMNS = frozenset({"cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"})
_NAMING = NamingConvention()


@lru_cache(maxsize=10_000)
def column_name(name: str) -> str:
    """The name of an attribute, element or key in snake_case, as dlt's default naming writes it.

    Names with a leading underscore are reserved for dlt and this package, except before a digit.
    """
    normal = _NAMING.normalize_identifier(name) if name.strip() else "_"
    if normal in _SYSTEM_COLUMNS:
        return f"x_{normal}"
    return f"x{normal}" if normal.startswith("_") and not normal[1:2].isdigit() else normal


@dataclass(frozen=True, eq=False)
class Field:
    """A place in a record: an attribute, element or key.

    Attributes:
        path: Path below the record, joined with ``__``.
        column: Column for the text found here.
        list: Declaration, if this is a list with a table of its own.
        skip: Whether the text found here is left out.
        skip_below: Whether everything undeclared below is left out.
        declared: Whether the endpoint declares this field or one below it.
        fields: Name → field below this one.
    """

    path: str = ""
    column: str = ""
    list: ChildList | None = None
    skip: bool = False
    skip_below: bool = False
    declared: bool = False
    fields: Mapping[str, Field] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def suffix(self) -> str:
        """Suffix of the table for the list found here."""
        return (self.list.table if self.list else None) or self.path

    def child_path(self, name: str) -> str:
        """Path of the field called ``name`` below this one."""
        part = column_name(name)
        return f"{self.path}__{part}" if self.path else part


_SKIPPED = Field(skip=True, skip_below=True)


class _Draft:
    """A field while its schema is compiled."""

    def __init__(self, path: str) -> None:
        self.path = self.column = path
        self.list: ChildList | None = None
        self.skip = self.skip_below = False
        self._below: dict[str, _Draft] = {}

    def reach(self, path: str) -> _Draft:
        draft = self
        for part in path.split("__"):
            below = f"{draft.path}__{part}" if draft.path else part
            if part not in draft._below:
                inner = draft._below[part] = _Draft(below)
                inner.skip = inner.skip_below = draft.skip_below
            draft = draft._below[part]
        return draft

    def freeze(self, declared: bool = True) -> Field:
        fields = {name: draft.freeze() for name, draft in self._below.items()}
        return Field(
            self.path,
            self.column,
            self.list,
            self.skip,
            self.skip_below,
            declared,
            MappingProxyType(fields),
        )


@dataclass(frozen=True, eq=False)
class RecordSchema:
    """The declaration of one table, compiled for decoding.

    Attributes:
        root: The record; its fields are what a record holds.
        columns: Types of the declared columns.
        lists: Suffix of a child table → its schema.
        text: Column for the text of an entry, where an entry has text.
        padded: Whether the service prints that text between blanks.
        foreign_keys: Column of an entry → its name in the tables of the entry's own lists.
    """

    root: Field
    columns: Mapping[str, ColumnType]
    lists: Mapping[str, RecordSchema]
    text: str | None = None
    padded: bool = False
    foreign_keys: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, declared: Endpoint | ChildList) -> RecordSchema:
        """Compile an endpoint, or a list of an endpoint."""
        root = _Draft("")
        if isinstance(declared, Endpoint):
            for path in declared.skip:
                draft = root.reach(path)
                draft.skip = draft.skip_below = True
        for column in declared.columns:
            if column not in declared.aliases.values():
                root.reach(column).column = column
        for path, column in declared.aliases.items():
            draft = root.reach(path)
            draft.column, draft.skip = column, False
        lists = {}
        for path, child in declared.lists.items():
            root.reach(path).list = child
            lists[child.table or path] = cls.of(child)
        frozen = root.freeze(declared=False)
        types = {name: column.type for name, column in declared.columns.items()}
        if isinstance(declared, Endpoint):
            return cls(frozen, types, lists)
        foreign_keys = declared.foreign_keys if declared.lists else {}
        return cls(frozen, types, lists, declared.text, declared.padded, foreign_keys)


#: Schema of a list that no endpoint declares.
UNDECLARED = RecordSchema.of(ChildList(item="", meaning="", columns={}))


class PageFields:
    """Resolves the fields of one page, those that nobody declared included.

    Attributes:
        exceeded: Whether a field was one too many; the decoder resets it for each record.
    """

    def __init__(self) -> None:
        self.exceeded = False
        self._new = 0
        self._found: dict[tuple[Field, str], Field] = {}

    def find(self, field: Field, name: str) -> Field:
        """The field called ``name`` below ``field``; an undeclared one becomes a text column."""
        declared = field.fields.get(name)
        if declared is not None:
            return declared
        if field.skip_below:
            return _SKIPPED
        found = self._found.get((field, name)) or field.fields.get(column_name(name))
        if found is None:
            if self._new >= MAX_NEW_FIELDS:
                self.exceeded = True
                return _SKIPPED
            self._new += 1
            path = field.child_path(name)
            found = Field(path, path)
        self._found[field, name] = found
        return found
