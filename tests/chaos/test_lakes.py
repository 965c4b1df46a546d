"""Delta and Iceberg tables hold what a database holds, all of it; this takes them a while."""

from __future__ import annotations

import pytest

from tests.support.any_warehouse import (  # noqa: F401 (collected here, for other warehouses)
    test_a_first_load_and_the_next_ones_bring_every_row_of_every_table,
    test_a_first_load_brings_every_message_and_a_second_one_changes_nothing,
    test_a_row_that_is_replaced_keeps_nothing,
    test_a_status_that_moved_updates_its_row_and_keeps_its_key,
    test_columns_have_the_types_of_the_contract,
    test_messages_are_read_from_the_cursors_in_the_destination,
    test_messages_have_the_columns_and_types_of_the_contract,
    test_text_arrives_verbatim_and_nothing_is_null,
)
from tests.support.warehouses import AnyWarehouse

pytestmark = pytest.mark.parametrize("open_service", ["delta", "iceberg"], indirect=True)


@pytest.fixture
def account(elsewhere: AnyWarehouse) -> AnyWarehouse:
    return elsewhere


@pytest.fixture
def export(export_elsewhere: AnyWarehouse) -> AnyWarehouse:
    return export_elsewhere
