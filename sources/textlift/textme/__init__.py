"""TextMe (Interactive Mediums): campaigns, participants, subscriptions, votes as dlt resources."""

from typing import TYPE_CHECKING

from textlift.lazy import import_from

if TYPE_CHECKING:
    from textlift.textme.source import TextMeCredentials, textme_source

__all__ = ["TextMeCredentials", "textme_source"]

__getattr__ = import_from(f"{__name__}.source", __all__)
