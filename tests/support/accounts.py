"""The tables of Mobile Commons, and a comparison of a warehouse with the sandbox."""

from __future__ import annotations

from tests.conftest import Warehouse
from tests.support.truth import comparable, expected

TABLES = {
    "profiles": "id",
    "profiles__subscriptions": "profile_id",
    "profiles__custom_columns": "profile_id",
    "profiles__clicks": "profile_id",
    "profiles__integrations": "profile_id",
    "incoming_messages": "id",
    "outgoing_messages": "id",
    "broadcasts": "id",
    "broadcasts__included_groups": "broadcast_id",
    "broadcasts__excluded_groups": "broadcast_id",
    "broadcasts__tags": "broadcast_id",
    "calls": "id",
    "clicks": "id",
    "mdata_queries": "query_key",
    "mdata_queries__custom_columns": "query_key",
    "campaigns": "id",
    "campaigns__opt_in_paths": "campaign_id",
    "campaigns__opt_in_paths__tags": "campaign_id",
    "campaigns__tags": "campaign_id",
    "campaign_subscribers": "campaign_id",
    "group_members": "group_id",
    "groups": "id",
    "keywords": "id",
    "mconnects": "id",
    "mconnects__tags": "mconnect_id",
    "tinyurls": "id",
    "mdatas": "id",
    "tags": "id",
    "attachments": "id",
    "call_counts": "mconnect_id",
    "donation_summaries": "fundraising_id",
    "mdata_entries": "mdata_id",
    "rejected_records": "rejection_key",
}
#: The tables of the resource ``profiles``.
PROFILES = [table for table in TABLES if table.startswith("profiles")]
KEYS = {
    "profiles": "id",
    "profiles__custom_columns": "profile_id, name",
    "profiles__clicks": "profile_id, id",
    "incoming_messages": "id",
    "outgoing_messages": "id",
    "broadcasts": "id",
    "broadcasts__tags": "broadcast_id, tag",
    "calls": "id",
    "clicks": "id",
    "mdata_queries": "query_key",
    "mdata_queries__custom_columns": "query_key, name",
    "campaigns": "id",
    "campaigns__opt_in_paths": "campaign_id, id",
    "campaign_subscribers": "campaign_id, id",
    "group_members": "group_id, profile_id",
}


def assert_same(warehouse: Warehouse, *tables: str) -> None:
    """Compare every table, or some, with the sandbox, row by row and value by value."""
    with warehouse.reading():
        for table, rows in expected(warehouse.box.service, *tables).items():
            columns = sorted({name for row in rows for name in row})
            if not columns:
                assert warehouse.content(table) == [], table
                continue
            names = ", ".join(f'"{name}"' for name in columns)
            loaded = [
                dict(zip(columns, row)) for row in warehouse.query(f"SELECT {names} FROM {table}")
            ]
            assert comparable(loaded, columns) == comparable(rows, columns), table
        for table, key in KEYS.items():
            if tables and table not in tables:
                continue
            doubled = warehouse.query(f"SELECT {key} FROM {table} GROUP BY ALL HAVING count(*) > 1")
            assert doubled == [], table
        assert warehouse.content("rejected_records") == []
