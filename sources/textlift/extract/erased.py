"""People who were erased, read from the destination."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import dlt
from dlt.common.libs.pyarrow import py_arrow_to_table_schema_columns

from textlift.arrow.types import schema_of
from textlift.destinations.stored import current_load_id, declared_rows, open_client
from textlift.dictionary import ERASURES
from textlift.extract.settings import Settings
from textlift.privacy.erased import Erased

#: The rows of ``erasures``.
Erasures = Sequence[Mapping[str, Any]]
_known: ContextVar[Erasures | None] = ContextVar("known", default=None)


def erasures_in(client: Any) -> Erasures:
    """Return the rows of ``erasures``, with an open client of the destination."""
    # The schema of this pipeline may lack the table, because another one wrote it.
    columns = py_arrow_to_table_schema_columns(schema_of(ERASURES))
    # All of them at once: an error must not leave a query open.
    tables = list(declared_rows(client, ERASURES.name, ERASURES.key, columns))
    return tuple(row for table in tables for row in table.to_pylist())


@contextmanager
def known_erasures(rows: Erasures | None) -> Iterator[None]:
    """Within the block, use these rows of ``erasures`` instead of reading them, unless ``None``."""
    token = _known.set(rows)
    try:
        yield
    finally:
        _known.reset(token)


class ErasedPeople:
    """Reads the people who were erased once for each load package.

    Args:
        settings: What to load.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._load_id: str | None = None
        self._rows: Erasures = ()
        self._found: Erased | None = None

    def read(self) -> Erased | None:
        """Return the people, the same object until more are erased.

        Return ``None`` if there are none, or outside a pipeline.

        Raises:
            ConfigurationError: A key that they were hashed with is not configured.
        """
        load_id = current_load_id()
        if load_id != self._load_id:
            rows = self._read()
            if rows != self._rows:
                self._found = self._settings.recognition.erased(rows)
            self._rows, self._load_id = rows, load_id
        return self._found

    def _read(self) -> Erasures:
        known, schema = _known.get(), dlt.current.source_schema()
        if known is not None:
            return known
        # Without a key nobody was erased, or the schema tells that the key is missing.
        if not self._settings.recognition.keys and ERASURES.name not in schema.tables:
            return ()
        with open_client() as client:
            return erasures_in(client)
