"""What a source says about an endpoint: data, no behaviour.

Columns are named by their path in the record, joined with ``__``. Attributes and elements are not
told apart: ``<address><city>`` and ``<address city="…">`` are both ``address__city``.
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


Columns = Mapping[str, ColumnType]


class Paging(Enum):
    """How an endpoint hands out more rows than fit one answer."""

    SINGLE = "one answer holds every row"
    COUNTED = "every page says how many pages there are"
    OPEN = "pages go on until one has no rows, or fewer than a known limit"
    LINKED = "every page names the URL of the next"


@dataclass(frozen=True)
class ChildList:
    """A list inside a record, loaded as a table of its own.

    Attributes:
        item: Name of one entry.
        columns: Types of the entry's known columns.
        text: Column for the text of an entry, where an entry has text.
        padded: Whether the service prints that text between blanks of its own.
        aliases: Path in the entry → column, where the two differ.
        lists: Path in the entry → list inside the entry.
        id_column: Column that carries this entry's ``id`` in the tables of its own lists.
        table: Suffix of the table's name, where it is not the last part of the path.
    """

    item: str
    columns: Columns
    text: str | None = None
    padded: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, ChildList] = field(default_factory=dict)
    id_column: str | None = None
    table: str | None = None


@dataclass(frozen=True)
class WindowParams:
    """How an endpoint is read by time.

    Attributes:
        start: Name of the parameter for the first second wanted.
        end: Name of the parameter for the last second wanted.
        cursor: Column the two parameters filter on.
        lookback: How far before the cursor each run reads again, for rows that change after it.
        ahead: How far into the future rows can lie.
        undated: Parameters of one further question, for rows that have no time yet.
        kept: How far back the service keeps rows; ``None`` if it keeps them for ever.
    """

    start: str
    end: str
    cursor: str
    lookback: timedelta
    ahead: timedelta = timedelta(0)
    undated: Mapping[str, str] | None = None
    kept: timedelta | None = None


@dataclass(frozen=True)
class Parent:
    """The endpoint whose every row is asked for its rows.

    Attributes:
        endpoint: Name of the endpoint that lists the parents.
        param: Parameter that names the parent.
        column: Column of the rows that carries the parent's key.
        key: Column of the parent that holds it.
    """

    endpoint: str
    param: str
    column: str
    key: str = "id"


@dataclass(frozen=True)
class Endpoint:
    """One endpoint of a service, and the table its rows go to.

    Attributes:
        name: Name of the resource and of its table.
        path: Path below the service's base URL; ``{column}`` stands for a configured value.
        rows: Where the rows are in an answer: ``container/row``; ``.`` if the answer is the row.
        columns: Types of the known columns. All others become text.
        key: Columns that identify a row.
        identity: Columns that never change, for rows without an id; ``key`` is computed from them.
        aliases: Path in the record → column, where the two differ.
        lists: Path in the record → list that becomes a table of its own.
        content: Elements of which the only record of an answer holds one; else it is no answer.
        skip: Paths that are left out, with all below them.
        params: Parameters sent with every question.
        paging: How further rows are asked for.
        page_limit: Most rows on a page; ``None`` where the service names no limit.
        window: How the endpoint is read by time; ``None`` for a snapshot.
        repeats: Whether the service lists a key once for each object it belongs to, so that all
            rows with it are kept.
        settled: Whether rows never leave a window, so that a page that was followed by an empty one
            need not be read again.
        parent: The endpoint whose rows this one is asked for, if any.
        configured: Parameters whose values come from the configuration, for an endpoint that is
            asked for each set of them; they are columns as well.
        setting: Name of the setting that holds them.
        not_found_codes: Codes of the refusals that say that what is asked for is not there.
        whole_every: How often all rows are read, for those that change without coming back into a
            window, or are in none; of each parent at once.
        removed_column: Column for the time when a complete read did not return a row any more, which
            stays then; without one it is deleted.
    """

    name: str
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
    window: WindowParams | None = None
    repeats: bool = False
    settled: bool = False
    parent: Parent | None = None
    configured: tuple[str, ...] = ()
    setting: str | None = None
    not_found_codes: frozenset[int] = frozenset()
    full_read_every: timedelta | None = None
    removed_column: str | None = None

    @property
    def record_key(self) -> tuple[str, ...]:
        """The key columns that a record brings itself; the others come from what was asked."""
        asked = {*self.configured, *([self.parent.column] if self.parent else ())}
        return () if self.identity else tuple(key for key in self.key if key not in asked)

    def child_key(self, column: str) -> str:
        """Name of a key column in the tables of this endpoint's lists."""
        return f"{self.name.removesuffix('s')}_id" if column == "id" else column
