"""People who were erased, read from the destination."""

from __future__ import annotations

from dlt.common.libs.pyarrow import py_arrow_to_table_schema_columns

from textlift.arrow.types import schema_of
from textlift.destinations.stored import current_load_id, every, stored_rows
from textlift.dictionary import ERASURES
from textlift.extract.settings import Settings
from textlift.privacy.erased import Erased


class ErasedPeople:
    """Reads the people who were erased once for each load package.

    Args:
        settings: What to load.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._load_id: str | None = None
        self._found: Erased | None = None

    def read(self) -> Erased | None:
        """Return the people; ``None`` if there are none, or outside a pipeline.

        Raises:
            ConfigurationError: A key that they were hashed with is not configured.
        """
        load_id = current_load_id()
        if load_id != self._load_id:
            self._found, self._load_id = self._read(), load_id
        return self._found

    def _read(self) -> Erased | None:
        recognition, columns = self._settings.recognition, None
        if recognition.keys:
            # The schema of this pipeline may lack the table, because another one wrote it. Without
            # a key nobody was erased, or the schema tells that the key is missing.
            columns = py_arrow_to_table_schema_columns(schema_of(ERASURES))
        tables = stored_rows(ERASURES.name, ERASURES.key, every, columns)
        # All of them first: an error must not leave the connection open.
        return recognition.erased([row for table in tables for row in table.to_pylist()])
