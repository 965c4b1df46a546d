"""People who were erased, read from the destination at the start of a run."""

from __future__ import annotations

from textlift.destinations.stored import every, stored_rows
from textlift.dictionary import ERASURES
from textlift.extract.settings import Settings
from textlift.privacy.erased import Erased


def stored_erased(settings: Settings) -> Erased | None:
    """Return the people who were erased from the dataset; ``None`` if there are none.

    A dataset without the table ``erasures`` is not queried.

    Raises:
        ConfigurationError: A key that they were hashed with is not configured.
    """
    tables = stored_rows(ERASURES.name, ERASURES.key, every)
    # All of them first: an error must not leave the connection open.
    return settings.recognition.erased([row for table in tables for row in table.to_pylist()])
