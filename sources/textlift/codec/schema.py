"""The fields of the records of an endpoint: the mapping from places in a record to columns.

A :class:`RecordSchema` is compiled once from the declaration. It is immutable, so threads share it.
:class:`PageFields` resolves undeclared fields separately for each page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from dlt.common.normalizers.naming.snake_case import NamingConvention

from textlift.declare import ChildList, ColumnType, Endpoint

#: Maximum number of undeclared fields on a page. A record that exceeds it is rejected.
MAX_NEW_FIELDS = 1000
#: PostgreSQL has system columns with these names in every table.
_SYSTEM_COLUMNS = frozenset({"cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"})
_NAMING = NamingConvention()


@lru_cache(maxsize=10_000)
def column_name(name: str) -> str:
    """Return the name of an attribute, element or key in snake_case, as in dlt's default naming.

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
        path: Path in the record, joined with ``__``.
        column: Column for the text at this place.
        list: Declaration, if this is a list with its own table.
        skip: Whether to leave out the text at this place.
        skip_below: Whether to leave out all undeclared fields below.
        declared: Whether the endpoint declares this field or a field below it.
        fields: Name → field below this field.
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
        """The suffix of the table for the list at this place."""
        return (self.list.table if self.list else None) or self.path

    def child_path(self, name: str) -> str:
        """Return the path of the field ``name`` below this field."""
        part = column_name(name)
        return f"{self.path}__{part}" if self.path else part


_SKIPPED = Field(skip=True, skip_below=True)


class _Draft:
    """A mutable field, used while a schema is compiled."""

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
        root: The field of the record. The fields of the record are below it.
        columns: Types of the declared columns.
        lists: Suffix of a child table → its schema.
        text: Column for the text of an entry, if entries have text.
        padded: Whether the service adds blanks around that text.
        foreign_keys: Column of an entry → its name in the tables of the lists inside the entry.
    """

    root: Field
    columns: Mapping[str, ColumnType]
    lists: Mapping[str, RecordSchema]
    text: str | None = None
    padded: bool = False
    foreign_keys: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, declared: Endpoint | ChildList) -> RecordSchema:
        """Return the compiled schema of an endpoint, or of a list of an endpoint."""
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


#: Schema of an undeclared list.
UNDECLARED = RecordSchema.of(ChildList(item="", meaning="", columns={}))


class PageFields:
    """The fields of one page, including undeclared ones.

    Attributes:
        exceeded: Whether a field exceeded the limit. The decoder resets it for each record.
    """

    def __init__(self) -> None:
        self.exceeded = False
        self._new = 0
        self._found: dict[tuple[Field, str], Field] = {}

    def find(self, field: Field, name: str) -> Field:
        """Return the field ``name`` below ``field``. An undeclared field becomes a text column."""
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
