"""Partitions, slices of them, and the rows that came of a slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from textlift.arrow.tables import Page
from textlift.windows import Window


@dataclass(frozen=True)
class Partition:
    """A parent, a configured set of parameters, or the account itself.

    Attributes:
        name: Its name in the stream's state; empty for the account.
        params: Query parameters that select it.
        values: Column → its value in every row: the parent's key, or what is configured.
    """

    name: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, int | str] = field(default_factory=dict)

    def __str__(self) -> str:
        # A configured text can be somebody's phone number; an integer is an id.
        ids = (f"{name} {value}" for name, value in self.values.items() if isinstance(value, int))
        return ", ".join(ids)


@dataclass(frozen=True)
class Slice:
    """A partition and a window of it.

    Attributes:
        partition: The partition.
        window: The span of time to request; ``None`` requests all rows.
        params: Further query parameters.
        fallback_window: The window to request if the service refuses ``window``.
    """

    partition: Partition = Partition()
    window: Window | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    fallback_window: Window | None = None

    def __str__(self) -> str:
        return ", ".join(filter(None, [str(self.partition), str(self.window or "")]))


@dataclass(frozen=True)
class SliceRows:
    """All rows of a slice, or of a part of it that was split; of many rows, one piece.

    Attributes:
        slice_: What was read.
        page: Its rows.
        not_found: Why there are no rows, if the service says that the partition does not exist.
        ends_partition: Whether the next rows belong to another partition.
        is_last: Whether no further piece of these rows follows.
    """

    slice_: Slice
    page: Page
    not_found: str | None
    ends_partition: bool
    is_last: bool = True


def partition_name(*parts: int | str) -> str:
    """Return the name of a partition, made of its keys and the scope of the run."""
    return "/".join(str(part) for part in parts if part != "")
