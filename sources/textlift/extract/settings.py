"""What a run is asked to load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from textlift.privacy.erased import Recognition
from textlift.privacy.policy import Policy
from textlift.privacy.retention import Aging


@dataclass(frozen=True)
class Settings:
    """What a run is asked to load.

    Attributes:
        start_date: First second of a first load; ``None`` for all there is.
        since: Load from here and ignore the cursor.
        until: Load up to here; ``None`` for now.
        page_size: Rows wanted on a page.
        lookback: Resource → how far before its cursor to read again; absent for the endpoint's own.
        full_read_every: How often resources whose old rows change are read completely; ``None`` for
            the endpoint's own interval.
        refresh: Resource → the same, for this resource.
        configured: Resource → the sets of parameters that it is requested with.
        account: Whose rows these are, see :func:`.settings.account_name`. Each has its own state.
        scope: A part of the names of partitions; another scope has other cursors.
        only: Column → the one value that it has in all rows requested.
        package_rows: About how many rows of a resource go into one load package; ``None`` for all.
        isolate_failures: Whether a resource that cannot be read reports that and lets the run
            continue.
        policy: What happens to personal columns; ``None`` if all are kept.
        retention: Resource → how its rows age, of those that do not stay for ever.
        recognition: How people who were erased are recognized.
    """

    start_date: datetime | None = None
    since: datetime | None = None
    until: datetime | None = None
    page_size: int = 1000
    lookback: Mapping[str, timedelta] = field(default_factory=dict)
    full_read_every: timedelta | None = None
    refresh: Mapping[str, timedelta] = field(default_factory=dict)
    configured: Mapping[str, Sequence[Mapping[str, int | str]]] = field(default_factory=dict)
    account: str = ""
    scope: str = ""
    only: Mapping[str, str] = field(default_factory=dict)
    package_rows: int | None = None
    isolate_failures: bool = False
    policy: Policy | None = None
    retention: Mapping[str, Aging] = field(default_factory=dict)
    recognition: Recognition = field(default_factory=Recognition)

    @property
    def is_range(self) -> bool:
        """Whether exactly one range is wanted, which leaves the cursors alone."""
        return self.since is not None and self.until is not None

    @property
    def is_unlimited(self) -> bool:
        """Whether neither end is set."""
        return self.since is None and self.until is None
