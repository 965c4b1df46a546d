"""The types for the declaration of a service: data without behaviour.

The name of a column is its path in the record, joined with ``__``. Attributes and elements are
equivalent: ``<address><city>`` and ``<address city="…">`` are both ``address__city``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum


class ColumnType(Enum):
    """The type of a column in the warehouse."""

    BIGINT = "bigint"
    BOOLEAN = "bool"
    DATE = "date"
    DECIMAL = "decimal"
    DOUBLE = "double"
    TEXT = "text"
    TIMESTAMP = "timestamp"


class Personal(Enum):
    """The kind of personal data in a column."""

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
    """A column of a table.

    Attributes:
        type: Type in the warehouse.
        meaning: Meaning of a value, with its unit and time zone. One sentence for analysts.
        personal: Kind of personal data. ``None`` if the column has none.
    """

    type: ColumnType
    meaning: str
    personal: Personal | None = None


Columns = Mapping[str, Column]


class Paging(Enum):
    """The pagination of an endpoint."""

    SINGLE = "one response holds every row"
    COUNTED = "each page states the number of pages, or of all rows"
    OPEN = "the last page is empty, or shorter than a known limit"
    LINKED = "each page names the URL of the next"


@dataclass(frozen=True)
class Owner:
    """The row of another table that the entries of a list belong to.

    Attributes:
        table: Name of that table. The table of the list is named after it.
        column: Column of the record with the key of that row; the foreign key in the list's table.
    """

    table: str
    column: str


@dataclass(frozen=True)
class ChildList:
    """A list inside a record, loaded into its own table.

    Attributes:
        item: Name of one entry, in the singular.
        meaning: Meaning of a row of the table. One or two sentences for analysts.
        columns: The declared columns of an entry.
        key: Columns that identify an entry in its record. Empty if only its position does.
        text: Column for the text of an entry, if entries have text.
        padded: Whether the service adds blanks around that text.
        aliases: Path in the entry → column, where the two differ.
        lists: Path in the entry → list inside the entry. The table of that list has the columns of
            ``key``.
        table: Suffix of the table name, if it is not the path.
        owner: What the entries belong to, if not to the record. Several records can have the same
            owner and the same list, which is loaded once.
        table_name: Name of the table, if it does not begin with the name of the endpoint.
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
    owner: Owner | None = None
    table_name: str | None = None

    @property
    def foreign_keys(self) -> dict[str, str]:
        """Key column → its name in the tables of the lists inside this list."""
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


#: Format of times in parameters: milliseconds since 1970.
MILLISECONDS = "milliseconds since 1970"


@dataclass(frozen=True)
class TimeRange:
    """How a request selects a window: by two parameters, both inclusive.

    Attributes:
        start: Parameter for the start of the window.
        end: Parameter for the end of the window.
        format: Format of both parameters: ``MILLISECONDS``, or one for ``strftime`` of a UTC time.
        resolution: Length of the shortest window. Windows are split at multiples of it.
        margin: Time that is added at each end, for days of a time zone that is not known.
        open_end: Value of ``end`` if rows can lie at any time in the future.
        undated: Parameters of an additional request, for rows without a time.
    """

    start: str
    end: str
    format: str = "%Y-%m-%dT%H:%M:%SZ"
    resolution: timedelta = timedelta(seconds=1)
    margin: timedelta = timedelta(0)
    open_end: str | None = None
    undated: Mapping[str, str] | None = None


@dataclass(frozen=True)
class SortedList:
    """How a request reads by time without a window: a list with the newest rows first.

    It is read until rows are older than wanted.

    Attributes:
        param: Parameter that sorts the list.
        value: Its value for the newest rows first, by the cursor.
    """

    param: str
    value: str


@dataclass(frozen=True)
class Webhook:
    """What the bodies are that a service posts: each is an event, as an object of JSON.

    The last part of the URL is the name of the endpoint. The key is ``event_id``, computed from the
    body, so a body that is posted twice is one row.

    Attributes:
        required: Fields that every body has, and that are not null. Any other body is rejected.
        distinct: Path of a value that tells equal events apart: a time or an id. Of bodies without
            it, those that are received in the same hour are one event.
        meanings: Column → the column of a code, and code → meaning.
        body_id: Column that all rows of a body share, if a body has several rows. It is the
            ``event_id`` of the first row, which also has all lists of the body.
    """

    required: tuple[str, ...]
    distinct: str | None = None
    meanings: Mapping[str, tuple[str, Mapping[str, str]]] = field(default_factory=dict)
    body_id: str | None = None


@dataclass(frozen=True)
class Parent:
    """A parent endpoint, whose rows are the partitions of another endpoint.

    Attributes:
        endpoint: Name of the parent endpoint.
        column: Column of the child rows that holds the key of the parent row.
        param: Request parameter for the key of the parent row; by default the name of the column.
        key: Key column of the parent.
        where: Column of the parent and the value that it must have, if only such rows are
            partitions.
        size: Column of the parent with the number of its rows. If it changes, all of them are read.
        owns_rows: Whether the rows are deleted if the service no longer lists their parent.
    """

    endpoint: str
    column: str
    param: str | None = None
    key: str = "id"
    where: tuple[str, str] | None = None
    size: str | None = None
    owns_rows: bool = False


@dataclass(frozen=True, eq=False)
class Endpoint:
    """An endpoint of a service, with the table of its rows. Each is equal to itself only.

    Attributes:
        name: Name of the resource and of its table.
        entity: Name of one row, in the singular. Other tables name its ``id`` ``<entity>_id``.
        meaning: Meaning of a row of the table. One or two sentences for analysts.
        path: Path below the base URL of the service. A parameter that it names, as ``{page}``, goes
            there; all others go into the query.
        alternative_paths: Paths of the same rows, for services that answer 404 to ``path``.
        rows: Path of the rows in a response, as ``container/row``. ``.`` means that the response is
            the row.
        columns: The declared columns. All other columns are text.
        key: Columns that identify a row.
        identity: Columns that never change, for rows without an id. ``key`` is computed from them.
        aliases: Path in the record → column, where the two differ.
        lists: Path in the record → list that becomes a table.
        content: Elements, at least one of which a response with a single record must have. A
            response without them is invalid.
        skip: Paths to leave out, with everything below them.
        params: Parameters of every request.
        variants: Parameters of each of several requests for a list, if one does not return all of
            its rows. A row in several responses is loaded once, from the last one.
        paging: The pagination.
        page_limit: Maximum number of rows on a page. ``None`` if the service states no limit.
        incremental: What is new, by time; ``None`` for a snapshot.
        time_range: How a request selects a window of an incremental endpoint.
        sorted_list: How an incremental endpoint without windows is read.
        repeats: Whether the service lists a key once for each object that it belongs to. All rows
            with the key are kept.
        settled: Whether rows never leave a window. If so, the page before an empty page is not read
            again.
        parent: The endpoint whose rows are the partitions of this endpoint.
        configured: Parameters whose values come from the configuration. Each set of values is a
            partition. Those that are also columns have their value in every row.
        setting: Name of the setting that holds these values.
        not_found_codes: Error codes for a partition that does not exist.
        optional: Whether an account can lack the endpoint. If the service denies access, that is
            a note and no failure.
        full_read_every: Interval at which all rows are read, for changes that no window finds. An
            endpoint with a parent reads all rows of each partition.
        removed_column: Column for the time when a complete read no longer returned the row. The row
            stays in the table. Without this column, the row is deleted.
        webhook: What the service posts, if rows are not requested but posted. ``rows`` is ``.``, or
            the list in a body whose entries are the rows.
    """

    name: str
    entity: str
    meaning: str
    path: str
    rows: str
    columns: Columns
    key: tuple[str, ...] = ("id",)
    identity: tuple[str, ...] = ()
    alternative_paths: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, ChildList] = field(default_factory=dict)
    content: tuple[str, ...] = ()
    skip: frozenset[str] = frozenset()
    params: Mapping[str, str] = field(default_factory=dict)
    variants: tuple[Mapping[str, str], ...] = ()
    paging: Paging = Paging.SINGLE
    page_limit: int | None = None
    incremental: Incremental | None = None
    time_range: TimeRange | None = None
    sorted_list: SortedList | None = None
    repeats: bool = False
    settled: bool = False
    parent: Parent | None = None
    configured: tuple[str, ...] = ()
    setting: str | None = None
    not_found_codes: frozenset[int | str] = frozenset()
    optional: bool = False
    full_read_every: timedelta | None = None
    removed_column: str | None = None
    webhook: Webhook | None = None

    @property
    def merges(self) -> bool:
        """Whether a load adds rows to the table. Otherwise, it replaces the table."""
        return bool(self.incremental or self.webhook)

    @property
    def record_key(self) -> tuple[str, ...]:
        """The key columns that a record contains. The others come from the partition."""
        partition = {*self.configured, *([self.parent.column] if self.parent else ())}
        return () if self.identity else tuple(key for key in self.key if key not in partition)

    @property
    def foreign_keys(self) -> dict[str, str]:
        """Key column → its name in the tables of the lists of this endpoint."""
        return {column: _foreign_key(self.entity, column) for column in self.key}

    @property
    def owners(self) -> dict[str, Owner]:
        """Suffix → owner of each list that does not belong to the record."""
        lists = self.lists.items()
        return {each.table or path: each.owner for path, each in lists if each.owner}

    def list_table(self, suffix: str) -> str:
        """Return the name of the table of a list, by its suffix."""
        for path, declared in self.lists.items():
            own = declared.table or path
            if declared.table_name and f"{suffix}__".startswith(f"{own}__"):
                return declared.table_name + suffix[len(own) :]
        owner = self.owners.get(suffix)
        return f"{owner.table if owner else self.name}__{suffix}"


def at_path(endpoints: Iterable[Endpoint], path: str) -> Endpoint:
    """Return the endpoint that a request for ``path`` belongs to.

    Raises:
        LookupError: It belongs to none.
    """
    for endpoint in endpoints:
        for each in (endpoint.path, *endpoint.alternative_paths):
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(each))
            if re.fullmatch(pattern, path):
                return endpoint
    raise LookupError(path)


def _foreign_key(entity: str, column: str) -> str:
    return f"{entity}_id" if column == "id" else column
