"""How services arrange the records in a response: data, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class JsonDialect:
    """How a service arranges its records.

    ``next_link``, ``page_count`` and ``total`` are paths from the root, such as ``meta/nextPageUrl``.

    Attributes:
        shared: Keys beside the list of records with values that are columns of all records.
        next_link: Where the URL of the next page is.
        page_count: Where the number of pages is.
        total: Where the number of records on all pages is.
    """

    shared: frozenset[str] = frozenset()
    next_link: str | None = None
    page_count: str | None = None
    total: str | None = None


@dataclass(frozen=True)
class XmlDialect:
    """How a service prints its records.

    ``count``, ``page_count`` and ``total`` are names of attributes of the element that holds the
    records, or of elements beside the records.

    Attributes:
        envelope: Element around a response; ``None`` if the list is the root.
        unwrapped: Whether a response can have several roots in the place of the envelope.
        count: Where the number of records on the page is.
        page_count: Where the number of pages is.
        total: Where the number of records on all pages is.
        described_by: Attributes that describe a value, such as ``type``; they become no columns.
        padded: Whether all text is printed between blanks.
    """

    envelope: str | None = None
    unwrapped: bool = False
    count: str | None = None
    page_count: str | None = None
    total: str | None = None
    described_by: frozenset[str] = frozenset()
    padded: bool = False

    @property
    def is_verbatim(self) -> bool:
        """Whether text and attributes are loaded as they are printed."""
        return not (self.described_by or self.padded)

    @property
    def stated(self) -> frozenset[str]:
        """Names of the attributes or elements that describe the page."""
        return frozenset(filter(None, (self.count, self.page_count, self.total)))
