"""200,000 readings of lists that move while they are read: no row that stays is lost or doubled."""

from __future__ import annotations

import pytest

from sources.common.endpoints import Endpoint
from tests.moving import ORDERS, PAGED, readings_that_lose_a_row

READINGS = 200_000
#: One endpoint for each way of reading that is declared.
KINDS = list(
    {
        (each.paging, each.settled, bool(each.page_limit), each.identity): each for each in PAGED
    }.values()
)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("declared", KINDS, ids=lambda declared: declared.name)
def test_no_row_that_stays_is_lost_or_doubled_while_others_move(
    declared: Endpoint, order: str
) -> None:
    readings = READINGS // len(KINDS) // len(ORDERS)
    assert readings_that_lose_a_row(declared, order, readings) == []
