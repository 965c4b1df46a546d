"""What calls may ask for, and what the service says to those that ask for something else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textlift.sandbox.clock import parse_time
from textlift.sandbox.mcommons.xml import attributes

ERRORS = {
    0: "Unknown error",
    1: "Invalid campaign id",
    2: "Invalid broadcast time",
    3: "Invalid message body",
    4: "Invalid company id",
    5: "Invalid phone number",
    6: "Invalid group id",
    7: "Invalid start time",
    8: "Invalid end time",
    9: "Invalid mData id",
    10: "Invalid Key",
    11: "Phone is not opted-in to this campaign",
    12: "Invalid fundraising id",
    13: "Invalid message template",
    14: "Phone is not textable",
    15: "Invalid mConnect id",
    16: "Invalid query parameters",
    17: "Too many messages",
    18: "Invalid name",
    19: "Invalid opt-in path",
    20: "Invalid URL",
    21: "Invalid attachment",
    22: "Invalid broadcast id",
    23: "Invalid broadcast state change",
    24: "Broadcast has not been sent. Can not retrieve recipients.",
    25: "Message Template was mdata_request but campaign is not an mData",
    26: "Invalid user id",
    27: "API rate limit exceeded",
    28: "Missing phone_number parameter",
    29: "Invalid profile item save behavior",
    30: "Invalid profile attributes",
    31: "Invalid previous id",
    32: "Invalid tag name",
    33: "Invalid tag parameters",
    34: "Invalid shortcode id",
    35: "Invalid date range",
    36: "Invalid scheduled_message_id",
    37: "Message has already been sent",
}
"""The vendor's error codes."""


class ServiceError(Exception):
    """A failure that the service reports by one of its error ids, with HTTP 200."""

    def __init__(self, id: int) -> None:
        super().__init__(f"{id} {ERRORS[id]}")
        self.id = id

    def xml(self) -> str:
        """The `error` element."""
        return f"<error{attributes({'id': self.id, 'message': ERRORS[self.id]})}/>"


@dataclass(frozen=True)
class Page:
    """A cut out of a list of ids."""

    ids: Sequence[int]
    number: int
    limit: int
    count: int
    """How many pages there are; 0 if there is nothing to list."""


class Query:
    """The parameters of a call. What cannot be understood raises the `ServiceError` for it."""

    def __init__(self, parameters: Iterable[tuple[str, str]]) -> None:
        """Empty parameters count as absent. Of repeated ones, `name[]` excepted, the last wins."""
        self._values: dict[str, str] = {}
        self._arrays: dict[str, list[str]] = {}
        for name, value in parameters:
            if name.endswith("[]"):
                self._arrays.setdefault(name[:-2], []).append(value)
            elif value.strip():
                self._values[name] = value

    def text(self, name: str) -> str | None:
        """A value as it came."""
        return self._values.get(name)

    def texts(self, name: str) -> list[str]:
        """The values of a comma-separated list, or of an array."""
        values = [*self._values.get(name, "").split(","), *self._arrays.get(name, [])]
        return [value for value in values if value.strip()]

    def flag(self, name: str, default: bool) -> bool:
        """Yes or no."""
        value = self._values.get(name)
        return default if value is None else value.lower() not in ("false", "0")

    def id(self, name: str, error: int) -> int | None:
        """A number, None if absent."""
        value = self._values.get(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit()):
            raise ServiceError(error)
        return int(value)

    def window(self, start: str, end: str) -> tuple[int | None, int | None]:
        """Two times in seconds since 1970, both inclusive, None if absent."""
        since, until = self._time(start, 7), self._time(end, 8)
        if since is not None and until is not None and since > until:
            raise ServiceError(35)
        return since, until

    def page(self, ids: Sequence[int], default: int, maximum: int) -> Page:
        """The page asked for by `page` and `limit`; a limit above the maximum is the maximum."""
        number = self._count("page", 1)
        limit = min(self._count("limit", default), maximum)
        first = (number - 1) * limit
        return Page(ids[first : first + limit], number, limit, -(-len(ids) // limit))

    def page_of(self, ids: Sequence[int], size: int) -> Page:
        """The page asked for by `page`, of a list that has no `limit`."""
        number = self._count("page", 1)
        first = (number - 1) * size
        return Page(ids[first : first + size], number, size, -(-len(ids) // size))

    def _time(self, name: str, error: int) -> int | None:
        value = self._values.get(name)
        if value is None:
            return None
        try:
            return parse_time(value)
        except ValueError:
            raise ServiceError(error) from None

    def _count(self, name: str, default: int) -> int:
        value = self._values.get(name)
        if value is None:
            return default
        if not (value.isascii() and value.isdigit()) or int(value) < 1:
            raise ServiceError(16)
        return int(value)
