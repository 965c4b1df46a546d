"""What a service declares about its endpoints: data without behaviour.

A column is named by its path in the record, joined with ``__``. Attributes and elements are the same:
``<address><city>`` and ``<address city="…">`` are both ``address__city``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum


class ColumnType(Enum):
    """The types of the warehouse contract."""

    BIGINT = "bigint"
    BOOLEAN = "bool"
    DECIMAL = "decimal"
    DOUBLE = "double"
    TEXT = "text"
    TIMESTAMP = "timestamp"


class Personal(Enum):
    """What a column can tell about a person."""

    NAME = "name"
    PHONE = "phone"
    EMAIL = "email"
    ADDRESS = "address"
    LOCATION = "location"
    NETWORK_ADDRESS = "network address"
    FREE_TEXT = "free text"
    IDENTIFIER = "identifier"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        type: Type in the warehouse.
        meaning: What a value says, with its unit and time zone; one sentence for analysts.
        personal: What the column can tell about a person; ``None`` if nothing.
    """

    type: ColumnType
    meaning: str
    personal: Personal | None = None


Columns = Mapping[str, Column]


class Paging(Enum):
    """How an endpoint returns more rows than fit one response."""

    SINGLE = "one response holds every row"
    COUNTED = "each page states the number of pages"
    OPEN = "the last page is empty, or shorter than a known limit"
    LINKED = "each page names the URL of the next"


@dataclass(frozen=True)
class ChildList:
    """A list inside a record, loaded into a table of its own.

    Attributes:
        item: Name of one entry, in the singular.
        meaning: What a row of the table is; a sentence or two for analysts.
        columns: The declared columns of an entry.
        key: Columns that identify an entry within its record; empty if only its position does.
        text: Column for the text of an entry, if entries have text.
        padded: Whether the service adds blanks around that text.
        aliases: Path in the entry → column, where the two differ.
        lists: Path in the entry → list inside the entry. Its table carries ``key``.
        table: Suffix of the table's name, if it is not the path.
    """

    item: str
    meaning: str
    columns: Columns
    key: tuple[str, ...] = ()
    text: str | None = None
    padded: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, ChildList] = field(default_factory=dict)
    table: str | None = None

    @property
    def foreign_keys(self) -> dict[str, str]:
        """Key column → its name in the tables of this list's own lists."""
        return {column: _foreign_key(self.item, column) for column in self.key}


@dataclass(frozen=True)
class Incremental:
    """What is new in an endpoint, whatever a request for it looks like.

    Attributes:
        cursor: Column with the time of a row.
        lookback: How far before the cursor each run reads again, for rows that change later.
        ahead: How far in the future rows can lie.
        retention: How long the service keeps rows; ``None`` if for ever.
    """

    cursor: str
    lookback: timedelta
    ahead: timedelta = timedelta(0)
    retention: timedelta | None = None


@dataclass(frozen=True)
class TimeRange:
    """How a request selects a window: by two query parameters, both inclusive.

    Attributes:
        start: Parameter for the first second of the window.
        end: Parameter for the last second of the window.
        undated: Parameters of one more request, for rows without a time.
    """

    start: str
    end: str
    undated: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Parent:
    """The endpoint that lists the partitions of another one.

    Attributes:
        endpoint: Name of the endpoint that lists the parents.
        param: Request parameter for the key of the parent.
        column: Column of the rows for the key of the parent.
        key: Column of the parent that holds that key.
    """

    endpoint: str
    param: str
    column: str
    key: str = "id"


@dataclass(frozen=True)
class Endpoint:
    """One endpoint of a service, and the table that its rows go to.

    Attributes:
        name: Name of the resource and of its table.
        entity: Name of one row, in the singular. Other tables call its ``id`` ``<entity>_id``.
        meaning: What a row of the table is; a sentence or two for analysts.
        path: Path below the service's base URL; ``{column}`` stands for a configured value.
        rows: Where the rows are in a response, ``container/row``; ``.`` if the response is the row.
        columns: The declared columns. All others become text.
        key: Columns that identify a row.
        identity: Columns that never change, for rows without an id. ``key`` is computed from them.
        aliases: Path in the record → column, where the two differ.
        lists: Path in the record → list that becomes a table.
        content: Elements of which the only record of a response has at least one; without them the
            response is invalid.
        skip: Paths that are left out, with all below them.
        params: Parameters of every request.
        paging: How further rows are requested.
        page_limit: Most rows on a page; ``None`` if the service states no limit.
        incremental: What is new, by time; ``None`` for a snapshot.
        time_range: How a request selects a window of an incremental endpoint.
        repeats: Whether the service lists a key once for each object that it belongs to. All rows
            with the key are kept.
        settled: Whether rows never leave a window. If so, a page before an empty one is not read
            again.
        parent: The endpoint whose rows are the partitions of this one.
        configured: Columns whose values come from the configuration; each set of values is a
            partition.
        setting: Name of the setting that holds them.
        not_found_codes: Error codes which say that the requested partition does not exist.
        full_read_every: How often all rows are read, for changes that no window finds. An endpoint
            with a parent reads all rows of each partition.
        removed_column: Column for the time when a complete read no longer returned the row, which
            then stays. Without this column the row is deleted.
    """

    name: str
    entity: str
    meaning: str
    path: str
    rows: str
    columns: Columns
    key: tuple[str, ...] = ("id",)
    identity: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, ChildList] = field(default_factory=dict)
    content: tuple[str, ...] = ()
    skip: frozenset[str] = frozenset()
    params: Mapping[str, str] = field(default_factory=dict)
    paging: Paging = Paging.SINGLE
    page_limit: int | None = None
    incremental: Incremental | None = None
    time_range: TimeRange | None = None
    repeats: bool = False
    settled: bool = False
    parent: Parent | None = None
    configured: tuple[str, ...] = ()
    setting: str | None = None
    not_found_codes: frozenset[int | str] = frozenset()
    full_read_every: timedelta | None = None
    removed_column: str | None = None

    @property
    def record_key(self) -> tuple[str, ...]:
        """The key columns that are in a record; the others come from the partition."""
        partition = {*self.configured, *([self.parent.column] if self.parent else ())}
        return () if self.identity else tuple(key for key in self.key if key not in partition)

    @property
    def foreign_keys(self) -> dict[str, str]:
        """Key column → its name in the tables of this endpoint's lists."""
        return {column: _foreign_key(self.entity, column) for column in self.key}


def _foreign_key(entity: str, column: str) -> str:
    return f"{entity}_id" if column == "id" else column
