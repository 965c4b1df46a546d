"""Partitions: their names in the state, and what messages call them."""

from __future__ import annotations

from dataclasses import replace

from tests.support.pages import BY_NAME
from textlift.declare import Column, ColumnType
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
