"""Partitions: their names in the state, and what messages call them. Where a load starts."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from tests.support.pages import BY_NAME
from textlift.declare import Column, ColumnType
from textlift.extract.settings import Settings
from textlift.extract.slicer import Slicer
from textlift.extract.slices import Partition, Slice

ENDPOINT = BY_NAME["mdata_entries"]


def test_a_message_names_keys_of_any_type_and_nothing_personal() -> None:
    partition = Partition.of(ENDPOINT, {"mdata_id": 7, "input": "12025550123"}, "", mdata_id="7")
    assert (str(Slice(partition)), partition.params) == ("mdata_id 7", {"mdata_id": "7"})
    text = Column(ColumnType.TEXT, "Id of the group")
    groups = replace(ENDPOINT, columns={"group_id": text})
    assert str(Partition.of(groups, {"group_id": "a1-b2"}, "")) == "group_id a1-b2"


def test_the_name_of_a_partition_is_made_of_its_keys_and_the_scope() -> None:
    assert Partition.of(ENDPOINT, {}, "").name == ""
    assert Partition.of(ENDPOINT, {}, "MO").name == "MO"
    assert Partition.of(ENDPOINT, {"mdata_id": 7}, "MO").name == "7/MO"


NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("began", "cursor", "start"),
    [
        # A load that ended reads its lookback again.
        (None, 60, 60 + 3),
        # Of one that was interrupted, the rows had settled when they were read.
        (1, 60, 60),
        # These had not: they were two days old.
        (1, 3, 4),
        (1, 1, 4),
    ],
)
def test_a_load_starts_where_rows_can_have_changed(
    began: int | None, cursor: int, start: int
) -> None:
    def ago(days: int) -> datetime:
        return NOW - timedelta(days=days)

    endpoint = BY_NAME["outgoing_messages"]
    assert endpoint.incremental
    assert endpoint.incremental.lookback == timedelta(days=3)
    slicer = Slicer(endpoint, Settings(), NOW, NOW, ago(began) if began is not None else None)
    assert slicer.start(ago(cursor)) == ago(start)
