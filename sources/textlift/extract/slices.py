"""Partitions, slices of them, and the rows that came of a slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from textlift.arrow.pages import Page
from textlift.declare import Endpoint
from textlift.extract.sorted_list import ListPart
from textlift.windows import Window


@dataclass(frozen=True)
class Partition:
    """A parent, a configured set of parameters, or the account itself.

    Attributes:
        name: Its name in the stream's state; empty for the account.
        params: Parameters that select it.
        values: Column → its value in every row: the parent's key, or what is configured.
        label: What messages call it; holds no personal data.
    """

    name: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, int | str] = field(default_factory=dict)
    label: str = ""

    @classmethod
    def of(
        cls, endpoint: Endpoint, values: Mapping[str, int | str], scope: str, **params: str
    ) -> Partition:
        """Return the partition of an endpoint that has ``values``, in every row if they are columns."""
        name = "/".join(str(part) for part in (*values.values(), scope) if part != "")
        columns = {column: endpoint.columns.get(column) for column in values}
        public = [name for name, column in columns.items() if not (column and column.personal)]
        label = ", ".join(f"{column} {values[column]}" for column in public)
        in_rows = {column: value for column, value in values.items() if columns[column]}
        return cls(name, params, in_rows, label)

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True)
class Slice:
    """A partition and a window of it.

    Attributes:
        partition: The partition.
        window: The span of time to request; ``None`` requests all rows.
        params: Further parameters.
        fallback_window: The window to request if the service refuses ``window``.
        list_part: The part of a sorted list to read, for services without windows.
        size: Number of rows that the parent states; it can be wrong.
    """

    partition: Partition = Partition()
    window: Window | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    fallback_window: Window | None = None
    list_part: ListPart | None = None
    size: int | None = None

    def __str__(self) -> str:
        parts = (self.partition, self.window, self.list_part)
        return ", ".join(text for part in parts if part is not None and (text := str(part)))


@dataclass(frozen=True)
class SliceRows:
    """All rows of a slice, or of a part of it that was split; of many rows, one piece.

    Attributes:
        slice_: What was read.
        page: Its rows.
        not_found: Why there are no rows, if the service says that the partition does not exist.
        ends_partition: Whether the next rows belong to another partition.
        is_last: Whether no further piece of these rows follows.
        following: The part of a sorted list that is read next; ``None`` at the end.
        total: Rows of the list, if it is sorted and the service states them.
    """

    slice_: Slice
    page: Page
    not_found: str | None
    ends_partition: bool
    is_last: bool = True
    following: ListPart | None = None
    total: int | None = None
