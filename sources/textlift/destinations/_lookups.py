"""The keys by which a merge finds the stored rows that it replaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from dlt.common.destination import PreparedTableSchema
from dlt.common.schema.typing import TTableSchema
from dlt.common.schema.utils import get_columns_names_with_prop
from dlt.destinations.sql_jobs import SqlMergeFollowupJob


def lookups_of(table: PreparedTableSchema) -> list[Sequence[str]]:
    """Return the keys that a merge looks up in a table: at most two, each with its columns."""
    hints = cast(TTableSchema, table)
    return _lookups(
        get_columns_names_with_prop(hints, "primary_key"),
        get_columns_names_with_prop(hints, "merge_key"),
    )


def _lookups(primary: Sequence[str], merge: Sequence[str]) -> list[Sequence[str]]:
    """Return the keys of a table that a merge looks up.

    Rows with equal primary keys have equal merge keys if these are a part of them, so the merge key
    alone finds all rows. Databases scan the whole table for two keys that are joined by OR.
    """
    if merge and set(merge) <= set(primary):
        return [merge]
    return [key for key in (primary, merge) if key]


class LookupMerge(SqlMergeFollowupJob):
    """dlt's merge, which looks up no key that another one implies."""

    @classmethod
    def _gen_key_table_clauses(
        cls, primary_keys: Sequence[str], merge_keys: Sequence[str]
    ) -> list[str]:
        clauses: list[str] = []
        for key in _lookups(primary_keys, merge_keys):
            clauses += super()._gen_key_table_clauses(key, ())
        return clauses
