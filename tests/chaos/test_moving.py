"""Lists that move while they are read: no row that stays is lost or doubled in 200,000 readings."""

from __future__ import annotations

import pytest

from tests.conftest import slow_but
from tests.support.moving import ORDERS, PAGED, readings_that_lose_a_row
from textlift.declare import Endpoint

#: Of each endpoint in all orders.
READINGS = [8_000, 200_000]
#: One endpoint for each way of reading that is declared.
KINDS = list(
    {
        (each.paging, each.settled, bool(each.page_limit), each.identity): each for each in PAGED
    }.values()
)


@pytest.mark.parametrize("readings", slow_but(slice(1), READINGS))
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("declared", KINDS, ids=lambda declared: declared.name)
def test_no_row_that_stays_is_lost_or_doubled_while_others_move(
    declared: Endpoint, order: str, readings: int
) -> None:
    assert readings_that_lose_a_row(declared, order, readings // len(ORDERS)) == []
