"""Dialects: the layout of the responses of a service, as data without behaviour."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class JsonDialect:
    """The layout of the JSON responses of a service.

    ``next_link``, ``page_count`` and ``total`` are paths from the root, such as
    ``meta/nextPageUrl``.

    Attributes:
        shared: Keys beside the list of records. Their values become columns of all records.
        next_link: Path of the URL of the next page.
        page_count: Path of the number of pages. A response without it is invalid.
        total: Path of the number of records on all pages.
        wrapper: Key of an object's only member, if the service also prints a value as an object
            with the value inside.
    """

    shared: frozenset[str] = frozenset()
    next_link: str | None = None
    page_count: str | None = None
    total: str | None = None
    wrapper: str | None = None

    @property
    def metadata(self) -> frozenset[str]:
        """The members of the response that describe the page."""
        paths = filter(None, (self.next_link, self.page_count, self.total))
        return frozenset(path.split("/")[0] for path in paths)


@dataclass(frozen=True)
class XmlDialect:
    """The layout of the XML responses of a service.

    ``count``, ``page_count`` and ``total`` are names of attributes of the element that holds the
    records, or of elements beside the records.

    Attributes:
        envelope: Root element around the list. ``None`` if the list is the root.
        unwrapped: Whether a response can have several roots instead of the envelope.
        count: Name of the number of records on the page.
        page_count: Name of the number of pages.
        total: Name of the number of records on all pages.
        described_by: Attributes that describe a value, such as ``type``. They become no columns.
        padded: Whether the service adds blanks around all text.
        empty_list: Root element of an empty list, if it can stand in place of the declared list.
    """

    envelope: str | None = None
    unwrapped: bool = False
    count: str | None = None
    page_count: str | None = None
    total: str | None = None
    described_by: frozenset[str] = frozenset()
    padded: bool = False
    empty_list: str | None = None

    @property
    def is_verbatim(self) -> bool:
        """Whether text and attributes are loaded without changes."""
        return not (self.described_by or self.padded)

    @property
    def stated(self) -> frozenset[str]:
        """The names of the attributes or elements that describe the page."""
        return frozenset(filter(None, (self.count, self.page_count, self.total)))
